"""A picture as a Mermaid ``stateDiagram-v2``: an arrow for each edge, a note for each policy."""

from __future__ import annotations

import re

from flowcore.graph.outcomes import END, START
from flowcore.graph.picture import Arrow, Picture, printable

_RESERVED = frozenset(
    {
        "state", "note", "end", "as", "fork", "join", "choice", "class", "classdef", "style", "direction", "scale",
        "hide", "default", "click", "href", "root", "standing", "acctitle", "accdescr",
    }
)  # fmt: skip


def mermaid(drawn: Picture) -> str:
    """The text of the diagram. With a run: how often each node was visited and each edge taken, its standing as a
    frame around all, and classes ``visited`` and ``here``."""
    ids = _ids(drawn)
    lines = [f"{ids[box.name]} : {_text(box.name + _times(box.visits))}{_inside(box.parts)}" for box in drawn.boxes]
    lines += [_arrow(ids, one) for one in drawn.arrows]
    for box in drawn.boxes:
        if box.notes:
            note = _text(", ".join(box.notes)).replace(":", "#58;")  # a note's text ends at a colon
            lines.append(f"note right of {ids[box.name]} : {note}")
    if drawn.standing is not None:
        lines = [f'state "{_text(drawn.frame)}" as standing {{', *("    " + line for line in lines), "}"]
        lines += _classes(drawn, ids)
    return "\n".join(["stateDiagram-v2", *("    " + line for line in lines)]) + "\n"


def _ids(drawn: Picture) -> dict[str, str]:
    ids = {START: "[*]", END: "[*]"}
    used = {box.name for box in drawn.boxes}
    for box in drawn.boxes:
        name = box.name
        while name.lower() in _RESERVED or (name != box.name and name in used):
            name += "_"
        used.add(name)
        ids[box.name] = name
    return ids


def _arrow(ids: dict[str, str], arrow: Arrow) -> str:
    text = _text(arrow.text)
    return f"{ids[arrow.source]} --> {ids[arrow.target]}{' : ' if text else ''}{text}"


def _classes(drawn: Picture, ids: dict[str, str]) -> list[str]:
    visited = [ids[box.name] for box in drawn.boxes if box.visits]
    lines = ["classDef visited fill:#dbeafe,stroke:#1d4ed8", "classDef here stroke:#c2410c,stroke-width:3px"]
    if visited:
        lines.append(f"class {','.join(visited)} visited")
    if drawn.place in ids and drawn.place not in (START, END):
        lines.append(f"class {ids[drawn.place]} here")
    return lines


def _times(count: int | None) -> str:
    return f" ×{count}" if count is not None and count > 1 else ""


def _inside(parts: tuple[str, ...]) -> str:
    return "".join(rf"\n{_text(part)}" for part in parts)


def _text(text: str) -> str:
    """Text in which whatever Mermaid reads as syntax is written as ``#code;``: see ``_SYNTAX``."""
    return _SYNTAX.sub(_codes, printable(text))


_SYNTAX = re.compile(r"""^\s+|\s+$|[\n;#%{}<&"\\`$]|::+|^:|\[\[+|--+>""")
"""Line ends, comments, entities, markup and quotes; colons and brackets only where there are several, or one begins."""


def _codes(found: re.Match[str]) -> str:
    return "".join(f"#{ord(one)};" for one in found[0])
