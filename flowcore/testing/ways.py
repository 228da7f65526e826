"""``every_way``: run an agent awaited, streamed, by states in new processes, closed after every fact and killed after
every fact; it must be the same run."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcore.agents.agent import AgentSpec
from flowcore.agents.context import APPROVAL
from flowcore.engine.run import Run
from flowcore.errors import UserError
from flowcore.faces.agent import Agent
from flowcore.faces.items import RunItem, ToolApprovalItem, ToolInDoubtItem
from flowcore.faces.results import RunResultBase, RunResultStreaming
from flowcore.faces.run_state import RunState
from flowcore.faces.runner import Runner, _Going
from flowcore.graph.values import shorten
from flowcore.stores.base import OpenRequest
from flowcore.stores.memory import MemoryStore
from flowcore.testing.closing import close_everywhere
from flowcore.testing.crash import kill_everywhere
from flowcore.testing.walks import journals, same_walk

MOST = 1_000
"""Rests after which a run is taken not to end."""
Decide = Callable[[ToolApprovalItem], Any]
"""Says of a call that waits: True, False, or ``{"approve": bool, "message": text, "always": bool}``."""


@dataclass(slots=True)
class Ways:
    """What came of a run, in whichever way: its ``result`` and the ``error`` that ended it, if one did; ``kills``: how
    often it was killed meanwhile."""

    result: RunResultBase
    error: Exception | None
    kills: int
    walk: dict[str, Any] = field(repr=False)


async def every_way(
    agent: Agent[Any] | Callable[[], Agent[Any]],
    input: Any,
    *,
    decide: Decide = lambda item: True,
    given: Callable[[], Mapping[str, Any]] = dict,
    every: int = 1,
) -> Ways:
    """Run an agent in every way, and hold them against each other: awaited, streamed, with a ``RunState`` as JSON in a
    new process whenever it waits, closed after every fact and opened by another process, and killed after every fact,
    from the store's bytes.

    ``agent``: the agent, or better a function that makes it anew for each process; its model has to say the same to
    the same input (``ScriptedModel.by_turn``). ``decide``: what is decided of calls that wait. ``given()``: what
    ``Runner.run`` is given besides (``max_turns``, ``run_config``, ``hooks``, ``context``, ``session`` by its id, …),
    made anew each time; not ``store`` and ``run_id``. ``every``: it's killed after each n-th fact only.

    Raises AssertionError where final output, items, usage, last agent, error or walk differ, naming the way and what;
    and what kept the run from beginning at all.
    """
    make = agent if callable(agent) and not isinstance(agent, AgentSpec) else lambda: agent
    going = _Ways(make, input, decide, given)
    going.fresh()
    reference = await going.seen(going.awaited)
    if reference.result is None:
        assert reference.error is not None
        raise reference.error
    for name, way in (("streamed", going.streamed), ("by states", going.stated)):
        seen = await going.seen(way)
        for what, there in reference.told.items():
            here = seen.told[what]
            assert here == there, f"{name}, its {what} is {here!r}; awaited it's {there!r}"
        _held(name, reference.walk, seen.walk)
    again: dict[str, Any] = {
        "answers": going.answer,
        "context": lambda: going.start(make(), {}).options,
        "begin": lambda store, id: going.start(make(), {"store": store, "run_id": id}).admit(False),
    }
    closed = await close_everywhere(make, input, **again)
    _held("closed", reference.walk, closed.reference)
    killed = await kill_everywhere(make, input, every=every, **again)
    _held("killed", reference.walk, killed.reference)
    return Ways(reference.result, reference.error, killed.kills, reference.walk)


def _held(name: str, there: Any, here: Any) -> None:
    try:
        same_walk(there, here)
    except AssertionError as error:
        error.add_note(f"one: awaited; other: {name}")
        raise


@dataclass(slots=True)
class _Seen:
    result: RunResultBase | None
    error: Exception | None
    told: dict[str, Any]
    walk: dict[str, Any]


@dataclass(slots=True)
class _Ways:
    """One agent's ways: each runs it until it rests for good, and gives the last result."""

    make: Callable[[], Any]
    input: Any
    decide: Decide
    given: Callable[[], Mapping[str, Any]]

    def fresh(self) -> dict[str, Any]:
        given = dict(self.given())
        wrong = sorted({"store", "run_id"} & set(given))
        if wrong or not isinstance(given.get("session", ""), str):
            what = ", ".join(wrong) or f"session={shorten(given['session'])}"
            raise UserError(f"every_way(given=...): {what} is what each way has of its own; name a session by its id")
        return given

    def start(self, agent: Agent[Any], more: dict[str, Any]) -> _Going:
        return _Going(agent, self.input, {**self.fresh(), **more})  # type: ignore[typeddict-item]

    async def seen(self, way: Callable[[], Awaitable[RunResultBase]]) -> _Seen:
        """What a way comes to."""
        error: Exception | None = None
        result: RunResultBase | None = None
        try:
            result = await way()
        except Exception as raised:
            error = raised
            data = getattr(raised, "run_data", None)
            result = None if data is None else data.result
        told: dict[str, Any] = {"error": error and (type(error).__name__, str(error))}
        if result is None:
            return _Seen(result, error, told, {})
        told["final output"] = result.final_output
        told["items"] = [_told(one) for one in result.new_items]
        told["usage"] = result.context_wrapper.usage.to_counts()
        told["last agent"] = result.last_agent.name
        return _Seen(result, error, told, await journals(result.run.store, result.run.id))

    async def awaited(self) -> RunResultBase:
        result: RunResultBase = await Runner.run(self.make(), self.input, store=_store(), **self.fresh())
        for _ in range(MOST):
            if not await self._answered(result.run, result):
                return result
            result = await result.resume()
        raise AssertionError(f"run '{result.run_id}' still asks after {MOST} answers")

    async def streamed(self) -> RunResultBase:
        result = await _read(Runner.run_streamed(self.make(), self.input, store=_store(), **self.fresh()))
        for _ in range(MOST):
            if not await self._answered(result.run, result):
                return result
            result = await _read(result.resume_streamed())
        raise AssertionError(f"run '{result.run_id}' still asks after {MOST} answers")

    async def stated(self) -> RunResultBase:
        result: RunResultBase = await Runner.run(self.make(), self.input, **self.fresh())
        for _ in range(MOST):
            if not result.interruptions:
                return result
            data = json.loads(json.dumps(result.to_state().to_json()))
            agent, given = self.make(), self.fresh()
            state = await RunState.from_json(agent, data, context_override=given.pop("context", None))
            for item in state.get_interruptions():
                _decided(state, item, self.decide(item))
            for name in ("max_turns", "limits"):  # the run has its own
                given.pop(name, None)
            result = await Runner.run(agent, state, **given)
        raise AssertionError(f"run '{result.run_id}' still asks after {MOST} answers")

    async def _answered(self, run: Run, result: RunResultBase) -> bool:
        """Answer what a run asks; whether it asked anything."""
        for item in result.interruptions:
            doubt = isinstance(item, ToolInDoubtItem)
            await run.answer(item.request.key, "retry" if doubt else _as_answer(self.decide(item)))
        return bool(result.interruptions)

    def answer(self, request: OpenRequest) -> Any:
        """The answer to an open request of a run that was killed: a decision, or "retry" for an effect in doubt."""
        if request.kind != APPROVAL:
            return "retry"
        asked = request.data
        item = {"type": "function_call", "name": asked["tool"], "call_id": asked["call_id"],
                "arguments": asked["arguments"]}  # fmt: skip
        return _as_answer(self.decide(ToolApprovalItem(self.make(), item, request=request)))


def _store() -> MemoryStore:
    return MemoryStore(keep_bytes=True)


async def _read(result: RunResultStreaming) -> RunResultStreaming:
    async for _ in result.stream_events():
        pass
    return result


def _told(one: RunItem) -> tuple[str, str, Any]:
    return type(one).__name__, one.agent.name, one.item


def _as_answer(decided: Any) -> Any:
    """A decision as a state sends it: so the walks are the same."""
    if decided is True or decided == {"approve": True}:
        return True
    return {"approve": False} if decided is False else decided


def _decided(state: RunState[Any], item: ToolApprovalItem, decided: Any) -> None:
    said = decided if isinstance(decided, Mapping) else {"approve": decided}
    always = bool(said.get("always"))
    if said.get("approve") is True:
        state.approve(item, always_approve=always)
    else:
        state.reject(item, always_reject=always, rejection_message=said.get("message"))


__all__ = ["Decide", "Ways", "every_way"]
