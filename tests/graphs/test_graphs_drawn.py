"""Every file in graphs/ holds a sound graph, and is drawn beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphs_loading import GRAPHS, load_file

from flowcore import Graph
from flowcore.testing import ScriptedModel

FILES = sorted(GRAPHS.glob("*.py"))


def graph_of(file: Path) -> Graph:
    graph = load_file(file.stem).graph
    return graph if isinstance(graph, Graph) else graph.graph  # type: ignore[no-any-return]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_drawing_beside_a_graph_is_what_the_code_draws(file: Path) -> None:
    """To draw anew: ``flowcore graph graphs/NAME.py > graphs/NAME.mmd``."""
    assert file.with_suffix(".mmd").read_text(encoding="utf-8") == graph_of(file).mermaid()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_is_found_against_a_graph(file: Path) -> None:
    assert graph_of(file).check() == []


def test_no_drawing_is_left_of_a_graph_that_is_gone() -> None:
    assert {file.stem for file in GRAPHS.glob("*.mmd")} == {file.stem for file in FILES}


def test_the_drawing_of_support_shows_tools_approval_and_handoffs() -> None:
    drawn = graph_of(GRAPHS / "support.py").mermaid()
    for part in ("refund (approval: always)", "lookup_order (approval: never)", "to Refunds", "to Orders", "to Reply"):
        assert part in drawn


def test_hello_answers() -> None:
    agent = load_file("hello").graph
    assert agent.clone(model=ScriptedModel(["Hello, world!"])).run("Say hello to the world.").content == "Hello, world!"
