"""A picture as a standalone SVG document: no fonts, scripts or references to fetch, the same bytes each time."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from itertools import pairwise

from flowcore.graph.layout import Join, Layout, Point, Route, Size, layout
from flowcore.graph.outcomes import END, START
from flowcore.graph.picture import Arrow, Box, Picture, printable

NAME, SMALL = 14, 11
"""Sizes of text in pixels: a node's name, and all else."""
LONGEST = 60
"""Longer texts are cut when they're shown; the whole stands in the element's title and data."""
MARGIN = 24

_STYLE = """
.flowcore text{font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:11px;fill:#374151}
.flowcore .name{font-size:14px;font-weight:bold;fill:#111827}
.flowcore .note{fill:#6b7280}
.flowcore .box{fill:#fff;stroke:#374151;stroke-width:1.2}
.flowcore .waits .box{stroke-dasharray:5 3}
.flowcore .line{fill:none;stroke:#374151;stroke-width:1.2}
.flowcore .continues .line{stroke-dasharray:6 4}
.flowcore .engine .line{stroke:#9ca3af}
.flowcore .error .line{stroke:#b91c1c}
.flowcore .error text{fill:#b91c1c}
.flowcore .label{fill:#fff}
.flowcore .walked .line{stroke:#1d4ed8;stroke-width:2.6}
.flowcore .walked text{fill:#1d4ed8;font-weight:bold}
.flowcore .visited .box{fill:#dbeafe;stroke:#1d4ed8}
.flowcore .unseen{opacity:.45}
.flowcore .here .box{stroke:#c2410c;stroke-width:3}
.flowcore .undeclared .line{stroke:#b91c1c;stroke-dasharray:2 3}
.flowcore .frame{fill:none;stroke:#9ca3af;stroke-dasharray:2 3}
"""


def svg(drawn: Picture) -> str:
    """The document. Each node is a ``g`` of class ``node`` with ``data-name``, each edge one of class ``edge`` with
    ``data-source``, ``data-on`` and ``data-target``."""
    sizes = {box.name: _size(box) for box in drawn.boxes}
    ends = [name for arrow in drawn.arrows for name in (arrow.source, arrow.target) if name in (START, END)]
    round_ = dict.fromkeys(ends, Size(18, 18))
    boxes = {START: round_.pop(START), **sizes, **round_} if START in round_ else {**sizes, **round_}
    joins = [Join(one.source, one.target, _label_size(one.text)) for one in drawn.arrows]
    laid = layout(boxes, joins)
    top = MARGIN + (22 if drawn.frame else 0)
    width, height = max(laid.size.width, _width(drawn.frame, NAME)) + 2 * MARGIN, laid.size.height + top + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width)}" height="{_n(height)}"'
        f' viewBox="0 0 {_n(width)} {_n(height)}" role="img" class="flowcore">',
        f"<title>{_text(drawn.title)}</title>",
        f"<style>{_STYLE}</style>",
        _heads(),
        f'<rect width="{_n(width)}" height="{_n(height)}" fill="#fff"/>',
        *_frame(drawn, width, height),
        f'<g transform="translate({MARGIN},{top})">',
        *(_edge(one, route, i) for i, (one, route) in enumerate(zip(drawn.arrows, laid.routes, strict=True))),
        *(_end(name, laid) for name in (START, END) if name in laid.boxes),
        *(_node(drawn, box, laid.boxes[box.name], sizes[box.name]) for box in drawn.boxes),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _heads() -> str:
    colours = {"head": "#374151", "engine": "#9ca3af", "error": "#b91c1c", "walked": "#1d4ed8"}
    heads = (
        f'<marker id="flowcore-{name}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8"'
        f' markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="{colour}"/></marker>'
        for name, colour in colours.items()
    )
    return f"<defs>{''.join(heads)}</defs>"


def _frame(drawn: Picture, width: float, height: float) -> Iterable[str]:
    if drawn.frame:
        yield (
            f'<rect class="frame" x="6" y="6" width="{_n(width - 12)}" height="{_n(height - 12)}" rx="10"/>'
            f'<text class="standing name" x="{MARGIN}" y="28">{_text(drawn.frame)}</text>'
        )


# -- nodes -----------------------------------------------------------------------------------------------------------


def _lines(box: Box) -> list[tuple[str, str]]:
    """``(class, text)`` of each line in a box."""
    times = f" ×{box.visits}" if box.visits is not None and box.visits > 1 else ""
    lines = [("name", box.name + times), *(("part", one) for one in box.parts), *(("note", one) for one in box.notes)]
    return [(kind, _short(text)) for kind, text in lines]


def _size(box: Box) -> Size:
    lines = _lines(box)
    width = max(_width(text, NAME if kind == "name" else SMALL) for kind, text in lines)
    return Size(width + 24, 20 + 16 * (len(lines) - 1) + 14)


def _node(drawn: Picture, box: Box, at: Point, size: Size) -> str:
    classes = ["node"]
    classes += ["waits"] if box.waits else []
    if box.visits is not None:
        classes.append("visited" if box.visits else "unseen")
    classes += ["here"] if drawn.place == box.name else []
    left, top = at.x - size.width / 2, at.y - size.height / 2
    radius = size.height / 2 if box.waits and not box.parts else 7
    texts = [
        f'<text class="{kind}" x="{_n(at.x)}" y="{_n(top + 21 + 16 * i)}" text-anchor="middle">{_text(text)}</text>'
        for i, (kind, text) in enumerate(_lines(box))
    ]
    return (
        f'<g class="{" ".join(classes)}" data-name="{_text(box.name)}"><title>{_text(box.name)}</title>'
        f'<rect class="box" x="{_n(left)}" y="{_n(top)}" width="{_n(size.width)}" height="{_n(size.height)}"'
        f' rx="{_n(min(radius, 18))}"/>{"".join(texts)}</g>'
    )


def _end(name: str, laid: Layout) -> str:
    x, y = map(_n, laid.boxes[name])
    ring = f'<circle cx="{x}" cy="{y}" r="9" fill="#fff" stroke="#111827"/>' if name == END else ""
    radius = 5 if name == END else 9
    return f'<g class="{name.lower()}">{ring}<circle cx="{x}" cy="{y}" r="{radius}" fill="#111827"/></g>'


# -- edges -----------------------------------------------------------------------------------------------------------


def _edge(arrow: Arrow, route: Route, number: int) -> str:
    classes = ["edge", arrow.kind]
    classes += ["continues"] if arrow.continues else []
    classes += [] if arrow.declared else ["undeclared"]
    if arrow.taken is not None:
        classes.append("walked" if arrow.taken else "unseen")
    head = "walked" if arrow.taken else arrow.kind if arrow.kind in ("engine", "error") else "head"
    names = {"source": arrow.source, "on": arrow.on, "target": arrow.target}
    data = "".join(f' data-{key}="{_text(value)}"' for key, value in names.items())
    title = _text(f"{arrow.source} --{arrow.on}--> {arrow.target}")
    return (
        f'<g class="{" ".join(classes)}"{data}><title>{title}</title>'
        f'<path class="line" d="{_path(route)}" marker-end="url(#flowcore-{head})"/>'
        f"{_label(arrow.text, route.label)}</g>"
    )


def _path(route: Route) -> str:
    points = route.points
    first = f"M{_n(points[0].x)},{_n(points[0].y)}"
    if route.kind in ("loop", "far"):
        _, bow, last = points
        return f"{first} C{_xy(bow.x, points[0].y)} {_xy(bow.x, last.y)} {_xy(*last)}"
    steps = [first]
    for here, there in pairwise(points):
        middle = (here.y + there.y) / 2
        if abs(here.x - there.x) < 0.5:
            steps.append(f"L{_xy(*there)}")
        else:
            steps.append(f"C{_xy(here.x, middle)} {_xy(there.x, middle)} {_xy(*there)}")
    return " ".join(steps)


def _label(text: str, at: Point) -> str:
    if not text:
        return ""
    shown = _short(text)
    width = _width(shown, SMALL) + 6
    return (
        f'<rect class="label" x="{_n(at.x - width / 2)}" y="{_n(at.y - 8)}" width="{_n(width)}" height="16"/>'
        f'<text x="{_n(at.x)}" y="{_n(at.y + 4)}" text-anchor="middle">{_text(shown)}</text>'
    )


def _label_size(text: str) -> Size:
    return Size(_width(_short(text), SMALL) + 6, 18) if text else Size(6, 0)


# -- text ------------------------------------------------------------------------------------------------------------


def _short(text: str) -> str:
    line = printable(text).replace("\n", " ⏎ ")
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _width(text: str, size: int) -> float:
    """Pixels, in a monospaced font; East Asian characters are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text) * size * 0.61


def _text(text: str) -> str:
    """Text for an element or an attribute; what XML can't hold is written out."""
    return printable(text).translate(_ESCAPED)


_ESCAPED = {ord(one): f"&#{ord(one)};" for one in "&<>\"'\n\t\r"}


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _xy(x: float, y: float) -> str:
    return f"{_n(x)},{_n(y)}"
