"""What a run is given at its start and again at each resume: input, limits, and the app's object."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Sequence
from typing import Any

from flowcore.errors import UpdateError, UserError
from flowcore.faces.loading import Loaded
from flowcore.graph.graph import Graph
from flowcore.machine.snapshot import BUDGETS

OWN_LIMITS = ("max_seconds", "retries", "delay_between_retries", "exponential_backoff")
TURNS = "max_turns"


def is_agents(graph: Graph) -> bool:
    """Whether a graph is an agent's loop, maybe a changed one: its nodes then expect ``Options``."""
    state = sys.modules.get("flowcore.agents.loop.state")  # whoever declares an agent has imported it
    return state is not None and isinstance(graph.bound, state.Crew)


def input_of(graph: Graph, text: str | None) -> Any:
    """A run's input from the command line: text for an agent, JSON for a graph that takes a dict. Raises UserError."""
    if is_agents(graph):
        if text is None:
            raise UserError(f"agent '{graph.name}' needs an INPUT (a text; '-' reads it from stdin)")
        return text
    if text is None:
        return None
    if graph.takes is None or text.lstrip().startswith("{"):
        try:
            given = json.loads(text)
        except ValueError as error:
            if graph.takes is None:
                raise UserError(f"graph '{graph.name}' takes its state's fields as a JSON object: {error}") from None
            return text
        return given if graph.takes is None or (isinstance(given, dict) and graph.takes in given) else text
    try:
        graph.initial(text)
    except UpdateError:  # a field that isn't text
        try:
            return json.loads(text)
        except ValueError:
            pass
    return text


def limits_of(graph: Graph, given: Sequence[str], turns: int | None) -> dict[str, Any]:
    """Limits by name from ``name=value``; value: a number, true, false, or none. Raises UserError."""
    limits: dict[str, Any] = {}
    counted = {node.limit for node in graph.nodes.values() if isinstance(node.limit, str)}
    known = sorted({*counted, *BUDGETS, *OWN_LIMITS})
    for one in given:
        name, equals, text = one.partition("=")
        if not equals:
            raise UserError(f"--limit {one!r}: write name=value, e.g. --limit max_tokens=50000")
        if name not in known:
            raise UserError(f"--limit {name!r}: graph '{graph.name}' knows the limits {', '.join(known)}")
        try:
            limit = json.loads("null" if text == "none" else text)
        except ValueError:
            limit = text
        if not (limit is None or isinstance(limit, (int, float))):
            raise UserError(f"--limit {one!r}: the value is a number, or none for no limit")
        limits[name] = limit
    if turns is not None:
        if TURNS not in counted:
            raise UserError(f"--max-turns: graph '{graph.name}' has no node that counts turns (limit='{TURNS}')")
        limits[TURNS] = turns
    return limits


def limits_at_start(graph: Graph, given: Sequence[str], turns: int | None) -> dict[str, Any]:
    """Limits of a new run: those of ``Runner`` where an agent's are left open."""
    limits = limits_of(graph, given, turns)
    if is_agents(graph) and TURNS not in limits:
        from flowcore.faces.runner import DEFAULT_MAX_TURNS  # agents are imported already; other graphs don't need them

        limits[TURNS] = int(DEFAULT_MAX_TURNS)
    return limits


async def context_of(loaded: Loaded, model: str | None) -> Any:
    """What the nodes find as ``ctx.context``: the module's ``context()``, for agents within ``Options``.

    Raises UserError for a model where no agent would use it.
    """
    make = getattr(loaded.module, "context", None)
    app = make() if callable(make) else None
    if inspect.isawaitable(app):
        app = await app
    graph = loaded.graph
    if not is_agents(graph):
        if model is not None:
            raise UserError(f"--model: graph '{graph.name}' isn't an agent's; set the model in {loaded.file}")
        return app
    from flowcore.agents.options import Options
    from flowcore.agents.run_config import RunConfig  # agents are imported already; other graphs don't need them

    options = app if isinstance(app, Options) else Options(app)
    if model is not None:
        options.config = RunConfig.of({**vars(options.config), "model": model})
    return options
