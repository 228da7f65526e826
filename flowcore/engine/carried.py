"""What is carried of a tree of runs, as JSON and back.

The way back believes nothing: what comes in may have been written by anybody, and every part of it is checked before a
fold sees it. Nothing in it names code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from flowcore.errors import StoreError, UserError
from flowcore.graph.values import copy_json, dumps, loads
from flowcore.machine.facts import KINDS, Fact, Rested, Signal, Standing, Started, Transition, types_of
from flowcore.machine.wire import READS, SCHEMA_VERSION, Row, encode, read
from flowcore.stores.base import Letter
from flowcore.stores.checks import check_run_id, check_session_id

FORMAT = 1
"""Version of the form in which a tree is carried."""
LONGEST = 1e15
"""The greatest time that is believed, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Journal:
    """One run. ``turns``: as its index row counted them."""

    run: str
    label: str
    turns: int
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class SessionCopy:
    """What the session held that the root run reads by position: ``items``, of which the run reads the first ``read``.
    ``field``: of the run's state, holds the position of the last one that it reads."""

    session: str
    field: str
    read: int
    items: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """A tree of runs. ``runs``: the root's journal first. ``letters``: sent and not taken in yet."""

    runs: tuple[Journal, ...]
    letters: tuple[Letter, ...] = ()
    session: SessionCopy | None = None

    @property
    def root(self) -> Journal:
        """The root run's journal."""
        return self.runs[0]

    def to_json(self) -> dict[str, Any]:
        """As JSON: ``{"format": 1, "facts": 1, "run": id, "graph": name, "fingerprint": …, "runs": […]}``."""
        first: Any = self.root.facts[0]
        data: dict[str, Any] = {
            "format": FORMAT,
            "facts": SCHEMA_VERSION,
            "run": self.root.run,
            "graph": first.graph,
            "fingerprint": first.fingerprint,
            "runs": [_journal_to_json(one) for one in self.runs],
        }
        if self.letters:
            data["letters"] = [
                {"run": one.run, "id": one.id, "kind": one.kind, "key": one.key, "value": one.value, "at": one.at}
                for one in self.letters
            ]
        if self.session is not None:
            one = self.session
            data["session"] = {"id": one.session, "field": one.field, "read": one.read, "items": list(one.items)}
        return copy_json(data)  # type: ignore[no-any-return]


def _journal_to_json(journal: Journal) -> dict[str, Any]:
    data: dict[str, Any] = {"run": journal.run, "facts": [_fact_to_json(fact) for fact in journal.facts]}
    if journal.label:
        data["label"] = journal.label
    if journal.turns:
        data["turns"] = journal.turns
    return data


def _fact_to_json(fact: Fact) -> dict[str, Any]:
    row = encode(fact)
    data: dict[str, Any] = {"fact": row.kind, "node": row.node, "visit": row.visit, "at": row.at}
    if row.on is not None:
        data.update(on=row.on, to=row.to)
    body = loads(row.payload)
    del body["v"]
    return {**data, **body}


# -- and back --------------------------------------------------------------------------------------------------------


def carried_from(data: Any) -> Carried:
    """The inverse of ``Carried.to_json``. Raises StoreError on anything else, telling where; it never quotes a value.

    The facts are each of a known kind and well formed; whether they follow each other is for who folds them to say.
    """
    try:
        data = copy_json(data)
    except (ValueError, RecursionError):
        raise _broken("it isn't plain JSON, or is nested too deeply") from None
    data = _dict(data, "a tree of runs")
    for name, known in (("format", range(1, FORMAT + 1)), ("facts", READS)):
        version = data.get(name)
        if type(version) is not int or version not in known:
            newer = type(version) is int and version > known[-1]
            why = "a newer flowcore wrote it; update flowcore" if newer else "there's no such version"
            reads = f"{known[0]} to {known[-1]}" if len(known) > 1 else f"{known[0]}"
            raise _broken(f"its '{name}' version isn't {reads}, which this flowcore reads: {why}")
    _only(data, {"format", "facts", "run", "graph", "fingerprint", "runs", "letters", "session"}, "a tree of runs")
    runs = tuple(_journal(one) for one in _list(data.get("runs"), "its 'runs'"))
    if not runs or runs[0].run != data.get("run"):
        raise _broken("its first journal isn't that of the run that it names")
    ids = {one.run for one in runs}
    if len(ids) != len(runs):
        raise _broken("it has two journals of one run")
    if not all(one.run.startswith(f"{runs[0].run}/") for one in runs[1:]):
        raise _broken("it has a journal of a run that isn't a child of its root")
    first: Any = runs[0].facts[0]
    if (first.graph, first.fingerprint) != (data.get("graph"), data.get("fingerprint")):
        raise _broken("its root run was begun with another graph than it names")
    letters = tuple(_letter(one, ids) for one in _list(data.get("letters", []), "its 'letters'"))
    if len({one.id for one in letters}) != len(letters):
        raise _broken("two of its letters have one id")
    session = data.get("session")
    return Carried(runs, letters, None if session is None else _session(session))


def _journal(data: Any) -> Journal:
    data = _dict(data, "a journal")
    _only(data, {"run", "label", "turns", "facts"}, "a journal")
    run, label, turns = data.get("run"), data.get("label", ""), data.get("turns", 0)
    if not _text(run):
        raise _broken("a journal's 'run' isn't a run's id")
    try:
        check_run_id(run)
    except UserError:
        raise _broken("a journal's 'run' isn't a run's id") from None
    if not _text(label) or not _whole(turns) or turns < 0:
        raise _broken("a journal's 'label' or 'turns' is malformed")
    rows = _list(data.get("facts"), f"the facts of '{run}'")
    facts = tuple(_fact(run, seq, one) for seq, one in enumerate(rows))
    if not facts or type(facts[0]) is not Started:
        raise _broken(f"run '{run}' doesn't begin with 'started'")
    if any(type(fact) is Started for fact in facts[1:]):
        raise _broken(f"run '{run}' begins twice")
    return Journal(run, label, turns, facts)


def _fact(run: str, seq: int, data: Any) -> Fact:
    where = f"fact {seq} of '{run}'"
    body = dict(_dict(data, where))
    kind = body.pop("fact", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise _broken(f"{where} is of no known kind; was it written by a newer flowcore?")
    node, visit, on, to, at = (body.pop(name, None) for name in ("node", "visit", "on", "to", "at"))
    try:
        fact = read(Row(seq, kind, node, visit, on, to, at, dumps({**body, "v": SCHEMA_VERSION})))
    except StoreError:
        raise _broken(f"{where} doesn't have the fields of '{kind}'") from None
    for name, check in _CHECKS[type(fact)]:
        if not check(getattr(fact, name)):
            raise _broken(f"{where}: '{name}' isn't what '{kind}' has there")
    if isinstance(fact, (Transition, Rested)) and fact.error is not None and not _error(fact.error):
        raise _broken(f"{where}: 'error' tells no kind and message")
    if isinstance(fact, Rested) and fact.pause is not None and not _pause(fact.pause):
        raise _broken(f"{where}: 'pause' is malformed")
    if isinstance(fact, Signal) and not _signal(fact.kind, fact.key, fact.value):
        raise _broken(f"{where} is no signal that there is")
    usage = getattr(fact, "usage", None)
    if usage is not None and not all(_number(one) for one in usage.values()):
        raise _broken(f"{where}: 'usage' counts with something that isn't a number")
    return fact


def _letter(data: Any, runs: set[str]) -> Letter:
    data = _dict(data, "a letter")
    _only(data, {"run", "id", "kind", "key", "value", "at"}, "a letter")
    run, id, kind, key, value, at = (data.get(name) for name in ("run", "id", "kind", "key", "value", "at"))
    if not isinstance(run, str) or run not in runs:
        raise _broken("a letter is for a run that isn't among its own")
    if not (_text(id) and id and isinstance(kind, str) and _maybe(_text)(key) and _time(at)):
        raise _broken("a letter is malformed")
    if not _signal(kind, key, value):
        raise _broken("a letter is no signal that there is")
    return Letter(run, id, kind, key, value, at)


def _session(data: Any) -> SessionCopy:
    data = _dict(data, "its 'session'")
    _only(data, {"id", "field", "read", "items"}, "its 'session'")
    items = tuple(_list(data.get("items"), "the items of its session"))
    session, field, read = data.get("id"), data.get("field"), data.get("read")
    try:
        check_session_id(session)
    except UserError:
        raise _broken("its session's 'id' isn't one") from None
    if not _text(field) or not _whole(read) or not 0 <= read <= len(items):
        raise _broken("its session's 'field' or 'read' is malformed")
    return SessionCopy(session, field, read, items)


# -- checks ----------------------------------------------------------------------------------------------------------


def _broken(why: str) -> StoreError:
    return StoreError(f"what was carried can't be read: {why}")


def _dict(value: Any, what: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise _broken(f"{what} isn't an object")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if type(value) is not list:
        raise _broken(f"{what} isn't a list")
    return value


def _only(data: Mapping[str, Any], known: set[str], what: str) -> None:
    if not known.issuperset(data):
        raise _broken(f"{what} has a field that isn't one of {', '.join(sorted(known))}")


def _text(value: Any) -> bool:
    return type(value) is str


def _whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 2**53  # what every store and every JSON reader holds exactly


def _number(value: Any) -> bool:
    return type(value) is float or _whole(value)


def _time(value: Any) -> bool:
    return _number(value) and abs(value) <= LONGEST


def _object(value: Any) -> bool:
    return type(value) is dict


def _maybe(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _texts(value: Any) -> bool:
    return type(value) is list and all(type(one) is str for one in value)


def _error(value: dict[str, Any]) -> bool:
    return _text(value.get("kind")) and _text(value.get("message"))


def _pause(value: dict[str, Any]) -> bool:
    names = {"on": _text, "into": _maybe(_text), "until": _maybe(_time), "late": _maybe(_text), "keys": _texts}
    enough = value.get("enough")
    known = isinstance(enough, str) and enough in ("all", "any")
    return known and set(value) == {*names, "enough"} and all(check(value[name]) for name, check in names.items())


def _signal(kind: str, key: Any, value: Any) -> bool:
    if kind == "answer":
        return _text(key)
    if kind == "stop":
        return value is None or _texts(value)
    return kind in ("cancel", "input")


_BY_TYPE: dict[str, Callable[[Any], bool]] = {
    "int": _whole,
    "int | None": _maybe(_whole),
    "float": _time,
    "float | None": _maybe(_time),
    "str": _text,
    "str | None": _maybe(_text),
    "bool": lambda value: type(value) is bool,
    "Standing": lambda value: type(value) is str and value in get_args(Standing),
    "dict[str, Any]": _object,
    "dict[str, Any] | None": _maybe(_object),
    "dict[str, str] | None": _maybe(lambda value: type(value) is dict and _texts(list(value.values()))),
    "list[str] | None": _maybe(_texts),
}
"""What a field of a fact may hold, by its annotation."""

_CHECKS: dict[type, Sequence[tuple[str, Callable[[Any], bool]]]] = {
    cls: [(name, _BY_TYPE[written]) for name, written in types_of(cls).items() if written != "Any"]
    for cls in KINDS.values()
}
