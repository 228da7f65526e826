"""What the command line shows of a run: every form of it."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from flowcore.cli.asking import show
from flowcore.cli.records import dumped, request_record, row_record, story_record
from flowcore.cli.screen import Screen
from flowcore.cli.story import read_story
from flowcore.cli.tables import facts_table, runs_table, walk_table
from flowcore.machine.walk import drawing


class Caught(Screen):
    """Keeps what would be printed."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, line: Any = "", style: str = "") -> None:
        self.said.append(str(line))


async def seen_by_command_line(store: Any, run: str) -> str:
    """Tables, records, questions and the picture of a run."""
    story = await read_story(store, await store.get(run))
    console = Console(record=True, width=4000, file=open("/dev/null", "w"))  # noqa: SIM115, ASYNC230
    rows = (await store.runs()).runs
    asked = {run: await store.requests(run)}
    for table in (walk_table(story), facts_table(story.facts, 0.0), runs_table(rows, asked, 0.0)):
        console.print(table)
    screen = Caught()
    for request in (*story.requests, *asked[run]):
        show(screen, request)
    records = [story_record(story, facts=True), *map(row_record, rows), *map(request_record, asked[run])]
    console.file.close()
    pictures = drawing(story.facts, None).mermaid()
    return console.export_text() + "\n".join(screen.said) + "".join(map(dumped, records)) + pictures
