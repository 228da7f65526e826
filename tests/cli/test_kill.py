"""The promise that everything else stands on: kill -9 a real process at any instant, and nothing that finished is lost
or runs again."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from cli_process import PATIENCE, Cli

from flowcore.machine.facts import Effect, Fact, Transition
from flowcore.stores import SqliteStore
from flowcore.testing import journals, same_walk

KILLS = 20
TWICE = 4
"""How many of the killed runs are killed a second time, in their resume."""
TOOLS = "run_tools"
OPTIONS = ("--yes", "--quiet")
ANSWER = "All of it is done.\n"


def journal(cli: Cli, run: str) -> list[Fact]:
    """A run's facts, read from the store's bytes."""

    async def read() -> list[Fact]:
        store = SqliteStore(cli.folder / ".flowcore/runs.db")
        try:
            return (await journals(store, run))[run]
        finally:
            await store.close()

    return asyncio.run(read())


def recorded(facts: Sequence[Fact], run: str) -> set[str]:
    """The idempotency keys of the calls whose record is committed: an effect, or, for the only call of its visit, the
    transition that brought its output."""
    keys = {f"{run}/{fact.node}.{fact.visit}/{fact.key}" for fact in facts if isinstance(fact, Effect)}
    for fact in facts:
        if isinstance(fact, Transition) and fact.node == TOOLS and fact.on == "done":
            place = f"{run}/{fact.node}.{fact.visit}/"
            outputs = [one for one in fact.update["items"] if one.get("type") == "function_call_output"]
            if not any(key.startswith(place) for key in keys):
                assert len(outputs) == 1
                keys.add(f"{place}0:{outputs[0]['call_id']}")
    return keys


class Killed:
    """One run, and what is known of its calls."""

    def __init__(self, cli: Cli, name: str) -> None:
        self.cli = cli
        self.name = name
        self.settings = {"log": f"{name}.txt", "script": "six", "jitter": 0.04}
        self.allowed: Counter[str] = Counter()
        self.midway = 0

    def kill(self, *words: str, after: float) -> None:
        """Start a command, and kill it some seconds after the run is admitted or found."""
        process = self.cli.start(*words, *OPTIONS, "--json", **self.settings)
        assert process.stderr is not None
        assert process.stderr.readline().startswith(f"run {self.name}"), process.stderr.read()
        time.sleep(after)
        process.kill()
        process.wait(PATIENCE)
        self.look()

    def look(self) -> None:
        """After a kill: which calls are done for good, and which were in flight and may be made once more."""
        facts = journal(self.cli, self.name)
        done = recorded(facts, self.name)
        started = self.sparing()
        assert done <= set(self.cli.calls("end", f"{self.name}.txt")), "a call is recorded that didn't end"
        self.allowed = started + Counter(key for key in started if key not in done)
        self.midway += not (isinstance(facts[-1], Transition) and facts[-1].to == "END")

    def sparing(self) -> Counter[str]:
        """How often each call was started; never more often than the kills so far excuse."""
        started = Counter(self.cli.calls("start", f"{self.name}.txt"))
        for key, times in started.items():
            assert times <= max(1, self.allowed[key]), f"{key} was started {times} times"
        return started

    def go_on(self, file: str) -> None:
        """Resume to the end."""
        if self.cli.show(self.name)["standing"] != "done":
            out, _ = self.cli.both("resume", self.name, file, *OPTIONS, **self.settings)
            assert out == ANSWER

    def check(self, reference: Sequence[Fact], calls: set[str]) -> None:
        """The walk is the unkilled run's, and no call was made more often than a kill excuses."""
        same_walk(reference, journal(self.cli, self.name))
        started = self.sparing()
        assert set(started) == {key.replace("reference/", f"{self.name}/", 1) for key in calls}
        assert set(self.cli.calls("end", f"{self.name}.txt")) == set(started)


# No turn of the script asks twice: whether one answer or both are there when the run goes on is up to the person, and
# makes another walk.
def test_a_run_killed_at_any_instant_goes_on_to_the_same_end_and_no_finished_call_is_made_again(cli: Cli):
    seed = int(os.environ.get("CLI_SEED", time.time_ns() % 1_000_000))
    print(f"CLI_SEED={seed}")
    chance = random.Random(seed)
    clerk = cli.file("clerk")
    calm = Killed(cli, "reference")
    assert cli.both("run", clerk, "x", "--run-id", calm.name, *OPTIONS, **calm.settings)[0] == ANSWER
    reference = journal(cli, calm.name)
    took = reference[-1].at - reference[0].at
    calls = cli.calls("end", "reference.txt")
    assert len(calls) == len(set(calls)) == 10
    assert recorded(reference, calm.name) == set(calls)

    instants = [(chance.uniform(0, 0.9 * took), chance.uniform(0, took / 2)) for _ in range(KILLS)]

    def one(number: int) -> Killed:
        killed = Killed(cli, f"killed-{number}")
        first, second = instants[number]
        killed.kill("run", clerk, "x", "--run-id", killed.name, after=first)
        if number < TWICE and killed.midway:
            killed.kill("resume", killed.name, clerk, after=second)
        killed.go_on(clerk)
        killed.check(reference, set(calls))
        return killed

    with ThreadPoolExecutor(3) as several:
        done = list(several.map(one, range(KILLS)))
    midway = sum(killed.midway for killed in done)
    print(f"{midway} kills came midway")
    assert midway >= KILLS / 2
