"""What can be known of a graph before it runs. One linear walk each; every finding names the node and the cure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from flowcore.errors import UpdateError
from flowcore.graph.node import ENGINE_LABELS, LIMIT, RETRY, TIMEOUT
from flowcore.graph.outcomes import END, START

if TYPE_CHECKING:
    from flowcore.graph.graph import Graph


class Finding(NamedTuple):
    """``level``: "error" (refuses to build) or "warning". ``source``: ``file:line`` of the node."""

    level: str
    code: str
    node: str
    message: str
    source: str = ""


def check(graph: Graph) -> list[Finding]:
    """Every finding about a graph, errors first."""
    broken = [*_start(graph), *_targets(graph)]
    if broken:
        return broken  # reachability over a table with holes would only add noise
    return [*_reach(graph), *_labels(graph), *_policies(graph), *_fields(graph), *_conditions(graph), *_cycles(graph)]


def _finding(graph: Graph, code: str, node: str, message: str) -> Finding:
    source = graph.nodes[node].source if node in graph.nodes else ""
    return Finding("error", code, node, f"{message} [{source}]" if source else message, source)


def _start(graph: Graph) -> Iterable[Finding]:
    count = len(graph.out.get(START, {}))
    if count != 1:
        has = "no edge" if not count else f"{count} edges"
        yield _finding(graph, "start", START, f"{has} from START; declare exactly one: {{START: first_node}}")


def _targets(graph: Graph) -> Iterable[Finding]:
    known = ", ".join(f"'{name}'" for name in graph.nodes) or "none"
    for edge in graph.edges:
        for name in (edge.source, edge.target):
            if name not in graph.nodes and name not in (START, END):
                yield _finding(
                    graph, "unknown-node", edge.source,
                    f"edge '{edge.source}' --{edge.on}--> '{edge.target}' names '{name}', which is no node; "
                    f"the nodes are {known}",
                )  # fmt: skip
    for name in graph.nodes:
        if not graph.out.get(name):
            yield _finding(graph, "dead-end", name, f"node '{name}' has no edge out; add one, e.g. {{{name}: END}}")


def _reach(graph: Graph) -> Iterable[Finding]:
    forward = {name: [edge.target for edge in edges.values()] for name, edges in graph.out.items()}
    reached = _closure(START, forward)
    for name in graph.nodes:
        if name not in reached:
            yield _finding(
                graph, "unreachable", name,
                f"node '{name}' can't be reached from START; add an edge to it or remove it",
            )  # fmt: skip
    backward: dict[str, list[str]] = {}
    for edge in graph.edges:
        backward.setdefault(edge.target, []).append(edge.source)
    ends = _closure(END, backward)
    for name in graph.nodes:
        if name not in ends:
            yield _finding(graph, "no-end", name, f"END can't be reached from node '{name}'; add an edge that leads on")


def _closure(start: str, onward: dict[str, list[str]]) -> set[str]:
    seen, todo = {start}, [start]
    while todo:
        for name in onward.get(todo.pop(), ()):
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return seen


def _labels(graph: Graph) -> Iterable[Finding]:
    for name, node in graph.nodes.items():
        if node.labels is None:
            continue
        edges = graph.out[name]
        own = {on for on, edge in edges.items() if edge.error is None and on not in ENGINE_LABELS}
        for label in sorted(node.labels - own - ({TIMEOUT} & set(edges))):
            yield _finding(
                graph, "label-without-edge", name,
                f"node '{name}' may return '{label}' (its return annotation says so), but its edges are"
                f" {', '.join(repr(on) for on in edges)}; add an edge or fix the annotation",
            )  # fmt: skip
        if node.waits:
            continue  # a Pause names its labels when it's made
        for label in sorted(own - node.labels):
            yield _finding(
                graph, "edge-never-taken", name,
                f"node '{name}' has an edge '{label}' that its return annotation never returns; remove the edge or"
                " add the label to the annotation",
            )  # fmt: skip


def _policies(graph: Graph) -> Iterable[Finding]:
    for name, node in graph.nodes.items():
        if RETRY in graph.out[name] and node.retry is None:
            yield _finding(
                graph, "retry-without-policy", name,
                f"node '{name}' has an edge 'retry' but no retry policy; give it @node(retry=Retry(...))",
            )  # fmt: skip
        if RETRY in graph.out[name] and graph.out[name][RETRY].target != name:
            yield _finding(
                graph, "retry-elsewhere", name,
                f"node '{name}' has an edge 'retry' to '{graph.out[name][RETRY].target}'; a retry enters the same node"
                " again: lead it back, or use another label",
            )  # fmt: skip
        if (
            TIMEOUT in graph.out[name]
            and node.timeout is None
            and node.labels is not None
            and not (node.waits or TIMEOUT in node.labels)
        ):
            yield _finding(
                graph, "timeout-without-policy", name,
                f"node '{name}' has an edge 'timeout' but no timeout; give it @node(timeout=seconds)",
            )  # fmt: skip
        if LIMIT in graph.out[name] and node.limit is None:
            yield _finding(
                graph, "limit-without-policy", name,
                f"node '{name}' has an edge 'limit' but no limit; give it @node(limit=n)",
            )  # fmt: skip


def _fields(graph: Graph) -> Iterable[Finding]:
    """A node that says which fields it uses needs them in the state."""
    known = graph.schema.fields
    for name, node in graph.nodes.items():
        for field in node.fields:
            if field not in known:
                yield _finding(
                    graph, "unknown-field", name,
                    f"node '{name}' uses field '{field}', but state '{graph.schema.name}' has no such field; its fields"
                    f" are {', '.join(repr(one) for one in known)}",
                )  # fmt: skip


def _conditions(graph: Graph) -> Iterable[Finding]:
    """A condition needs a field of the state, and a value that the field could have."""
    for name, edges in graph.conditional.items():
        for edge in edges:
            if edge.when is None:
                continue
            field = graph.schema.fields.get(edge.when.field.partition(".")[0])
            if field is None:
                yield _finding(
                    graph, "unknown-field", name,
                    f"node '{name}' asks `{edge.when}`, but state '{graph.schema.name}' has no field"
                    f" '{edge.when.field}'; its fields are {', '.join(repr(one) for one in graph.schema.fields)}",
                )  # fmt: skip
                continue
            if edge.when.op in ("==", "!=", "<", "<=", ">", ">=") and "." not in edge.when.field:
                try:
                    field.codec.admit(edge.when.value)
                except UpdateError as error:
                    yield _finding(
                        graph, "condition-type", name, f"node '{name}' asks `{edge.when}`, which can't hold: {error}"
                    )


def _cycles(graph: Graph) -> Iterable[Finding]:
    """A cycle that avoids every node with a limit and every wait has nothing that ends it."""
    bounded = {name for name, node in graph.nodes.items() if node.limit is not None or node.waits}
    onward = {
        name: [e.target for e in edges.values() if e.on != RETRY and e.target != END and e.target not in bounded]
        for name, edges in graph.out.items()
        if name not in bounded and name != START
    }
    done: set[str] = set()
    for root in onward:
        trail: list[str] = []
        on_trail: set[str] = set()
        stack: list[tuple[str, int]] = [(root, 0)] if root not in done else []
        while stack:
            name, position = stack.pop()
            if position == 0:
                trail.append(name)
                on_trail.add(name)
            targets = onward.get(name, [])
            if position == len(targets):
                trail.pop()
                on_trail.discard(name)
                done.add(name)
                continue
            stack.append((name, position + 1))
            target = targets[position]
            if target in on_trail:
                loop = [*trail[trail.index(target) :], target]
                yield _finding(
                    graph, "unbounded-cycle", target,
                    f"nothing bounds the cycle {' -> '.join(loop)}; give one of its nodes @node(limit=n), or a wait",
                )  # fmt: skip
                return
            if target not in done:
                stack.append((target, 0))
