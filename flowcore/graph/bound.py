"""How long a walk can get: a number, from the limits, the retry policies and the table.

The longest walk is a flow of one unit through a network in which each place is several vertices: where a new visit
arrives ("in"), where its body runs ("body": as often as its limit says), where a limit or a budget leads past the body
("full", "over"). An edge that continues a visit leads past the count ("again"). Strongly connected parts are solved one
by one, last ones first, so that of two branches the longer one counts. A flow may hold a loop that the rest of it
doesn't touch: then the number is an upper bound, and ``exact`` is False. Finding the exact number is as hard as finding
a graph's longest path.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import total_ordering
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from flowcore.errors import GraphError
from flowcore.graph.node import LIMIT, OVER_BUDGET, RETRY, Retry
from flowcore.graph.outcomes import END, START
from flowcore.graph.paths import components, cyclic, shortest
from flowcore.graph.prove import Path, Proof

if TYPE_CHECKING:
    from flowcore.graph.graph import Edge, Graph


class Vertex(NamedTuple):
    """``kind``: "in", "again", "body", "full", "over" or "stop". What is used up stays so: ``full`` names the nodes
    that a limit has led past their bodies, ``spent`` those that a budget has; their bodies don't run again."""

    kind: str
    node: str
    full: tuple[str, ...] = ()
    spent: tuple[str, ...] = ()


STOP = Vertex("stop", "")
SKIPS = ("full", "over")
TRACKED = 4
"""Up to so many nodes with an edge ``limit`` or ``over_budget``: what comes after each of these is told apart."""
SHOWN = 20_000
"""The longest walk that is written out to see whether the bound is reached."""


@total_ordering
class Bound(Proof):
    """The most transitions that a run can take itself. False where nothing bounds them: then ``transitions`` is None,
    and ``counterexample`` leads into a cycle that can be gone round for ever, or to a node whose child can. Compares
    with numbers.

    ``exact``: a walk of this length is possible (``longest`` shows it); else the number is an upper bound.
    ``children``: the bounds of the runs below it, each counted by itself, by "node/child".
    """

    __slots__ = ("children", "exact", "longest", "transitions")

    def __init__(
        self, claim: str, transitions: int | None, *, longest: Path | None = None, loop: Path | None = None,
        reason: str = "", children: Mapping[str, Bound] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        super().__init__(claim, loop, reason)
        self.children = children
        self.transitions = transitions
        self.longest = longest
        self.exact = longest is not None

    def __str__(self) -> str:
        if self.transitions is None:
            return super().__str__()
        count = f"{self.transitions} transition{'' if self.transitions == 1 else 's'}"
        own = f"a run takes at most {count}{'' if self.exact else ' (an upper bound)'}"
        return "; its child ".join([own, *(f"'{name}': {child}" for name, child in self.children.items())])

    def __int__(self) -> int:
        if self.transitions is None:
            raise OverflowError(str(self))
        return self.transitions

    @property
    def _size(self) -> float:
        return float("inf") if self.transitions is None else self.transitions

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Bound):
            return self._size == other._size
        return self._size == other if isinstance(other, (int, float)) else NotImplemented

    def __lt__(self, other: Any) -> bool:
        if isinstance(other, Bound):
            return self._size < other._size
        return self._size < other if isinstance(other, (int, float)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._size)


class Rules(NamedTuple):
    """What bounds each node of a graph: ``most`` visits whose body runs, ``retries`` per visit (None: no bound), and
    the ``limited`` ones whose edge ``limit`` can be taken. ``counts``: what the engine takes for bounding when the edge
    of a limit or a budget leads back. ``apart``: nodes with such edges, few enough to tell apart what comes after."""

    most: dict[str, int | None]
    retries: dict[str, int | None]
    limited: frozenset[str]
    counts: frozenset[str]
    apart: frozenset[str]


def bounded(graph: Graph, limits: Mapping[str, int | None], waits: int | None, above: tuple[Graph, ...] = ()) -> Bound:
    """The longest walk under these run limits, and the graph's own where they say nothing. ``above``: whose child it
    is. Raises GraphError."""
    graph.build()
    rules = _rules(graph, limits, waits)
    claim = f"a run of '{graph.name}' comes to an end"
    net = _net(graph, rules)
    endless = _endless(graph, rules, net)
    if endless is not None:
        return Bound(claim, None, loop=endless[0], reason=endless[1])
    children = _children(graph, net, waits, (*above, graph))
    for name, child in children.items():
        if not child:
            way = _way_to(graph, name.partition("/")[0])
            return Bound(claim, None, loop=way, reason=f"its child '{name}' may not: {child.reason}", children=children)
    _limit_skips(graph, rules, net)
    total, steps = _longest(net, Vertex("in", graph.first))
    longest = _shown(graph, rules, net, total, steps)
    if longest is None and graph.budgeted:  # as long without a budget: what a budget cuts short is harder to walk
        cheap = {vertex: {to: link for to, link in net[vertex].items() if to.kind != "over"} for vertex in net}
        longest = _shown(graph, rules, cheap, total, _longest(cheap, Vertex("in", graph.first))[1])
    return Bound(claim, total, longest=longest, children=children)


# -- what runs below -------------------------------------------------------------------------------------------------


def _children(graph: Graph, net: Net, waits: int | None, above: tuple[Graph, ...]) -> dict[str, Bound]:
    """The bounds of the children of every node whose body may run, each by itself."""
    runs = _running(net, Vertex("in", graph.first))
    below = [(name, child, body, node.limits) for name, node in graph.nodes.items() for child, body in node.bodies]
    below += [
        (tool.node, f"{tool.owner}.{tool.name}", tool.inner.graph, tool.limits)
        for tool in graph.tools
        if tool.inner is not None
    ]
    return {
        f"{name}/{child}": _child(body, dict(limits), waits, above)
        for name, child, body, limits in below
        if name in runs
    }


def _child(body: Graph, limits: Mapping[str, Any], waits: int | None, above: tuple[Graph, ...]) -> Bound:
    if body in above:
        names = " -> ".join(one.name for one in (*above[above.index(body) :], body))
        claim = f"a run of '{body.name}' comes to an end"
        return Bound(claim, None, loop=Path(), reason=f"nothing bounds how deep it goes: {names}")
    counted = {node.limit for node in body.nodes.values()}
    return bounded(body, {name: limit for name, limit in limits.items() if name in counted}, waits, above)


def _running(net: Net, start: Vertex) -> set[str]:
    """The nodes whose bodies may run."""
    seen, todo = {start}, [start]
    while todo:
        for to, link in net[todo.pop()].items():
            if link.most != 0 and to not in seen:
                seen.add(to)
                todo.append(to)
    return {vertex.node for vertex in seen if vertex.kind == "body"}


# -- what bounds a node ----------------------------------------------------------------------------------------------


def _rules(graph: Graph, limits: Mapping[str, int | None], waits: int | None) -> Rules:
    named = sorted({node.limit for node in graph.nodes.values() if isinstance(node.limit, str)})
    for name, value in limits.items():
        if name not in named:
            has = ", ".join(map(repr, named)) or "none"
            raise GraphError(f"graph '{graph.name}': no node is limited by {name!r}; its run limits are {has}")
        if value is not None and (not isinstance(value, int) or value < 0):
            raise GraphError(f"graph '{graph.name}': the limit {name}={value!r} isn't a number of visits")
    limits = {**{name: graph.limits.get(name) for name in named}, **limits}
    most: dict[str, int | None] = {}
    limited, counts = set(), set()
    for name, node in graph.nodes.items():
        own = limits.get(node.limit) if isinstance(node.limit, str) else node.limit
        answered = waits if node.waits else None
        most[name] = own if answered is None else answered if own is None else min(own, answered)
        if own is not None and (answered is None or own <= answered) and LIMIT in graph.out[name]:
            limited.add(name)
        if node.limit is not None or node.waits:
            counts.add(name)
    retries = {
        name: (_attempts(node.retry) or 1) - 1 if node.retry is None or _attempts(node.retry) else None
        for name, node in graph.nodes.items()
    }
    skipping = limited | {name for name, edges in graph.out.items() if OVER_BUDGET in edges}
    apart = skipping if len(skipping) <= TRACKED else set()
    return Rules(most, retries, frozenset(limited), frozenset(counts), frozenset(apart))


def _attempts(retry: Retry | None) -> int | None:
    """The most attempts that a policy makes; None: it doesn't count them."""
    if retry is None:
        return 1
    return max(1, retry.stop) if isinstance(retry.stop, int) else _counted(retry.stop)


def _counted(stop: Any) -> int | None:
    from tenacity import stop_after_attempt, stop_all, stop_any  # 40 ms: for policies that have them

    if isinstance(stop, stop_after_attempt):
        return max(1, int(stop.max_attempt_number))
    if isinstance(stop, (stop_any, stop_all)):
        each = [_counted(one) for one in stop.stops]
        counted = [one for one in each if one is not None]
        if isinstance(stop, stop_any):
            return min(counted, default=None)
        return max(counted) if len(counted) == len(each) else None
    return None


# -- the network -----------------------------------------------------------------------------------------------------


class Link(NamedTuple):
    """A link of the network: ``gain`` transitions for each unit, at most ``most`` units (None: any number)."""

    gain: int
    most: int | None = None
    edge: Edge | None = None


Net: TypeAlias = dict[Vertex, dict[Vertex, Link]]


def _net(graph: Graph, rules: Rules) -> Net:
    """The network, once more for each way in which limits and budgets can be used up."""
    net: Net = {STOP: {}}
    todo = [Vertex("in", graph.first)]
    while todo:
        vertex = todo.pop()
        if vertex not in net:
            net[vertex] = dict(_LINKS[vertex.kind](graph, rules, vertex))
            todo += net[vertex]
    return net


def _arriving(graph: Graph, rules: Rules, at: Vertex) -> Iterator[tuple[Vertex, Link]]:
    """A new visit: its body runs, or an edge leads past it, or the run stands here for good."""
    budgeted = OVER_BUDGET in graph.out[at.node]
    yield STOP, Link(0)
    if not (at.node in at.full or (at.spent and budgeted)):
        yield at._replace(kind="body"), Link(rules.retries[at.node] or 0, rules.most[at.node])
    if at.node in rules.limited and at.node not in at.spent:
        full = {*at.full, at.node} if at.node in rules.apart else at.full
        yield at._replace(kind="full", full=tuple(sorted(full))), Link(0)
    if budgeted and at.node not in at.full:
        spent = {*at.spent, at.node} if at.node in rules.apart else {*at.spent, ""}
        yield at._replace(kind="over", spent=tuple(sorted(spent))), Link(0)


def _continued(graph: Graph, rules: Rules, at: Vertex) -> Iterator[tuple[Vertex, Link]]:
    """A visit that goes on: its body runs uncounted. Without a visit before it's the first one."""
    yield at._replace(kind="body"), Link(0)
    yield at._replace(kind="in"), Link(0, 1)
    for to, link in _arriving(graph, rules, at):
        if to.kind not in ("body", "in"):
            yield to, link


def _leaving(graph: Graph, rules: Rules, at: Vertex) -> Iterator[tuple[Vertex, Link]]:
    """The edges that are taken from here; of several to one place the first stands for all."""
    there: dict[Vertex, Link] = {STOP: Link(0)} if at.kind == "body" else {}
    for edge in graph.out[at.node].values():
        if edge.on == RETRY or _PAST.get(edge.on, "body") != at.kind:
            continue
        kind = "again" if edge.continues else "in"
        target = STOP if edge.target == END else at._replace(kind=kind, node=edge.target)
        if target not in there or there[target].edge is None:
            there[target] = Link(1, None, edge)
    yield from there.items()


_PAST = {LIMIT: "full", OVER_BUDGET: "over"}
_LINKS = {"in": _arriving, "again": _continued, "body": _leaving, "full": _leaving, "over": _leaving}


def _limit_skips(graph: Graph, rules: Rules, net: Net) -> None:
    """Between two skips of one node something that bounds must have run (see ``machine.plan``): in a part of the
    network at most once for each visit that it allows, and one more if the first skip isn't the one that led there."""
    for part in components({vertex: list(links) for vertex, links in net.items()}):
        inside = set(part)
        bodies = {
            v.node: net[v][b].most or 0
            for v in part
            if v.kind == "in"
            for b in net[v]
            if b in inside and b.kind == "body"
        }
        total = sum(most for name, most in bodies.items() if name in rules.counts)
        for vertex in part:
            for to in net[vertex]:
                if to.kind in ("full", "over") and to in inside:
                    own = bodies.get(to.node, 0) if to.kind == "full" else 0
                    first = 0 if {*to.full, *to.spent} == {to.node} else 1
                    net[vertex][to] = Link(0, first + total - own)


def _endless(graph: Graph, rules: Rules, net: Net) -> tuple[Path, str] | None:
    """A walk into a cycle that nothing ends, and why nothing does."""
    for name, retries in rules.retries.items():
        if retries is None:
            again = graph.out[name][RETRY]
            return _into(graph, [again]), f"the retry policy of '{name}' doesn't count its attempts"
    free = {v: {to: link for to, link in links.items() if link.most is None} for v, links in net.items()}
    no_skip = {v: {to: k for to, k in links.items() if to.kind not in SKIPS} for v, links in free.items()}
    for part in cyclic(no_skip):
        return _loop(graph, rules, no_skip, part, part[0])
    for part in cyclic(free):  # only through a skip: for ever if each time something runs that the engine counts
        inside = set(part)
        for vertex in part:
            body = vertex._replace(kind="body")
            if vertex.kind == "in" and body in inside and body in free[vertex] and vertex.node in rules.counts:
                return _loop(graph, rules, free, part, body)
    return None


def _loop(graph: Graph, rules: Rules, net: Net, part: list[Vertex], at: Vertex) -> tuple[Path, str]:
    inside = set(part)
    links = shortest([at], at, lambda v: ((to, link) for to, link in net[v].items() if to in inside)) or []
    edges = [link.edge for link in links if link.edge is not None]
    nodes = list(dict.fromkeys(edge.source for edge in edges))
    return _into(graph, edges), _why(graph, rules, nodes)


def _why(graph: Graph, rules: Rules, nodes: list[str]) -> str:
    """What would bound a cycle through these nodes."""
    for name in nodes:
        limit = graph.nodes[name].limit
        if isinstance(limit, str) and rules.most[name] is None:
            return f"the run limit '{limit}' isn't given: bounded({limit}=...), or of a child its node's limits="
    waiting = next((name for name in nodes if graph.nodes[name].waits), None)
    if waiting is not None:
        return f"'{waiting}' waits as often as somebody answers: bounded(waits=n) says how often"
    if any(OVER_BUDGET in graph.out[name] for name in nodes):
        return "only a budget ends it, and a budget counts no transitions"
    return "nothing counts its visits"


def _into(graph: Graph, loop: list[Edge]) -> Path:
    """A shortest walk from START to a loop, and once round."""
    return Path([*_way_to(graph, loop[0].source), *loop])


def _way_to(graph: Graph, node: str) -> Path:
    """A shortest walk from START to a node."""
    way = shortest([START], node, lambda name: ((e.target, e) for e in graph.out.get(name, {}).values()))
    return Path(way or [])


# -- the longest way through it --------------------------------------------------------------------------------------

Leg: TypeAlias = dict[tuple[Vertex, Vertex], int]
"""How often each link of one part is used; the last one leads out of it."""


def _longest(net: Net, start: Vertex) -> tuple[int, list[tuple[Vertex, Leg]]]:
    """The most transitions from ``start`` to a stop, and for each part on the way where it's entered and its flow."""
    best: dict[Vertex, tuple[int, Vertex, Leg]] = {STOP: (0, STOP, {})}
    onward: dict[Vertex, list[Vertex]] = {v: list(links) for v, links in net.items()}
    parts = list(components(onward))  # each after all that it leads to
    part_of = {v: i for i, part in enumerate(parts) for v in part}
    entries = {to for v, links in net.items() for to in links if part_of[v] != part_of[to]} | {start}
    for part in parts:
        if part == [STOP]:
            continue
        for vertex in part:
            if vertex in entries:
                best[vertex] = _through(net, part, vertex, best)
    total, steps, here = best[start][0], [], start
    while here != STOP:
        _, after, leg = best[here]
        steps.append((here, leg))
        here = after
    return total, steps


def _through(net: Net, part: list[Vertex], entry: Vertex, best: Mapping[Vertex, Any]) -> tuple[int, Vertex, Leg]:
    """The most transitions from ``entry`` through a part and on; where it's left to, and the use of each link."""
    inside = set(part)
    exits: dict[Vertex, tuple[int, Vertex]] = {}
    for vertex in part:
        ways = [
            (link.gain + best[to][0], to) for to, link in net[vertex].items() if to not in inside and link.most != 0
        ]
        if ways:
            exits[vertex] = max(ways, key=lambda way: way[0])
    if len(part) == 1 and entry not in net[entry]:
        gain, to = exits[entry]
        return gain, to, {(entry, to): 1}
    return _flow(net, inside, entry, exits)


def _flow(
    net: Net, inside: set[Vertex], entry: Vertex, exits: Mapping[Vertex, tuple[int, Vertex]]
) -> tuple[int, Vertex, Leg]:
    import networkx  # 400 ms: only who asks for it pays

    model: networkx.DiGraph[Vertex] = networkx.DiGraph()
    model.add_node(entry, demand=-1)
    model.add_node(STOP, demand=1)
    for vertex in inside:
        for to, link in net[vertex].items():
            if to in inside:
                bound = {} if link.most is None else {"capacity": link.most}
                model.add_edge(vertex, to, weight=-link.gain, **bound)
    for vertex, (gain, _) in exits.items():
        model.add_edge(vertex, STOP, weight=-gain, capacity=1)
    cost, flow = networkx.network_simplex(model)
    leg: Leg = {}
    left = STOP
    for vertex, links in flow.items():
        for to, units in links.items():
            if units and to == STOP:
                left = exits[vertex][1]
                leg[(vertex, left)] = 1
            elif units:
                leg[(vertex, to)] = units
    return -int(cost), left, leg


# -- the walk itself -------------------------------------------------------------------------------------------------


def _shown(graph: Graph, rules: Rules, net: Net, total: int, steps: list[tuple[Vertex, Leg]]) -> Path | None:
    """A walk of this length that the engine would allow, if the flow is one."""
    walk = _walk(graph, rules, net, steps) if total <= SHOWN else None
    return walk if walk is not None and len(walk) == total and possible(graph, rules, walk) else None


def _walk(graph: Graph, rules: Rules, net: Net, steps: Iterable[tuple[Vertex, Leg]]) -> Path | None:
    """The flow as one walk, retries and all; None where the flow falls apart."""
    walked: list[Edge] = []
    for entry, leg in steps:
        trail = _trail(entry, leg)
        if trail is None:
            return None
        for here, to in trail:
            link = net[here][to]
            if link.edge is not None:
                walked.append(link.edge)
            elif link.gain:
                walked += [graph.out[here.node][RETRY]] * link.gain
    return Path(walked)


def _trail(entry: Vertex, leg: Leg) -> list[tuple[Vertex, Vertex]] | None:
    """An order in which all links of a flow are walked: at each vertex the link of a tree towards the way out comes
    last, and of the others those past a body after those into it."""
    inside = {here for here, _ in leg}
    out = next((pair for pair in leg if pair[1] not in inside or pair[1] == STOP), None)
    if out is None:
        return None
    last = _last_links(leg, out)
    if last is None:
        return None
    left = {vertex: sorted(to for here, to in leg if here == vertex) for vertex in inside}
    count = dict(leg)
    trail: list[tuple[Vertex, Vertex]] = []
    here = entry
    while here in inside:
        free = [to for to in left[here] if count[(here, to)] > (to == last[here])]
        to = min(free, key=lambda one: one.kind in SKIPS) if free else last[here]
        if not count[(here, to)]:
            return None
        count[(here, to)] -= 1
        trail.append((here, to))
        if (here, to) == out:
            break
        here = to
    return trail if not any(count.values()) else None


def _last_links(leg: Leg, out: tuple[Vertex, Vertex]) -> dict[Vertex, Vertex] | None:
    """By vertex, the link that is walked last; together they lead to the way out. A skip comes last if there's one."""
    skipping = {here for here, to in leg if to.kind in SKIPS}
    back: dict[Vertex, list[Vertex]] = defaultdict(list)
    for here, to in leg:
        if (here, to) != out and (here not in skipping or to.kind in SKIPS):
            back[to].append(here)
    last = {out[0]: out[1]}
    todo = [out[0]]
    while todo:
        to = todo.pop()
        for here in back[to]:
            if here not in last:
                last[here] = to
                todo.append(here)
    return last if all(here in last for here, _ in leg) else None


def possible(graph: Graph, rules: Rules, walk: Path) -> bool:
    """Whether the engine would let a run take exactly this walk."""
    opened: dict[str, int] = {graph.first: 1}
    ran: dict[str, int] = defaultdict(int)
    has_run: dict[str, bool] = {graph.first: False}
    tries: dict[str, int] = {graph.first: 1}
    skipped: dict[str, int] = {}
    spent = False
    here = graph.first
    for edge in walk:
        if edge.source != here:
            return False
        most = rules.most[here]
        full = not has_run[here] and most is not None and ran[here] >= most
        if edge.on in (LIMIT, OVER_BUDGET):
            seen = sum(ran[name] for name in rules.counts)
            if has_run[here] or (edge.on == LIMIT) != full or skipped.get(here) == seen:
                return False
            skipped[here] = seen
            spent = spent or edge.on == OVER_BUDGET
        else:
            if full or (spent and not has_run[here] and OVER_BUDGET in graph.out[here]):
                return False
            ran[here] += not has_run[here]
            has_run[here] = True
        if edge.on == RETRY:
            tries[here] += 1
            if tries[here] > (rules.retries[here] or 0) + 1:
                return False
            continue
        here = edge.target
        if here != END and not (edge.continues and here in opened):
            opened[here] = opened.get(here, 0) + 1
            has_run[here], tries[here] = False, 1
    return True
