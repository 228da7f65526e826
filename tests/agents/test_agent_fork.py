"""Agents' runs forked: other input after a trip, sessions, questions and conversations that part."""

from __future__ import annotations

from typing import Any

import pytest
from agents_making import agent, begin, function_call

from flowcore import (
    Agent,
    GuardrailFunctionOutput,
    MemoryStore,
    NotPaused,
    Options,
    RunConfig,
    Runner,
    SQLiteSession,
    function_tool,
    input_guardrail,
)
from flowcore.engine.run import load, resume, start
from flowcore.machine.facts import Transition
from flowcore.testing import ScriptedModel, finish, message


def at(run: Any, to: str, on: str | None = None) -> list[int]:
    return [f.seq for f in run.facts if isinstance(f, Transition) and f.to == to and on in (None, f.on)]


@input_guardrail(run_in_parallel=False)
async def no_swearing(ctx, agent, input):
    return GuardrailFunctionOutput(None, "damn" in str(input))


async def test_a_tripped_run_goes_on_only_as_a_fork_with_other_input():
    clerk = agent("hello", input_guardrails=[no_swearing])
    store = MemoryStore()
    run = await begin(clerk, "damn", store=store)
    await run.drive()
    assert (run.standing, run.place, run.path()[-1].node) == ("done", "END", "blocked")
    with pytest.raises(NotPaused):
        await run.resume()
    with pytest.raises(NotPaused):
        await resume(run.id, clerk, store=store)
    fork = await run.fork(at=0, input="please")
    assert (await fork).output == "hello"
    assert [item["content"] for item in fork.state.items[:1]] == ["please"]
    same = await run.fork(at=0)
    await same.drive()
    assert same.path()[-1].node == "blocked"


async def test_a_fork_takes_another_way_from_the_middle_of_a_conversation():
    @function_tool
    def add(a: int, b: int) -> int:
        return a + b

    def counts(asked: Any) -> Any:
        return [message("four" if asked.input[-1].get("role") == "user" else "three")]

    clerk = agent([function_call("add", {"a": 1, "b": 2})], counts, tools=[add])
    run = await begin(clerk, "go", store=MemoryStore())
    assert (await run).output == "three"
    [after_tools] = at(run, "call_model", "done")
    fork = await run.fork(at=after_tools, input="add one more")
    assert (await fork).output == "four"
    roles = [item.get("role") or item["type"] for item in fork.state.items]
    assert roles == ["user", "function_call", "function_call_output", "user", "assistant"]
    assert [item.get("role") for item in run.state.items][-2:] == [None, "assistant"]


async def test_an_approval_is_answered_one_way_here_and_another_way_in_the_fork():
    ran: list[str] = []

    @function_tool(needs_approval=True)
    def refund(order: str) -> str:
        ran.append(order)
        return "refunded"

    store = MemoryStore(keep_bytes=True)
    clerk = agent([function_call("refund", {"order": "7"})], "first", "second", tools=[refund])
    run = await begin(clerk, "go", store=store)
    assert await run.drive() == "waiting"
    [asked] = at(run, "await_decision")
    fork = await run.fork(at=asked)
    assert await fork.drive() == "waiting"
    [mine] = await fork.requests()
    await fork.answer(mine.key, {"approve": False})
    assert await fork.drive() == "done"
    assert ran == []
    [theirs] = await run.requests()
    assert (theirs.run, theirs.key) == (run.id, mine.key)
    await run.answer(theirs.key, {"approve": True})
    assert await run.drive() == "done"
    assert ran == ["7"]


async def test_a_fork_reads_the_session_as_it_was_and_writes_to_none_unless_given_one():
    store = MemoryStore()
    await store.session_write("s", [{"role": "user", "content": "before"}])
    model_saw: list[Any] = []

    def answers(asked: Any) -> Any:
        model_saw.append([item.get("content") for item in asked.input])
        return [message("done")]

    clerk = agent(answers, answers, answers)
    run = await start(clerk, "go", store=store, meta={"session": "s", "note": 1}, context=Options(None, RunConfig()))
    await run
    written = len(await store.session_items("s"))
    [point] = at(run, "call_model")
    silent = await run.fork(at=point)
    assert await silent.drive() == "done"
    assert silent.meta == {"note": 1}
    assert len(await store.session_items("s")) == written
    loud = await run.fork(at=point, session="t")
    assert await finish(loud) == "done"
    assert loud.meta == {"note": 1, "session": "t"}
    assert len(await store.session_items("s")) == written
    assert [one.item["role"] for one in await store.session_items("t")] == ["user", "assistant"]
    assert model_saw[0] == model_saw[1] == model_saw[2] == ["before", "go"]
    anew = await run.fork(at=0, session="t")
    await anew
    assert model_saw[3][-1] == "go"
    assert len(model_saw[3]) == 3
    again = await load(loud.id, clerk, store=store)
    assert again.meta == loud.meta


async def test_an_agent_that_is_a_tool_begins_anew_in_a_fork_from_before_its_call():
    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        return "paid"

    inner = Agent(name="Payer", model=agent([function_call("pay", {"amount": 1})], "payer done", "payer done").model,
                  tools=[pay])  # fmt: skip
    outer = agent([function_call("ask_payer", {"input": "pay"})], "all done", "all done",
                  tools=[inner.as_tool("ask_payer", "Pays.")])  # fmt: skip
    store = MemoryStore(keep_bytes=True)
    run = await begin(outer, "go", store=store)
    assert await run.drive() == "waiting"
    [called] = at(run, "run_tools")
    fork = await run.fork(at=called)
    assert await fork.requests() == []
    assert await fork.drive() == "waiting"
    [asked] = await fork.requests()
    assert asked.run.startswith(f"{fork.id}/run_tools.1/")
    assert await finish(fork) == "done"
    assert [one.root for one in await store.requests()] == [run.id]


async def test_a_fork_doesnt_write_to_the_session_elsewhere_that_its_base_writes_to(tmp_path):
    session = SQLiteSession("talk", tmp_path / "talk.db")
    clerk = Agent(name="A", model=ScriptedModel(["one", "two"]))
    result = await Runner.run(clerk, "hi", session=session)
    kept = await session.get_items()
    fork = await result.run.fork(0)
    assert (await fork).output == "two"
    assert await session.get_items() == kept
    session.close()
