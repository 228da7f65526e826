"""Signals, pauses, cancels, crashes and resumes in any order, each outcome held against a model."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from signals_model import COURSE, DELAY, NAP, PATIENCE, Model, World
from stores_postgres import LentStore

from flowcore.engine.run import answer, load, resume, send, start
from flowcore.errors import AlreadyResumed, NotOpen, NotPaused, UpdateError
from flowcore.machine.facts import Effect, Intent, Request, Rested, Resumed, Signal
from flowcore.stores.memory import MemoryStore
from flowcore.stores.sqlite import SqliteStore
from flowcore.testing import Crash, CrashingStore, ManualClock

QUESTIONS = st.sampled_from(["q0", "q1", "cq", "in-doubt"])
WAYS = st.sampled_from(["retry", "value", "fail", "nonsense"])
DEATHS = st.tuples(
    st.integers(1, 8),
    st.sampled_from([None, None, "plain", "pay", "deep"]),
    st.sampled_from([None, None, "cancel", "stop", "q0", "cq", "in-doubt"]),
)
"""After how many facts a process dies, or inside of which effect; and what is sent to the run while it's dead."""


class Life(RuleBasedStateMachine):
    """A run's life over ``self.inner``. Between rules nobody holds it, and the model knows where it rests."""

    def open_store(self) -> Any:
        return MemoryStore(keep_bytes=True)

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.world = World()
        self.clock = ManualClock(0.0, auto=False)
        self.model = Model(0.0)
        self.deaths = self.retries = 0
        self.sent: list[tuple[str, str, Any]] = []
        self.letters: list[str] = []
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        self.inner = self.open_store()
        store: Any = CrashingStore(self.inner, 1)
        try:
            await start(COURSE, store=store, context=self.world, run_id="r", clock=self.clock)
        except Crash:
            await store.bury()
        await self._go_on()

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            try:
                self.runner.run(self._consumed())
            finally:
                self.runner.run(self.inner.close())
                self.runner.close()

    # -- from other processes, while it rests ---------------------------------------------------------------------

    @rule(key=QUESTIONS, value=st.integers(0, 99), how=WAYS)
    def someone_answers(self, key: str, value: int, how: str) -> None:
        self.runner.run(self._answer(key, value, how))

    async def _answer(self, key: str, value: int, how: str) -> None:
        """Answer a question; it's taken if it's asked and has no answer, else it's told what is asked."""
        model = self.model
        asked = [(one.run, one.key) for one in await self.inner.requests(root="r")]
        answered = {(run, name) for run, name, _ in self.sent}
        run, name = next(((run, name) for run, name in asked if name.startswith(key)), ("r", key))
        takes = (run, name) in asked and (run, name) not in answered
        said: Any = ({"value": value} if how == "value" else how) if key == "in-doubt" else value
        try:
            await answer(self.inner, run, name, said)
        except NotOpen as error:
            still = {name for run, name in asked if (run, name) not in answered}
            assert (takes, set(error.open)) == (False, still)  # noqa: PT017 - or it isn't raised
        except UpdateError:
            assert (takes, key, how) == (True, "in-doubt", "nonsense")
        else:
            assert takes
            self.sent.append((run, name, said))
            if key == "in-doubt":
                model.said = said
                self.retries += said == "retry"
            else:
                model.accepted[run if key == "cq" else key] = said

    @rule(kind=st.sampled_from(["cancel", "stop"]))
    def someone_ends_it(self, kind: str) -> None:
        self.runner.run(self._send(kind))

    async def _send(self, kind: str) -> None:
        await send(self.inner, "r", kind)
        self.letters.append(kind)

    @rule(value=st.integers(0, 99))
    def someone_adds_input(self, value: int) -> None:
        self.runner.run(send(self.inner, "r", "input", value=value))
        self.letters.append(f"input {value}")

    @rule(seconds=st.sampled_from([1.0, DELAY, NAP, PATIENCE / 2, PATIENCE]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        self.model.now += seconds

    @precondition(lambda self: self.model.standing != "done")
    @rule()
    def two_go_on_at_once(self) -> None:
        self.runner.run(self._conflict())

    async def _conflict(self) -> None:
        store: Any = CrashingStore(self.inner)
        run = await self._resumed(store)
        with pytest.raises(AlreadyResumed):
            await resume("r", COURSE, store=self.inner, clock=self.clock)
        await run._let_go()
        await self._go_on()

    # -- it moves -------------------------------------------------------------------------------------------------

    @rule(mid=st.sampled_from([None, None, "cancel", "stop"]))
    def it_goes_on(self, mid: Any) -> None:
        self.runner.run(self._go_on(mid))

    @rule(deaths=st.lists(DEATHS, min_size=1, max_size=3))
    def it_is_killed(self, deaths: Any) -> None:
        self.runner.run(self._killed(deaths))

    async def _killed(self, deaths: Any) -> None:
        """Its processes die one after the other; what is sent between their deaths is for whoever comes next."""
        for facts, inside, sent in deaths:
            store: Any = CrashingStore(self.inner, facts if inside is None else None)
            self.world.deadly = inside
            try:
                run = await self._resumed(store)
                await run.drive(patience=0.0)
                await run._let_go()
            except NotPaused:
                return
            except Crash:
                await _bury(store)
                self.deaths += 1
                if sent in ("cancel", "stop"):
                    await self._send(sent)
                elif sent is not None:
                    await self._answer(sent, 7, "value")
            finally:
                self.world.deadly = None
        await self._go_on()

    async def _resumed(self, store: Any) -> Any:
        """A handle of a new process."""
        await self._look()
        run = await resume("r", COURSE, store=store, context=self.world, clock=self.clock)
        self.world.run, self.world.store = run, store
        return run

    async def _look(self) -> None:
        """What a process that died took in can only be known from what it wrote: whether the payment is in doubt, and
        what was said of that; whether it was asked to rest, and didn't."""
        model, facts = self.model, await self.inner.read("r")
        row = await self.inner.get("r")
        here = [fact for fact in facts if (fact.node, fact.visit) == ("work", model.round + 1)]
        intents = [fact for fact in here if isinstance(fact, Intent)]
        asked = [fact for fact in here if isinstance(fact, Request)]
        ended = any(isinstance(fact, Effect) and fact.key == "pay" for fact in here)
        if not ended:
            model.doubtful = bool(intents) and model.gate in ("ask", "work")
        if row.standing == "failed" or (not ended and asked and asked[-1].seq < intents[-1].seq):
            model.said = None  # that led to a failure, or to a try that is in doubt itself
        tried = any(getattr(fact, "on", None) == "retry" and fact.visit == model.round + 1 for fact in facts)
        if tried and row.standing in ("cancelled", "stopped"):
            model.at_once = True  # whoever resumes it doesn't wait for the delay
        halts = {one.kind for one in await self.inner.inbox("r")} | _unobeyed(facts)
        self.halts = halts & {"cancel", "stop"} if row.standing in ("running", "waiting") else set()

    async def _go_on(self, mid: Any = None) -> None:
        """Go on until it rests by itself: a cancel or a stop that came earlier or comes in the ``mid`` is obeyed, and
        its place is kept."""
        model = self.model
        while True:
            store: Any = CrashingStore(self.inner)
            try:
                run = await self._resumed(store)
            except NotPaused:
                model.drive()
                break
            halts, self.world.mid = self.halts, mid
            began = model.gate == "ask"
            standing = await run.drive(patience=0.0)
            broken_off, self.world.mid = mid == "cancel" and self.world.mid is None, None
            if halts:
                assert standing == ("cancelled" if "cancel" in halts else "stopped"), (standing, halts, run.facts[-6:])
            elif broken_off:
                assert (standing, run.place, began) == ("cancelled", "work", True)
                self.deaths += 1
            else:
                model.drive()
                break
            mid = None
        await self._compare()

    # -- what must be so ------------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        model, row = self.model, await self.inner.get("r")
        assert row.standing == model.standing
        asked = {(one.run, one.key.partition(":")[0]) for one in await self.inner.requests(root="r")}
        assert asked == model.open
        assert (row.due, row.owner) == (model.due, None)
        assert await self.inner.due(self.clock.now) == []
        if row.due is not None:
            assert await self.inner.due(row.due) == ["r"]
        for key, count in self.world.done.items():
            assert count <= 1 + (self.retries if key.endswith("/pay") else self.deaths)
        run = await load("r", COURSE, store=self.inner)
        assert run.state.log == model.log

    async def _consumed(self) -> None:
        """Each letter was taken in exactly once, or waits still; each effect has one record."""
        taken: list[tuple[str, str, str | None, Any]] = []
        for index in (await self.inner.runs(root="r", limit=100)).runs:
            facts = await self.inner.read(index.run)
            signals = [fact for fact in facts if isinstance(fact, Signal)]
            assert len({one.id for one in signals}) == len(signals)
            taken += [(index.run, one.kind, one.key, one.value) for one in signals]
            effects = [(fact.node, fact.visit, fact.key) for fact in facts if isinstance(fact, Effect)]
            assert len(effects) == len(set(effects))
        everything = [*taken, *((one.run, one.kind, one.key, one.value) for one in await self.inner.inbox("r"))]
        answers = [repr((run, key, value)) for run, kind, key, value in everything if kind == "answer"]
        assert sorted(answers) == sorted(map(repr, self.sent))
        others = [f"input {value}" if kind == "input" else kind for _, kind, _, value in everything if kind != "answer"]
        assert sorted(others) == sorted([*self.letters, *self.world.sent])


def _unobeyed(facts: Any) -> set[str]:
    """The cancels and stops that were taken in and not obeyed yet."""
    asked: set[str] = set()
    for fact in facts:
        if isinstance(fact, Signal):
            asked.add(fact.kind)
        elif isinstance(fact, Rested) or (isinstance(fact, Resumed) and fact.by not in ("answer", "child", "due")):
            asked = set()
    return asked


async def _bury(store: Any) -> None:
    """Nothing of a dead process goes on."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await store.bury()


class LifeInAFile(Life):
    def open_store(self) -> Any:
        self.folder = tempfile.TemporaryDirectory()
        return SqliteStore(Path(self.folder.name) / "runs.db", synchronous="NORMAL")

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


class LifeInPostgres(Life):
    def open_store(self) -> Any:
        return LentStore()


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=30, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate, Phase.shrink],
    )  # fmt: skip


def test_a_run_in_memory_does_what_the_model_says() -> None:
    run_state_machine_as_test(Life, settings=_settings(200))


def test_a_run_in_a_file_does_what_the_model_says() -> None:
    run_state_machine_as_test(LifeInAFile, settings=_settings(60))


def test_a_run_in_postgres_does_what_the_model_says() -> None:
    run_state_machine_as_test(LifeInPostgres, settings=_settings(6))
