"""The commands: what each is called and takes, and which module does it. No command does anything itself."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args

import typer

import flowcore
from flowcore.cli import (
    abandoned,
    checking,
    clearing,
    deciding,
    exits,
    faulting,
    looking,
    moving,
    proving,
    rotating,
    verifying,
)
from flowcore.cli.giving import limits_in
from flowcore.cli.going import Manner
from flowcore.cli.hints import Hints
from flowcore.cli.places import DEFAULT, VARIABLE
from flowcore.cli.screen import Screen
from flowcore.errors import FlowcoreError, UserError
from flowcore.machine.facts import Standing

DEBUG = "FLOWCORE_DEBUG"

app = typer.Typer(
    name="flowcore",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # it would take [tool.flowcore] for markup
    context_settings={"max_content_width": 110},
    pretty_exceptions_enable=False,
    epilog=exits.HELP,
    help="Runs that are state machines: begin them, look at them, answer them, go on with them anywhere.",
)

Where = Annotated[str, typer.Option("--store", envvar=VARIABLE, metavar="WHERE", help="The store: a file, or an URL.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of it.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="A Python file with a graph; FILE:name chooses one.")]
MaybeFile = Annotated[
    str | None, typer.Argument(metavar="FILE", help="The graph's file; else pyproject.toml's [tool.flowcore] graphs.")
]
Turns = Annotated[int | None, typer.Option("--max-turns", min=0, metavar="N", help="How many turns it may take.")]
Limits = Annotated[list[str] | None, typer.Option("--limit", metavar="NAME=VALUE", help="A limit; may be repeated.")]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="The model of every agent, before its own.")]
Yes = Annotated[bool, typer.Option("--yes", help="Approve every tool call.")]
NoInput = Annotated[bool, typer.Option("--no-input", help="Ask nothing: where a decision is needed, exit with 3.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing but the output on stdout.")]


class StandingName(StrEnum):
    """How a run may stand."""

    running = "running"
    waiting = "waiting"
    stopped = "stopped"
    failed = "failed"
    cancelled = "cancelled"
    done = "done"


assert set(StandingName) == set(get_args(Standing))


class GraphFormat(StrEnum):
    """How a graph may be drawn."""

    mermaid = "mermaid"
    dot = "dot"
    svg = "svg"
    json = "json"
    text = "text"


def enter() -> NoReturn:
    """Run the command line and exit. What flowcore raises on purpose is one line on stderr."""
    try:
        app()
    except FlowcoreError as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        Screen().tell(f"flowcore: {error.message}", "red")
        sys.exit(exits.code_of_error(error))
    except KeyboardInterrupt:
        sys.exit(exits.STOPPED)
    sys.exit(0)


def _finish(command: Coroutine[Any, Any, int]) -> NoReturn:
    with asyncio.Runner() as runner:
        code = runner.run(command)
    raise typer.Exit(code)


def _hints(where: str, file: str | None = None, model: str | None = None) -> Hints:
    return Hints(None if where == os.environ.get(VARIABLE, DEFAULT) else where, file, model)


def _manner(screen: Screen, hints: Hints, yes: bool, no_input: bool, json: bool) -> Manner:
    return Manner(hints, yes, asks=screen.live and screen.talks and not no_input, json=json)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"flowcore {flowcore.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help=f"Show tracebacks (also: {DEBUG}=1).")] = False,
) -> None:
    """Set what holds for every command."""
    if debug:
        os.environ[DEBUG] = "1"


@app.command(epilog=exits.HELP)
def run(
    file: File,
    input: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="Text, or JSON for graphs that take a dict; '-' is stdin.")
    ] = None,
    store: Where = DEFAULT,
    run_id: Annotated[str | None, typer.Option("--run-id", metavar="ID", help="The run's id; else made up.")] = None,
    model: Model = None,
    max_turns: Turns = None,
    limit: Limits = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="The conversation that an agent's run joins.")
    ] = None,
    yes: Yes = False,
    no_input: NoInput = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the graph of FILE, show what happens, and ask what it asks.

    FILE's graph is what it calls `graph` (a Graph or an Agent), else the only one there. If FILE defines a function
    `context()`, nodes and tools are given what it returns.

    Ctrl-C stops the run when its node is through, a second one cancels it; `flowcore resume` goes on either way.
    """
    limits = limits_in(limit or [])
    text = sys.stdin.read() if input == "-" else input
    screen = Screen(live=not (json or quiet))
    manner = _manner(screen, _hints(store, file, model), yes, no_input, json)
    given = moving.Beginning(file, text, run_id, model, max_turns, limits, session)
    _finish(moving.run(screen, store, given, manner))


@app.command(epilog=exits.HELP)
def resume(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run's id, or the beginning of it; else --all-…")
    ] = None,
    file: MaybeFile = None,
    store: Where = DEFAULT,
    model: Model = None,
    max_turns: Turns = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=VALUE|N",
            help=f"A limit; may be repeated. With --all-… N is how many runs, by default {abandoned.MOST}.",
        ),
    ] = None,
    all_abandoned: Annotated[
        bool,
        typer.Option("--all-abandoned", help="Every run whose process died or lost its lease, the oldest first."),
    ] = False,
    all_due: Annotated[
        bool,
        typer.Option("--all-due", help="Every run whose timer or deadline has passed, or that was answered, too."),
    ] = False,
    yes: Yes = False,
    no_input: NoInput = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that waits, failed, was stopped or cancelled, or whose process died.

    What finished isn't run again. Limits replace those of the same name.

    `flowcore resume --all-abandoned [FILE]` goes on with all that nobody moves any more, at once; it asks nothing and
    says what came of each. It exits with 1 where one failed or couldn't be gone on with, else with 3 where one waits.
    `--all-due` does so with these and with all that nobody holds and for which it's time: a timer, a retry's delay or
    a deadline has passed, or an answer came. Called again and again (cron) it fires all timers, late rather than never.
    """
    screen = Screen(live=not (json or quiet))
    if all_abandoned or all_due:
        if all_abandoned and all_due:
            raise UserError("--all-due goes on with abandoned runs, too: give one of the two")
        if run is not None and file is not None:
            which = "--all-due" if all_due else "--all-abandoned"
            raise UserError(f"{which} finds the runs by itself: name no RUN; a FILE may be given")
        manner = _manner(screen, _hints(store, run, model), yes, True, json)
        every = abandoned.GoingOnWithAll.of("due" if all_due else "abandoned", run, model, max_turns, limit or [])
        _finish(abandoned.resume_all(screen, store, every, manner))
    if run is None:
        raise UserError("name a RUN (see `flowcore runs`), or give --all-abandoned or --all-due")
    manner = _manner(screen, _hints(store, file, model), yes, no_input, json)
    given = moving.GoingOn(run, file, model, max_turns, limits_in(limit or []))
    _finish(moving.resume(screen, store, given, manner))


@app.command()
def runs(
    store: Where = DEFAULT,
    status: Annotated[StandingName | None, typer.Option("--status", help="Only runs that stand so.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, metavar="N", help="How many.")] = 20,
    after: Annotated[str | None, typer.Option("--after", metavar="CURSOR", help="Where the last page ended.")] = None,
    json: Json = False,
) -> None:
    """List runs, the latest first."""
    _finish(looking.runs(Screen(), store, status, limit, after, json))


@app.command()
def show(
    run: RunId,
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="The graph's file, for the output, and to draw the walk over.")
    ] = None,
    store: Where = DEFAULT,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="The walk as a Mermaid diagram.")] = False,
    facts: Annotated[bool, typer.Option("--facts", help="The journal, fact by fact.")] = False,
    json: Json = False,
) -> None:
    """Show a run's walk, what it waits for, and what came of it.

    With --mermaid only what was visited is drawn; with FILE too, over all that could have been.
    """
    if mermaid and (json or facts):
        raise UserError("--mermaid draws; it goes with neither --json nor --facts")
    _finish(looking.show(Screen(), store, run, file, mermaid, facts, json, _hints(store, file)))


@app.command()
def approve(
    run: RunId,
    call: Annotated[str | None, typer.Argument(metavar="CALL", help="Which; not needed for the only one.")] = None,
    store: Where = DEFAULT,
    all: Annotated[bool, typer.Option("--all", help="Every tool call that waits.")] = False,
) -> None:
    """Approve a tool call that a run waits for."""
    _finish(deciding.approve(Screen(), store, run, call, all, _hints(store)))


@app.command()
def reject(
    run: RunId,
    call: Annotated[str | None, typer.Argument(metavar="CALL", help="Which; not needed for the only one.")] = None,
    message: Annotated[
        str | None, typer.Option("--message", "-m", metavar="TEXT", help="What the model reads.")
    ] = None,
    store: Where = DEFAULT,
) -> None:
    """Reject a tool call that a run waits for; the model is told, and the run goes on."""
    _finish(deciding.reject(Screen(), store, run, call, message, _hints(store)))


@app.command()
def answer(
    run: RunId,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Which request.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="JSON, or text.")],
    store: Where = DEFAULT,
) -> None:
    """Answer anything that a run asks."""
    _finish(deciding.answer(Screen(), store, run, key, value, _hints(store)))


@app.command()
def stop(run: RunId, file: MaybeFile = None, store: Where = DEFAULT) -> None:
    """Let a run finish its node, then rest."""
    _finish(moving.halt(Screen(), store, run, file, "stop", _hints(store, file)))


@app.command()
def cancel(run: RunId, file: MaybeFile = None, store: Where = DEFAULT) -> None:
    """Break a run off now; it keeps its place."""
    _finish(moving.halt(Screen(), store, run, file, "cancel", _hints(store, file)))


@app.command()
def delete(run: RunId, store: Where = DEFAULT, json: Json = False) -> None:
    """Delete a run that nobody holds, with its children, letters and requests. What it wrote to sessions stays."""
    _finish(clearing.delete(Screen(), store, run, json))


@app.command()
def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Unchanged for so long: 30d, 12h, 90min, 45s, 2w.")
    ],
    status: Annotated[
        list[StandingName] | None, typer.Option("--status", help="Runs that stand so; may be repeated. Else done.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    store: Where = DEFAULT,
    json: Json = False,
) -> None:
    """Delete old runs that nobody holds, each as `flowcore delete` does. Runs that move meanwhile aren't disturbed."""
    statuses = [one.value for one in dict.fromkeys(status or [StandingName.done])]
    _finish(clearing.prune(Screen(), store, older_than, statuses, dry_run, json))


@app.command()
def verify(
    store: Where = DEFAULT,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many runs and sessions; else all.")
    ] = None,
    after: Annotated[str | None, typer.Option("--after", metavar="CURSOR", help="Where the last page ended.")] = None,
    json: Json = False,
) -> None:
    """Read all that the store keeps, say what is damaged, and what can be done. Exits with 1 where anything is.

    Every record is held against its checksum, in an encrypted store opened with the keys; journals have to be whole,
    and no index of the database may hide a row (looked at with the first page). Runs may go on meanwhile.
    """
    _finish(verifying.verify(Screen(), store, limit, after, json, _hints(store)))


@app.command()
def rotate(store: Where = DEFAULT, json: Json = False) -> None:
    """Seal an encrypted store's records with the newest key, so that older ones may go.

    FLOWCORE_KEY names the newest key and older ones: NEWEST,OLDER. Runs go on meanwhile; killed, call it again. Exits
    with 1 where an older key is needed still.
    """
    _finish(rotating.rotate(Screen(), store, json))


@app.command()
def graph(
    file: File,
    format: Annotated[GraphFormat, typer.Option("--format", help="How it's drawn.")] = GraphFormat.mermaid,
    prove: Annotated[
        list[str] | None,
        typer.Option("--prove", metavar="CLAIM", help=f"Instead: {'; '.join(proving.CLAIMS)}. Repeatable."),
    ] = None,
) -> None:
    """Check the graph of FILE and draw it, or prove something of it. Exits with 1 where there are errors or a claim
    fails."""
    if prove:
        raise typer.Exit(checking.prove(Screen(), Path(file), file, prove))
    raise typer.Exit(checking.draw(Screen(), Path(file), file, format))


@app.command("test-case")
def case(
    run: RunId,
    file: MaybeFile = None,
    out: Annotated[
        str | None, typer.Option("--out", metavar="PATH", help="The file to write; else it's printed.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it's there.")] = False,
    store: Where = DEFAULT,
) -> None:
    """Write a run as a pytest file that replays it offline, from what is recorded, and asserts its path and output."""
    _finish(looking.test_case(Screen(), store, run, file, out, overwrite))


@app.command()
def faults(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A Python file with a graph; else agents of flowcore's own.")
    ] = None,
    input: Annotated[str | None, typer.Argument(metavar="INPUT", help="What each run is given.")] = None,
    store: Annotated[
        list[str] | None,
        typer.Option("--store", metavar="WHERE", help="sqlite, or postgresql://…; may be repeated."),
    ] = None,
    kills: Annotated[int, typer.Option("--kills", min=1, metavar="N", help="Processes to kill over each store.")] = 60,
    seed: Annotated[int | None, typer.Option("--seed", metavar="S", help="What chance begins with.")] = None,
    json: Json = False,
) -> None:
    """Kill runs of FILE's graph at every point, fill their disk, cut their connections, and print what was lost.

    Runs are kept in files of their own, or in a schema of their own of the database, which are removed. The graph has
    to do the same in each run, so give its agents a ScriptedModel. What it asks is answered with yes, or by what FILE
    defines as `answers(request)`. Without FILE, agents that use all that the loop has are killed. Exits with 1 where
    something was lost, an effect that was recorded ran again, or a run came to something else.
    """
    _finish(faulting.faults(Screen(), file, input, store or ["sqlite"], kills, seed, json))
