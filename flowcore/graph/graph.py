"""``Graph``: nodes, labelled edges and a state schema, in one table. What is drawn from it is what can happen.

A graph is checked when it's built: at once when its edges are given as one dict, else by ``build()`` or its first use.
Afterwards it doesn't change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcore.errors import GraphError, UndeclaredTransition, UpdateError
from flowcore.graph import check as checks
from flowcore.graph import draw, edit, prove
from flowcore.graph.bound import Bound, bounded
from flowcore.graph.conditions import Condition, When
from flowcore.graph.diff import Diff, diff
from flowcore.graph.ends import End
from flowcore.graph.migrate import Function, Migration, declared
from flowcore.graph.node import ENGINE_LABELS, OVER_BUDGET, RETRY, Node, as_retry, label_name, make_node, rename
from flowcore.graph.outcomes import END, START
from flowcore.graph.state import Schema, listed
from flowcore.graph.values import dumps, shorten

if TYPE_CHECKING:
    import networkx

DONE = "done"
"""The label of an edge that was declared without one."""

Target = Any
"""A function, a ``Node``, a node's name, ``END``, or ``continues(target)``."""


class Edge(NamedTuple):
    """One drawn edge: from ``source``, on the outcome ``on``, to ``target`` (names). ``continues``: the target's last
    visit
    is re-entered instead of a new one opened. ``error``: the exception class, where the label is one. ``when``: the
    condition
    on the state, where it's an edge by data."""

    source: str
    on: str
    target: str
    continues: bool = False
    error: type[BaseException] | None = None
    when: Condition | None = None


class continues(NamedTuple):
    """In an edge table: re-enter the target's last visit (its effects, children and open requests)."""

    target: Any


class Graph:
    """A workflow, declared.

    ``Graph("name", State, {START: a, a: {"ok": b, ValueError: c}, b: END, c: END})`` builds it at once;
    ``g = Graph("name", State)``, ``g.edge(START, a)``, ``g.edge(a, "ok", b)``, ``g.build()`` does it call by call.

    ``takes``: the field that a plain input (no dict, no state) goes into. ``gives``: the field that is the run's
    output;
    without it the output is the whole final state as a dict. ``bound``: an object that nodes find as ``ctx.bound``.
    ``parts``: texts drawn inside a node. ``marks``: further names that belong to the fingerprint (tools, agents).
    ``retry``, ``timeout``, ``errors`` (``{exception class: target}``): for every node that declares none of its own; a
    node that ``errors`` leads to gets no such edges.
    ``input_type``, ``output_type``: models or dataclasses with some of the state's fields, where what goes in and comes
    out is less than the state. ``limits``: run limits that hold where ``start`` says nothing else, by name.
    ``verify``: called as ``verify(state,
    node name)`` when a stored run is resumed; raises GraphChanged.

    Raises GraphError with every finding, each naming the node and the cure.
    """

    def __init__(
        self,
        name: str,
        state: type[Any],
        edges: Mapping[Any, Any] | None = None,
        *,
        nodes: Iterable[Any] = (),
        takes: str | None = None,
        convert: Callable[[Any], Any] | None = None,
        gives: str | Callable[[Mapping[str, Any]], Any] | None = None,
        bound: Any = None,
        parts: Mapping[str, list[str]] | None = None,
        marks: Iterable[str] = (),
        verify: Callable[[Any, str], None] | None = None,
        limits: Mapping[str, Any] | None = None,
        input_type: type[Any] | None = None,
        output_type: type[Any] | None = None,
        retry: Any = None,
        timeout: float | None = None,
        errors: Mapping[type[BaseException], Any] | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise GraphError(f"a graph's name is a non-empty str, not {name!r}")
        self.name = name
        self.schema = Schema(state)
        self.takes = takes
        self.convert = convert
        self.gives = gives
        self.bound = bound
        self.parts = dict(parts or {})
        self.marks = tuple(marks)
        self.tools: tuple[prove.Tool, ...] = ()
        self.migrations: dict[str, Migration] = {}
        self.verify = verify
        self.limits = dict(limits or {})
        self._defaults = (retry, timeout, dict(errors or {}))
        if takes is not None and input_type is not None:
            raise GraphError(f"graph '{name}': it has an input_type, so nothing else says what it takes")
        if gives is not None and output_type is not None:
            raise GraphError(f"graph '{name}': it has an output_type, so nothing else says what it gives")
        self.input_end = End(name, self.schema, "input", input_type) if input_type is not None else None
        self.output_end = End(name, self.schema, "output", output_type) if output_type is not None else None
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []
        self.out: dict[str, dict[str, Edge]] = {}
        self.ordinary: dict[str, Edge | None] = {}
        self.conditional: dict[str, list[Edge]] = {}
        self.first = ""
        self.budgeted = False
        self.findings: list[checks.Finding] = []
        self._errors: dict[str, list[Edge]] = {}
        self._answers: dict[str, dict[str | None, Edge]] = {}  # what a body may answer; None: no label
        self._by_fn: dict[Any, str] = {}
        self._built = False
        self._fingerprint: str | None = None
        self._topology: str | None = None
        for field in (takes, gives):
            if isinstance(field, str) and field not in self.schema.fields:
                raise GraphError(f"graph '{name}': state '{self.schema.name}' has no field '{field}'")
        for one in nodes:
            self._node(one)
        if edges is not None:
            self._table(edges)
            self.build()

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}: {len(self.nodes)} nodes, {len(self.edges)} edges>"

    # -- declaring -----------------------------------------------------------------------------------------------

    def edge(self, source: Any, on: Any, target: Any = None, *, continues: bool = False) -> Graph:
        """Declare one edge: ``edge(a, "ok", b)``, or ``edge(a, b)`` for a node's only ordinary edge. Returns the
        graph."""
        if self._built:
            raise GraphError(f"graph '{self.name}' is built: declare its edges before its first use")
        if target is None:
            on, target = DONE, on
        self._edge(source, on, target, continues)
        return self

    def build(self) -> Graph:
        """Check the graph and close it. Raises GraphError with all that is wrong. Returns the graph."""
        if self._built:
            return self
        self._error_edges()
        for name, node in self.nodes.items():
            if node.retry is not None and RETRY not in self.out.get(name, {}):
                self._edge(name, RETRY, name, True)
        self.findings = checks.check(self)
        errors = [finding for finding in self.findings if finding.level == "error"]
        if errors:
            raise GraphError("\n".join(f"graph '{self.name}': {finding.message}" for finding in errors))
        self.first = self.out[START][next(iter(self.out[START]))].target
        for name in self.nodes:
            edges = self.out.get(name, {})
            plain = [edge for edge in edges.values() if edge.error is None and edge.on not in ENGINE_LABELS]
            self.ordinary[name] = plain[0] if len(plain) == 1 else None
            self._errors[name] = [edge for edge in edges.values() if edge.error is not None]
            if name not in self.conditional:
                self._answers[name] = {e.on: e for e in edges.values() if e.on == OWN and e.error is None}
                self._answers[name].update((edge.on, edge) for edge in plain)
                if len(plain) == 1:
                    self._answers[name][None] = plain[0]
        self.budgeted = any(edge.on == OVER_BUDGET for edge in self.edges)
        self._built = True
        return self

    def _with_defaults(self, node: Node) -> Node:
        """A node with the graph's policies where it has none of its own."""
        retry, timeout, _ = self._defaults
        changes: dict[str, Any] = {}
        if retry is not None and node.retry is None:
            changes["retry"] = as_retry(retry, node.name)
        if timeout is not None and node.timeout is None:
            changes["timeout"] = timeout
        return rename(node, **changes) if changes else node

    def _error_edges(self) -> None:
        """The graph's error edges, on every node that declares none for the same exception and isn't led to by them."""
        errors = {error: self._name(target, "target") for error, target in self._defaults[2].items()}
        for name in list(self.nodes):
            for error, target in errors.items():
                if name not in errors.values() and label_name(error) not in self.out.get(name, {}):
                    self._edge(name, error, target, False)

    def _table(self, edges: Mapping[Any, Any]) -> None:
        if not isinstance(edges, Mapping):
            raise GraphError(f"graph '{self.name}': edges is a dict {{source: target}}, not {shorten(edges)}")
        for source, targets in edges.items():
            name = self._name(source, "source")
            if isinstance(targets, list):
                self._conditions(name, targets)
                continue
            pairs = targets.items() if isinstance(targets, Mapping) else [(DONE, targets)]
            for on, target in pairs:
                self._edge(source, on, target, False)

    def _conditions(self, source: str, edges: list[Any]) -> None:
        """A node's edges by data, in the order in which they're asked; pairs among them are error and engine edges."""
        asked = [one for one in edges if isinstance(one, When)]
        for one in edges:
            if isinstance(one, When):
                if (one.condition is None) != (one is asked[-1]):
                    raise GraphError(
                        f"graph '{self.name}': the conditions of node '{source}' end with otherwise(...), and only"
                        " there"
                    )
                self._edge(source, one.label, one.target, False, one.condition)
            elif isinstance(one, tuple) and len(one) == 2 and (isinstance(one[0], type) or one[0] in ENGINE_LABELS):
                self._edge(source, one[0], one[1], False)
            else:
                raise GraphError(
                    f"graph '{self.name}': the edges of node '{source}' are a list, so each is a when(...), an"
                    f" otherwise(...), or a pair (exception class, target), not {shorten(one)}; labelled edges are a"
                    " dict"
                )
        out = self.out.get(source, {})
        self.conditional[source] = [out[one.label] for one in asked]

    def _edge(self, source: Any, on: Any, target: Any, goes_on: bool, condition: Condition | None = None) -> None:
        if type(target) is continues:
            target, goes_on = target.target, True
        goes_on = goes_on or on == RETRY
        error = on if isinstance(on, type) and issubclass(on, BaseException) else None
        if error is None and not (isinstance(on, str) and on):
            raise GraphError(f"graph '{self.name}': an edge's label is a str or an exception class, not {shorten(on)}")
        name = self._name(source, "source")
        edge = Edge(name, label_name(on), self._name(target, "target"), goes_on, error, condition)
        out = self.out.setdefault(edge.source, {})
        if edge.on in out:
            raise GraphError(f"graph '{self.name}': node '{edge.source}' has two edges labelled '{edge.on}'; keep one")
        out[edge.on] = edge
        self.edges.append(edge)

    def _name(self, of: Any, role: str) -> str:
        if isinstance(of, str):
            if of in (START, END):
                if (of == END) == (role == "source"):
                    raise GraphError(f"graph '{self.name}': {of} can't be an edge's {role}")
                return of
            return of  # a node by its name: whether there is one is checked when the graph is built
        return self._node(of)

    def _node(self, of: Any) -> str:
        try:
            known = self._by_fn.get(of)
        except TypeError:
            known = None
        if known is not None:
            return known
        node = of if isinstance(of, Node) else of.as_node() if hasattr(of, "as_node") else make_node(of)
        there = self.nodes.get(node.name)
        if there is not None and there is not node and there.fn is not node.fn:
            raise GraphError(
                f"graph '{self.name}': two nodes are called '{node.name}' ({there.source} and {node.source}); "
                "rename one with @node(name=...)"
            )
        self.nodes.setdefault(node.name, self._with_defaults(node))
        try:
            self._by_fn[of] = node.name
        except TypeError:
            pass  # it can't be hashed: it's known by its name
        return node.name

    # -- what the machine asks -------------------------------------------------------------------------------------

    def edge_for(self, node: str, on: str | None) -> Edge:
        """The edge that a node's answer takes; ``None`` stands for its only ordinary edge. Raises
        UndeclaredTransition."""
        answers = self._answers.get(node)
        edge = None if answers is None else answers.get(on)
        if edge is not None:
            return edge
        edges = self.out.get(node, {})
        if node in self.conditional:
            raise UndeclaredTransition(
                f"graph '{self.name}': the edges of node '{node}' are conditions on the state; return what is new, no"
                " label"
            )
        if on is None:
            raise UndeclaredTransition(
                f"graph '{self.name}': node '{node}' returned no label, but its edges are {listed(edges)};"
                " return Goto(label, ...)"
            )
        raise UndeclaredTransition(
            f"graph '{self.name}': node '{node}' returned Goto({on!r}), but its edges are {listed(edges)};"
            " add an edge or fix the label"
        )

    def choose(self, node: str, read: Callable[[str], Any]) -> Edge:
        """The edge by data that a node takes; ``read(name)`` gives a field of the state as it will be."""
        return next(e for e in self.conditional[node] if e.when is None or e.when.holds(read))

    def edge_for_error(self, node: str, error: BaseException) -> Edge | None:
        """The declared edge for an exception: the most specific class wins."""
        found = [edge for edge in self._errors.get(node, ()) if edge.error and isinstance(error, edge.error)]
        return max(found, key=lambda edge: len(edge.error.__mro__) if edge.error else 0, default=None)

    def has(self, node: str, on: str) -> bool:
        """Whether an edge with this label is declared."""
        return on in self.out.get(node, ())

    def initial(self, input: Any) -> dict[str, Any]:
        """The wire form of the first state from what ``start`` was given. Raises UpdateError."""
        cls = self.schema.cls
        if self.input_end is not None:
            return self.schema.initial(self.input_end.taken(input))
        if isinstance(input, cls):
            given: Any = {name: getattr(input, name) for name in self.schema.fields}
        elif self.takes is not None and not (isinstance(input, dict) and self.takes in input):
            given = {self.takes: self.convert(input) if self.convert is not None else input}
        elif input is None:
            given = {}
        else:
            given = input
        if not isinstance(given, Mapping):
            raise UpdateError(
                f"graph '{self.name}' starts from a dict of its state's fields ({listed(self.schema.fields)}) or a"
                f" {cls.__name__}, not {shorten(input)}"
            )
        return self.schema.initial(given)

    def output(self, values: Mapping[str, Any]) -> Any:
        """The run's output in wire form, from the final values."""
        fields = self.schema.fields
        if self.output_end is not None:
            return self.output_end.made(values)
        if callable(self.gives):
            return self.gives(values)
        if self.gives is not None:
            return fields[self.gives].codec.admit(values[self.gives])[0]
        return {name: field.codec.admit(values[name])[0] for name, field in fields.items()}

    @property
    def fingerprint(self) -> str:
        """A short hash of topology, state schema and marks: it changes when a stored run may no longer fit."""
        if self._fingerprint is None:
            table = {"table": self.build()._table_hash(), "marks": sorted(self.marks)}
            self._fingerprint = hashlib.sha256(dumps(table)).hexdigest()[:16]
        return self._fingerprint

    def _table_hash(self) -> str:
        """The hash of edges and schema: made once, and kept by every ``with_`` of this graph."""
        if self._topology is None:
            table = {
                "edges": sorted([edge.source, edge.on, edge.target, edge.continues] for edge in self.edges),
                "state": {name: field.shape for name, field in self.schema.fields.items()},
            }
            bodies = {
                node.name: [node.kind, *([name, body.fingerprint] for name, body in node.bodies)]
                for node in self.nodes.values()
                if node.bodies
            }
            if bodies:
                table["bodies"] = bodies
            self._topology = hashlib.sha256(dumps(table)).hexdigest()
        return self._topology

    # -- runs of an older one ------------------------------------------------------------------------------------------

    def migrate(
        self, fingerprint: str, *, to: str | None = None, state: type[Any] | None = None
    ) -> Callable[[Function], Function]:
        """Declare how a run of an older version of this graph becomes one of today's:
        ``@graph.migrate("0f3a…")`` on a function ``(state, place)``.

        ``fingerprint``: the older version's. The function is given that version's state as plain JSON, by field, and
        the node where the run stands ("END": it's done); it returns the new state as a dict, or ``(state, place)``.
        Fields that it leaves out have their defaults. ``state``: the state class of then, where its fields have
        changed since. ``to``: the fingerprint that it leads to, if that isn't today's any more; a migration from there
        has to be declared before. A later one then has to begin there, so the newest stands first.

        It's asked when such a run is loaded, and its answer is written down when the run is taken up again: no later
        process asks again. At the same place the visit goes on: what finished in it isn't run again, what waits is
        waited for. At another place a new visit begins; the old one's requests are closed, and where children of it
        haven't ended, or an effect of it is in doubt, the run is refused.

        Builds the graph. Raises GraphError for a fingerprint that is malformed, today's, or declared twice, a ``to``
        that leads nowhere, and a function that takes something else.
        """

        def declare(fn: Function) -> Function:
            self.migrations[fingerprint] = declared(
                self.name, self.fingerprint, self.migrations, fingerprint, to, state, fn
            )
            return fn

        return declare

    # -- looking at it -----------------------------------------------------------------------------------------------

    def check(self) -> list[checks.Finding]:
        """What there is to say about the graph; errors have refused to build it."""
        return checks.check(self)

    def mermaid(self) -> str:
        """The graph as a Mermaid state diagram, from the table that runs."""
        return draw.drawing(self.build()).mermaid()

    def dot(self) -> str:
        """The graph in DOT, for Graphviz."""
        return draw.drawing(self.build()).dot()

    def svg(self) -> str:
        """The graph as a standalone SVG document."""
        return draw.drawing(self.build()).svg()

    def json(self) -> str:
        """The graph as JSON text; see ``Drawing.data`` for its keys."""
        return draw.drawing(self.build()).json()

    def drawing(self) -> draw.Drawing:
        """The graph as it's declared so far, to be drawn; it isn't built by being looked at."""
        return draw.drawing(self)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {**self.drawing()._repr_mimebundle_(), "text/plain": repr(self)}

    def networkx(self) -> networkx.MultiDiGraph[str]:
        """The graph as a ``networkx.MultiDiGraph``: nodes by name, edges keyed by label."""
        return draw.to_networkx(self.build())

    # -- proofs ------------------------------------------------------------------------------------------------------

    def always_before(self, first: prove.Through, then: str) -> prove.Proof:
        """Whether the body of ``first`` (or the edge ``(node, label)``) runs on every walk to ``then``, before it."""
        return prove.always_before(self, first, then)

    def never_reaches(
        self, then: str, start: str = START, *, without: prove.Through | Sequence[prove.Through] | None = None
    ) -> prove.Proof:
        """Whether no walk leads from ``start`` to ``then`` without one of ``without`` (nodes, edges) between."""
        return prove.never_reaches(self, then, start=start, without=without)

    def bounded(
        self, limits: Mapping[str, int | None] | None = None, /, *, waits: int | None = None, **named: int | None
    ) -> Bound:
        """The most transitions that a run can take, under these run limits: ``graph.bounded(max_turns=10) <= 60``.

        False where nothing bounds them. ``waits``: how often each waiting node is answered at most. Retries count by
        the declared policies.

        Counted are the run's own, of its journal, until it ends or fails. Its children are runs with journals of their
        own: each that the table names (of ``map``, ``parallel``, ``subgraph`` and agents that are tools) has to be
        bounded, too, under the limits that its node gives it, and ``children`` tells each one's bound by
        "node/child", but not how many of a ``map`` there will be. Not seen are children that a body runs by
        ``ctx.child``.
        """
        return bounded(self, {**(limits or {}), **named}, waits)

    def requires_approval(self, tool: str) -> prove.Proof:
        """Whether every call of an agent's tool waits for a decision, also inside of agents that are its tools."""
        return prove.requires_approval(self, tool)

    def diff(self, other: Graph) -> Diff:
        """What has to change for this graph to become the other one; false when they're the same."""
        return diff(self, other)

    def insert(self, node: Any, *, before: str | None = None, after: str | None = None, on: str | None = None) -> Graph:
        """A new graph with ``node`` before a node (on every way into it), or after one (on its edge ``on``). This one
        stays as it is: take an agent's ``graph``, put a node in, and ``start`` that. Raises GraphError."""
        if (before is None) == (after is None):
            raise GraphError(f"graph '{self.name}': insert() needs either before= or after=")
        if before is not None:
            return edit.inserted_before(self, before, node)
        return edit.inserted_after(self, str(after), node, on)

    def replace(self, name: str, node: Any) -> Graph:
        """A new graph in which ``node`` takes the place of the node ``name``, with its edges. Raises GraphError."""
        return edit.replaced(self, name, node)

    def blank(self) -> Graph:
        """An empty graph of the same name, state, bound object and marks: to be declared anew."""
        other = Graph(
            self.name, self.schema.cls, takes=self.takes, convert=self.convert, gives=self.gives, bound=self.bound,
            parts=self.parts, marks=self.marks, verify=self.verify, limits=self.limits,
            input_type=self.input_end.cls if self.input_end else None,
            output_type=self.output_end.cls if self.output_end else None,
        )  # fmt: skip
        other.tools = self.tools
        return other

    def with_(self, **changes: Any) -> Graph:
        """The same table with another ``name``, ``bound``, ``parts``, ``tools``, ``marks``, ``verify`` or ``gives``;
        nothing is checked again."""
        unknown = set(changes) - {"name", "bound", "parts", "tools", "marks", "verify", "gives"}
        if unknown:
            raise TypeError(f"with_() can't change {listed(sorted(unknown))}")
        self.build()._table_hash()
        other = object.__new__(Graph)
        other.__dict__.update(self.__dict__, _fingerprint=None, migrations=dict(self.migrations), **changes)
        return other


OWN = "timeout"
"""The one engine label that a body may also take by itself (a Pause's ``late`` edge is often called so)."""
