"""The ways to run a script, and what each of them observes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from symmetry_scripts import Script
from symmetry_world import OUTSIDE, Outside, World

from flowcore import MemoryStore, Options, Runner, RunState, ToolApprovalItem, UserError
from flowcore.engine.run import Run, answer, load, resume, send
from flowcore.errors import BudgetExceeded, MaxTurnsExceeded
from flowcore.faces.results import RunResult, RunResultBase, RunResultStreaming
from flowcore.faces.runner import _Going
from flowcore.faces.stream import RunItemStreamEvent
from flowcore.machine.facts import SPENT, Effect, Fact, Request, Rested, Resumed, Signal, Started, Transition
from flowcore.sessions.store import StoreSession
from flowcore.testing import journals, walk_form
from flowcore.testing.closing import closing
from flowcore.testing.crash import process
from flowcore.testing.walks import moves
from flowcore.tracing import TracingProcessor, set_trace_processors

ID = "r"
MOST = 60
"""Rests of one run."""
NEVER = 1 << 30
"""Facts that no process writes."""


class Kept(TracingProcessor):
    """Keeps what was traced."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[dict[str, Any]] = []
        self.traces: list[str] = []

    def on_trace_start(self, trace: Any) -> None:
        self.traces.append(f"{trace.name} begins")

    def on_trace_end(self, trace: Any) -> None:
        self.traces.append(f"{trace.name} ends")

    def on_span_start(self, span: Any) -> None:
        self.started.append(span.span_id)

    def on_span_end(self, span: Any) -> None:
        told = span.export()
        self.ended.append({name: told[name] for name in told if name not in ("started_at", "ended_at")})

    def shutdown(self) -> None: ...

    def force_flush(self) -> None: ...


@dataclass
class Seen:
    """What one way observed. ``rests``: each time that the run rested. ``walk``: the normal form of the journals.
    ``doubted``: one of its runs failed while nobody could say whether an effect had happened."""

    rests: list[dict[str, Any]] = field(default_factory=list)
    hooks: list[Any] = field(default_factory=list)
    spans: dict[str, Any] = field(default_factory=dict)
    traces: list[str] = field(default_factory=list)
    executed: Counter[str] = field(default_factory=Counter)
    inside: dict[str, Any] = field(default_factory=dict)
    session: Any = None
    walk: Any = None
    doubted: bool = False

    @property
    def end(self) -> dict[str, Any]:
        return self.rests[-1]


# -- what is seen ------------------------------------------------------------------------------------------------------


def of_result(result: RunResultBase, *, here: bool) -> dict[str, Any]:
    """What a result tells. ``here``: the process that ran it is this one, so that it has the Python values too."""
    return {
        "input": result.input,
        "final_output": repr(result.final_output),
        "items": [_item(one, here) for one in result.new_items],
        "responses": [(one.output, _usage(one.usage), one.response_id) for one in result.raw_responses],
        "last_agent": result.last_agent.name,
        "usage": _usage(result.context_wrapper.usage),
        "run usage": dict(sorted(result.run.usage.items())),
        "interruptions": [
            (one.tool_name, one.call_id, one.arguments, one.agent.name, one.request.run, one.request.key)
            for one in result.interruptions
        ],
        "input guardrails": [_verdict(one) for one in result.input_guardrail_results],
        "output guardrails": [_verdict(one) for one in result.output_guardrail_results],
        "tool guardrails": [
            (one.guardrail.get_name(), one.output.output_info, one.output.behavior)
            for one in (*result.tool_input_guardrail_results, *result.tool_output_guardrail_results)
        ],
        "input list": result.to_input_list(),
        "normalized": result.to_input_list(mode="normalized"),
        "max_turns": result.max_turns,
        "last_response_id": result.last_response_id,
        "place": result.run.place,
        "standing": result.run.standing,
    }


def _usage(usage: Any) -> dict[str, Any]:
    return dict(sorted(usage.to_counts().items()))


def _verdict(one: Any) -> Any:
    return one.guardrail.get_name(), one.output.output_info, one.output.tripwire_triggered


def _item(one: Any, here: bool) -> Any:
    told: dict[str, Any] = {"class": type(one).__name__, "type": one.type, "agent": one.agent.name}
    told["item"] = one.item if isinstance(one, ToolApprovalItem) else one.to_input_item()
    for name in ("source_agent", "target_agent"):
        if hasattr(one, name):
            told[name] = getattr(one, name).name
    for name in ("description", "title", "custom_data", "call_id", "tool_name", "input_id"):
        if hasattr(one, name):
            told[name] = getattr(one, name)
    if hasattr(one, "tool_origin"):
        told["origin"] = repr(one.tool_origin)
    if here and hasattr(one, "output"):
        told["output"] = repr(one.output)
    return told


def of_error(error: BaseException | None, *, here: bool) -> Any:
    """What an exception tells."""
    if error is None:
        return None
    data = getattr(error, "run_data", None)
    told: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if here:
        told["cause"] = repr(error.__cause__)
    for name in ("guardrail_result",):
        if hasattr(error, name):
            told[name] = _verdict(getattr(error, name))
    if data is not None:
        told["run_data"] = {
            "input": data.input,
            "items": [_item(one, here) for one in data.new_items],
            "responses": len(data.raw_responses),
            "last_agent": data.last_agent.name,
            "usage": _usage(data.context_wrapper.usage),
            "guardrails": [
                [_verdict(one) for one in data.input_guardrail_results],
                [_verdict(one) for one in data.output_guardrail_results],
                len(data.tool_input_guardrail_results),
                len(data.tool_output_guardrail_results),
            ],
        }
    return told


# -- the app: what it does at a rest --------------------------------------------------------------------------------


class App:
    """What a script's app does when its run rests: by the run's facts alone, so that it's the same in any process."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def chosen(self, interruptions: list[ToolApprovalItem]) -> list[tuple[ToolApprovalItem, Any]]:
        """What it decides now."""
        now = interruptions[:1] if self.script.one_by_one else interruptions
        return [(one, _answer(self.script.decision(one.tool_name or ""))) for one in now]

    def tries_left(self, run: Run) -> bool:
        """Whether it tries a failed run again."""
        tried, failed = 0, False
        for fact in run.facts:
            if isinstance(fact, (Rested, Resumed)):
                tried += failed and isinstance(fact, Resumed)
                failed = isinstance(fact, Rested) and fact.standing == "failed"
        return tried < self.script.tries

    def limits(self, run: Run, failed: bool) -> dict[str, Any] | None:
        """What it gives a failed run more of."""
        error = run._live.snapshot.error
        kind = None if error is None else error["kind"]
        if kind == MaxTurnsExceeded.__name__:
            return {"max_turns": run._live.snapshot.limits["max_turns"] + 2}
        if kind == BudgetExceeded.__name__:
            return {"max_tokens": None}
        return None

    def more(self, result: RunResultBase) -> str | None:
        """What it adds now, if the run takes it."""
        run = result.run
        sent = sum(isinstance(fact, Signal) and fact.kind == "input" for fact in run.facts)
        if sent >= len(self.script.added):
            return None
        text = self.script.added[sent]
        try:
            result.to_state().add_input(text)
        except UserError:
            return None
        return text


def _answer(decided: str) -> Any:
    if decided == "approve":
        return True
    answer: dict[str, Any] = {"approve": decided.startswith("approve")}
    if decided == "told":
        answer["message"] = "not now"
    if decided.endswith("always"):
        answer["always"] = True
    return answer


# -- the ways ----------------------------------------------------------------------------------------------------------


class Way:
    """One way to run a script, from its beginning to where its app leaves it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.app = App(script)
        self.outside = Outside(script)
        self.world = World(script, self.outside)
        self.seen = Seen()
        self.kept = Kept()
        self.run: Run | None = None
        """Its run, as it was at the last rest."""

    async def go(self) -> Seen:
        """Run it; what it observed."""
        OUTSIDE.set(self.outside)
        await self.outside.prepare()
        set_trace_processors([self.kept])
        try:
            await self.all_the_way()
        finally:
            set_trace_processors([])
        await self.look()
        return self.seen

    async def all_the_way(self) -> None:
        result, error = await self.first()
        for _ in range(MOST):
            if result is None:  # it wasn't admitted
                self.seen.rests.append({"error": of_error(error, here=True)})
                return
            self.run = result.run
            self.seen.rests.append({**of_result(result, here=True), "error": of_error(error, here=True)})
            asked = result.interruptions
            if result.run.standing == "waiting" and asked:
                result, error = await self.on(result, self.app.chosen(asked), self.app.more(result), None)
            elif result.run.standing == "failed" and self.app.tries_left(result.run):
                result, error = await self.on(result, [], None, self.app.limits(result.run, True))
            else:
                return
        raise AssertionError("it doesn't end")

    async def first(self) -> tuple[RunResultBase | None, BaseException | None]:
        """Begin, and run until it rests."""
        raise NotImplementedError

    async def on(
        self, result: RunResultBase, chosen: list[Any], more: str | None, limits: dict[str, Any] | None
    ) -> tuple[RunResultBase | None, BaseException | None]:
        """Go on, and run until it rests."""
        raise NotImplementedError

    async def look(self) -> None:
        """Note what is to be seen at the end."""
        seen = self.seen
        seen.hooks = self.outside.hooks
        seen.executed = Counter(self.outside.executed)
        seen.inside = dict(self.outside.seen)
        twice = [one for one, times in Counter(one["id"] for one in self.kept.ended).items() if times > 1]
        assert not twice, f"spans that ended twice: {twice}"
        seen.spans = {one["id"]: one for one in self.kept.ended}
        seen.traces = self.kept.traces
        if self.run is not None:
            found = await journals(self.run.store, self.run.id)
            seen.walk, seen.doubted = walk_form(found), any(map(doubted, found.values()))
            if self.outside.elsewhere is None and self.script.session != "none":
                seen.session = await StoreSession("s", self.run.store).get_items()
        if self.outside.elsewhere is not None:
            seen.session = [self.outside.elsewhere.items, self.outside.elsewhere.calls]


def ended(work: Callable[..., Any]) -> Any:
    """What came of an awaited run: ``(result, None)``, or ``(the result that the error carries, the error)``."""

    async def settled(*given: Any) -> Any:
        try:
            return await work(*given), None
        except Exception as error:
            data = getattr(error, "run_data", None)
            return (None if data is None else data.result), error

    return settled


class Awaited(Way):
    """``Runner.run``, then the run's own handle."""

    @ended
    async def first(self) -> Any:
        return await Runner.run(self.world.agent, self.world.input, run_id=ID, **self.world.given())

    @ended
    async def on(self, result: Any, chosen: Any, more: Any, limits: Any) -> Any:
        await self.answer(result, chosen, more)
        return await result.resume(limits=limits)

    async def answer(self, result: RunResultBase, chosen: Any, more: Any) -> None:
        for one, decision in chosen:
            await answer(result.run.store, one.request.run, one.request.key, decision)
        if more is not None:
            await send(result.run.store, ID, "input", value=[{"role": "user", "content": more}])


class Streamed(Awaited):
    """``Runner.run_streamed``, read to the end."""

    reads: int | None = None

    async def first(self) -> Any:
        return await self.read(Runner.run_streamed(self.world.agent, self.world.input, run_id=ID, **self.world.given()))

    async def on(self, result: Any, chosen: Any, more: Any, limits: Any) -> Any:
        await self.answer(result, chosen, more)
        return await self.read(result.resume_streamed(limits=limits), list(result.new_items))

    async def read(self, result: RunResultStreaming, before: list[Any] | None = None) -> Any:
        events = []
        error: BaseException | None = None
        stream = result.stream_events()
        try:
            async for event in stream:
                events.append(event)
                if self.reads is not None and len(events) >= self.reads:
                    break
        except Exception as raised:
            error = raised
        await stream.aclose()
        assert result.run_loop_task is not None
        await result.run_loop_task
        if self.reads is None:
            assert result.run_loop_exception is error
            self.check(result, events, before or [])
        else:
            error = result.run_loop_exception
        return (result if result._started is not None else None), error

    def check(self, result: Any, events: list[Any], before: list[Any]) -> None:
        """The events tell the new items, in order; those that were known when the run rested aren't told again."""
        if result._started is None:
            return
        told = [_item(one.item, True) for one in events if isinstance(one, RunItemStreamEvent)]
        kinds = ("ToolApprovalItem", "InputItem", "CompactionItem")
        known = [_item(one, True) for one in before if type(one).__name__ not in kinds]
        brought = [_item(one, True) for one in result.new_items if type(one).__name__ not in kinds]
        for one in known:
            brought.remove(one)
        assert told == brought, "the stream's items aren't the run's"


class Left(Streamed):
    """``Runner.run_streamed``, left after a few events."""

    reads = 3


class Stated(Awaited):
    """``Runner.run``, and at each rest a RunState."""

    async def state(self, result: Any, chosen: Any, more: Any) -> tuple[Any, RunState[Any]]:
        return self.world.agent, result.to_state()

    @ended
    async def on(self, result: Any, chosen: Any, more: Any, limits: Any) -> Any:
        agent, state = await self.state(result, chosen, more)
        return await self.going(agent, state, limits)

    async def going(self, agent: Any, state: RunState[Any], limits: Any) -> Any:
        given = self.world.given()
        for name in ("max_turns", "limits", "store"):
            given.pop(name, None)
        if limits is not None:
            turns = limits.get("max_turns")
            given.update({"max_turns": turns} if turns is not None else {"limits": limits})
        return await Runner.run(agent, state, **given)

    def decide(self, state: RunState[Any], chosen: Any, more: Any) -> None:
        mine = {(one.request.run, one.request.key): one for one in state.get_interruptions()}
        for one, decision in chosen:
            item = mine[one.request.run, one.request.key]
            decision = {"approve": True} if decision is True else decision
            always = decision.get("always", False)
            if decision["approve"]:
                state.approve(item, always_approve=always)
            else:
                state.reject(item, always_reject=always, rejection_message=decision.get("message"))
        if more is not None:
            state.add_input(more)


class StatedHere(Stated):
    """A RunState at each rest, in this process."""

    async def state(self, result: Any, chosen: Any, more: Any) -> Any:
        state = result.to_state()
        self.decide(state, chosen, more)
        return self.world.agent, state


class StatedElsewhere(Stated):
    """A RunState at each rest, as JSON, in a new process; decided there or here by turns; run and streamed by turns."""

    turn = 0

    async def state(self, result: Any, chosen: Any, more: Any) -> Any:
        self.turn += 1
        state = result.to_state()
        if self.turn % 2:
            self.decide(state, chosen, more)
        data = json.loads(json.dumps(state.to_json()))
        self.world = World(self.script, self.outside)
        state = await RunState.from_json(self.world.agent, data, store=self.outside.store)
        if not self.turn % 2:
            self.decide(state, chosen, more)
        return self.world.agent, state

    async def going(self, agent: Any, state: RunState[Any], limits: Any) -> Any:
        if self.turn % 3:
            return await super().going(agent, state, limits)
        given = self.world.given()
        for name in ("max_turns", "limits", "store"):
            given.pop(name, None)
        if limits is not None:
            turns = limits.get("max_turns")
            given.update({"max_turns": turns} if turns is not None else {"limits": limits})
        result = Runner.run_streamed(agent, state, **given)
        async for _ in result.stream_events():
            pass
        return result


class Reopened(Way):
    """Closed and opened again by another process, from bytes: after every fact the process is gone (``kills``: every
    time that so many facts were written) or, where ``calm``, it's closed with ``async with``."""

    calm = False

    def __init__(self, script: Script, kills: Any = None) -> None:
        super().__init__(script)
        self.kills = kills
        self.openings = self.went = self.idle = 0
        self.done: list[tuple[set[str], int]] = []
        """For each opening but the first: the keys of what was finished then, and how much had been executed."""
        self.left: dict[str, list[Fact]] = {}
        """The journals as the last process left them."""
        if self.outside.store is None:
            self.outside.store = MemoryStore(keep_bytes=True)

    def options(self) -> Options:
        given = self.world.given()
        return Options(
            given["context"], given["run_config"], given.get("error_handlers"), hooks=given.get("hooks"),
            session=self.outside.elsewhere,
        )  # fmt: skip

    async def all_the_way(self) -> None:
        bytes_left = self.outside.store
        assert bytes_left is not None
        kills = iter(self.kills if self.kills is not None else ())
        for _ in range(400):
            after = next(kills, NEVER) if self.kills is not None else self.next()
            over = False
            async with process(bytes_left, after) as mortal:
                self.outside.living = mortal._alive
                over = await self.opening(mortal)
            if over:
                return
            await self.ended()
        raise AssertionError("it doesn't end")

    async def ended(self) -> None:
        """A process is over, the next one begins."""
        assert self.outside.store is not None
        self.openings += 1
        self.left = await journals(self.outside.store, ID)
        self.done.append((self.finished(), len(self.outside.executed)))
        self.world = World(self.script, self.outside)

    def next(self) -> int:
        """After how many facts the next process is gone: after the first one; but after more where that only said
        again what was begun, asked in doubt or resumed, or no process would ever get anywhere."""
        if self.openings == 0:
            return 1
        went = sum(map(goes_on, (fact for facts in self.left.values() for fact in facts)))
        self.idle = 1 if went > self.went else self.idle + 1
        self.went = went
        return self.idle

    def finished(self) -> set[str]:
        """The idempotency keys of what the journals have."""
        found = set()
        for run, facts in self.left.items():
            for fact in facts:
                if isinstance(fact, Effect):
                    found.add(f"{run}/{fact.node}.{fact.visit}/{fact.key}")
                elif isinstance(fact, Transition) and fact.node == "run_tools" and fact.on != "needs_decision":
                    found.add(f"{run}/{fact.node}.{fact.visit}/")
        return found

    async def opening(self, store: Any) -> bool:
        """One process; whether the run was over in it."""
        try:
            run = await (self.begun(store) if self.openings == 0 else self.loaded(store))
        except UserError as error:
            self.seen.rests.append({"error": of_error(error, here=True)})
            return True
        while True:
            if run.standing in ("running", "waiting", "stopped"):
                await run.drive()
            if not await self.goes_on(run):
                return True

    async def begun(self, store: Any) -> Run:
        """The run as its first process begins it."""
        given = {**self.world.given(), "store": store, "run_id": ID}
        going = _Going(self.world.agent, self.world.input, given)
        self.run = await going.admit(False)
        self.given = going.options
        return self.run

    async def loaded(self, store: Any) -> Run:
        """The run as a later process finds it."""
        self.given = self.options()
        self.run = await load(ID, self.world.agent, store=store, context=self.given)
        return self.run

    async def goes_on(self, run: Run) -> bool:
        """What the app does where the run rests; False: nothing more."""
        result = RunResult(run, self.world.input, self.given, run._live.snapshot.limits.get("max_turns"))
        result._requests = await run.requests() if run.standing == "waiting" else []
        error = None
        try:
            result._raise()
        except Exception as raised:
            error = raised
        self.seen.rests.append({**of_result(result, here=False), "error": of_error(error, here=False)})
        asked = result.interruptions
        doubts = [one for one in result._requests if one.kind == "in_doubt"]
        if doubts:
            for one in doubts:
                await answer(run.store, one.run, one.key, "retry")
        elif run.standing == "waiting" and asked:
            for one, decision in self.app.chosen(asked):
                await answer(run.store, one.request.run, one.request.key, decision)
            more = self.app.more(result)
            if more is not None:
                await send(run.store, ID, "input", value=[{"role": "user", "content": more}])
        elif run.standing == "failed" and self.app.tries_left(run):
            await run.resume(limits=self.app.limits(run, True))
        else:
            return False
        return True


def goes_on(fact: Fact) -> bool:
    """Whether a fact brings a run nearer to its end: it isn't one that each death brings again."""
    if isinstance(fact, Rested):
        return fact.standing == "failed"
    if isinstance(fact, Effect) and fact.key.startswith(SPENT):
        return False
    return isinstance(fact, (Started, Transition, Effect)) or (isinstance(fact, Request) and fact.kind != "in_doubt")


class Closed(Reopened):
    """Closed as one closes it, after every fact, and opened by another process."""

    calm = True

    async def all_the_way(self) -> None:
        store = self.outside.store
        try:
            run = await self.begun(store)
        except UserError as error:
            self.seen.rests.append({"error": of_error(error, here=True)})
            return

        async def again() -> Run:
            await self.ended()
            return await self.loaded(store)

        async def resumed() -> Run:
            self.run = await resume(ID, self.world.agent, store=store, context=self.given)
            return self.run

        await closing(run, again, resumed, self.goes_on)

    async def goes_on(self, run: Run) -> bool:
        went = await super().goes_on(run)
        await run._let_go()
        return went


# -- holding ways against each other -----------------------------------------------------------------------------------


def in_order(hooks: list[Any]) -> dict[str, list[Any]]:
    """What hooks were told, in an order that doesn't depend on which of several calls was faster: by run, the calls of
    a visit by their key."""
    found: dict[str, list[Any]] = {}
    calls: dict[str, list[Any]] = {}
    for run, whose, name, *told in hooks:
        mine = found.setdefault(run, [])
        waiting = calls.setdefault(run, [])
        if name.startswith("tool_"):
            waiting.append((whose, name, *told))
            continue
        mine += sorted(waiting, key=lambda one: (one[2], one[0], one[1] == "tool_end"))
        waiting.clear()
        mine.append((whose, name, *told))
    for run, waiting in calls.items():
        found[run] += sorted(waiting, key=lambda one: (one[2], one[0], one[1] == "tool_end"))
    return found


def hold(one: Any, other: Any, what: str) -> None:
    """Raises AssertionError with a readable difference."""
    if one == other:
        return
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            if one.get(key) != other.get(key):
                hold(one.get(key), other.get(key), f"{what}: {key!r}")
    if isinstance(one, list) and isinstance(other, list):
        for n, (a, b) in enumerate(zip(one, other, strict=False)):
            if a != b:
                hold(a, b, f"{what}[{n}]")
        raise AssertionError(f"{what}: {len(one)} there, {len(other)} here: {one!r} / {other!r}")
    raise AssertionError(f"{what}:\n  there {one!r}\n  here  {other!r}")


def recorded(spans: dict[str, Any]) -> dict[str, Any]:
    """Spans without what isn't in the facts: what a node notes of a model's call dies with its process."""
    found = {}
    for id, span in spans.items():
        data = span["span_data"]
        if data["type"] == "generation":
            data = {name: data[name] for name in data if name not in ("input", "model", "model_config")}
        found[id] = {**span, "span_data": data}
    return found


def same(there: Seen, here: Seen, *, followed: bool, one_process: bool) -> None:
    """Two ways observed the same in everything. ``followed``: both by an observer that saw the whole run.
    ``one_process``: both in one, which has the Python values that tools gave."""
    if one_process:
        hold(there.rests, here.rests, "rests")
    hold(without_values(there.rests), without_values(here.rests), "rests")
    hold(in_order(there.hooks), in_order(here.hooks), "hooks")
    if followed:
        hold(there.spans, here.spans, "spans")
    hold(recorded(there.spans), recorded(here.spans), "spans")
    hold(there.traces, here.traces, "traces")
    hold(dict(there.executed), dict(here.executed), "executed")
    hold(there.inside, here.inside, "spans seen inside of tools")
    hold(there.session, here.session, "session")
    hold(there.walk, here.walk, "walk")


def without_values(told: Any) -> Any:
    """What was told, without the Python values that tools gave: these stay in their process."""
    if isinstance(told, dict):
        return {name: without_values(one) for name, one in told.items() if name != "output" or "class" not in told}
    return [without_values(one) for one in told] if isinstance(told, list) else told


def doubted(facts: list[Fact]) -> bool:
    """Whether a run rests as failed because nobody can say if an effect happened, or beside one of which they can't."""
    last = facts[-1]
    if not isinstance(last, Rested) or last.error is None:
        return False
    told = last.error["message"].partition(":")[0]
    return "EffectInDoubt" in (last.error["kind"], told) or "in_doubt" in last.error


def same_walked(there: Seen, here: Seen) -> None:
    """A way in which processes died walked the same walk."""
    hold(moves(there.walk), moves(without_doubts(here.walk)), "walk")
    hold(there.session, here.session, "session")
    hold(set(there.executed), set(here.executed), "executed")
    for name in (
        "final_output",
        "items",
        "responses",
        "last_agent",
        "input list",
        "normalized",
        "place",
        "standing",
    ):
        if name in there.end:
            hold(without_values(there.end[name]), without_values(here.end.get(name)), name)
    for count, used in there.end.get("run usage", {}).items():  # what wasn't recorded is paid again
        assert here.end["run usage"].get(count, 0) >= used, f"{count}: {used} there, less here"


def without_doubts(walk: Any) -> Any:
    """A walk without what a person was asked about effects in doubt, and without visits in which nothing else was."""
    if not walk:
        return walk
    found: dict[str, list[Any]] = {}
    for run, visits in walk.items():
        found[run] = []
        for place, effects, went in visits:
            others = [one for one in effects if not str(one[0]).startswith("in-doubt:")]
            if others or went:
                found[run].append((place, others, went))
    return found


def announced(there: Seen, here: Seen) -> None:
    """Where processes died, hooks heard of all that they hear of otherwise, maybe twice, and of nothing else."""
    heard, meant = {_announced(one) for one in here.hooks}, {_announced(one) for one in there.hooks}
    assert not meant - heard, f"hooks didn't hear of {meant - heard}"
    assert not heard - meant, f"hooks heard of {heard - meant}"
    for id, span in here.spans.items():
        hold(_place(there.spans.get(id)), _place(span), f"span {id}")


def _announced(hook: tuple[Any, ...]) -> tuple[Any, ...]:
    """A hook's name and texts, without the requests that instructions count: what was paid before a death is known."""
    return tuple(re.sub(r" after \d+$", "", one) for one in hook[:5] if isinstance(one, str))


def _place(span: Any) -> Any:
    data = None if span is None else span["span_data"]
    return span and (span["parent_id"], data["type"], data.get("name"), data.get("output"))


def not_again(way: Reopened) -> None:
    """What had finished when a process died isn't executed by a later one."""
    executed = way.outside.executed
    for n, (finished, upto) in enumerate(way.done):
        for key in executed[upto:]:
            visit = key.rpartition("/")[0] + "/"
            again = key in finished or visit in finished
            assert not again, f"after opening {n}: {key} was finished, and is done again"
