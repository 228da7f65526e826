"""``run``, ``resume``, ``stop``, ``cancel``: the commands that move a run or end that. Each gives its exit code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flowcore.cli import exits, letters, words
from flowcore.cli.finding import Found, find_graph
from flowcore.cli.giving import Limit, context_of, input_of, is_agents, limits_at_start, limits_of
from flowcore.cli.going import Manner, go
from flowcore.cli.hints import Hints
from flowcore.cli.places import find_run, opened
from flowcore.cli.screen import Screen
from flowcore.engine import run as engine
from flowcore.errors import UserError
from flowcore.faces.loading import LoadError, load
from flowcore.stores.base import IndexRow, Store
from flowcore.stores.checks import check_session_id


@dataclass(frozen=True, slots=True)
class Beginning:
    """What ``run`` was given."""

    file: str
    input: str | None
    run_id: str | None
    model: str | None
    max_turns: int | None
    limits: dict[str, Limit]
    session: str | None


@dataclass(frozen=True, slots=True)
class GoingOn:
    """What ``resume`` was given."""

    run: str
    file: str | None
    model: str | None
    max_turns: int | None
    limits: dict[str, Limit]


async def run(screen: Screen, where: str, given: Beginning, manner: Manner) -> int:
    """Begin a run and move it."""
    loaded = load(given.file)
    graph = loaded.graph
    limits = limits_at_start(graph, given.limits, given.max_turns)
    input = input_of(graph, given.input)
    context = await context_of(loaded, given.model)
    meta: dict[str, Any] = {"face": "cli"}
    if given.session is not None:
        if not is_agents(graph):
            raise UserError(f"--session: graph '{graph.name}' isn't an agent's; only agents have conversations")
        check_session_id(given.session)
        meta["session"] = given.session
    async with opened(where, new=True) as store:
        begun = await engine.start(
            loaded.target, input, store=store, run_id=given.run_id, context=context, limits=limits, meta=meta,
            label=words.one_line(given.input or "", 60),
        )  # fmt: skip
        _begins(screen, begun, manner)
        return await go(begun, screen, manner)


async def resume(screen: Screen, where: str, given: GoingOn, manner: Manner) -> int:
    """Go on with a run."""
    async with opened(where) as store:
        row = await _root_of(store, await find_run(store, given.run))
        found = graph_of(screen, row, given.file)
        limits = limits_of(found.loaded.graph, given.limits, given.max_turns)
        context = await context_of(found.loaded, given.model)
        again = await engine.resume(row.run, found.loaded.target, store=store, context=context, limits=limits or None)
        _begins(screen, again, manner)
        return await go(again, screen, manner)


def _begins(screen: Screen, run: engine.Run, manner: Manner) -> None:
    """Say which run it is, before anything else happens to it."""
    line = f"run {run.id} · {words.one_line(run.definition.name)} · {run.place}"
    if screen.live:
        screen.say(line, "bold")
    elif manner.json:
        screen.tell(line)


async def _root_of(store: Store, row: IndexRow) -> IndexRow:
    """The row of a run's root: a tree of runs moves as one."""
    return row if row.root == row.run else await store.get(row.root)


def graph_of(screen: Screen, row: IndexRow, file: str | None) -> Found:
    found = find_graph(row, file, Path())
    if found.warning is not None:
        screen.tell(f"warning: {found.warning}", "yellow")
    return found


async def halt(
    screen: Screen, where: str, name: str, file: str | None, kind: Literal["stop", "cancel"], hints: Hints
) -> int:
    """Stop or cancel a run: through its owner, else by writing it here, else by a letter for whoever resumes it."""
    async with opened(where) as store:
        row = await find_run(store, name)
        if row.standing not in ("running", "waiting"):
            screen.say(f"run {row.run} is {row.standing} already")
            return exits.DONE
        if row.owner is not None:
            await letters.ask_owner(store, row, kind, screen)
            return exits.DONE
        if row.root != row.run:
            raise UserError(f"'{row.run}' is a child run and nobody moves it: {kind} its root '{row.root}'")
        try:
            found = graph_of(screen, row, file)
        except LoadError as error:
            if file is not None:
                raise
            await engine.send(store, row.run, kind)
            screen.say(f"nobody holds run {row.run}, and its graph isn't known here ({error.message})")
            screen.say(f"the {kind} waits in its inbox and holds when the run is resumed: {hints.resume(row.run)}")
            return exits.DONE
        loaded = await engine.load(row.run, found.loaded.target, store=store)
        await (loaded.cancel() if kind == "cancel" else loaded.stop())
        screen.say(f"run {row.run} is {loaded.standing} at '{loaded.place}'; go on with: {hints.resume(row.run)}")
    return exits.DONE
