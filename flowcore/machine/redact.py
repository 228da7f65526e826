"""What is shown of facts in which something is secret. Which that is stands in a run's first fact (``marks``), so that
it's known without the graph, and what is only found later in an effect that says so.

A secret that was seen is hidden wherever else it turns up: in a tool's error, in what a model says. The journal itself
isn't changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowcore.graph.secret import ALL, MASK
from flowcore.machine.facts import Effect, Fact, Started, Transition

KEY = "secret"
"""Where the marks stand in ``Started.meta``, and the names of secret arguments in a request's data."""
SHORTEST = 4
"""Characters of a secret that's also looked for in other texts: a shorter one can't be told from anything else."""
_WHOLE = frozenset({ALL})
_FIELDS = ("input", "update", "value", "data", "error", "meta")


def marks(state: Iterable[str], output: bool, told: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a run's first fact says is secret: fields of the state, whether the run's output is one of them, and what
    the graph's nodes know: ``arguments`` by tool, the tools of secret ``outputs``, ``replies``: fields of what agents
    say, by agent, and the ``agent`` that begins. None: nothing."""
    found = {"state": list(state), "output": output, **told}
    found = {name: one for name, one in found.items() if one}
    return found if found.keys() - {"agent"} else None


class Redactor:
    """Hides what is secret in a tree of runs. ``active``: something is. Facts are to be given in order, each run's from
    its first on; ``before`` gives those of a run that isn't told of from its first on.
    """

    __slots__ = (
        "_agent", "_arguments", "_before", "_calls", "_effects", "_fields", "_outputs", "_replies", "_seen", "_state",
        "_values", "active",
    )  # fmt: skip

    def __init__(self, before: Callable[[str], Iterable[Fact]] = lambda run: ()) -> None:
        self.active = False
        self._before = before
        self._seen: set[str] = set()
        self._state: dict[str, frozenset[str]] = {}
        self._arguments: dict[str, frozenset[str]] = {}
        self._outputs: set[str] = set()
        self._replies: dict[str, dict[str, frozenset[str]]] = {}
        self._fields: frozenset[str] = frozenset()
        self._agent: dict[str, str] = {}
        self._effects: dict[tuple[str, str, int, str], Any] = {}
        self._calls: dict[str, str] = {}
        self._values: list[str] = []

    def learn(self, run: str, fact: Fact) -> None:
        """Take in what is secret in a fact."""
        if run not in self._seen:
            self._seen.add(run)
            for one in [] if type(fact) is Started else list(self._before(run)):
                if one.seq < fact.seq:
                    self.learn(run, one)
        if _tells_marks(fact):
            self._mark(run, fact)
        if self.active:
            self._learn(run, fact)

    def _learn(self, run: str, fact: Fact) -> None:
        names = self._state.get(run, frozenset())
        how = getattr(fact, "how", None) or {}
        reply = self._reply_of(run)
        for field in _FIELDS:
            of = getattr(fact, field, None)
            if isinstance(of, dict) and names:
                for name, one in of.items():
                    if name in names:
                        self._keep(self._new(run, fact, one, how.get(name)) if field == "update" else one)
            self._look(of, reply)
        if type(fact) is Effect:
            if fact.secret == "value":
                self._keep(fact.value)
            if names:
                self._effects[run, fact.node, fact.visit, fact.key] = fact.value
            if fact.child is not None:
                self._keep_output(fact.child, fact.value)
        update = getattr(fact, "update", None) or getattr(fact, "input", None)
        if update:
            if reply and "output" in update and type(fact) is Transition:
                self._keep_fields(update["output"], reply)
            if isinstance(update.get("agent"), str) and update["agent"]:
                self._agent[run] = update["agent"]

    def fact(self, run: str, fact: Fact) -> Fact:
        """The fact as it may be shown; the same one where nothing is secret."""
        if self.active or run not in self._seen or _tells_marks(fact):
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
                if field == "update" and run in self._replies and of.get("output") is not None:
                    changes[field]["output"] = self._fields_hidden(of["output"], self._of_agents(run))
            elif type(fact) is Effect and field == "value":
                changes[field] = self._effect_hidden(fact)
            else:
                changes[field] = self.hide(of)
        return fact._replace(**changes)

    def _effect_hidden(self, fact: Effect) -> Any:
        if fact.secret == "value":
            return MASK
        return self.hide(fact.value) if fact.child is None else self.output(fact.child, fact.value)

    def output(self, run: str, value: Any) -> Any:
        """A run's output as it may be shown, whichever of its agents gave it."""
        if not self.active:
            return value
        names = self._state.get(run, frozenset()) | self._of_agents(run)
        if run in self._replies and _is_told(value):
            return {**value, "output": self._fields_hidden(value["output"], names)}
        return self._fields_hidden(value, names)

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
            if self._fields:
                name = _spoken(value)
                if name is not None:
                    shown[name] = self._fields_hidden(value[name], self._fields - {ALL})
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

    def begun(self, text: str) -> int:
        """How many characters at the end of a text may be the beginning of a secret that was seen."""
        found = 0
        for one in self._values:
            for size in range(min(len(one) - 1, len(text)), found, -1):
                if text.endswith(one[:size]):
                    found = size
                    break
        return found

    def is_hushed(self, run: str) -> bool:
        """Whether a run's agent says what is secret, so that nothing may be shown of it until it's there as a whole."""
        if run not in self._seen:
            self._seen.add(run)
            for one in list(self._before(run)):
                self.learn(run, one)
        return bool(self._reply_of(run))

    # -- what is marked -----------------------------------------------------------------------------------------------

    def _mark(self, run: str, fact: Fact) -> None:
        told = fact.value if type(fact) is Effect else (getattr(fact, "meta", None) or {}).get(KEY)
        if not isinstance(told, dict):
            return
        self.active = True
        if "state" in told or told.get("output"):
            self._state[run] = frozenset(told.get("state", ())) | ({ALL} if told.get("output") else set())
        for tool, names in told.get("arguments", {}).items():
            self._arguments[tool] = self._arguments.get(tool, frozenset()) | frozenset(names)
        self._outputs.update(told.get("outputs", ()))
        if "replies" in told:
            agents = self._replies.setdefault(run, {})
            agents.update({agent: frozenset(names) for agent, names in told["replies"].items()})
            self._fields = self._fields.union(*self._replies[run].values())
        if told.get("agent"):
            self._agent[run] = told["agent"]

    def _reply_of(self, run: str) -> frozenset[str]:
        """The secret fields of what a run's current agent says."""
        agents = self._replies.get(run)
        return agents.get(self._agent.get(run, ""), frozenset()) if agents else frozenset()

    def _of_agents(self, run: str) -> frozenset[str]:
        return frozenset().union(*self._replies.get(run, {}).values())

    def _fields_hidden(self, value: Any, names: frozenset[str]) -> Any:
        """JSON, or the text of it, with these fields hidden."""
        if value is None or not names:
            return self.hide(value)
        if ALL in names:
            return MASK
        if isinstance(value, str):
            fields = _object(value)
            if fields is None or names.isdisjoint(fields):
                return self.text(value)
            return json.dumps({name: self._shown(name, one, names) for name, one in fields.items()}, ensure_ascii=False)
        if isinstance(value, Mapping):
            return {name: self._shown(name, one, names) for name, one in value.items()}
        return self.hide(value)

    def _shown(self, name: str, value: Any, names: frozenset[str]) -> Any:
        return MASK if name in names else self.hide(value)

    def _secret_of(self, value: Mapping[str, Any]) -> frozenset[str]:
        """The names of the secret arguments of a call, or of a question about one."""
        named = value.get(KEY)
        tool = value.get("name", value.get("tool"))
        known = self._arguments.get(tool, frozenset()) if isinstance(tool, str) else frozenset()
        return known | frozenset(named) if isinstance(named, list) else known

    def _is_secret_output(self, value: Mapping[str, Any]) -> bool:
        return self._calls.get(str(value.get("call_id"))) in self._outputs

    # -- what was seen ------------------------------------------------------------------------------------------------

    def _look(self, value: Any, reply: frozenset[str]) -> None:
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
                output = value.get("output")
                for one in output if isinstance(output, list) else [output]:
                    self._keep_fields(one.get("text") if isinstance(one, Mapping) else one, _WHOLE)
            if reply:
                name = _spoken(value)
                if name is not None:
                    self._keep_fields(value[name], reply)
            for one in value.values():
                self._look(one, reply)
        elif isinstance(value, (list, tuple)):
            for one in value:
                self._look(one, reply)

    def _keep_output(self, run: str, value: Any) -> None:
        names = self._state.get(run, frozenset()) | self._of_agents(run)
        if names:
            self._keep_fields(value["output"] if run in self._replies and _is_told(value) else value, names)

    def _keep_fields(self, value: Any, names: frozenset[str]) -> None:
        """Remember what these fields hold of JSON, or of the text of it; all of a text that can't be read as such."""
        fields = _object(value)
        if ALL in names or (fields is None and isinstance(value, str)):
            self._keep(value)
        if fields is not None:
            self._keep([one for name, one in fields.items() if ALL in names or name in names])

    def _new(self, run: str, fact: Fact, value: Any, how: str | None) -> Any:
        """What of an update is a value, those that effects gave among them."""
        if how == "of":
            return self._given(run, fact, value)
        if how == "select":
            value = value["pick"]
        if how in ("select", "parts"):
            parts = value.values() if isinstance(value, dict) else value
            return [
                one["new"] if "new" in one else self._given(run, fact, one["of"]) if "of" in one else None
                for one in parts
                if isinstance(one, dict)
            ]
        return value

    def _given(self, run: str, fact: Fact, spec: Any) -> Any:
        """What an effect of the visit gave; ``spec``: its key, and the way to what is meant."""
        key, *path = [spec] if isinstance(spec, str) else spec
        value: Any = self._effects.get((run, fact.node, fact.visit, key))
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

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


class Trickle:
    """A text that comes in pieces, as it may be shown: what may be the beginning of a secret is held back."""

    __slots__ = ("_held", "_redactor")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def more(self, piece: str) -> str:
        """What may be shown now that this came."""
        text = self._redactor.text(self._held + piece)
        held = self._redactor.begun(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def rest(self) -> str:
        """What was held back, at the end of the text."""
        text, self._held = self._held, ""
        return text


def redactor_of(facts: Mapping[str, Iterable[Fact]]) -> Redactor | None:
    """A redactor that knows the secrets of journals by run; None where nothing is marked."""
    if not any(_marks_something(fact) for some in facts.values() for fact in some):
        return None
    redactor = Redactor()
    redactor.active = True
    for run in sorted(facts, key=len, reverse=True):  # children's before the facts that tell of their end
        for fact in facts[run]:
            redactor.learn(run, fact)
    return redactor


def hide_arguments(arguments: Any, secret: Iterable[str]) -> Any:
    """A call's arguments (JSON text, or the object) with the secret ones hidden; all of it where it can't be read."""
    given = _object(arguments)
    if given is None:
        return MASK
    hidden = {name: MASK if name in secret else one for name, one in given.items()}
    return json.dumps(hidden, ensure_ascii=False) if isinstance(arguments, str) else hidden


def hide_fields(value: Any, names: Iterable[str]) -> Any:
    """JSON with these fields of it hidden; all of it where they're ALL of it."""
    if ALL in names:
        return MASK
    return {name: MASK if name in names else one for name, one in value.items()} if isinstance(value, dict) else value


def hide_data(data: Any) -> Any:
    """A request's data with the arguments hidden that it says itself are secret."""
    if isinstance(data, Mapping) and isinstance(data.get(KEY), list) and "arguments" in data:
        return {**data, "arguments": hide_arguments(data["arguments"], data[KEY])}
    return data


def _tells_marks(fact: Fact) -> bool:
    """Whether a fact may say what is secret."""
    return type(fact) is Started or (type(fact) is Effect and fact.secret is not None)


def _marks_something(fact: Fact) -> bool:
    return _tells_marks(fact) and (type(fact) is Effect or KEY in (getattr(fact, "meta", None) or {}))


def _is_told(value: Any) -> bool:
    """Whether this is what a nested agent's run tells its caller: its output, and whose it is."""
    return isinstance(value, Mapping) and value.keys() == {"output", "agent"}


def _spoken(value: Mapping[str, Any]) -> str | None:
    """The field of a message, or of a part of one, that holds what an agent said; None of anything else."""
    if value.get("type") == "output_text" and isinstance(value.get("text"), str):
        return "text"
    return "content" if value.get("role") == "assistant" and isinstance(value.get("content"), str) else None


def _object(arguments: Any) -> dict[str, Any] | None:
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            return None
    return arguments if isinstance(arguments, dict) else None
