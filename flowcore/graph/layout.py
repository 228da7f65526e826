"""Where the boxes, arrows and labels of a drawing go: layers from top to bottom, by Sugiyama's method.

Cycles are broken where a depth-first walk meets itself; layers are longest paths; an arrow over several layers goes
through a point in each, and its label is one of them, next to where it starts, so that nothing is drawn over it; the
order in a layer is by barycenters, positions by isotonic regression. Deterministic: the same table gives the same
drawing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

GAP = 26.0
"""Pixels between two things in a layer."""
STEP = 20.0
"""Pixels between two layers."""
MOST_POINTS = 5_000
"""Arrows that would need more points than this in all, the longest first, go straight ("far")."""
SMALL = 1_500
"""Points of a drawing that is looked at closely."""
WORK = 60_000
"""Points times sweeps that the ordering is worth."""


class Size(NamedTuple):
    width: float
    height: float


class Point(NamedTuple):
    x: float
    y: float


class Join(NamedTuple):
    """An arrow to lay out; ``label``: the size of what is written at it."""

    source: str
    target: str
    label: Size


class Route(NamedTuple):
    """``points``: from the source's border to the target's; ``label``: the middle of the text. ``kind``: "down", "up",
    "loop" (``points`` are its start and end) or "far"."""

    points: tuple[Point, ...]
    label: Point
    kind: str


class Layout(NamedTuple):
    """The middle of each box, a route for each join in order, and the size of all."""

    boxes: dict[str, Point]
    routes: tuple[Route, ...]
    size: Size


@dataclass(slots=True)
class _Point:
    """A place in a layer: a box (``name``) or a point of a join."""

    width: float
    height: float
    name: str = ""
    shift: float = 0.0
    x: float = 0.0
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)


def layout(boxes: Mapping[str, Size], joins: Sequence[Join]) -> Layout:
    """Lay out boxes, the first of which is on top, and the joins between them."""
    return _Builder(boxes, joins).build()


class _Builder:
    def __init__(self, boxes: Mapping[str, Size], joins: Sequence[Join]) -> None:
        self.boxes = boxes
        self.joins = joins
        self.points: list[_Point] = []
        self.layers: list[list[int]] = []
        self.at: dict[str, int] = {}
        self.loops: dict[str, list[int]] = defaultdict(list)
        for i, join in enumerate(joins):
            if join.source == join.target:
                self.loops[join.source].append(i)

    def build(self) -> Layout:
        back = _back_joins(self.boxes, self.joins)
        rank = _ranks(self.boxes, self.joins, back)
        self._place_boxes(rank)
        chains = self._place_joins(rank, back)
        self._order()
        self._set_x()
        tops = self._tops()
        boxes = {
            name: Point(self.points[i].x - self.points[i].shift, tops[2 * rank[name]]) for name, i in self.at.items()
        }
        routes = self._routes(boxes, chains, tops, back, rank)
        left, width = self._extent(routes)
        height = tops[-1] + max((p.height for p in self._layer(-1)), default=0) / 2 if tops else 0.0
        moved = {name: Point(at.x - left, at.y) for name, at in boxes.items()}
        return Layout(moved, tuple(_moved(one, -left) for one in routes), Size(width, height))

    def _layer(self, i: int) -> list[_Point]:
        return [self.points[p] for p in self.layers[i]]

    def _add(self, layer: int, point: _Point) -> int:
        self.points.append(point)
        self.layers[layer].append(len(self.points) - 1)
        return len(self.points) - 1

    def _place_boxes(self, rank: Mapping[str, int]) -> None:
        self.layers = [[] for _ in range(2 * max(rank.values(), default=0) + 1)]
        for name, size in self.boxes.items():
            loops = self.loops.get(name, ())
            extra = max((self.joins[i].label.width for i in loops), default=-40.0) + 40
            height = max(size.height, 24.0 * len(loops) + 12)
            self.at[name] = self._add(2 * rank[name], _Point(size.width + extra, height, name, extra / 2))

    def _place_joins(self, rank: Mapping[str, int], back: set[int]) -> dict[int, list[int]]:
        """For each join its points from the upper box to the lower one, both ends included."""
        spans = sorted(
            (abs(rank[join.target] - rank[join.source]), i)
            for i, join in enumerate(self.joins)
            if join.source != join.target
        )
        chains: dict[int, list[int]] = {}
        room = MOST_POINTS
        for span, i in spans:
            room -= 2 * span - 1
            if room >= 0 or span == 1:
                chains[i] = []
        for i in sorted(chains):
            join = self.joins[i]
            upper, lower = (join.target, join.source) if i in back else (join.source, join.target)
            first, last = 2 * rank[upper], 2 * rank[lower]
            labelled = last - 1 if i in back else first + 1
            chain = [self.at[upper]]
            for layer in range(first + 1, last):
                width, height = join.label if layer == labelled else (6.0, 0.0)
                chain.append(self._add(layer, _Point(width, height)))
            chain.append(self.at[lower])
            for one, other in pairwise(chain):
                self.points[one].below.append(other)
                self.points[other].above.append(one)
            chains[i] = chain
        return chains

    def _order(self) -> None:
        """Fewer crossings: each layer sorted by where its neighbours stand, down and up in turn; the best is kept."""
        place = self._places()
        best, fewest = [list(layer) for layer in self.layers], self._crossings(place)
        for sweep in range(max(2, min(16, WORK // (len(self.points) + 1)))):
            if not fewest:
                break
            down = sweep % 2 == 0
            for layer in self.layers if down else reversed(self.layers):
                weight = {}
                for i in layer:
                    near = self.points[i].above if down else self.points[i].below
                    weight[i] = sum(place[j] for j in near) / len(near) if near else place[i]
                layer.sort(key=weight.__getitem__)
                place.update({i: at for at, i in enumerate(layer)})
            self._swap(place)
            crossings = self._crossings(place)
            if crossings < fewest:
                best, fewest = [list(layer) for layer in self.layers], crossings
        self.layers = best

    def _swap(self, place: dict[int, float]) -> None:
        """Swap neighbours where that alone takes crossings away; only in small drawings."""
        if len(self.points) > SMALL:
            return
        for layer in self.layers:
            for at in range(len(layer) - 1):
                one, other = self.points[layer[at]], self.points[layer[at + 1]]
                now = _crossed(one.above, other.above, place) + _crossed(one.below, other.below, place)
                then = _crossed(other.above, one.above, place) + _crossed(other.below, one.below, place)
                if then < now:
                    layer[at], layer[at + 1] = layer[at + 1], layer[at]
                    place[layer[at]], place[layer[at + 1]] = at, at + 1

    def _places(self) -> dict[int, float]:
        return {i: at for layer in self.layers for at, i in enumerate(layer)}

    def _crossings(self, place: Mapping[int, float]) -> int:
        total = 0
        for layer in self.layers[:-1]:
            ends = [int(place[j]) for i in layer for j in sorted(self.points[i].below, key=place.__getitem__)]
            total += _inversions(ends)
        return total

    def _set_x(self) -> None:
        """Each layer as near to its neighbours as order and gaps allow; long arrows as straight as can be."""
        for layer in self.layers:
            x = 0.0
            for i in layer:
                self.points[i].x = x + self.points[i].width / 2
                x += self.points[i].width + GAP
        rounds = max(4, min(64, 4 * WORK // (len(self.points) + 1)))
        for sweep in range(rounds):
            ordered = self.layers if sweep % 2 == 0 else self.layers[::-1]
            for layer in ordered:
                near = "above" if sweep % 2 == 0 else "below"
                self._settle(layer, "both" if sweep >= rounds * 2 // 3 else near)

    def _settle(self, layer: list[int], side: str) -> None:
        wanted, weights, offsets = [], [], []
        offset, before = 0.0, 0.0
        for i in layer:
            point = self.points[i]
            near = [*(point.above if side != "below" else ()), *(point.below if side != "above" else ())]
            offset += before + point.width / 2 + (GAP if offset or before else 0.0)
            before = point.width / 2
            pulls = [(8.0 if not (point.name or self.points[j].name) else 1.0, self.points[j]) for j in near]
            mass = sum(pull for pull, _ in pulls)
            goal = sum(pull * (other.x - other.shift) for pull, other in pulls) / mass if mass else point.x
            wanted.append(goal + point.shift - offset)
            weights.append(mass or 0.1)
            offsets.append(offset)
        for i, at, offset in zip(layer, _isotonic(wanted, weights), offsets, strict=True):
            self.points[i].x = at + offset

    def _tops(self) -> list[float]:
        """The height of the middle of each layer."""
        tops, y = [], 0.0
        for i in range(len(self.layers)):
            height = max((point.height for point in self._layer(i)), default=0.0)
            tops.append(y + height / 2)
            y += height + STEP
        return tops

    def _routes(
        self, boxes: Mapping[str, Point], chains: Mapping[int, list[int]], tops: Sequence[float], back: set[int],
        rank: Mapping[str, int],
    ) -> list[Route]:  # fmt: skip
        layer_of = {i: at for at, layer in enumerate(self.layers) for i in layer}
        ports = self._ports(chains)
        routes: list[Route] = []
        for i, join in enumerate(self.joins):
            if join.source == join.target:
                routes.append(self._loop(i, boxes))
            elif i not in chains:
                routes.append(self._far(join, boxes))
            else:
                chain = chains[i]
                upper, lower = (join.target, join.source) if i in back else (join.source, join.target)
                first = Point(boxes[upper].x + ports[(i, "below")], boxes[upper].y + self.boxes[upper].height / 2)
                last = Point(boxes[lower].x + ports[(i, "above")], boxes[lower].y - self.boxes[lower].height / 2)
                between = [Point(self.points[p].x, tops[layer_of[p]]) for p in chain[1:-1]]
                heights = [self._straight(p, layer_of[p]) for p in chain[1:-1]]
                label = between[-1] if i in back else between[0]
                points = [first, *_through(between, heights), last]
                routes.append(Route(tuple(reversed(points)) if i in back else tuple(points), label, _kind(i in back)))
        return routes

    def _straight(self, point: int, layer: int) -> float:
        """How far a join goes straight down here: past its own label, and past all boxes beside it."""
        return self.points[point].height if layer % 2 else max(one.height for one in self._layer(layer))

    def _ports(self, chains: Mapping[int, list[int]]) -> dict[tuple[int, str], float]:
        """Where along a box's border each join begins or ends: in the order of where it comes from."""
        sides: dict[tuple[int, str], list[tuple[float, int]]] = defaultdict(list)
        for i, chain in chains.items():
            sides[(chain[0], "below")].append((self.points[chain[1]].x, i))
            sides[(chain[-1], "above")].append((self.points[chain[-2]].x, i))
        ports = {}
        for (box, side), joins in sides.items():
            width = self.boxes[self.points[box].name].width * 0.8
            step = min(22.0, width / len(joins))
            for at, (_, i) in enumerate(sorted(joins)):
                ports[(i, side)] = (at - (len(joins) - 1) / 2) * step
        return ports

    def _loop(self, i: int, boxes: Mapping[str, Point]) -> Route:
        join = self.joins[i]
        at, size, loops = boxes[join.source], self.boxes[join.source], self.loops[join.source]
        y = at.y + (loops.index(i) - (len(loops) - 1) / 2) * 24
        edge = at.x + size.width / 2
        reach = min(size.height / 2 - 4, 7.0)
        near = max(at.y - size.height / 2 + 4, min(at.y + size.height / 2 - 4, y))
        points = (Point(edge, near - reach / 2), Point(edge + 22, y), Point(edge, near + reach / 2))
        return Route(points, Point(edge + 28 + join.label.width / 2, y), "loop")

    def _far(self, join: Join, boxes: Mapping[str, Point]) -> Route:
        start, end = boxes[join.source], boxes[join.target]
        first = Point(start.x - self.boxes[join.source].width / 2, start.y)
        last = Point(end.x - self.boxes[join.target].width / 2, end.y)
        bow = min(first.x, last.x) - 40 - abs(first.y - last.y) / 12
        label = Point(first.x - 14 - join.label.width / 2, first.y)
        return Route((first, Point(bow, (first.y + last.y) / 2), last), label, "far")

    def _extent(self, routes: Iterable[Route]) -> tuple[float, float]:
        lefts = [p.x - p.width / 2 for p in self.points]
        rights = [p.x + p.width / 2 for p in self.points]
        for route, join in zip(routes, self.joins, strict=True):
            xs = [point.x for point in route.points]
            lefts += [min(xs), route.label.x - join.label.width / 2]
            rights += [max(xs), route.label.x + join.label.width / 2]
        left = min(lefts, default=0.0)
        return left, max(rights, default=0.0) - left


def _crossed(left: Iterable[int], right: Sequence[int], place: Mapping[int, float]) -> int:
    """How many joins of a point cross those of its right neighbour, to one side."""
    return sum(place[i] > place[j] for i in left for j in right)


def _kind(back: bool) -> str:
    return "up" if back else "down"


def _moved(route: Route, by: float) -> Route:
    points = tuple(Point(one.x + by, one.y) for one in route.points)
    return Route(points, Point(route.label.x + by, route.label.y), route.kind)


def _through(points: Sequence[Point], heights: Sequence[float]) -> list[Point]:
    """A point that has a height is passed straight down, from its top to its bottom."""
    walked: list[Point] = []
    for (x, y), height in zip(points, heights, strict=True):
        walked += [Point(x, y - height / 2), Point(x, y + height / 2)] if height else [Point(x, y)]
    return walked


def _back_joins(boxes: Iterable[str], joins: Sequence[Join]) -> set[int]:
    """The joins that lead to a box that a depth-first walk is still inside of; turned round, no cycle is left."""
    out: dict[str, list[int]] = defaultdict(list)
    for i, join in enumerate(joins):
        if join.source != join.target:
            out[join.source].append(i)
    state: dict[str, int] = {}
    back: set[int] = set()
    for root in boxes:
        stack = [(root, iter(out[root]))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            name, rest = stack[-1]
            for i in rest:
                target = joins[i].target
                if state.get(target) == 1:
                    back.add(i)
                elif target not in state:
                    state[target] = 1
                    stack.append((target, iter(out[target])))
                    break
            else:
                state[name] = 2
                stack.pop()
    return back


def _ranks(boxes: Mapping[str, Size], joins: Sequence[Join], back: set[int]) -> dict[str, int]:
    """The longest way down to each box."""
    down: dict[str, list[str]] = defaultdict(list)
    above = dict.fromkeys(boxes, 0)
    for i, join in enumerate(joins):
        if join.source != join.target:
            source, target = (join.target, join.source) if i in back else (join.source, join.target)
            down[source].append(target)
            above[target] += 1
    rank = dict.fromkeys(boxes, 0)
    todo = [name for name in boxes if not above[name]]
    while todo:
        name = todo.pop()
        for target in down[name]:
            rank[target] = max(rank[target], rank[name] + 1)
            above[target] -= 1
            if not above[target]:
                todo.append(target)
    return rank


def _inversions(values: list[int]) -> int:
    """How many pairs stand in the wrong order (a Fenwick tree)."""
    if not values:
        return 0
    size = max(values) + 1
    tree = [0] * (size + 1)
    total = 0
    for seen, value in enumerate(values):
        at, smaller_or_equal = value + 1, 0
        while at:
            smaller_or_equal += tree[at]
            at -= at & -at
        total += seen - smaller_or_equal
        at = value + 1
        while at <= size:
            tree[at] += 1
            at += at & -at
    return total


def _isotonic(wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The nearest non-decreasing sequence, by weighted squares (pool adjacent violators)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(wanted, weights, strict=True):
        count = 1
        while pools and pools[-1][0] > value:
            other, mass, many = pools.pop()
            value = (value * weight + other * mass) / (weight + mass)
            weight += mass
            count += many
        pools.append((value, weight, count))
    return [value for value, _, count in pools for _ in range(count)]
