"""What is drawn is what can happen: each format is read back and held against the table."""

from __future__ import annotations

import itertools
import json
import re
import socket
import time
from collections import Counter
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore import Agent, function_tool
from flowcore.engine.run import start
from flowcore.errors import GraphError
from flowcore.graph.draw import Drawing
from flowcore.graph.graph import Graph, continues
from flowcore.graph.layout import Join, Size, layout
from flowcore.graph.node import Retry, node
from flowcore.graph.outcomes import END, START, Ask, Goto, Pause
from flowcore.graph.picture import printable
from flowcore.graph.state import State
from flowcore.machine.facts import Started, Transition
from flowcore.machine.walk import drawing, standing_of

SVG = "{http://www.w3.org/2000/svg}"


class S(State):
    n: int = 0
    text: str = ""


def passing(name: str, **policies: Any) -> Any:
    async def body(state: S) -> Any:
        return Goto(state.text)

    return node(name=name, **policies)(body)


NAMES = ["a", "b", "end", "state", "note", "class_", "classDef", "standing", "aÜnï", "a_", "default"]
LABELS = st.one_of(
    st.sampled_from(["ok", "done", "×3", "(continues)", "a --> b", "x : y", '"q"', "#59;", "%% no", "a\nb", "&<>'"]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8),
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Graphs as they're declared, built or not, with labels and names that mean something in every format."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True))
    limits = st.sampled_from([None, 3, "turns"])
    nodes = [
        passing(name, limit=draw(limits), waits=draw(st.booleans()), retry=draw(st.sampled_from([None, 2])))
        for name in names
    ]
    graph = Graph("g", S)
    graph.edge(START, nodes[0])
    for one in nodes:
        for label in draw(st.lists(LABELS, max_size=4, unique=True)):
            target = draw(st.sampled_from([*nodes, END]))
            graph.edge(one, label, target, continues=target is not END and draw(st.booleans()))
        if draw(st.booleans()):
            graph.edge(one, ValueError, draw(st.sampled_from([*nodes, END])))
    return graph


def table(graph: Graph) -> Counter[Any]:
    return Counter((edge.source, edge.on, edge.target, edge.continues) for edge in graph.edges)


def shown(graph: Graph) -> Counter[Any]:
    """What a reader sees of an edge: where from, what is written at it, where to."""
    arrows = graph.drawing().picture.arrows
    return Counter((one.source, " ".join(printable(one.text).split()), one.target) for one in arrows)


# -- drawn edges are possible edges ------------------------------------------------------------------------------------


@given(graphs())
def test_the_json_holds_exactly_the_tables_edges_and_nodes(graph: Graph) -> None:
    data = json.loads(graph.drawing().json())
    assert Counter((e["source"], e["on"], e["target"], e["continues"]) for e in data["edges"]) == table(graph)
    assert [one["name"] for one in data["nodes"]] == list(graph.nodes)
    for one in data["nodes"]:
        node = graph.nodes[one["name"]]
        assert one["policies"]["limit"] == node.limit
        assert one["policies"]["waits"] == node.waits
        assert one["source"] == node.source


@given(graphs())
def test_the_svg_holds_exactly_the_tables_edges_and_nodes(graph: Graph) -> None:
    root = ElementTree.fromstring(graph.drawing().svg())
    edges = [one for one in root.iter(f"{SVG}g") if "data-on" in one.attrib]
    drawn = Counter(
        (
            e.attrib["data-source"],
            e.attrib["data-on"],
            e.attrib["data-target"],
            "continues" in e.attrib["class"].split(),
        )
        for e in edges
    )
    expected = Counter((source, printable(on), target, goes_on) for source, on, target, goes_on in table(graph))
    assert set(drawn) == set(expected)
    assert drawn.total() == len(graph.edges)
    assert [one.attrib["data-name"] for one in root.iter(f"{SVG}g") if "data-name" in one.attrib] == list(graph.nodes)
    for one in edges:
        assert one.find(f"{SVG}path") is not None


@given(graphs())
def test_mermaid_holds_exactly_the_tables_edges_and_nodes(graph: Graph) -> None:
    names, arrows, notes = read_mermaid(graph.drawing().mermaid())
    assert set(names.values()) == set(graph.nodes)
    told = Counter((names.get(a, START), " ".join(text.split()), names.get(b, END)) for a, text, b in arrows)
    assert told == shown(graph)
    for name, one in graph.nodes.items():
        note = notes.get(name, "")
        assert (f"limit {one.limit}" in note) == (one.limit is not None)
        assert ("may wait" in note) == one.waits
        assert ("retry" in note) == (one.retry is not None)


@given(graphs())
def test_dot_holds_exactly_the_tables_edges_and_nodes(graph: Graph) -> None:
    text = graph.drawing().dot()
    quoted = r'"((?:[^"\\]|\\.)*)"'
    arrows = re.findall(rf"^ *{quoted} -> {quoted} \[label={quoted}", text, re.M)
    told = Counter((_undot(a), " ".join(_undot(label).split()), _undot(b)) for a, b, label in arrows)
    assert told == shown(graph)
    boxes = [_undot(name) for name in re.findall(rf"^ *{quoted} \[label=", text, re.M)]
    assert boxes == list(graph.nodes)


def _undot(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def _unmermaid(text: str) -> str:
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), text)


def read_mermaid(text: str) -> tuple[dict[str, str], list[tuple[str, str, str]], dict[str, str]]:
    """Nodes by id, arrows, notes by node: as Mermaid's own parser reads them, which takes every one of these texts."""
    names: dict[str, str] = {}
    arrows: list[tuple[str, str, str]] = []
    notes: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        arrow = re.fullmatch(r" *(\S+) --> (\S+)(?: : (.*))?", line)
        note = re.fullmatch(r" *note right of (\S+) : (.*)", line)
        named = re.fullmatch(r" *(\S+) : (.*)", line)
        if arrow:
            arrows.append((arrow[1], _unmermaid(arrow[3] or ""), arrow[2]))
        elif note:
            notes[names[note[1]]] = _unmermaid(note[2])
        elif named:
            names[named[1]] = _unmermaid(named[2].split(r"\n")[0]).split(" ×")[0]
    return names, arrows, notes


# -- what is said at nodes and edges ----------------------------------------------------------------------------------


def approval() -> Graph:
    @node(retry=Retry(3, wait=1.0), timeout=2.5)
    async def fetch(state: S) -> Any:
        return Goto("found")

    async def ask(state: S) -> Pause:
        return Pause(Ask("ok?"), on="yes", until=1e12, late="never")

    @node(limit=2)
    async def work(state: S) -> Any:
        return Goto("ask")

    return Graph(
        "approval", S, {
            START: fetch,
            fetch: {"found": work, "timeout": END, ValueError: END},
            work: {"ask": ask, "limit": END},
            ask: {"yes": continues(work), "never": END},
        },
    )  # fmt: skip


def test_notes_tell_retries_limits_timeouts_waits_and_continued_visits() -> None:
    assert approval().mermaid() == (
        "stateDiagram-v2\n"
        "    fetch : fetch\n"
        "    work : work\n"
        "    ask : ask\n"
        "    [*] --> fetch\n"
        "    fetch --> work : found\n"
        "    fetch --> [*] : timeout\n"
        "    fetch --> [*] : ValueError\n"
        "    work --> ask : ask\n"
        "    work --> [*] : limit\n"
        "    ask --> work : yes (continues)\n"
        "    ask --> [*] : never\n"
        "    fetch --> fetch : retry (continues)\n"
        "    note right of fetch : retry up to 3 attempts, timeout 2.5 s\n"
        "    note right of work : limit 2, 'yes' continues its visit\n"
        "    note right of ask : may wait\n"
    )


def test_an_agents_tools_are_drawn_inside_the_node_that_runs_them() -> None:
    @function_tool(needs_approval=True)
    def refund(amount: int) -> str:
        """Pay money back."""
        return ""

    graph = Agent(name="Support", tools=[refund]).graph
    for text in (graph.mermaid(), graph.dot(), graph.svg(), graph.json()):
        assert "refund (approval: always)" in text


def test_what_a_drawing_cant_hold_is_written_out() -> None:
    a = passing("a")
    graph = Graph("g\x00", S, {START: a, a: {"nul\x00\ud800": END, "x" * 200: END, "\u202eback": END}})
    svg = graph.svg()
    ElementTree.fromstring(svg.encode())
    assert "nul\\x00\\ud800" in svg
    assert "x" * 59 + "…" in svg
    assert "\\u202eback" in svg
    assert "\\\\x00" in graph.dot()
    assert "\x00" not in graph.mermaid() + graph.dot() + svg
    assert json.loads(graph.json())["edges"][1]["on"] == "nul\x00\ud800"


def test_the_same_table_gives_the_same_drawing() -> None:
    first, second = approval(), approval()
    assert first.svg() == second.svg()
    assert first.mermaid() == second.mermaid()
    assert first.dot() == second.dot()


def test_looking_at_a_graph_doesnt_build_it() -> None:
    a = passing("a")
    graph = Graph("g", S).edge(START, a)
    assert "a" in graph._repr_mimebundle_()["image/svg+xml"]
    graph.edge(a, "x", "nowhere")
    assert "not a node" in graph.drawing().svg()
    with pytest.raises(GraphError):
        graph.svg()


def test_a_notebook_is_given_svg_and_mermaid() -> None:
    bundle = approval()._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<svg ")
    assert bundle["text/vnd.mermaid"].startswith("stateDiagram-v2")
    assert bundle["text/plain"] == "<Graph 'approval': 3 nodes, 9 edges>"


def test_no_drawing_needs_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a drawing opened a socket")

    monkeypatch.setattr(socket, "socket", refused)
    graph = approval()
    texts = [graph.svg(), graph.mermaid(), graph.dot(), graph.json()]
    for text in texts:
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


# -- one run ---------------------------------------------------------------------------------------------------------


def rounds() -> Graph:
    @node(limit=9)
    async def count(state: S) -> Any:
        return {"n": state.n + 1}

    async def judge(state: S) -> Any:
        return Goto("again" if state.n < 3 else "enough")

    async def ask(state: S) -> Pause:
        return Pause(Ask("ok?"), on="yes")

    return Graph(
        "rounds",
        S,
        {START: count, count: judge, judge: {"again": count, "enough": ask, "never": END}, ask: {"yes": END}},
    )


async def test_a_run_is_drawn_over_its_graph_with_counts_and_its_place() -> None:
    graph = rounds()
    result = await (await start(graph))
    drawn = drawing(result.facts, graph)
    data = drawn.data()

    assert data["run"] == {"standing": "waiting", "place": "ask"}
    assert {one["name"]: one["visits"] for one in data["nodes"]} == {"count": 3, "judge": 3, "ask": 1}
    assert {(e["source"], e["on"]): e["taken"] for e in data["edges"]} == {
        ("START", "done"): 1, ("count", "done"): 3, ("judge", "again"): 2, ("judge", "enough"): 1,
        ("judge", "never"): 0, ("ask", "yes"): 0,
    }  # fmt: skip
    text = drawn.mermaid()
    assert 'state "waiting at ask" as standing {' in text
    assert "count : count ×3" in text
    assert "judge --> count : again ×2" in text
    assert "class count,judge,ask visited" in text
    assert "class ask here" in text
    root = ElementTree.fromstring(drawn.svg())
    classes = {
        one.attrib["data-name"]: one.attrib["class"] for one in root.iter(f"{SVG}g") if "data-name" in one.attrib
    }
    assert classes == {"count": "node visited", "judge": "node visited", "ask": "node waits visited here"}
    assert "waiting at ask" in drawn.dot()
    assert repr(drawn) == "<Drawing of 'rounds': 3 nodes, waiting at ask>"


async def test_facts_alone_draw_what_happened() -> None:
    result = await (await start(rounds()))
    data = drawing(result.facts).data()
    assert data["name"] == "rounds"
    assert [(e["source"], e["on"], e["target"], e["taken"]) for e in data["edges"]] == [
        ("START", "start", "count", 1),
        ("count", "done", "judge", 3),
        ("judge", "again", "count", 2),
        ("judge", "enough", "ask", 1),
    ]
    assert all(e["declared"] for e in data["edges"])


async def test_a_run_that_is_done_stands_at_the_end() -> None:
    a = passing("a")
    result = await (await start(Graph("g", S, {START: a, a: {"x": END}}), {"text": "x"}))
    assert drawing(result.facts).picture.frame == "done"
    assert standing_of(result.facts) == ("done", END)


def test_an_edge_that_the_graph_has_no_more_is_drawn_as_undeclared() -> None:
    facts = [
        Started(0, 0, 0, "count", 1, "rounds", "", {}, {}, "run"),
        Transition(1, 0, 0, "count", 1, "gone", "elsewhere", 1, {}),
    ]
    data = drawing(facts, rounds()).data()
    assert [(e["on"], e["taken"]) for e in data["edges"] if not e["declared"]] == [("gone", 1)]
    assert data["nodes"][-1]["name"] == "elsewhere"
    assert "undeclared" in drawing(facts, rounds()).svg()


def test_a_run_of_no_facts_is_drawn_as_well() -> None:
    drawn = drawing([], rounds())
    assert isinstance(drawn, Drawing)
    ElementTree.fromstring(drawn.svg())
    assert drawn.picture.frame == "running at START"


# -- the layout ------------------------------------------------------------------------------------------------------


@given(graphs())
def test_no_two_boxes_or_labels_lie_on_each_other(graph: Graph) -> None:
    boxes = {START: Size(18, 18), **{name: Size(60, 30) for name in graph.nodes}, END: Size(18, 18)}
    joins = [Join(edge.source, edge.target, Size(8.0 * len(edge.on), 18)) for edge in graph.edges]
    laid = layout(boxes, joins)
    areas = [(at.x, at.y, boxes[name]) for name, at in laid.boxes.items()]
    areas += [(r.label.x, r.label.y, j.label) for r, j in zip(laid.routes, joins, strict=True)]
    for (x, y, one), (u, v, other) in itertools.combinations(areas, 2):
        apart_x = abs(x - u) * 2 >= one.width + other.width - 0.01
        apart_y = abs(y - v) * 2 >= one.height + other.height - 0.01
        assert apart_x or apart_y
    for x, _, size in areas:
        assert x - size.width / 2 >= -0.01
        assert x + size.width / 2 <= laid.size.width + 0.01


def test_a_line_of_nodes_is_drawn_straight_down() -> None:
    names = ["a", "b", "c", "d"]
    joins = [Join(one, other, Size(40, 18)) for one, other in itertools.pairwise(names)]
    laid = layout({name: Size(60, 30) for name in names}, joins)
    assert len({round(at.x, 3) for at in laid.boxes.values()}) == 1
    assert sorted(laid.boxes, key=lambda name: laid.boxes[name].y) == names


def large() -> Graph:
    nodes = [passing(f"n{i}", limit=3) for i in range(200)]
    edges: dict[Any, Any] = {START: nodes[0]}
    for i, one in enumerate(nodes):
        edges[one] = {"on": nodes[i + 1] if i < 199 else END, "back": nodes[i // 2], "x": nodes[(i * 7) % 200]}
    return Graph("large", S, edges)


def wide() -> Graph:
    hub, nodes = passing("hub", limit=3), [passing(f"n{i}") for i in range(200)]
    edges: dict[Any, Any] = {START: hub, hub: {f"to_{i}": one for i, one in enumerate(nodes)}}
    edges |= {one: {"back": hub, "out": END} for one in nodes}
    return Graph("wide", S, edges)


@pytest.mark.parametrize("make", [large, wide])
def test_two_hundred_nodes_are_drawn_in_well_under_a_second(make: Any) -> None:
    graph = make()
    for draw in (graph.mermaid, graph.dot, graph.json, graph.svg):
        began = time.process_time()
        draw()
        assert time.process_time() - began < 2.0, draw
