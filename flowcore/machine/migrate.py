"""A stored run and the graph of today: whether they fit, and the fact that makes them, where a migration is declared.

What fits goes on as it is. A migration is asked once: its answer stands in the journal (``Resumed`` with
``by="migrate"``), and from then on the run is one of today's graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from flowcore.errors import FlowcoreError, GraphChanged, StoreError, UpdateError
from flowcore.graph.graph import Graph
from flowcore.graph.migrate import Migration, chain
from flowcore.graph.outcomes import END
from flowcore.graph.state import Schema, listed
from flowcore.graph.values import copy_json, shorten
from flowcore.machine.facts import Fact, Resumed, Started
from flowcore.machine.fold import fold, fold_all, migrated
from flowcore.machine.snapshot import Snapshot


class Fit(NamedTuple):
    """A run, folded to fit today's graph. ``migration``: the fact that isn't in its journal yet, where it took one;
    ``closed``: keys of requests that are closed by it."""

    snapshot: Snapshot
    migration: Resumed | None = None
    closed: Sequence[str] = ()


def fit(graph: Graph, run: str, facts: Sequence[Fact], now: float) -> Fit:
    """Fold a stored journal from its beginning, and migrate it if that's declared. ``now``: seconds since the epoch.

    Raises GraphChanged, which names what is gone, and StoreError where the journal is damaged.
    """
    era = written_with(facts)
    s = _folded(graph, run, facts, era)
    steps = [] if era == graph.fingerprint else chain(graph.migrations, era)
    if not steps:
        _check(graph, s, _mend(era))
        return Fit(s)
    asked = set(s.open)
    fact = _fact(graph, s, steps, now)
    fold(graph.schema, s, fact)
    _check(graph, s, f"; mend the migration '{steps[-1].name}'. The run keeps its place")
    return Fit(s, fact, sorted(asked - set(s.open)))


def written_with(facts: Sequence[Fact]) -> str:
    """The fingerprint of the graph that the run's last facts belong to."""
    last = migrated(facts)
    if last is not None and last.fingerprint is not None:
        return last.fingerprint
    first = facts[0]
    return first.fingerprint if isinstance(first, Started) else ""


def schema_of(graph: Graph, era: str) -> Schema:
    """The schema that values of the graph with this fingerprint are read with: the one that a migration names, else
    today's."""
    step = None if era == graph.fingerprint else graph.migrations.get(era)
    return graph.schema if step is None or step.schema is None else step.schema


def _folded(graph: Graph, run: str, facts: Sequence[Fact], era: str) -> Snapshot:
    try:
        return fold_all(schema_of(graph, era), run, facts)
    except Exception as error:  # StoreError, or whatever today's types and reducers make of yesterday's values
        if era == graph.fingerprint and isinstance(error, (UpdateError, StoreError)):
            raise StoreError(f"run '{run}': {error}; its journal is damaged") from error
        step = graph.migrations.get(era)
        if step is None:
            mend = _mend(era, ", state=...")  # the values are of another shape, so their class is needed
        elif step.schema is None:
            mend = f"; the migration '{step.name}' needs the state class of then: @graph.migrate('{era}', state=...)"
        else:
            mend = f"; the migration '{step.name}' names another state class than the one of then, '{step.schema.name}'"
        raise GraphChanged(
            f"run '{run}' was written with graph '{_name(facts)}' ({era}) and doesn't fit graph '{graph.name}'"
            f" ({graph.fingerprint}): {error}{mend}"
        ) from error


def _name(facts: Sequence[Fact]) -> str:
    first = facts[0]
    return first.graph if isinstance(first, Started) else ""


def _mend(era: str, more: str = "") -> str:
    return (
        f"; go on with the graph as it was, or declare how to get from there to here: @graph.migrate('{era}'{more}) on"
        f" a function (state, place){', with the state class of then' if more else ''}. The run keeps its place"
    )


def _check(graph: Graph, s: Snapshot, mend: str) -> None:
    """Raises GraphChanged where the graph doesn't have what the run stands on."""
    place = s.visit.node
    if place == END:
        return
    if place not in graph.nodes:
        raise GraphChanged(
            f"run '{s.run}' stands at '{place}', which graph '{graph.name}' doesn't have any more; its nodes are"
            f" {listed(graph.nodes)}{mend}"
        )
    pause = s.pause or {}
    for label in filter(None, (pause.get("on"), pause.get("late"))):
        if not graph.has(place, label):
            raise GraphChanged(
                f"run '{s.run}' waits at '{place}' to take '{label}', an outcome that graph '{graph.name}' doesn't have"
                f" there any more; its outcomes are {listed(graph.out.get(place, ()))}{mend}"
            )
    into = pause.get("into")
    if into is not None and into not in graph.schema.fields:
        raise GraphChanged(
            f"run '{s.run}' waits at '{place}' for answers into '{into}', a field that state '{graph.schema.name}'"
            f" doesn't have any more; its fields are {listed(graph.schema.fields)}{mend}"
        )
    if graph.verify is not None:
        try:
            graph.verify(graph.schema.view(s.values), place)
        except GraphChanged as error:
            raise GraphChanged(f"run '{s.run}': {error.message}{mend}") from error


# -- the steps -------------------------------------------------------------------------------------------------------


def _fact(graph: Graph, s: Snapshot, steps: Sequence[Migration], now: float) -> Resumed:
    here = s.visit
    place = here.node
    state = _plain(steps[0].schema or graph.schema, s.values)
    for number, step in enumerate(steps):
        if number and step.schema is not None:
            state = _fitted(s.run, steps[number - 1], step.schema, state)
        state, place = _asked(s.run, step, state, place)
    last = steps[-1]
    wire = _wire(s.run, last, graph.schema, state)
    if place != here.node:
        _may_move(graph, s, place, last)
    return Resumed(
        s.seq + 1, now, now, here.node, here.number, "migrate", not_before=s.not_before, input=wire,
        fingerprint=graph.fingerprint, place=None if place == here.node else place,
    )  # fmt: skip


def _plain(schema: Schema, values: dict[str, Any]) -> dict[str, Any]:
    return {name: copy_json(field.codec.admit(values[name])[0]) for name, field in schema.fields.items()}


def _asked(run: str, step: Migration, state: dict[str, Any], place: str) -> tuple[dict[str, Any], str]:
    try:
        answer = step.fn(state, place) if step.places else step.fn(state)
    except Exception as error:
        raise GraphChanged(
            f"run '{run}': the migration '{step.name}' from {step.source} raised {type(error).__name__}: {error}; mend"
            " it and resume again. The run keeps its place"
        ) from error
    if type(answer) is tuple and len(answer) == 2:
        answer, place = answer
    if type(answer) is not dict or type(place) is not str:
        raise GraphChanged(
            f"run '{run}': the migration '{step.name}' from {step.source} returned {shorten(answer)}; return the new"
            " state as a dict, or (state, place)"
        )
    return answer, place


def _wire(run: str, step: Migration, schema: Schema, state: dict[str, Any]) -> dict[str, Any]:
    """What a migration returned, checked: JSON, or values of the fields' types. Raises GraphChanged."""
    try:
        live = {name: _live(schema, name, value) for name, value in state.items()}
        return schema.filled(schema.initial(live))
    except FlowcoreError as error:
        raise GraphChanged(
            f"run '{run}': what the migration '{step.name}' from {step.source} returned doesn't fit: {error}; return"
            " every field that has no default, and none that isn't there"
        ) from error


def _live(schema: Schema, name: str, value: Any) -> Any:
    field = schema.fields.get(name)
    if field is None:
        return value  # refused by name
    try:
        plain = copy_json(value)
    except (ValueError, RecursionError):
        return value
    return field.codec.decode(plain)


def _fitted(run: str, step: Migration, schema: Schema, state: dict[str, Any]) -> dict[str, Any]:
    """What one migration returned as the next one reads it: of the shape that this one names, defaults filled in."""
    return _plain(schema, schema.begin(_wire(run, step, schema, state)))


def _may_move(graph: Graph, s: Snapshot, place: str, step: Migration) -> None:
    """Raises GraphChanged where a run can't be taken from its place to another one."""
    here = s.visit
    where = f"run '{s.run}': the migration '{step.name}' leads from '{here.node}' to '{place}'"
    if s.standing == "done":
        raise GraphChanged(f"{where}, but the run is done; return the state alone where the place is '{END}'")
    if place not in graph.nodes:
        raise GraphChanged(
            f"{where}, which graph '{graph.name}' doesn't have; its nodes are {listed(graph.nodes)}. The run keeps"
            " its place"
        )
    if s.waiting_children:
        raise GraphChanged(
            f"{where}, but children of it wait there ({listed(s.waiting_children)}): keep the place, or let them end"
            " with the graph as it was"
        )
    doubtful = [key for key in here.intents if key not in here.effects]
    if doubtful:
        raise GraphChanged(
            f"{where}, but of {listed(doubtful)} nobody knows whether it happened there: keep the place, or decide"
            " that with the graph as it was"
        )
