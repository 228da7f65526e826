"""``runs`` and ``show``: the commands that only read. Each gives its exit code."""

from __future__ import annotations

import os
import shlex
import time
from typing import Any

from flowcore import testing
from flowcore.cli import exits, words
from flowcore.cli.asking import show as show_request
from flowcore.cli.hints import Hints
from flowcore.cli.moving import graph_of
from flowcore.cli.places import find_run, is_there, opened
from flowcore.cli.records import dumped, request_record, row_record, story_record
from flowcore.cli.screen import Screen
from flowcore.cli.story import Story, busy_seconds, last_message, path_line, read_story, usage_of
from flowcore.cli.tables import facts_table, runs_table, walk_table
from flowcore.engine import run as engine
from flowcore.errors import UserError
from flowcore.graph.graph import Graph
from flowcore.machine.walk import drawing
from flowcore.stores.base import IndexRow, OpenRequest, Store
from flowcore.stores.checks import read_cursor

ASKED = 2
"""How many open requests of a run a list names."""


async def runs(screen: Screen, where: str, status: str | None, limit: int, after: str | None, json: bool) -> int:
    """List runs, from the index alone."""
    if after is not None:
        read_cursor(after)
    if not is_there(where):
        screen.result(dumped({"runs": [], "after": None}) if json else f"no runs yet: there's no store at {where}")
        return exits.DONE
    async with opened(where) as store:
        page = await store.runs(standing=status, limit=limit, after=after)
        asked: dict[str, list[OpenRequest]] = {}
        for row in page.runs:
            if row.waiting:
                asked[row.run] = await store.requests(root=row.run, limit=ASKED)
    if json:
        listed = [
            {**row_record(row), "requests": [request_record(one) for one in asked.get(row.run, [])]}
            for row in page.runs
        ]
        screen.result(dumped({"runs": listed, "after": page.after}))
        return exits.DONE
    if not page.runs:
        screen.say("no runs" + (f" that are {status}" if status else ""))
        return exits.DONE
    screen.result(runs_table(page.runs, asked, time.time()))
    if page.after is not None:
        screen.say(f"more: --after {shlex.quote(page.after)}", "dim")
    return exits.DONE


async def show(
    screen: Screen, where: str, name: str, file: str | None, mermaid: bool, facts: bool, json: bool, hints: Hints
) -> int:
    """Show one run."""
    async with opened(where) as store:
        row = await find_run(store, name)
        story = await read_story(store, row)
        graph = graph_of(screen, row, file).loaded.graph if file is not None else None
        output = await _output_of(store, row, graph) if graph is not None and row.standing == "done" else None
        if story.secrets is not None:
            output = story.secrets.output(row.run, output)
    if json:
        screen.result(dumped(story_record(story, output, facts=facts)))
    elif mermaid:
        screen.result(drawing(story.facts, graph).mermaid().rstrip("\n"))
    else:
        _show_story(screen, story, output, facts, hints)
    return exits.DONE


async def _output_of(store: Store, row: IndexRow, graph: Graph) -> Any:
    """A run's output as its graph gives it."""
    if row.run != row.root:
        raise UserError(
            f"'{row.run}' is a child run: its output stands in its caller's journal (show {row.parent} --facts)"
        )
    return (await (await engine.load(row.run, graph, store=store)).result()).output


def _show_story(screen: Screen, story: Story, output: Any, facts: bool, hints: Hints) -> None:
    row = story.row
    began = story.facts[0]

    screen.say(f"run {row.run} · {words.one_line(row.graph)} ({row.fingerprint})", "bold")
    screen.result(facts_table(story.facts, began.at) if facts else walk_table(story))
    screen.say()
    at = f" at '{row.node}'" if row.standing != "done" else ""
    figures = [f"{row.standing}{at}", words.counted(row.turns, "turn")]
    tokens = usage_of(story.facts).get("total_tokens", 0)
    if tokens:
        figures.append(words.counted(tokens, "token"))
    figures.append(words.duration(busy_seconds(story.facts)))
    screen.say(" · ".join(figures))
    screen.say(path_line(story.facts), "dim")
    if row.error is not None:
        screen.say(words.clean(row.error), "red")
    for request in story.requests:
        show_request(screen, request)
        for command in hints.answers(request, story.requests):
            screen.say(f"    {command}", "dim")
    answer = output if output is not None else last_message(story.facts) if row.standing == "done" else None
    if answer is not None:
        screen.say()
        screen.result(words.pretty(answer))
    if row.standing == "running" and row.owner is None:
        screen.say(f"its process is gone; go on with: {hints.resume(row.root)}", "yellow")
    elif row.standing in ("failed", "stopped", "cancelled"):
        screen.say(f"go on with: {hints.resume(row.root)}")


async def test_case(screen: Screen, where: str, name: str, file: str | None, out: str | None, overwrite: bool) -> int:
    """Write a run as a pytest file, or print it."""
    if out is not None:
        _check_out(out, overwrite)
    async with opened(where) as store:
        row = await find_run(store, name)
        loaded = graph_of(screen, row, file).loaded
        text = await testing.write_test_case(
            store, row.root, str(loaded), out=out, graph=loaded.target, overwrite=overwrite
        )
    if out is None:
        screen.result(text.rstrip("\n"))
    else:
        screen.say(f"wrote {out}; run it with: pytest {shlex.quote(out)}")
    return exits.DONE


def _check_out(out: str, overwrite: bool) -> None:
    if os.path.isdir(out):
        raise UserError(f"--out {out}: it's a directory; name a file")
    if os.path.exists(out) and not overwrite:
        raise UserError(f"--out {out}: it exists; give another name, or --overwrite")
