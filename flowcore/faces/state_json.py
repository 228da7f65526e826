"""The form of a state's JSON: its version, and which fields it has. What comes in is believed in nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flowcore.engine.forms import IN_DOUBT, says_of_doubt
from flowcore.errors import UserError
from flowcore.graph.values import copy_json

SCHEMA = "flowcore/1"
"""``$schemaVersion`` of the JSON that is written."""
_FIELDS = {"$schemaVersion", "run", "context", "decisions", "input", "max_turns", "tracing_api_key"}
_THEIRS = re.compile(r"1\.\d{1,3}")
_OURS = re.compile(r"flowcore/(\d{1,6})")


def checked_state(data: Any) -> dict[str, Any]:
    """A state's JSON, a copy, with its version and the types of its fields looked at. Raises UserError."""
    if not isinstance(data, Mapping):
        raise UserError("this state isn't a JSON object: give what to_json() gave")
    version = data.get("$schemaVersion")
    if isinstance(version, str) and _THEIRS.fullmatch(version):
        raise UserError(
            f"this is a state of the OpenAI Agents SDK (its schema {version}): it holds the SDK's own snapshot, which"
            " flowcore can't go on from. Finish that run there, or begin a new one with its items as the input"
        )
    ours = _OURS.fullmatch(version) if isinstance(version, str) else None
    if ours is None:
        raise UserError(f"this isn't a state: its '$schemaVersion' isn't '{SCHEMA}'")
    if version != SCHEMA:
        why = "was written by a newer flowcore" if int(ours[1]) > int(SCHEMA.partition("/")[2]) else "doesn't exist"
        raise UserError(f"this state's version {version} {why}; this one reads '{SCHEMA}'")
    try:
        copy: dict[str, Any] = copy_json(dict(data))
    except (ValueError, RecursionError):
        raise UserError("this state isn't plain JSON, or is nested too deeply") from None
    unknown = len(set(copy) - _FIELDS)
    if unknown or "run" not in copy:
        raise UserError(f"this state has {unknown or 'no'} {'fields that no state has' if unknown else 'run'}")
    if type(copy.get("decisions", [])) is not list or type(copy.get("input", [])) is not list:
        raise UserError("this state's 'decisions' or 'input' is malformed")
    if not all(type(item) is dict for item in copy.get("input", [])):
        raise UserError("this state's 'input' is malformed: an item is an object")
    if type(copy.get("tracing_api_key")) not in (str, type(None)):
        raise UserError("this state's 'tracing_api_key' is malformed")
    return copy


def checked_decisions(
    data: Mapping[str, Any], open: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], dict[str, Any]]:
    """A state's decisions by the run that asks and the key of its request. ``open``: the kinds of the requests that
    are. Raises UserError for malformed decisions, and for one about what isn't open."""
    decisions: dict[tuple[str, str], dict[str, Any]] = {}
    for one in data.get("decisions", []):
        decision = dict(one) if type(one) is dict else {}
        place = (decision.pop("run", None), decision.pop("key", None))
        types = {"approve": bool, "message": str, "always": bool}
        if open.get(place) == IN_DOUBT:
            fits = set(decision) == {"in_doubt"} and says_of_doubt(decision["in_doubt"])
        else:
            fits = "approve" in decision and all(type(value) is types.get(name) for name, value in decision.items())
        if not fits or not all(isinstance(name, str) for name in place):
            raise UserError("this state's 'decisions' are malformed")
        if place not in open:
            raise UserError("this state decides about a call that it doesn't ask about")
        decisions[place] = decision
    return decisions
