"""Tables of runs, walks, facts and requests, as rich draws them."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from flowcore.cli import words
from flowcore.cli.asking import question
from flowcore.cli.records import fact_record
from flowcore.cli.story import Line, Story, lines
from flowcore.machine.facts import Fact
from flowcore.stores.base import IndexRow, OpenRequest

STYLES = {
    "done": "green",
    "failed": "red",
    "waiting": "yellow",
    "running": "cyan",
    "stopped": "magenta",
    "cancelled": "magenta",
}
_HEADER = {"fact", "seq", "started", "at", "node", "visit"}


def runs_table(rows: Sequence[IndexRow], asked: dict[str, list[OpenRequest]], now: float) -> Table:
    """Runs, one a line. ``asked``: by root run, some of what it waits for. ``now``: seconds since the epoch."""
    table = _table("run", "graph", "status", "place", "waiting for", ">turns", ">tokens", ">age", "owner", "what")
    for row in rows:
        table.add_row(
            words.short_id(row.run),
            words.one_line(row.graph, 30),
            Text(row.standing, style=STYLES.get(row.standing, "")),
            row.node if row.standing != "done" else "",
            waits_for(row, asked.get(row.run, []), now),
            f"{row.turns}",
            f"{row.tokens:,}",
            words.duration(now - row.created),
            owner_of(row),
            words.one_line(row.error or row.label, 60),
        )
    return table


def waits_for(row: IndexRow, asked: Sequence[OpenRequest], now: float) -> str:
    """What a run waits for, short."""
    if asked:
        more = row.waiting - len(asked)
        named = ", ".join(words.one_line(question(one), 30) for one in asked)
        return named + (f" and {more} more" if more > 0 else "")
    if row.due is not None and row.standing in ("waiting", "running"):
        return f"{words.duration(row.due - now)} to pass" if row.due > now else "to be resumed: its time has come"
    return ""


def owner_of(row: IndexRow) -> str:
    """Who holds a run: a process that is alive, or nobody though the run should be moving."""
    if row.owner is not None:
        return f"pid {row.owner.partition('-')[0]}"
    return "gone" if row.standing == "running" else ""


def walk_table(story: Story) -> Table:
    """The walk of a run and, indented, those of its children."""
    table = _table(">seq", "node", "on", "to", ">attempt", ">took", ">tokens", "note")
    for line in lines(story):
        table.add_row(*_cells(line), style="" if line.depth == 0 and line.seconds is not None else "dim")
    return table


def _cells(line: Line) -> list[str]:
    indent = "  " * line.depth
    if line.child is not None:
        return ["", f"{indent}↳ {words.one_line(line.node, 40)}", "", "", "", "", "", words.one_line(line.note)]
    return [
        f"{line.seq}",
        f"{indent}{line.node}.{line.visit}",
        words.one_line(line.what, 40),
        line.to,
        f"{line.attempt}" if line.attempt > 1 else "",
        "" if line.seconds is None else words.duration(line.seconds),
        f"{line.tokens:,}" if line.tokens else "",
        words.one_line(line.note),
    ]


def facts_table(facts: Sequence[Fact], began: float) -> Table:
    """A journal, fact by fact; times are since the run began."""
    table = _table(">seq", "fact", "node", ">after", ">took", "what")
    for fact in facts:
        record = fact_record(fact)
        what = {name: one for name, one in record.items() if name not in _HEADER and one not in (None, {}, "")}
        table.add_row(
            f"{fact.seq}",
            record["fact"],
            f"{fact.node}.{fact.visit}",
            words.duration(fact.at - began),
            words.duration(fact.at - fact.started),
            ", ".join(f"{name}={words.value(one, 60)}" for name, one in what.items()),
        )
    return table


def _table(*columns: str) -> Table:
    """A table; a column's name that begins with ``>`` is set to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name.lstrip(">"), justify="right" if name[0] == ">" else "left", overflow="fold")
    return table
