"""What can be known of a graph before it runs. One linear walk each; every finding names the node and the cure."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from flowcore.errors import GraphError, UpdateError
from flowcore.graph.literals import Answer, read
from flowcore.graph.node import ENGINE_LABELS, LIMIT, OVER_BUDGET, RETRY, TIMEOUT
from flowcore.graph.outcomes import END, START
from flowcore.graph.paths import closure, cyclic, shortest

if TYPE_CHECKING:
    from flowcore.graph.graph import Graph


class Finding(NamedTuple):
    """``level``: "error" (refuses to build) or "warning". ``source``: ``file:line`` of the node, or of its answer."""

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
    found = [
        *_reach(graph), *_labels(graph), *_policies(graph), *_errors(graph), *_fields(graph), *_conditions(graph),
        *_cycles(graph), *_literals(graph),
    ]  # fmt: skip
    return sorted(found, key=lambda one: one.level != "error")


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
    reached = closure(START, forward)
    for name in graph.nodes:
        if name not in reached:
            yield _finding(
                graph, "unreachable", name,
                f"node '{name}' can't be reached from START; add an edge to it or remove it",
            )  # fmt: skip
    backward: dict[str, list[str]] = {}
    for edge in graph.edges:
        backward.setdefault(edge.target, []).append(edge.source)
    ends = closure(END, backward)
    for name in graph.nodes:
        if name not in ends:
            yield _finding(graph, "no-end", name, f"END can't be reached from node '{name}'; add an edge that leads on")


def _labels(graph: Graph) -> Iterable[Finding]:
    for name, node in graph.nodes.items():
        if node.labels is None:
            continue
        edges = graph.out[name]
        own = {on for on, edge in edges.items() if edge.error is None and edge.when is None and on not in ENGINE_LABELS}
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
    """A cycle that opens no new visit of a node with a limit, a wait or a budget's edge has nothing that ends it.

    An edge that ``continues`` a visit counts none, so it bounds nothing; retries end by their policy.
    """
    bounding = {
        name
        for name, node in graph.nodes.items()
        if node.limit is not None or node.waits or OVER_BUDGET in graph.out[name]
    }
    free = {
        name: [e for e in edges.values() if e.on != RETRY and (e.continues or e.target not in bounding)]
        for name, edges in graph.out.items()
        if name != START
    }
    for group in cyclic({name: [edge.target for edge in edges] for name, edges in free.items()}):
        first, names = group[0], set(group)
        inside = {name: [(e.target, e) for e in free[name] if e.target in names] for name in group}
        loop = shortest([first], first, inside.__getitem__) or []
        went_on = next((f"; '{e.on}' continues a visit, which counts none" for e in loop if e.continues), "")
        yield _finding(
            graph, "unbounded-cycle", first,
            f"nothing bounds the cycle {' -> '.join([first, *(edge.target for edge in loop)])}; give one of its nodes"
            f" @node(limit=n), or a wait{went_on}",
        )  # fmt: skip


def _errors(graph: Graph) -> Iterable[Finding]:
    """Edges by exception class that no exception takes."""
    for edge in graph.edges:
        if edge.error is None:
            continue
        if issubclass(edge.error, GraphError):
            why = "an error of the graph itself fails the run at its place"
        elif not issubclass(edge.error, Exception) and not issubclass(Exception, edge.error):
            why = "only exceptions derived from Exception take an edge"
        else:
            continue
        yield _finding(
            graph, "edge-never-taken", edge.source,
            f"node '{edge.source}' has an edge '{edge.on}' that is never taken: {why}; remove it",
        )  # fmt: skip


def _literals(graph: Graph) -> Iterable[Finding]:
    """What the nodes' sources say that they answer, held against the table and the state."""
    for name, node in graph.nodes.items():
        reading = read(node.fn)
        edges = graph.out[name]
        own = [on for on, edge in edges.items() if edge.error is None and on not in ENGINE_LABELS]
        by_data = name in graph.conditional
        if by_data:
            own = [""]  # one way out, which no label names
        may = set(own) | ({TIMEOUT} & set(edges))
        for answer in reading.answers:
            for code, message in _wrong(graph, name, answer, own, may):
                where = f"{reading.file}:{answer.line}"
                level = "error" if answer.certain else "warning"
                yield Finding(level, code, name, f"{message} [{where}]", where)
        if reading.complete and node.labels is None and not by_data:
            taken = {label for one in reading.answers for label in (one.on, one.late)}
            taken |= set(own) if len(own) == 1 else set()
            for label in own:
                if label not in taken:
                    yield Finding(
                        "warning", "edge-never-taken", name,
                        f"node '{name}' has an edge '{label}' that none of its answers takes [{node.source}]",
                        node.source,
                    )  # fmt: skip


def _wrong(graph: Graph, name: str, answer: Answer, own: list[str], may: set[str]) -> Iterable[tuple[str, str]]:
    """``(code, message)`` of each thing that's wrong with one answer."""
    edges = ", ".join(repr(on) for on in graph.out[name])
    if answer.form in ("update", "nothing") and len(own) != 1 and answer.certain:
        yield (
            "no-label",
            f"node '{name}' answers without a label, but its edges are {edges}; return Goto(label, ...)",
        )
    for label in (answer.on, answer.late):
        if label is not None and label not in may:
            written = "" if answer.form == "label" else f"{answer.form} "
            yield (
                "unknown-label",
                f"node '{name}' returns {written}'{label}', but its edges are {edges}; add an edge or fix the label",
            )
    fields = graph.schema.fields
    for field in (*answer.update, *filter(None, [answer.into])):
        if field not in fields:
            yield (
                "unknown-field",
                f"node '{name}' updates '{field}', but state '{graph.schema.name}' has no such field; its fields are"
                f" {', '.join(map(repr, fields)) or 'none'}",
            )
        elif field in answer.update:
            try:
                fields[field].codec.admit(ast.literal_eval(answer.update[field]))
            except UpdateError as error:
                yield "wrong-value", f"node '{name}' updates '{field}' with a value that it can't hold: {error}"
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                pass  # not a literal: it's looked at when it's returned
