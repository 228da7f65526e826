"""``draw_graph``: what is drawn of agents, in which formats, and where it's written."""

import os
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import pytest

from flowcore import Agent, Handoff, Runner, UserError, function_tool, handoff
from flowcore.extensions.visualization import draw_graph
from flowcore.testing import ScriptedModel

SVG = "{http://www.w3.org/2000/svg}"


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function_tool(needs_approval=True)
async def delete(row: str) -> str:
    """Delete a row."""
    return row


def crew():
    """Three agents in a circle, with tools; one is shared."""
    billing = Agent(name="Billing", tools=[add, delete])
    refunds = Agent(name="Refunds", handoffs=[billing])
    triage = Agent(name="Triage", tools=[add], handoffs=[billing, handoff(refunds)])
    billing.handoffs = [triage]
    return triage


def test_agents_tools_and_handoffs_are_drawn_once():
    drawing = draw_graph(crew())
    assert drawing.kinds == {
        "Triage": "agent", "add": "tool", "Billing": "agent", "Refunds": "agent", "delete": "tool",
    }  # fmt: skip
    lines = drawing.source.splitlines()
    arrows = [line.strip() for line in lines if "->" in line]
    assert len(arrows) == len(set(arrows))
    assert {
        '"__start__" -> "Triage";',
        '"Triage" -> "Billing";',
        '"Triage" -> "Refunds";',
        '"Refunds" -> "Billing";',
        '"Billing" -> "Triage";',
        '"Refunds" -> "__end__";',
        '"Triage" -> "add" [style=dotted, penwidth=1.5];',
        '"add" -> "Triage" [style=dotted, penwidth=1.5];',
        '"Billing" -> "add" [style=dotted, penwidth=1.5];',
    } <= set(arrows)


def test_the_svg_holds_every_box_and_arrow():
    drawing = draw_graph(crew())
    root = ET.fromstring(drawing.svg())
    names = {one.get("data-name") for one in root.iter(f"{SVG}g") if one.get("data-name")}
    assert set(drawing.kinds) <= names
    edges = {(one.get("data-source"), one.get("data-target")) for one in root.iter(f"{SVG}g")}
    assert {("Triage", "Billing"), ("Refunds", "Billing"), ("Billing", "delete")} <= edges
    assert "approval: always" in drawing.svg()
    assert "Refunds --> Billing" in drawing.mermaid()
    assert set(drawing._repr_mimebundle_()) == {"text/plain", "image/svg+xml", "text/vnd.mermaid"}


def test_things_of_one_name_are_told_apart():
    @function_tool(name_override="add")
    async def other(a: int) -> int:
        """Another one."""
        return a

    second = Agent(name="Second", tools=[other])
    first = Agent(name='First "one"\n', tools=[add], handoffs=[second])
    drawing = draw_graph(first)
    assert list(drawing.kinds) == ['First "one"\n', "add", "Second", "add (Second)"]
    assert '"First \\"one\\"\\n" -> "Second";' in drawing.source
    ET.fromstring(drawing.svg())


def test_agents_as_tools_mcp_servers_and_handoffs_to_who_knows_are_drawn():
    @dataclass
    class Server:
        name: str

    async def choose(ctx, arguments):
        raise AssertionError("drawing calls nothing")

    open_ended = Handoff("go", "Go on", {}, choose, "Somebody")
    agent = Agent(name="A", tools=[Agent(name="Helper").as_tool("ask", "Ask.")], handoffs=[open_ended])
    agent.mcp_servers = [Server("files")]
    drawing = draw_graph(agent)
    assert drawing.kinds == {"A": "agent", "ask": "tool", "files": "server", "Somebody": "agent"}
    assert '"A" -> "files" [style=dashed, penwidth=1.5];' in drawing.source
    assert "runs agent Helper" in drawing.svg()
    assert "chosen when" in drawing.svg()


def test_a_drawing_is_written_as_its_name_says(tmp_path):
    drawing = draw_graph(crew(), filename=str(tmp_path / "agents"))
    assert (tmp_path / "agents.svg").read_text(encoding="utf-8") == drawing.svg()
    for name, text in (("a.dot", drawing.source), ("b.MMD", drawing.mermaid()), ("c.v2.svg", drawing.svg())):
        assert drawing.save(str(tmp_path / name)) == str(tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8") == text
    assert drawing.render(str(tmp_path / "d"), format="gv") == str(tmp_path / "d.gv")
    assert drawing.render(str(tmp_path / "of.agents")) == str(tmp_path / "of.agents.svg")


def test_a_format_that_needs_graphviz_is_refused_with_the_command_for_it(tmp_path):
    with pytest.raises(UserError, match=r"not as \.png; .*dot -Tpng agents\.dot"):
        draw_graph(crew(), filename=str(tmp_path / "agents.png"))
    with pytest.raises(UserError, match=r"not as \.pdf"):
        draw_graph(crew()).render(str(tmp_path / "agents"), format="pdf")
    assert not list(tmp_path.iterdir())


def test_view_opens_the_drawing_in_the_browser(tmp_path):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    code = """
        from flowcore import Agent
        from flowcore.extensions.visualization import draw_graph
        print(draw_graph(Agent(name="A")).view())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True,
        env={**os.environ, "BROWSER": f"{browser} %s", "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    path = done.stdout.strip()
    assert (tmp_path / "opened").read_text().strip() == f"file://{path}"
    with open(path, encoding="utf-8") as file:
        ET.fromstring(file.read())


def test_what_is_no_agent_is_refused():
    with pytest.raises(UserError, match="draws an Agent, not"):
        draw_graph("Triage")


async def test_an_agent_runs_the_same_after_it_was_drawn():
    agent = Agent(name="A", model=ScriptedModel(["hi"]), tools=[add])
    before = agent.graph.fingerprint
    draw_graph(agent)
    assert agent.graph.fingerprint == before
    assert (await Runner.run(agent, "go")).final_output == "hi"
