"""Values in words for people: durations, counts, calls, and text that may come from a model. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def clean(text: str) -> str:
    """Text from outside, safe to print: what would steer the terminal or hide letters is written out, like ``\\x1b``.

    Nobody should approve a call whose arguments look different from what they are.
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text.replace("\r\n", "\n"))


def one_line(text: str, most: int = 100) -> str:
    """Text on one line of at most ``most`` characters."""
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def value(of: Any, most: int = 100) -> str:
    """A JSON value on one line; a text without quotes."""
    return one_line(of if isinstance(of, str) else json.dumps(of, ensure_ascii=False), most)


def exact(of: Any) -> str:
    """A JSON value, in full, over several lines; a text as it is. For programs: a terminal is shown ``pretty``."""
    return of if isinstance(of, str) else json.dumps(of, ensure_ascii=False, indent=2)


def pretty(of: Any) -> str:
    """``exact``, safe to print."""
    return clean(exact(of))


def call(name: str, arguments: Any, most: int = 100) -> str:
    """A tool call: ``name(a=1, b="x")``. ``arguments``: JSON text, or the object."""
    given = arguments
    if isinstance(given, str):
        try:
            given = json.loads(given) if given else {}
        except ValueError:
            pass
    if isinstance(given, dict):
        inside = ", ".join(f"{key}={json.dumps(one, ensure_ascii=False)}" for key, one in given.items())
    else:
        inside = str(arguments)
    return f"{one_line(name)}({one_line(inside, most)})"


def duration(seconds: float) -> str:
    """Seconds as ``3 ms``, ``1.2 s``, ``2 min 5 s``, ``3 h 4 min`` or ``2 d 5 h``."""
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for large, small, names in ((86_400, 3_600, "d h"), (3_600, 60, "h min"), (60, 1, "min s")):
        if whole >= large:
            first, second = names.split()
            rest = whole % large // small
            return f"{whole // large} {first}" + (f" {rest} {second}" if rest else "")
    return f"{seconds:.0f} s"


def counted(number: float, what: str) -> str:
    """``1 turn``, ``1,234 tokens``."""
    return f"{number:,.0f} {what}{'' if number == 1 else 's'}"


def short_id(run: str) -> str:
    """A run's id for a table: made-up ids by their first 8 digits (a prefix will do everywhere), given ones whole."""
    root, slash, rest = run.partition("/")
    return (root[:8] if re.fullmatch(r"[0-9a-f]{32}", root) else root) + slash + rest
