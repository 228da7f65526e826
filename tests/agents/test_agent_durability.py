"""An agent's run killed, closed and reopened, cancelled: nothing that finished is lost, nothing that finished runs
again."""

import asyncio
import dataclasses
from typing import Any

import pytest
from agents_making import agent, function_call, outputs
from pydantic import BaseModel
from stores_everywhere import THREE, Making

from flowcore import (
    Agent,
    GraphChanged,
    GuardrailFunctionOutput,
    MemoryStore,
    ModelError,
    ModelSettings,
    Options,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    Runner,
    Usage,
    UserError,
    function_tool,
    handoff,
    input_guardrail,
    load,
    output_guardrail,
    resume,
    start,
)
from flowcore.machine.facts import Started
from flowcore.machine.wire import encode
from flowcore.models.settings import ModelRetrySettings
from flowcore.testing import (
    Crash,
    CrashingStore,
    ManualClock,
    ModelStep,
    ScriptedModel,
    journals,
    kill_everywhere,
    same_walk,
)


@pytest.fixture(params=THREE)
async def make_store(request):
    making = Making(request.param)
    yield making
    await making.end()


class Sum(BaseModel):
    total: int


@function_tool
async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@function_tool(needs_approval=True)
async def delete(row: str) -> str:
    """Delete."""
    return f"deleted {row}"


ADD = function_call("add", {"a": 1, "b": 2})


def passing(name: str, parallel: bool) -> Any:
    @input_guardrail(name=name, run_in_parallel=parallel)
    async def judge(ctx, agent, input):
        return GuardrailFunctionOutput(name, False)

    return judge


@input_guardrail
async def tripping(ctx, agent, input):
    return GuardrailFunctionOutput("no", True)


@output_guardrail
async def weighing(ctx, agent, output):
    return GuardrailFunctionOutput("fine", False)


def tools_agent() -> Agent:
    return agent([ADD, ADD], ADD, "done", tools=[add])


def approvals_agent() -> Agent:
    calls = [function_call("delete", {"row": "a"}, "c1"), ADD, function_call("delete", {"row": "b"}, "c2")]
    return agent(calls, "done", tools=[add, delete])


def nested_agent() -> Agent:
    inner = agent([function_call("delete", {"row": "a"}), ADD], "inner done", name="Inner", tools=[add, delete])
    middle = agent(function_call("inner", {"input": "x"}), "middle done", name="Middle", tools=[inner.as_tool()])
    return agent([function_call("middle", {"input": "y"}), ADD], "done", tools=[middle.as_tool(), add])


def handoff_agent() -> Agent:
    model = ScriptedModel.by_turn([ADD, [function_call("transfer_to_b"), ADD], "b here"])
    b = Agent(name="B", model=model)
    return Agent(name="A", model=model, tools=[add], handoffs=[handoff(b, input_filter=lambda data: data)])


def guarded_agent() -> Agent:
    judges = [passing("before", False), passing("beside", True), passing("besides", True)]
    return agent(ADD, "done", tools=[add], input_guardrails=judges, output_guardrails=[weighing])


def tripped_agent() -> Agent:
    return agent(ModelStep("never", delay=0.2), input_guardrails=[tripping])


def typed_agent() -> Agent:
    model = ScriptedModel.by_turn(["{}", '{"total": 1}'], count=lambda items: sum("role" in one for one in items) // 2)
    return Agent(name="A", model=model, output_type=Sum)


def ending_agent() -> Agent:
    return agent([ADD, ADD], tools=[add], tool_use_behavior={"stop_at_tool_names": ["add"]})


AGENTS = [
    tools_agent,
    approvals_agent,
    nested_agent,
    handoff_agent,
    guarded_agent,
    tripped_agent,
    typed_agent,
    ending_agent,
]


@pytest.mark.parametrize("make", AGENTS)
async def test_an_agent_killed_at_every_fact_ends_the_same(make, make_store):
    kills = await kill_everywhere(make, "go", store=make_store)
    assert kills.standing == "done"
    assert kills.kills >= 5


async def test_an_agent_whose_model_fails_twice_killed_at_every_fact_ends_the_same(make_store):
    make_store.apart = True
    clock = ManualClock()

    class Busy(ScriptedModel):
        """Fails twice a run, by the attempt that the journal counts: a resumed run meets the errors that are left."""

        def __init__(self, context: Any) -> None:
            super().__init__(lambda asked: "fine" if context["attempt"]() > 2 else busy())

    async def begin_in(store: Any, id: str) -> Any:
        context: dict[str, Any] = {}
        run = await start(Agent(name="A", model=Busy(context)), "go", store=store, run_id=id, clock=clock)
        context["attempt"] = lambda: run._live.snapshot.visit.attempt
        return run

    def busy() -> ModelError:
        return ModelError("busy", status_code=503, retryable=True)

    calm = make_store()
    assert await (await begin_in(calm, "r")).drive() == "done"
    reference = await journals(calm, "r")
    await calm.close()
    assert [fact.attempt for fact in reference["r"][3:6]] == [1, 2, 3]
    for k in range(1, len(reference["r"]) + 1):
        store = make_store()
        crashing = CrashingStore(store, k)
        with pytest.raises(Crash):
            await (await begin_in(crashing, "r")).drive()
        await crashing.bury()
        context: dict[str, Any] = {}
        again = await load("r", Agent(name="A", model=Busy(context)), store=store, clock=clock)
        context["attempt"] = lambda run=again: run._live.snapshot.visit.attempt
        if again.standing != "done":
            assert await (await again.resume()).drive() == "done"
        same_walk(reference, await journals(store, "r"))
        await store.close()


# --- the same walk ----------------------------------------------------------------------------------------------------


async def after_every_fact(make: Any, store: Any) -> dict[str, Any]:
    """The walk of a run that's closed and reopened after every fact."""
    admitted = False
    while True:
        crashing = CrashingStore(store, 1)
        try:
            if admitted:
                run = await load("r", make(), store=crashing)
                if run.standing == "done":
                    return await journals(store, "r")
                await (await run.resume()).drive()
            else:
                admitted = True
                await start(make(), "go", store=crashing, run_id="r")
        except Crash:
            pass
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            if task.get_name().startswith("flowcore"):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await crashing.bury()


@pytest.mark.parametrize("make", [tools_agent, guarded_agent, handoff_agent, typed_agent, ending_agent])
async def test_run_streamed_and_reopened_walks_are_the_same(make):
    stores = [MemoryStore(keep_bytes=True) for _ in range(3)]
    result = await Runner.run(make(), "go", store=stores[0], run_id="r")
    streamed = Runner.run_streamed(make(), "go", store=stores[1], run_id="r")
    assert [event async for event in streamed.stream_events()]
    assert streamed.final_output == result.final_output
    walk = await journals(stores[0], "r")
    same_walk(walk, await journals(stores[1], "r"))
    same_walk(walk, await after_every_fact(make, stores[2]))
    out = await make().arun("go", store=(other := MemoryStore()), run_id="r")
    assert out.content == result.final_output
    same_walk(walk, await journals(other, "r"))


# --- what is paid is paid once ----------------------------------------------------------------------------------------


async def test_a_payment_beside_a_tool_that_fails_is_made_once():
    paid, tried = [], []

    @function_tool
    async def pay() -> str:
        """Pay."""
        await asyncio.sleep(0.01)
        paid.append(1)
        return "paid"

    @function_tool(failure_error_function=None)
    async def fail() -> str:
        """Fail."""
        tried.append(1)
        if len(tried) == 1:
            raise OSError("down")
        return "up"

    clerk = agent([function_call("pay"), function_call("fail")], "done", tools=[pay, fail])
    with pytest.raises(UserError, match="Error running tool fail: down") as caught:
        await Runner.run(clerk, "go")
    assert paid == [1]
    result = await caught.value.run_data.result.resume()
    assert result.final_output == "done"
    assert (paid, tried) == ([1], [1, 1])
    assert outputs(result.to_input_list()) == ["paid", "up"]


async def test_a_payment_that_is_the_visits_only_call_is_made_once_however_often_its_killed(make_store):
    paid: list[tuple[str, str]] = []

    @function_tool
    async def pay(ctx: Any, amount: int) -> str:
        """Pay."""
        return ""

    def make() -> Agent:
        async def invoke(ctx: Any, arguments: str) -> str:
            paid.append((ctx.idempotency_key.split("/")[0], ctx.idempotency_key))
            return "paid"

        tool = type(pay)("pay", "Pay.", pay.params_json_schema, invoke)
        return agent(function_call("pay", {"amount": 1}, "c1"), "done", tools=[tool])

    kills = await kill_everywhere(make, "go", store=make_store)
    runs = [run for run, _ in paid]
    assert len(set(runs)) >= kills.kills - 3
    for run in set(runs):
        assert runs.count(run) <= 1, "a kill after a fact never hits a call in flight"
        assert {key for one, key in paid if one == run} == {f"{run}/run_tools.1/0:c1"}


async def test_a_cancel_during_a_tool_keeps_what_finished_and_a_resume_goes_on():
    began = asyncio.Event()
    ran = []

    @function_tool
    async def quick() -> str:
        """Quick."""
        ran.append("quick")
        return "q"

    @function_tool
    async def slow() -> str:
        """Slow."""
        ran.append("slow")
        began.set()
        if ran.count("slow") == 1:
            await asyncio.sleep(60)
        return "s"

    model = ScriptedModel.by_turn([[function_call("quick"), function_call("slow")], "done"])
    clerk = Agent(name="A", model=model, tools=[quick, slow])
    streamed = Runner.run_streamed(clerk, "go")
    await began.wait()
    streamed.cancel()
    async with asyncio.timeout(5):
        assert [event async for event in streamed.stream_events()] == []  # who cancels at once waits for nothing
    assert (streamed.run.standing, streamed.run.place) == ("cancelled", "run_tools")
    assert streamed.is_complete
    assert len(model.calls) == 1
    result = await streamed.resume()
    assert result.final_output == "done"
    assert ran == ["quick", "slow", "slow"]


async def test_a_cancel_after_the_turn_lets_the_tools_finish_and_calls_no_model():
    began = asyncio.Event()
    go_on = asyncio.Event()

    @function_tool
    async def slow() -> str:
        """Slow."""
        began.set()
        await go_on.wait()
        return "s"

    store = MemoryStore()
    model = ScriptedModel([function_call("slow"), "done"])
    streamed = Runner.run_streamed(Agent(name="A", model=model, tools=[slow]), "go", store=store, session="s")
    await began.wait()
    streamed.cancel("after_turn")
    await asyncio.sleep(0.01)
    go_on.set()
    names = [event.name async for event in streamed.stream_events() if event.type == "run_item_stream_event"]
    assert names == ["tool_called", "tool_output"]
    assert (streamed.run.standing, streamed.run.place) == ("stopped", "call_model")
    assert len(model.calls) == 1
    assert len(await store.session_items("s")) == 3
    assert (await streamed.resume()).final_output == "done"


async def test_a_cancel_after_the_turn_while_the_model_is_called_still_runs_its_tools():
    model = ScriptedModel([ModelStep(ADD, delay=0.05), "done"])
    streamed = Runner.run_streamed(Agent(name="A", model=model, tools=[add]), "go")
    while not model.calls:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)
    streamed.cancel("after_turn")
    names = [event.name async for event in streamed.stream_events() if event.type == "run_item_stream_event"]
    assert names == ["tool_called", "tool_output"]
    assert streamed.run.standing == "stopped"


# --- sessions ---------------------------------------------------------------------------------------------------------


async def texts(store: Any, session: str = "s") -> list[Any]:
    """What a session holds, in short."""
    found = []
    for one in await store.session_items(session):
        item = one.item
        content = item.get("content")
        found.append(
            content
            if isinstance(content, str)
            else content[0]["text"]
            if content
            else item.get("name", item.get("output"))
        )
    return found


async def test_each_turn_is_in_the_session_exactly_once_whenever_the_run_is_killed(make_store):
    make_store.apart = True

    def make() -> Agent:
        return agent(ADD, [ADD, ADD], "done", tools=[add], input_guardrails=[passing("beside", True)])

    count = 0
    calm = make_store()
    run = await start(make(), "go", store=calm, meta={"session": "s"})
    await run.drive()
    wanted = await texts(calm)
    assert wanted == ["go", "add", "3", "add", "add", "3", "3", "done"]
    total = len(run.facts)
    await calm.close()
    for k in range(1, total + 1):
        store = make_store()
        crashing = CrashingStore(store, k)
        with pytest.raises(Crash):
            await (await start(make(), "go", store=crashing, run_id="r", meta={"session": "s"})).drive()
        await crashing.bury()
        assert len(await texts(store)) in (0, 1, 3, 7, 8)  # the input, then only whole turns
        again = await load("r", make(), store=store)
        if again.standing != "done":
            await (await resume("r", make(), store=store)).drive()
        assert await texts(store) == wanted
        await store.close()
        count += 1
    assert count == total


async def test_the_last_message_is_in_the_session_only_after_the_output_guardrails():
    store = MemoryStore()
    seen = []

    @output_guardrail
    async def look(ctx, agent, output):
        seen.append(await texts(store))
        return GuardrailFunctionOutput(None, False)

    await Runner.run(agent(ADD, "done", tools=[add], output_guardrails=[look]), "go", store=store, session="s")
    assert seen == [["go", "add", "3"]]
    assert await texts(store) == ["go", "add", "3", "done"]


async def test_the_next_run_sees_the_session_by_its_position(make_store):
    store = make_store()
    long = "x" * 20_000
    clerk = agent("noted", ADD, "again", tools=[add])
    await Runner.run(clerk, long, store=store, session="s")
    result = await Runner.run(clerk, "and now?", store=store, session="s")
    assert result.final_output == "again"
    seen = clerk.model.calls[1].input
    assert [one.get("content") for one in seen if one["role"] == "user"] == [long, "and now?"]
    assert len(clerk.model.calls[2].input) == 5
    assert sum(len(encode(fact).payload) for fact in result.run.facts) < 4_000
    assert result.to_input_list()[0] == {"role": "user", "content": "and now?"}
    assert await texts(store) == [long, "noted", "and now?", "add", "3", "again"]
    await store.close()


async def test_a_run_sees_the_session_as_it_was_when_it_began():
    store = MemoryStore()
    clerk = agent(function_call("delete", {"row": "a"}, "c1"), "done", tools=[delete])
    await store.session_write("s", [{"role": "user", "content": "before"}])
    result = await Runner.run(clerk, "go", store=store, session="s")
    await store.session_write("s", [{"role": "user", "content": "meanwhile"}])
    await result.run.answer("c1", True)
    await result.resume()
    assert [one["content"] for one in clerk.model.calls[1].input if one.get("role") == "user"] == ["before", "go"]
    assert await texts(store) == ["before", "go", "meanwhile", "delete", "deleted a", "done"]


async def test_two_runs_of_one_session_at_once_lose_nothing():
    store = MemoryStore()
    one, other = (
        Agent(name=name, model=ScriptedModel([ModelStep(ADD, delay=0.01), f"{name} done"]), tools=[add])
        for name in ("One", "Other")
    )
    await asyncio.gather(
        Runner.run(one, "one", store=store, session="s"), Runner.run(other, "other", store=store, session="s")
    )
    assert sorted(await texts(store)) == sorted(["one", "add", "3", "One done", "other", "add", "3", "Other done"])


async def test_a_handoff_filter_also_chooses_from_the_session():
    store = MemoryStore()
    await store.session_write("s", [{"role": "user", "content": text} for text in ("old", "x" * 5_000)])
    model = ScriptedModel([function_call("transfer_to_b"), "b here"])

    def shorten(data):
        return data.clone(input_history=(data.input_history[0], data.input_history[-1]), new_items=())

    a = Agent(name="A", model=model, handoffs=[handoff(Agent(name="B", model=model), input_filter=shorten)])
    result = await Runner.run(a, "new", store=store, session="s")
    assert len(model.calls[0].input) == 3
    assert [one["content"] for one in model.calls[1].input] == ["old", "new"]
    assert sum(len(encode(fact).payload) for fact in result.run.facts) < 4_000


async def test_a_rejected_output_never_reaches_the_session_whenever_its_killed():
    @output_guardrail
    async def no(ctx, agent, output):
        return GuardrailFunctionOutput(None, True)

    def make() -> Agent:
        return agent(ADD, "secret", tools=[add], output_guardrails=[no])

    store = MemoryStore(keep_bytes=True)
    with pytest.raises(OutputGuardrailTripwireTriggered):
        await Runner.run(make(), "go", store=store, session="s", run_id="calm")
    total = len(await store.read("calm"))
    for k in range(1, total + 1):
        store = MemoryStore(keep_bytes=True)
        crashing = CrashingStore(store, k)
        with pytest.raises(Crash):
            await (await start(make(), "go", store=crashing, run_id="r", meta={"session": "s"})).drive()
        await crashing.bury()
        again = await load("r", make(), store=store)
        if again.standing != "done":
            await (await resume("r", make(), store=store)).drive()
        assert await texts(store) == ["go", "add", "3"]


# --- bytes and counters -----------------------------------------------------------------------------------------------


async def test_a_turn_costs_what_is_new():
    turns = 60
    model = ScriptedModel(lambda asked: ADD if asked.turn < turns else "done", record=False)
    result = await Runner.run(Agent(name="A", model=model, tools=[add]), "go", max_turns=None)
    sizes = [len(encode(fact).payload) for fact in result.run.facts]
    assert max(sizes[4:-3]) - min(sizes[6:-3:2]) < 200
    assert sizes[-10] <= sizes[6] + 12  # longer numbers at most


async def test_turns_and_usage_go_on_where_they_were():
    clerk = agent(ADD, ADD, ADD, "done", tools=[add])
    store = MemoryStore(keep_bytes=True)
    crashing = CrashingStore(store, 6)
    with pytest.raises(Crash):
        await (await start(clerk, "go", store=crashing, run_id="r", limits={"max_turns": 3})).drive()
    await crashing.bury()
    run = await resume("r", clerk, store=store)
    await run.drive()
    assert (run.standing, run.place) == ("failed", "max_turns")
    assert run.usage["requests"] == 3
    await (await run.resume(limits={"max_turns": 4})).drive()
    assert (run.standing, run.usage["requests"]) == ("done", 4)


async def test_what_the_calls_cost_goes_on_where_it_was_and_is_bounded():
    model = ScriptedModel.by_turn([ADD, ADD, ADD, "done"], usage=Usage(requests=1, cost=0.25))
    clerk = Agent(name="Clerk", model=model, tools=[add])
    store = MemoryStore(keep_bytes=True)
    crashing = CrashingStore(store, 6)
    with pytest.raises(Crash):
        await (await start(clerk, "go", store=crashing, run_id="r", limits={"max_cost": 0.5})).drive()
    await crashing.bury()
    run = await resume("r", clerk, store=store)
    await run.drive()
    assert (run.standing, run.place, run.usage["cost"]) == ("failed", "over_budget", 0.5)
    await (await run.resume(limits={"max_cost": 1.5})).drive()
    assert (run.standing, run.usage["cost"]) == ("done", 1.0)


async def test_the_attempts_of_a_model_call_are_counted_by_the_journal():
    settings = ModelSettings(retry=ModelRetrySettings(max_retries=1))
    busy = ModelError("busy", status_code=503, retryable=True)
    clerk = Agent(name="A", model=ScriptedModel(lambda asked: busy), model_settings=settings)
    store = MemoryStore(keep_bytes=True)
    crashing = CrashingStore(store, 4)  # Started, prepare, input_guardrails, the first retry
    with pytest.raises(Crash):
        await (await start(clerk, "go", store=crashing, run_id="r", clock=ManualClock())).drive()
    await crashing.bury()
    run = await resume("r", clerk, store=store, clock=ManualClock())
    await run.drive()
    assert run.standing == "failed"
    assert len(clerk.model.calls) == 2


async def test_a_tool_in_doubt_after_a_crash_is_asked_about():
    ran = []

    @function_tool(on_crash="ask")
    async def pay() -> str:
        """Pay."""
        ran.append(1)
        return "paid"

    clerk = agent(function_call("pay", "{}", "c1"), "done", tools=[pay])
    store = MemoryStore(keep_bytes=True)
    crashing = CrashingStore(store, 5)  # the intent is the last fact
    with pytest.raises(Crash):
        await (await start(clerk, "go", store=crashing, run_id="r")).drive()
    await crashing.bury()
    run = await resume("r", clerk, store=store)
    await run.drive()
    assert run.standing == "waiting"
    (request,) = await run.requests()
    assert request.kind == "in_doubt"
    await run.answer(request.key, "retry")
    assert (await run).output == "done"
    assert len(ran) <= 2


async def test_a_run_config_isnt_stored():
    store = MemoryStore(keep_bytes=True)
    config = RunConfig(model=ScriptedModel(["x"]), workflow_name="w")
    result = await Runner.run(Agent(name="A"), "go", run_config=config, context=object(), store=store)
    first = result.run.facts[0]
    assert isinstance(first, Started)
    assert first.meta == {"face": "runner", "workflow": "w"}


# --- a changed agent --------------------------------------------------------------------------------------------------


async def waiting_run(store: Any) -> Any:
    clerk = agent(function_call("delete", {"row": "a"}, "c1"), "done", tools=[delete, add])
    run = await start(clerk, "go", store=store)
    assert await run.drive() == "waiting"
    return run


async def test_a_run_that_waits_to_call_a_tool_that_is_gone_is_refused_by_name():
    run = await waiting_run(store := MemoryStore(keep_bytes=True))
    with pytest.raises(GraphChanged, match="waits to call 'delete', which agent 'Clerk' no longer has"):
        await load(run.id, agent("done", tools=[add]), store=store)


async def test_a_run_whose_agent_is_gone_is_refused_by_name():
    run = await waiting_run(store := MemoryStore(keep_bytes=True))
    with pytest.raises(GraphChanged, match="current agent is 'Clerk', which 'Other' doesn't lead to any more"):
        await load(run.id, agent("done", name="Other", tools=[delete]), store=store)


async def test_a_pending_call_of_a_tool_that_was_renamed_is_migrated():
    @function_tool(needs_approval=True)
    async def remove(row: str) -> str:
        """Remove."""
        return f"removed {row}"

    run = await waiting_run(store := MemoryStore(keep_bytes=True))
    clerk = agent("?", "done", tools=[remove, add])

    @clerk.graph.migrate(run.definition.fingerprint)
    def renamed(state: dict[str, Any]) -> dict[str, Any]:
        items = [{**one, "name": "remove"} if one.get("name") == "delete" else one for one in state["items"]]
        return {**state, "items": items}

    again = await resume(run.id, clerk, store=store)
    await again.answer("c1", True)
    result = await again
    assert result.output == "done"
    assert outputs(result.state.items) == ["removed a"]


async def test_a_tool_that_nobody_waits_for_may_come_and_go():
    run = await waiting_run(store := MemoryStore(keep_bytes=True))
    await run.answer("c1", True)
    again = await resume(run.id, agent("?", "done", tools=[delete]), store=store)
    assert (await again).output == "done"


async def test_text_that_utf8_cant_carry_survives(make_store):
    @function_tool
    async def odd() -> str:
        """Odd."""
        return "nul \0 and half \ud83d"

    store = make_store()
    run = await start(agent(function_call("odd"), "done \udc00", tools=[odd]), "in \ud800", store=store)
    assert await run.drive() == "done"
    again = await load(run.id, agent(tools=[odd]), store=store)
    assert again.state.items[0]["content"] == "in \ud800"
    assert outputs(again.state.items) == ["nul \0 and half \ud83d"]
    assert (await again.result()).output == "done \udc00"
    await store.close()


async def test_a_run_that_calls_a_tool_nobody_has_is_opened_elsewhere_and_the_model_is_told_so():
    store = MemoryStore(keep_bytes=True)
    config = RunConfig(tool_not_found_behavior="return_error_to_model")

    @function_tool
    async def slow() -> str:
        """Slow."""
        raise RuntimeError("the process died")

    def make() -> Agent:
        model = ScriptedModel.by_turn([[function_call("nobody", "{}", "n"), function_call("slow", "{}", "s")], "done"])
        tool = dataclasses.replace(slow, failure_error_function=None)
        return Agent(name="A", model=model, tools=[tool])

    with pytest.raises(UserError, match="the process died"):
        await Runner.run(make(), "go", store=store, run_id="r", run_config=config)
    again = make()
    again.tools = [function_tool(lambda: "fine", name_override="slow")]
    run = await resume("r", again, store=store, context=Options(config=config))
    assert (await run).output == "done"
    told = [item["output"] for item in run.state.items if item.get("type") == "function_call_output"]
    assert told == ["Tool 'nobody' not found.", "fine"]
