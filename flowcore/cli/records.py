"""Runs, walks and graphs as JSON for other programs: plain dicts with documented keys, printed on one screen."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from flowcore.cli.story import Story, busy_seconds, last_message, told, usage_of
from flowcore.graph.check import Finding
from flowcore.graph.graph import Graph
from flowcore.machine.facts import NAMES, Fact, Transition
from flowcore.machine.redact import hide_data
from flowcore.stores.base import IndexRow, OpenRequest


def dumped(record: Any) -> str:
    """A record as JSON text: ASCII, so that any text survives any pipe."""
    return json.dumps(record, indent=2)


def row_record(row: IndexRow) -> dict[str, Any]:
    """A run as the index has it. Times are seconds since the epoch."""
    return dataclasses.asdict(row)


def request_record(request: OpenRequest) -> dict[str, Any]:
    """An open request."""
    return dataclasses.asdict(dataclasses.replace(request, data=hide_data(request.data)))


def story_record(story: Story, output: Any = None, *, facts: bool = False) -> dict[str, Any]:
    """A run with its walk and its children. ``facts``: with the whole journal."""
    row = story.row
    record: dict[str, Any] = {
        **row_record(row),
        "place": row.node,
        "seconds": busy_seconds(story.facts),
        "usage": usage_of(story.facts),
        "output": output,
        "last_message": last_message(story.facts),
        "requests": [request_record(one) for one in story.requests],
        "walk": [_step(fact) for fact in story.facts if isinstance(fact, Transition)],
        "children": [story_record(child, facts=facts) for child in story.children],
    }
    if facts:
        record["facts"] = [fact_record(fact) for fact in story.facts]
    return record


def _step(fact: Transition) -> dict[str, Any]:
    return {
        "seq": fact.seq,
        "node": fact.node,
        "visit": fact.visit,
        "on": fact.on,
        "to": fact.to,
        "attempt": fact.attempt,
        "started": fact.started,
        "at": fact.at,
        "usage": fact.usage or {},
        "error": told(fact.error) or None,
    }


def fact_record(fact: Fact) -> dict[str, Any]:
    """A fact as a dict; ``fact`` names which of the eight it is."""
    fields = fact._asdict()
    own = fields.pop("kind", None)
    record = {"fact": NAMES[type(fact)], **fields}
    return record if own is None else {**record, "kind": own}


def graph_record(graph: Graph) -> dict[str, Any]:
    """A graph's drawing as data, with its fingerprint and findings."""
    findings = [finding_record(one) for one in graph.findings]
    return {**graph.drawing().data(), "fingerprint": graph.fingerprint, "findings": findings}


def finding_record(finding: Finding) -> dict[str, Any]:
    """A finding of a check."""
    return dict(finding._asdict())
