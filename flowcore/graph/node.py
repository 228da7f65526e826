"""A node: one function ``(state, ctx)`` and its policies, read once when it's declared."""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from flowcore.errors import GraphError
from flowcore.graph.outcomes import END, START, Goto, Pause

F = TypeVar("F", bound=Callable[..., Any])

RETRY, LIMIT, TIMEOUT, OVER_BUDGET = "retry", "limit", "timeout", "over_budget"
ENGINE_LABELS = frozenset({RETRY, LIMIT, TIMEOUT, OVER_BUDGET})
"""Labels that the engine takes by itself, from a node's policies; the node's body never names them."""


class Retry(NamedTuple):
    """A retry policy, out of tenacity's values; each is asked once a failure and never runs a loop.

    ``stop``: a tenacity stop, or the number of attempts in all. ``wait``: a tenacity wait, or seconds.
    ``retry``: a tenacity retry, an exception class or a tuple of them (default: every ``Exception`` that isn't a
    programming error). A ``retry_after`` on the exception (seconds) is the least that is waited, unless ``wait`` is
    said to be ``exact``.
    """

    stop: Any = 3
    wait: Any = 0.0
    retry: Any = None
    exact: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A named function of a graph, with its policies.

    ``retry``: see ``Retry``. ``limit``: how many visits of this node a run may have, or the name of a run limit (as in
    ``start(limits={"max_turns": 10})``). ``timeout``: seconds for one entry. ``waits``: the node may answer
    ``Pause``; read
    from the return annotation where there is one. ``labels``: what the return annotation says about the edges taken.
    ``kind``: "task", or for a node that runs children "map", "parallel" or "subgraph"; ``bodies``: their graphs by
    name, ``limits``: the run limits that they're given. ``fields``: fields of the state that the node is known to use.
    """

    fn: Callable[..., Any]
    name: str
    retry: Retry | None = None
    limit: int | str | None = None
    timeout: float | None = None
    waits: bool = False
    is_async: bool = True
    takes_ctx: bool = True
    labels: frozenset[str] | None = None
    kind: str = "task"
    bodies: tuple[tuple[str, Any], ...] = ()
    limits: tuple[tuple[str, Any], ...] = ()
    fields: tuple[str, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)

    @property
    def source(self) -> str:
        """``file:line`` of the function; empty when there's none."""
        code = getattr(inspect.unwrap(_bare(self.fn)), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else ""


@overload
def node(fn: F, /) -> Node: ...
@overload
def node(
    fn: None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | int | None = None,
    limit: int | str | None = None,
    timeout: float | None = None,
    waits: bool | None = None,
) -> Callable[[Callable[..., Any]], Node]: ...
def node(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: Retry | int | None = None,
    limit: int | str | None = None,
    timeout: float | None = None,
    waits: bool | None = None,
) -> Node | Callable[[Callable[..., Any]], Node]:
    """Declare a node: ``@node`` or ``@node(retry=..., limit=..., timeout=...)``; see ``Node``. Raises GraphError."""
    if fn is None:
        return lambda function: make_node(function, name=name, retry=retry, limit=limit, timeout=timeout, waits=waits)
    return make_node(fn, name=name, retry=retry, limit=limit, timeout=timeout, waits=waits)


def make_node(
    fn: Callable[..., Any],
    *,
    name: str | None = None,
    retry: Any = None,
    limit: int | str | None = None,
    timeout: float | None = None,
    waits: bool | None = None,
) -> Node:
    """A ``Node`` from a function and policies. Raises GraphError on what can't be one."""
    if not callable(fn):
        raise GraphError(f"a node is a function (state, ctx), not {fn!r}")
    name = name or getattr(_bare(fn), "__name__", "") or type(fn).__name__
    if name in (START, END) or not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise GraphError(f"a node can't be called {name!r}: use a Python name other than START and END")
    if limit is not None and not isinstance(limit, (int, str)):
        raise GraphError(f"node '{name}': limit={limit!r} is neither a number of visits nor a run limit's name")
    if isinstance(limit, int) and limit < 0:
        raise GraphError(f"node '{name}': limit={limit} is below 0")
    if timeout is not None and not timeout > 0:
        raise GraphError(f"node '{name}': timeout={timeout!r} must be above 0 seconds")
    labels, pauses = _annotated_outcomes(fn)
    return Node(
        fn=fn,
        name=name,
        retry=as_retry(retry, name),
        limit=limit,
        timeout=timeout,
        waits=pauses if waits is None else waits,
        is_async=inspect.iscoroutinefunction(_bare(fn)) or inspect.iscoroutinefunction(getattr(fn, "__call__", None)),  # noqa: B004 - callable objects with an async __call__
        takes_ctx=_takes_ctx(fn, name),
        labels=labels,
    )


def as_retry(retry: Any, name: str) -> Retry | None:
    """A retry policy from one, a number of attempts, or a tenacity object. Raises GraphError."""
    if retry is None or isinstance(retry, Retry):
        return retry
    if isinstance(retry, int) and not isinstance(retry, bool):
        return Retry(stop=retry)
    if hasattr(retry, "stop") and hasattr(retry, "wait") and hasattr(retry, "retry"):  # tenacity.Retrying
        return Retry(stop=retry.stop, wait=retry.wait, retry=retry.retry)
    raise GraphError(
        f"node '{name}': retry={retry!r} is neither a number of attempts nor a Retry(stop=, wait=, retry=)"
    )


def _bare(fn: Any) -> Any:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return fn


def _takes_ctx(fn: Callable[..., Any], name: str) -> bool:
    positional = [
        p
        for p in inspect.signature(fn).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)
    ]
    required_keywords = [
        p.name for p in inspect.signature(fn).parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty
    ]
    required = [p for p in positional if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    if not positional or len(required) > 2 or required_keywords:
        raise GraphError(f"node '{name}' has to be callable as {name}(state, ctx) or {name}(state)")
    return len(positional) > 1 or positional[0].kind is positional[0].VAR_POSITIONAL


def _annotated_outcomes(fn: Callable[..., Any]) -> tuple[frozenset[str] | None, bool]:
    """The labels that the return annotation admits (None: it says nothing), and whether it names ``Pause``."""
    target = inspect.unwrap(_bare(fn))
    if not hasattr(target, "__annotations__"):
        target = type(fn).__call__  # an instance that can be called
    annotation = getattr(target, "__annotations__", {}).get("return", inspect.Signature.empty)
    if annotation is inspect.Signature.empty:
        return None, False
    holder = types.SimpleNamespace(__annotations__={"return": annotation})
    try:
        resolved = get_type_hints(holder, getattr(target, "__globals__", {}), _nonlocals(target))["return"]
    except (NameError, TypeError, SyntaxError, AttributeError):
        return None, False  # a name that exists for type checkers only: the edges are checked when it runs
    return _labels_of(resolved)


def _nonlocals(fn: Any) -> dict[str, Any]:
    """The names that a function has from around it, those that are set by now."""
    found: dict[str, Any] = {}
    if inspect.isfunction(fn) and fn.__closure__:
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__, strict=True):
            try:
                found[name] = cell.cell_contents
            except ValueError:
                pass  # assigned later
    return found


def _labels_of(annotation: Any) -> tuple[frozenset[str] | None, bool]:
    origin = get_origin(annotation)
    if annotation is Pause or origin is Pause:
        return frozenset(), True
    if origin in (Union, types.UnionType):
        parts = [_labels_of(one) for one in get_args(annotation)]
        pauses = any(one for _, one in parts)
        sets = [labels for labels, _ in parts]
        if any(labels is None for labels in sets):
            return None, pauses
        return frozenset().union(*(labels for labels in sets if labels is not None)), pauses
    if origin is Goto:
        return _labels_of(get_args(annotation)[0])
    if origin is Literal and all(isinstance(one, str) for one in get_args(annotation)):
        return frozenset(get_args(annotation)), False
    return None, False


def label_name(on: str | type[BaseException]) -> str:
    """An edge's label as text: an exception class stands under its name."""
    return on if isinstance(on, str) else on.__name__


def rename(node: Node, **changes: Any) -> Node:
    """A node with some of its fields changed."""
    fields: Mapping[str, Any] = {name: getattr(node, name) for name in Node.__slots__}
    return Node(**{**fields, **changes})
