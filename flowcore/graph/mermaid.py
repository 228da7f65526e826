"""A picture as a Mermaid ``stateDiagram-v2``: an arrow for each edge, a note for each policy."""

from __future__ import annotations

from flowcore.graph.outcomes import END, START
from flowcore.graph.picture import Arrow, Picture, printable

_RESERVED = frozenset(
    {
        "state", "note", "end", "as", "fork", "join", "choice", "class", "classdef", "style", "direction", "scale",
        "hide", "default", "click", "href", "root", "standing", "acctitle", "accdescr",
    }
)  # fmt: skip
_PLAIN = frozenset(" _-.,()=/'+×!?|&@")


def mermaid(drawn: Picture) -> str:
    """The text of the diagram. With a run: how often each node was visited and each edge taken, its standing as a
    frame around all, and classes ``visited`` and ``here``."""
    ids = _ids(drawn)
    lines = [f"{ids[box.name]} : {_text(box.name + _times(box.visits))}{_inside(box.parts)}" for box in drawn.boxes]
    lines += [_arrow(ids, one) for one in drawn.arrows]
    for box in drawn.boxes:
        if box.notes:
            lines.append(f"note right of {ids[box.name]} : {_text(', '.join(box.notes))}")
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
    """Text with everything that Mermaid reads as syntax written as ``#code;``."""
    shown = printable(text)
    if len(shown) != len(shown.strip()):
        lead, core = len(shown) - len(shown.lstrip()), shown.strip()
        tail = len(shown) - lead - len(core)
        return "#32;" * lead + _text(core) + "#32;" * tail if core else "#32;" * len(shown)
    return "".join(one if one.isalnum() or one in _PLAIN else f"#{ord(one)};" for one in shown)
