"""Nodes that run child runs: ``map`` over a list, ``parallel`` branches, one ``subgraph``. Fan-out and join as
structure.

Every child is a run with a journal of its own, under its key: a crash repeats only what had not ended, a child that
waits makes its
parent wait while the others finish, and results stand in the order of the input whatever the order of the ends.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from flowcore.engine.children import Suspend
from flowcore.engine.context import Context
from flowcore.engine.failure import record_of
from flowcore.errors import ChildrenFailed, GraphError, RunConflict, StoreError
from flowcore.graph.graph import Graph
from flowcore.graph.node import Node, make_node, rename
from flowcore.graph.outcomes import END, START, Of
from flowcore.graph.state import State, listed
from flowcore.graph.values import Json

Body: TypeAlias = Any
"""A ``Graph``, something with a ``.graph`` (an agent), or a function of one item ``(item)`` or ``(item, ctx)``."""

Failures: TypeAlias = Literal["fail", "collect"] | int
"""What failed children mean: the first one fails the node ("fail"), none does ("collect"), or only more than so many
do."""

CONCURRENCY = 16
"""How many children of a ``map`` run at once where nothing is said."""


class Piece(State):
    """The state of a child that is a plain function."""

    input: Json
    output: Json = None


def map(
    body: Body,
    *,
    over: str,
    into: str,
    errors: str | None = None,
    name: str | None = None,
    concurrency: int = CONCURRENCY,
    failures: Failures = "fail",
    limits: dict[str, Any] | None = None,
    **policies: Any,
) -> Node:
    """A node that runs ``body`` for each element of the list field ``over``, at most ``concurrency`` at once.

    The outputs go into the list field ``into``, in the order of the input; None where a child failed. ``failures``
    says how many may
    fail; what they raised goes into the list field ``errors`` as ``{index, kind, message}``. ``limits``: of each child.
    ``policies``: as of ``@node`` (retry, limit, timeout). Raises GraphError.
    """
    graph = graph_of(body)
    _check(failures, concurrency)

    async def fan_out(state: Any, ctx: Context) -> dict[str, Any]:
        items = getattr(state, over)
        keys = [str(position) for position in range(len(items))]
        failed = await _run_all(ctx, [(key, graph, item) for key, item in zip(keys, items, strict=True)], concurrency,
                                failures, limits)  # fmt: skip
        update: dict[str, Any] = {into: [None if key in failed else Of(key) for key in keys]}
        if errors is not None:
            update[errors] = [{"index": int(key), **record_of(failed[key])} for key in keys if key in failed]
        return update

    fields = (over, into) if errors is None else (over, into, errors)
    return _node(fan_out, name or f"map_{graph.name}", "map", {graph.name: graph}, limits, fields, policies)


def parallel(
    branches: Mapping[str, Body],
    *,
    into: str | Mapping[str, str],
    input: str | Mapping[str, str] | None = None,
    errors: str | None = None,
    name: str = "parallel",
    concurrency: int | None = None,
    failures: Failures = "fail",
    limits: dict[str, Any] | None = None,
    **policies: Any,
) -> Node:
    """A node that runs named branches side by side.

    ``input``: the field that each branch is given, or a field for each branch; without it a branch gets the fields
    that its own state has
    too. ``into``: a dict field that gets ``{branch: output}``, or a field for each branch. ``failures``, ``errors``,
    ``limits``: as of
    ``map``; an error tells its ``branch``. Raises GraphError.
    """
    if not branches:
        raise GraphError(f"node '{name}': parallel() needs at least one branch")
    graphs = {branch: graph_of(body) for branch, body in branches.items()}
    width = len(graphs) if concurrency is None else concurrency
    _check(failures, width)
    sources = _per_branch(graphs, input, "input", name) if input is not None else {}
    targets = None if isinstance(into, str) else _per_branch(graphs, into, "into", name)
    if targets is not None and len(set(targets.values())) < len(targets):
        raise GraphError(
            f"node '{name}': two branches write the same field ({listed(targets.values())}); give each its own"
        )

    async def branch_out(state: Any, ctx: Context) -> dict[str, Any]:
        children = [(key, graph, _input_of(state, graph, sources.get(key))) for key, graph in graphs.items()]
        failed = await _run_all(ctx, children, width, failures, limits)
        ended = [key for key in graphs if key not in failed]
        if targets is None:
            update: dict[str, Any] = {str(into): {key: Of(key) for key in ended}}
        else:
            update = {targets[key]: Of(key) for key in ended}
        if errors is not None:
            update[errors] = [{"branch": key, **record_of(failed[key])} for key in graphs if key in failed]
        return update

    fields = [*sources.values(), *([into] if isinstance(into, str) else into.values())]
    fields = fields if errors is None else [*fields, errors]
    return _node(branch_out, name, "parallel", graphs, limits, tuple(fields), policies)


def subgraph(
    body: Body,
    *,
    into: str | Mapping[str, str],
    input: str | None = None,
    name: str | None = None,
    limits: dict[str, Any] | None = None,
    **policies: Any,
) -> Node:
    """A node that is one child run.

    ``input``: the field that it's given; without it the fields that its own state has too. ``into``: the field for
    its output, or for
    each key of an output that is a dict the field for it. Raises GraphError.
    """
    graph = graph_of(body)

    async def descend(state: Any, ctx: Context) -> dict[str, Any]:
        await ctx.child(graph, _input_of(state, graph, input), "run", limits=limits)
        if isinstance(into, str):
            return {into: Of("run")}
        return {field: Of("run", key) for key, field in into.items()}

    fields = [into] if isinstance(into, str) else list(into.values())
    if input is not None:
        fields.append(input)
    bodies = {graph.name: graph}
    return _node(descend, name or _identifier(graph.name), "subgraph", bodies, limits, tuple(fields), policies)


def graph_of(body: Body) -> Graph:
    """The graph of a child; a plain function becomes one of a single node. Raises GraphError."""
    found = getattr(body, "graph", body)
    if isinstance(found, Graph):
        return found.build()
    if not callable(body):
        raise GraphError(f"a child is a Graph, an agent or a function of one item, not {body!r}")
    function: Callable[..., Any] = body.fn if isinstance(body, Node) else body
    takes_ctx = len([p for p in inspect.signature(function).parameters.values() if p.default is p.empty]) > 1
    is_async = inspect.iscoroutinefunction(function)

    async def work(state: Piece, ctx: Context) -> dict[str, Any]:
        arguments = (state.input, ctx) if takes_ctx else (state.input,)
        value = await function(*arguments) if is_async else await asyncio.to_thread(function, *arguments)
        return {"output": value}

    declared = make_node(work, name=body.name if isinstance(body, Node) else _identifier(function.__name__))
    if isinstance(body, Node):
        declared = rename(declared, retry=body.retry, timeout=body.timeout, limit=body.limit)
    return Graph(declared.name, Piece, {START: declared, declared: END}, takes="input", gives="output")


async def _run_all(
    ctx: Context, children: list[tuple[str, Graph, Any]], width: int, failures: Failures, limits: dict[str, Any] | None
) -> dict[str, Exception]:
    """Run children, so many at once; what those that failed raised, by key. Raises when too many did, or while one
    waits.

    A failure that may not be makes no further child start; those that run finish.
    """
    gate = asyncio.Semaphore(width)
    most = 0 if failures == "fail" else len(children) if failures == "collect" else int(failures)
    failed: dict[str, Exception] = {}
    waiting: list[Suspend] = []

    async def one(key: str, graph: Graph, item: Any) -> None:
        async with gate:
            if len(failed) > most:
                return
            try:
                await ctx.child(graph, item, key, limits=limits)
            except Suspend as suspend:
                waiting.append(suspend)
            except (RunConflict, StoreError):
                raise
            except Exception as error:
                failed[key] = error

    await asyncio.gather(*(one(*child) for child in children))
    if len(failed) > most:
        first = next(iter(failed.values()))
        if len(failed) == 1 and failures == "fail":
            raise first
        raise ChildrenFailed(
            f"node '{ctx.node}': {len(failed)} of {len(children)} children failed, {most} may; the first:"
            f" {type(first).__name__}: {first}",
            run_id=ctx.run_id,
        ) from first
    if waiting:
        raise waiting[0]
    return failed


def _input_of(state: Any, graph: Graph, field: str | None) -> Any:
    if field is not None:
        return getattr(state, field)
    return {name: getattr(state, name) for name in graph.schema.fields if name in type(state).model_fields}


def _per_branch(graphs: Mapping[str, Graph], given: str | Mapping[str, str], what: str, name: str) -> dict[str, str]:
    if isinstance(given, str):
        return dict.fromkeys(graphs, given)
    wrong = sorted(set(given) ^ set(graphs))
    if wrong:
        raise GraphError(f"node '{name}': {what}= and the branches differ in {listed(wrong)}")
    return dict(given)


def _check(failures: Failures, concurrency: int) -> None:
    if failures not in ("fail", "collect") and (
        isinstance(failures, bool) or not isinstance(failures, int) or failures < 0
    ):
        raise GraphError(f"failures={failures!r}: it is 'fail', 'collect', or how many children may fail")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise GraphError(f"concurrency={concurrency!r}: it is a number of children, at least 1")


def _identifier(name: str) -> str:
    return "".join(one if one.isalnum() or one == "_" else "_" for one in name) or "child"


def _node(
    fn: Callable[..., Any], name: str, kind: str, bodies: dict[str, Graph], limits: Mapping[str, Any] | None,
    fields: tuple[str, ...], policies: Any,
) -> Node:  # fmt: skip
    node = make_node(fn, name=_identifier(name), **policies)
    given = tuple((limits or {}).items())
    return rename(node, kind=kind, bodies=tuple(bodies.items()), limits=given, fields=fields)
