"""graphs/hello.py, and that no file of graphs/ is left out where all are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graphs_loading import GRAPHS, load_file, options

from flowcore.testing import ScriptedModel, kill_everywhere


async def test_killed_after_any_fact_it_says_the_same(make_store: Any) -> None:
    model = ScriptedModel.by_turn(["A table of what may happen."])
    kills = await kill_everywhere(
        load_file("hello").graph, "What is a state machine?", store=make_store, context=lambda: options(model)
    )
    assert (kills.standing, kills.output) == ("done", "A table of what may happen.")


def test_every_file_of_the_gallery_is_killed_over_three_stores() -> None:
    here = Path(__file__).parent
    for file in GRAPHS.glob("*.py"):
        source = (here / f"test_{file.stem}.py").read_text()
        assert "kill_everywhere(" in source, file
        assert "make_store" in source, file
