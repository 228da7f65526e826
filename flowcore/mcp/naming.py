"""Names: a server's name without secrets, and a tool's name with its server's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container
from urllib.parse import urlsplit

LONGEST = 64
"""Characters of a function's name: what the OpenAI API takes."""
HASH = 8
_KINDS = ("sse: ", "streamable_http: ")
_OTHER = re.compile(r"[^A-Za-z0-9_-]")


def shown_name(name: str) -> str:
    """A server's name for messages, prefixes and records: of a URL only scheme, host and path, for the rest may be
    secret."""
    kind = next((one for one in _KINDS if name.startswith(one)), "")
    url = name.removeprefix(kind)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"{kind}<invalid-url>" if kind or url.lower().startswith(("http://", "https://")) else name
    if parts.scheme not in ("http", "https"):
        return name
    if not host or any(letter.isspace() for letter in host):
        return f"{kind}<invalid-url>"
    shown = f"[{host}]" if ":" in host else host
    return f"{kind}{parts.scheme}://{shown}{'' if port is None else f':{port}'}{parts.path}"


def prefixed_name(server: str, tool: str, taken: Container[str] = ()) -> str:
    """``mcp_<server>__<tool>``, in letters that a function's name may have and at most 64 of them.

    A name that is too long or ``taken`` ends with a hash of both names; the same names always give the same.
    """
    base = f"mcp_{_safe(server, 'server')}__{_safe(tool, 'tool')}"
    seed = f"{server}\0{tool}"
    name = base if len(base) <= LONGEST else _hashed(base, seed)
    again = 0
    while name in taken:
        name = _hashed(base, seed if again == 0 else f"{seed}\0{again}")
        again += 1
    return name


def _safe(part: str, otherwise: str) -> str:
    return _OTHER.sub("_", part).strip("_-") or otherwise


def _hashed(base: str, seed: str) -> str:
    digest = hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()[:HASH]
    return f"{base[: LONGEST - HASH - 1].rstrip('_-')}_{digest}"
