"""What a run is given at its start and again at each resume: input, limits, and the app's object."""

from __future__ import annotations

import inspect
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from flowcore.errors import UpdateError, UserError
from flowcore.faces.loading import Loaded
from flowcore.graph.graph import Graph
from flowcore.machine.snapshot import BUDGETS

SWITCHES = ("exponential_backoff",)
OWN_LIMITS = ("max_seconds", "retries", "delay_between_retries", *SWITCHES)
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
        try:
            graph.initial(None)
        except UpdateError as error:
            what = "its state's fields as a JSON object" if graph.takes is None else f"for its field '{graph.takes}'"
            raise UserError(f"graph '{graph.name}' needs an INPUT, {what} ('-' reads it from stdin): {error}") from None
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


Limit: TypeAlias = float | bool | None


def limits_in(given: Sequence[str]) -> dict[str, Limit]:
    """Limits by name from ``name=value``; value: a number, none, or of a switch true or false. Which names there are
    is the graph's to say. Raises UserError."""
    return dict(map(_limit, given))


def _limit(given: str) -> tuple[str, Limit]:
    name, equals, text = given.partition("=")
    if not equals:
        raise UserError(f"--limit {given!r}: write name=value, e.g. --limit max_tokens=50000")
    if text == "none":
        return name, None
    if name in SWITCHES:
        if text not in ("true", "false"):
            raise UserError(f"--limit {given!r}: the value is true or false")
        return name, text == "true"
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise UserError(f"--limit {given!r}: the value is a number, 0 or more, or none for no limit")
    return name, int(number) if number.is_integer() else number


def limits_of(graph: Graph, given: Mapping[str, Limit], turns: int | None) -> dict[str, Any]:
    """The limits of a run of this graph. Raises UserError for one that it doesn't have."""
    counted = {node.limit for node in graph.nodes.values() if isinstance(node.limit, str)}
    known = {*counted, *BUDGETS, *OWN_LIMITS}
    for name in given:
        if name not in known:
            raise UserError(f"--limit {name!r}: graph '{graph.name}' knows the limits {', '.join(sorted(known))}")
    if turns is None:
        return dict(given)
    if TURNS not in counted:
        raise UserError(f"--max-turns: graph '{graph.name}' has no node that counts turns (limit='{TURNS}')")
    return {**given, TURNS: turns}


def limits_at_start(graph: Graph, given: Mapping[str, Limit], turns: int | None) -> dict[str, Any]:
    """Limits of a new run: those of ``Runner`` where an agent's are left open."""
    limits = limits_of(graph, given, turns)
    if is_agents(graph) and TURNS not in limits:
        from flowcore.faces.runner import DEFAULT_MAX_TURNS  # agents are imported already; other graphs don't need them

        limits[TURNS] = int(DEFAULT_MAX_TURNS)
    return limits


async def context_of(loaded: Loaded, model: str | None) -> Any:
    """What the nodes find as ``ctx.context``: the module's ``context()``, for agents within ``Options``.

    ``model`` stands before each agent's own, of agents that are nodes or children of nodes, too: for these it's set for
    what this task and its children run. Raises UserError for a model where no agent would use it, and for no model.
    """
    make = getattr(loaded.module, "context", None)
    app = make() if callable(make) else None
    if inspect.isawaitable(app):
        app = await app
    graph = loaded.graph
    if not is_agents(graph) and model is None:
        return app
    if model == "":
        raise UserError("--model '': give a model's name")
    if not _has_agents(loaded):
        raise UserError(f"--model: there's no agent in graph '{graph.name}', nor in {loaded.file}")
    from flowcore.agents.options import RUN_CONFIG, Options
    from flowcore.agents.run_config import RunConfig  # agents are imported already; other graphs don't need them
    from flowcore.models import get_model

    options = app if isinstance(app, Options) else Options(app)
    if model is not None:
        get_model(model)  # a name that nobody knows is told before anything begins
        options.config = RunConfig.of({**vars(options.config), "model": model})
        RUN_CONFIG.set(options.config)
    return options if is_agents(graph) else app


def _has_agents(loaded: Loaded) -> bool:
    """Whether an agent stands in a graph or below it, or in its file, where a node's body may run it."""
    spec = sys.modules.get("flowcore.agents.agent")
    if spec is None:
        return False
    declared = any(isinstance(one, spec.AgentSpec) for one in vars(loaded.module).values())
    return declared or any(map(is_agents, _below(loaded.graph, set())))


def _below(graph: Graph, seen: set[int]) -> Iterator[Graph]:
    """A graph and those of its children."""
    if id(graph) not in seen:
        seen.add(id(graph))
        yield graph
        for node in graph.nodes.values():
            for _, body in node.bodies:
                yield from _below(body, seen)
