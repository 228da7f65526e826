"""``draw_graph``: agents, their tools and whom they hand off to, as one drawing. ``agent.graph.drawing()`` draws what
one agent's run goes through."""

from __future__ import annotations

import tempfile
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowcore.agents.agent import AgentSpec
from flowcore.agents.as_tool import AgentTool
from flowcore.agents.tools import FunctionTool
from flowcore.errors import UserError
from flowcore.graph.mermaid import mermaid
from flowcore.graph.outcomes import END, START
from flowcore.graph.picture import Arrow, Box, Picture, printable
from flowcore.graph.svg import svg
from flowcore.graph.values import shorten

_SHAPES = {
    "agent": 'shape=box, style="filled,rounded", fillcolor=lightyellow, width=1.5, height=0.8',
    "tool": "shape=ellipse, style=filled, fillcolor=lightgreen, width=0.5, height=0.3",
    "server": "shape=box, style=filled, fillcolor=lightgrey, width=1, height=0.5",
    "end": "shape=ellipse, style=filled, fillcolor=lightblue, width=0.5, height=0.3",
}
_LINES = {"tool": " [style=dotted, penwidth=1.5]", "server": " [style=dashed, penwidth=1.5]"}
_NAMES = {START: "__start__", END: "__end__"}
_NEEDS_GRAPHVIZ = frozenset((".png", ".pdf", ".jpg", ".jpeg", ".gif", ".webp", ".ps", ".eps"))


def draw_graph(agent: AgentSpec[Any], filename: str | None = None) -> AgentDrawing:
    """The drawing of an agent, its tools and MCP servers, and all agents that handoffs lead to.

    ``filename``: write it there too: as SVG, or what the ending says (``.svg``, ``.dot``, ``.mmd``). Needs no other
    program. Raises UserError for what is no agent, and for a format that isn't written here.
    """
    drawing = AgentDrawing(agent)
    if filename is not None:
        drawing.render(filename)
    return drawing


class AgentDrawing:
    """A drawing of agents. A notebook shows it by itself. ``source``: DOT, for Graphviz. ``kinds``: what each thing in
    it is, by name: "agent", "tool", "server"."""

    def __init__(self, agent: AgentSpec[Any]) -> None:
        if not isinstance(agent, AgentSpec):
            raise UserError(f"draw_graph() draws an Agent, not {shorten(agent)}; a Graph has .drawing()")
        self.kinds: dict[str, str] = {}
        self.picture = _Pencil(agent, self.kinds).picture()
        self._formats: dict[str, Callable[[], str]] = {
            ".svg": self.svg, ".dot": lambda: self.source, ".gv": lambda: self.source, ".mmd": self.mermaid,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<Drawing of agent {self.picture.title!r}: {len(self.kinds)} agents, tools and servers>"

    @property
    def source(self) -> str:
        """DOT. Tools are joined to their agents by dotted lines, MCP servers by dashed ones."""
        ends = [f'{_quoted(end)} [label="{end}", {_SHAPES["end"]}];' for end in _NAMES.values()]
        boxes = [f"{_quoted(name)} [label={_quoted(name)}, {_SHAPES[kind]}];" for name, kind in self.kinds.items()]
        lines = []
        for one in self.picture.arrows:
            how = _LINES.get(self.kinds.get(one.target, ""), "")
            pairs = [(one.source, one.target), (one.target, one.source)] if how else [(one.source, one.target)]
            lines += [f"{_quoted(_NAMES.get(a, a))} -> {_quoted(_NAMES.get(b, b))}{how};" for a, b in pairs]
        head = ["graph [splines=true];", 'node [fontname="Arial"];', "edge [penwidth=1.5];"]
        return "\n".join(["digraph G {", *("    " + line for line in (*head, *ends, *boxes, *lines)), "}"]) + "\n"

    def svg(self) -> str:
        """A standalone SVG document."""
        return svg(self.picture)

    def mermaid(self) -> str:
        """A Mermaid ``stateDiagram-v2``."""
        return mermaid(self.picture)

    def render(self, filename: str, *, format: str | None = None, view: bool = False) -> str:
        """Write the drawing to a file, and say which. ``format``: "svg", "dot" or "mmd"; without it the name's ending,
        else "svg". ``view``: show it, too. Raises UserError for another format."""
        ending = f".{format.lstrip('.')}" if format is not None else Path(filename).suffix.lower()
        if ending not in self._formats:
            if format is not None or ending in _NEEDS_GRAPHVIZ:
                raise UserError(
                    f"agents are drawn as .svg, .dot or .mmd, not as {ending}; write a .dot, and Graphviz makes the"
                    f" rest of it: dot -T{ending[1:]} {Path(filename).stem}.dot"
                )
            ending = ".svg"
        path = Path(filename if Path(filename).suffix.lower() == ending else f"{filename}{ending}")
        path.write_text(self._formats[ending](), encoding="utf-8")
        if view:
            webbrowser.open(path.resolve().as_uri())
        return str(path)

    def save(self, filename: str) -> str:
        """``render``, by the name that drawings have it elsewhere."""
        return self.render(filename)

    def view(self) -> str:
        """Show the drawing in the browser; the file that it was written to."""
        folder = tempfile.mkdtemp(prefix="flowcore-")
        return self.render(str(Path(folder) / "agents.svg"), view=True)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "image/svg+xml": self.svg(), "text/vnd.mermaid": self.mermaid()}


class _Pencil:
    """Draws agents one after the other, each thing once. Things of one name are told apart by their agents'."""

    def __init__(self, first: AgentSpec[Any], kinds: dict[str, str]) -> None:
        self.first = first
        self.kinds = kinds
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self._names: dict[int, str] = {}

    def picture(self) -> Picture:
        """The whole picture."""
        self.arrows.append(Arrow(START, "", self._box(self.first, "agent", self.first.name), kind="start"))
        todo, seen = [self.first], {id(self.first)}
        while todo:
            agent = todo.pop(0)
            own = self._names[id(agent)]
            self._parts(agent, own)
            for one in agent.resolved_handoffs:
                target = one if one.agent is None else one.agent
                notes = ("chosen when it's handed off to",) if one.agent is None else ()
                self.arrows.append(Arrow(own, "", self._box(target, "agent", one.agent_name, *notes)))
                if isinstance(target, AgentSpec) and id(target) not in seen:
                    seen.add(id(target))
                    todo.append(target)
            self.arrows.append(Arrow(own, "", END))
        return Picture(self.first.name, tuple(self.boxes), tuple(self.arrows))

    def _parts(self, agent: AgentSpec[Any], own: str) -> None:
        for tool in agent.tools:
            notes = [f"runs agent {tool.agent.name}"] if isinstance(tool, AgentTool) else []
            if isinstance(tool, FunctionTool) and tool.approval != "never":
                notes.append(f"approval: {tool.approval}")
            self.arrows.append(Arrow(own, "", self._box(tool, "tool", tool.name, *notes, of=own), kind="engine"))
        for server in getattr(agent, "mcp_servers", None) or ():
            self.arrows.append(Arrow(own, "", self._box(server, "server", server.name, "MCP", of=own), kind="engine"))

    def _box(self, thing: Any, kind: str, name: str, *notes: str, of: str | None = None) -> str:
        """The name of a thing's box, which is drawn if it isn't there yet."""
        there = self._names.get(id(thing))
        if there is not None:
            return there
        shown = name
        if shown in self.kinds:
            shown = f"{name} ({kind if of is None else of})"
        number = 2
        while shown in self.kinds:
            shown, number = f"{name} ({number})", number + 1
        self._names[id(thing)] = shown
        self.kinds[shown] = kind
        self.boxes.append(Box(shown, notes))
        return shown


def _quoted(text: str) -> str:
    shown = printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{shown}"'
