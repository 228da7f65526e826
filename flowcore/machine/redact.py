"""What is shown of facts in which something is secret. Which that is stands in a run's first fact (``marks``), so that
it's known without the graph. The journal itself isn't changed.

A secret that was seen is hidden wherever else it turns up: in a tool's error, in what a model says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowcore.graph.secret import MASK
from flowcore.machine.facts import Fact, Started

KEY = "secret"
"""Where the marks stand in ``Started.meta``, and the names of secret arguments in a request's data."""
SHORTEST = 4
"""Characters of a secret that's also looked for in other texts: a shorter one can't be told from anything else."""
_FIELDS = ("input", "update", "value", "data", "error", "meta")


def marks(state: Iterable[str], arguments: Mapping[str, list[str]], outputs: list[str]) -> dict[str, Any] | None:
    """What a run's first fact says is secret: fields of the state, arguments by tool, tools' outputs. None: nothing."""
    found = {"state": list(state), "arguments": dict(arguments), "outputs": outputs}
    return {name: one for name, one in found.items() if one} or None


class Redactor:
    """Hides what is secret in a tree of runs. ``active``: something is. Facts are to be given in order, each run's from
    its first on; ``before`` gives those of a run that isn't told of from its first on.
    """

    __slots__ = ("_arguments", "_before", "_calls", "_outputs", "_seen", "_state", "_values", "active")

    def __init__(self, before: Callable[[str], Iterable[Fact]] = lambda run: ()) -> None:
        self.active = False
        self._before = before
        self._seen: set[str] = set()
        self._state: dict[str, frozenset[str]] = {}
        self._arguments: dict[str, frozenset[str]] = {}
        self._outputs: set[str] = set()
        self._calls: dict[str, str] = {}
        self._values: list[str] = []

    def learn(self, run: str, fact: Fact) -> None:
        """Take in what is secret in a fact."""
        if run not in self._seen:
            self._seen.add(run)
            for one in [] if type(fact) is Started else list(self._before(run)):
                if one.seq < fact.seq:
                    self.learn(run, one)
        if type(fact) is Started:
            self._mark(run, fact)
        if self.active:
            self._learn(run, fact)

    def _learn(self, run: str, fact: Fact) -> None:
        names = self._state.get(run, frozenset())
        how = getattr(fact, "how", None) or {}
        for field in _FIELDS:
            of = getattr(fact, field, None)
            if isinstance(of, dict) and names:
                for name, one in of.items():
                    if name in names:
                        self._keep(_new(one, how.get(name)) if field == "update" else one)
            self._look(of)

    def fact(self, run: str, fact: Fact) -> Fact:
        """The fact as it may be shown; the same one where nothing is secret."""
        if self.active or run not in self._seen or type(fact) is Started:
            self.learn(run, fact)
        return self.hidden(run, fact) if self.active else fact

    def hidden(self, run: str, fact: Fact) -> Fact:
        """``fact`` of one that was learned."""
        if not self.active:
            return fact
        names = self._state.get(run, frozenset())
        changes: dict[str, Any] = {}
        for field in _FIELDS:
            of = getattr(fact, field, None)
            if of is None:
                continue
            if field in ("input", "update") and isinstance(of, dict):
                changes[field] = {name: MASK if name in names else self.hide(one) for name, one in of.items()}
            else:
                changes[field] = self.hide(of)
        return fact._replace(**changes)

    def hide(self, value: Any) -> Any:
        """A value of a fact, or around one, as it may be shown."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            shown = {name: self.hide(one) for name, one in value.items()}
            secret = self._secret_of(value)
            if secret and "arguments" in value:
                shown["arguments"] = hide_arguments(value["arguments"], secret)
            if value.get("type") == "function_call_output" and self._is_secret_output(value):
                shown["output"] = MASK
            return shown
        if isinstance(value, (list, tuple)):
            return [self.hide(one) for one in value]
        return value

    def noted(self, value: Any) -> Any:
        """``hide`` for what stands beside facts: JSON; an object of another class is left as it is."""
        return self.hide(value) if isinstance(value, (str, dict, list, tuple)) else value

    def text(self, text: str) -> str:
        """A text in which the secrets that were seen are hidden."""
        for one in self._values:
            if one in text:
                text = text.replace(one, MASK)
        return text

    def _mark(self, run: str, fact: Started) -> None:
        told = (fact.meta or {}).get(KEY)
        if not isinstance(told, dict):
            return
        self.active = True
        self._state[run] = frozenset(told.get("state", ()))
        for tool, names in told.get("arguments", {}).items():
            self._arguments[tool] = self._arguments.get(tool, frozenset()) | frozenset(names)
        self._outputs.update(told.get("outputs", ()))

    def _secret_of(self, value: Mapping[str, Any]) -> frozenset[str]:
        """The names of the secret arguments of a call, or of a question about one."""
        named = value.get(KEY)
        tool = value.get("name", value.get("tool"))
        known = self._arguments.get(tool, frozenset()) if isinstance(tool, str) else frozenset()
        return known | frozenset(named) if isinstance(named, list) else known

    def _is_secret_output(self, value: Mapping[str, Any]) -> bool:
        return self._calls.get(str(value.get("call_id"))) in self._outputs

    def _look(self, value: Any) -> None:
        if isinstance(value, Mapping):
            if value.get("type") == "function_call" and isinstance(value.get("name"), str):
                self._calls[str(value.get("call_id"))] = value["name"]
            secret = self._secret_of(value)
            if secret and "arguments" in value:
                given = _object(value["arguments"])
                self._keep(
                    [one for name, one in given.items() if name in secret] if given is not None else value["arguments"]
                )
            if value.get("type") == "function_call_output" and self._is_secret_output(value):
                self._keep(value.get("output"))
            for one in value.values():
                self._look(one)
        elif isinstance(value, (list, tuple)):
            for one in value:
                self._look(one)

    def _keep(self, value: Any) -> None:
        """Remember the texts in something secret, the longest first."""
        if isinstance(value, Mapping):
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            for one in value:
                self._keep(one)
        elif value is not None and not isinstance(value, bool):
            text = str(value)
            for one in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
                if len(one) >= SHORTEST and one not in self._values and one != MASK:
                    self._values.append(one)
            self._values.sort(key=len, reverse=True)


def redactor_of(facts: Mapping[str, Iterable[Fact]]) -> Redactor | None:
    """A redactor that knows the secrets of journals by run; None where nothing is marked."""
    redactor = Redactor()
    for run, some in facts.items():
        for fact in some:
            if not redactor.active and type(fact) is not Started:
                break  # a run's marks stand in its first fact
            redactor.learn(run, fact)
    return redactor if redactor.active else None


def hide_arguments(arguments: Any, secret: Iterable[str]) -> Any:
    """A call's arguments (JSON text, or the object) with the secret ones hidden; all of it where it can't be read."""
    given = _object(arguments)
    if given is None:
        return MASK
    hidden = {name: MASK if name in secret else one for name, one in given.items()}
    return json.dumps(hidden, ensure_ascii=False) if isinstance(arguments, str) else hidden


def hide_data(data: Any) -> Any:
    """A request's data with the arguments hidden that it says itself are secret."""
    if isinstance(data, Mapping) and isinstance(data.get(KEY), list) and "arguments" in data:
        return {**data, "arguments": hide_arguments(data["arguments"], data[KEY])}
    return data


def _new(value: Any, how: str | None) -> Any:
    """What of an update is a value, and no reference to one."""
    if how == "of":
        return None
    if how == "select":
        value = value["pick"]
    if how in ("select", "parts"):
        parts = value.values() if isinstance(value, dict) else value
        return [one["new"] for one in parts if isinstance(one, dict) and "new" in one]
    return value


def _object(arguments: Any) -> dict[str, Any] | None:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return None
    return arguments if isinstance(arguments, dict) else None
