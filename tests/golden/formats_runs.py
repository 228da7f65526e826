"""The runs of the golden journals: what each walks through, how it was brought where it stands, and how it goes on.

What stands here is what journals of released versions were written with, so nothing of it is ever changed; a new
version may add runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel
from tenacity import retry_if_exception_type, stop_after_attempt, wait_fixed

from flowcore import Agent, Options, RunConfig, Runner, RunState, function_tool
from flowcore.engine.fanout import map
from flowcore.engine.run import Run, answer, load, resume, send, start
from flowcore.graph.graph import Graph, continues
from flowcore.graph.node import Retry, node
from flowcore.graph.outcomes import END, START, Ask, Goto, Of, Pause, Replace, Select
from flowcore.graph.state import State, add, append, merge
from flowcore.graph.values import Json
from flowcore.stores.base import Store
from flowcore.testing import Crash, CrashingStore, ManualClock, ScriptedModel, finish, function_call

BEGAN = 1_700_000_000.0
"""When the runs began, in seconds since the epoch."""
LATER = BEGAN + 86_400.0
"""When they go on."""


class Money(BaseModel):
    amount: int
    currency: Literal["EUR", "USD"] = "EUR"


class Order(State):
    n: int = 0
    total: Annotated[int, add] = 0
    log: Annotated[list[str], append] = []
    items: Annotated[list[dict[str, Json]], append] = []
    view: list[dict[str, Json]] | None = None
    seen: Annotated[dict[str, Json], merge] = {}
    answers: dict[str, Json] = {}
    price: Money | None = None
    day: date = date(2026, 1, 31)


# -- graphs ----------------------------------------------------------------------------------------------------------


def everything() -> Graph:
    """Each way in which a fact tells what is new; a retry, an error edge, a limit, a cycle."""

    @node(limit=3)
    async def count(state: Order, ctx: Any) -> dict[str, Any]:
        return {"n": state.n + 1, "total": 2, "log": [f"turn {state.n} ü€𝄞"], "seen": {str(state.n): [1.5, None]}}

    async def judge(state: Order) -> Goto[Literal["again", "enough"]]:
        return Goto("again") if state.n < 2 else Goto("enough", price=Money(amount=7), day=date(2026, 2, 1))

    @node(retry=Retry(stop_after_attempt(3), wait_fixed(5), retry_if_exception_type(OSError)))
    async def flaky(state: Order, ctx: Any) -> Goto[Literal["gathered"]]:
        one = await ctx.once("one", lambda: {"n": 1}, returns=dict[str, int])
        if ctx.attempt < 2:
            raise OSError("not yet")
        return Goto("gathered", items=[Of("one"), {"n": 2}], total=Of("one", "n"), log=[str(one["n"])])

    async def pick(state: Any) -> dict[str, Any]:
        keys = state.items.keys()
        return {"view": Select([keys[1], {"n": 7}, keys[0]], of="items"), "log": Replace(["new"])}

    async def breaks(state: Order) -> None:
        raise LookupError("mended below")

    async def mend(state: Order, ctx: Any) -> dict[str, Any]:
        ctx.spend(total_tokens=11, cost=0.5)
        return {"log": [ctx.cause["kind"]]}

    table = {
        START: count, count: judge, judge: {"again": count, "enough": flaky}, flaky: {"gathered": pick}, pick: breaks,
        breaks: {"ok": END, LookupError: mend}, mend: END,
    }  # fmt: skip
    return Graph("everything", Order, table)


def asks() -> Graph:
    async def ask(state: Order) -> Pause:
        return Pause(Ask("one", {"what": 1}), Ask("two", schema=bool), into="answers")

    async def after(state: Order) -> dict[str, Any]:
        return {"log": sorted(state.answers)}

    return Graph("asks", Order, {START: ask, ask: {"answered": after}, after: END})


def decides() -> Graph:
    """Requests are opened by one node and waited for by another; the visit goes on."""

    async def work(state: Order, ctx: Any) -> Goto[Literal["done", "decide"]]:
        await ctx.request("a", {"tool": "x"})
        done = await ctx.once("free", lambda: "ran")
        if "a" not in ctx.answers:
            return Goto("decide")
        return Goto("done", log=[done, str(await ctx.once("call", lambda: 1))])

    async def decide(state: Order, ctx: Any) -> Pause:
        return Pause(*ctx.open_requests, on="decided", enough="any")

    return Graph(
        "decides", Order, {START: work, work: {"done": END, "decide": decide}, decide: {"decided": continues(work)}}
    )


def nested() -> Graph:
    async def outer(state: Order, ctx: Any) -> dict[str, Any]:
        before = await ctx.once("before", lambda: "once")
        one, two = await asyncio.gather(ctx.child(decides(), {"n": 1}, "one"), ctx.child(asks(), None, "two"))
        return {"log": [before, *one["log"], *two["log"]]}

    return Graph("nested", Order, {START: outer, outer: END})


class Batch(State):
    numbers: list[int]
    doubled: list[int | None] = []
    failures: list[dict[str, Json]] = []


class Piece(State):
    number: int
    twice: int = 0


def fans_out() -> Graph:
    async def double(state: Piece) -> dict[str, int]:
        if state.number == 3:
            raise ValueError("three")
        return {"twice": state.number * 2}

    one = Graph("piece", Piece, {START: double, double: END}, takes="number", gives="twice")
    each = map(one, over="numbers", into="doubled", errors="failures", failures="collect", concurrency=2, name="each")
    return Graph("batch", Batch, {START: each, each: END})


def fails() -> Graph:
    async def good(state: Order) -> dict[str, Any]:
        return {"log": ["good"]}

    async def bad(state: Order, ctx: Any) -> dict[str, Any]:
        await ctx.once("paid", lambda: 1)
        if not (ctx.context or {}).get("mended"):
            raise ValueError("it's broken")
        return {"log": [f"attempt {ctx.attempt}"]}

    return Graph("fails", Order, {START: good, good: bad, bad: END})


def waits() -> Graph:
    """A deadline that no answer meets, then a retry that's due."""

    async def ask(state: Order, ctx: Any) -> Any:
        return Pause(Ask("q"), until=ctx.now + 3600, on="answered", late="late")

    async def late(state: Order) -> dict[str, Any]:
        return {"log": ["late"]}

    return Graph("waits", Order, {START: ask, ask: {"answered": END, "late": late}, late: END})


def sleeps() -> Graph:
    @node(retry=Retry(stop_after_attempt(2), wait_fixed(3600), retry_if_exception_type(OSError)))
    async def flaky(state: Order, ctx: Any) -> dict[str, Any]:
        if ctx.attempt == 1:
            raise OSError("later")
        return {"log": [f"attempt {ctx.attempt}"]}

    return Graph("sleeps", Order, {START: flaky, flaky: END})


def doubts() -> Graph:
    async def work(state: Order, ctx: Any) -> dict[str, Any]:
        return {"log": [await ctx.once("pay", lambda: "paid", on_crash="ask")]}

    return Graph("doubts", Order, {START: work, work: END})


class Before(State):
    euros: int = 0
    log: Annotated[list[str], append] = []


class After(State):
    cents: int = 0
    log: Annotated[list[str], append] = []


def before() -> Graph:
    async def ask(state: Before) -> Pause:
        return Pause(Ask("ok"))

    async def pay(state: Before) -> dict[str, Any]:
        return {"log": [f"{state.euros} euros"]}

    return Graph("changes", Before, {START: ask, ask: {"answered": pay}, pay: END})


def changed() -> Graph:
    async def ask(state: After) -> Pause:
        return Pause(Ask("ok"))

    async def pay(state: After) -> dict[str, Any]:
        return {"log": [f"{state.cents} cents"]}

    graph = Graph("changes", After, {START: ask, ask: {"answered": pay}, pay: END})
    graph.migrate(before().fingerprint, state=Before)(lambda state: {"cents": state["euros"] * 100})
    return graph


@function_tool
async def look_up(order: int) -> str:
    """Find an order."""
    return f"order {order}: a vase"


@function_tool(needs_approval=True)
async def refund(order: int) -> str:
    """Pay an order back."""
    return f"order {order} is paid back"


def says(*steps: Any) -> ScriptedModel:
    """A model that says these steps, each when there have been more outputs of tools than at the one before."""

    def reply(asked: Any) -> Any:
        outputs = sum(item.get("type") == "function_call_output" for item in asked.input)
        return next(said for most, said in steps if outputs <= most)

    return ScriptedModel(reply, record=False)


def clerk() -> Agent[Any]:
    two = [
        function_call("look_up", {"order": 8}, call_id="call_3"),
        function_call("refund", {"order": 7}, call_id="call_4"),
    ]
    refunds: Agent[Any] = Agent(
        name="Refunds", instructions="Pay back.", tools=[look_up, refund],
        model=says((1, [function_call("look_up", {"order": 7}, call_id="call_2")]), (2, two), (4, "It's paid back.")),
    )  # fmt: skip
    first = [function_call("transfer_to_refunds", {}, call_id="call_1")]
    return Agent(name="Clerk", instructions="Help with orders.", handoffs=[refunds], model=says((0, first)))


def boss() -> Agent[Any]:
    """An agent whose tool is an agent that waits."""
    inner = [function_call("refund", {"order": 9}, call_id="inner_1")]
    helper: Agent[Any] = Agent(
        name="Helper", instructions="Help.", tools=[refund], model=says((0, inner), (1, "It's done."))
    )
    outer = [function_call("help", {"input": "refund 9"}, call_id="outer_1")]
    model = says((0, outer), (1, "All is well."))
    return Agent(name="Boss", instructions="Delegate.", tools=[helper.as_tool("help", "Helps.")], model=model)


GRAPHS: dict[str, Callable[[], Any]] = {
    "everything": everything, "asks": asks, "mail": asks, "fork": everything, "nested": nested, "batch": fans_out,
    "fails": fails, "waits": waits, "sleeps": sleeps, "doubts": doubts, "cancelled": asks, "stopped": fails,
    "agent": clerk, "boss": boss, "changes": changed, "unchanged": changed,
}  # fmt: skip
"""By run id: what the run walks through today."""


# -- how they were brought where they stand --------------------------------------------------------------------------


async def begin(id: str, store: Store, graph: Any = None, input: Any = None, **given: Any) -> Run:
    graph = GRAPHS[id]() if graph is None else graph
    if isinstance(graph, Agent):
        given["context"] = Options(None, RunConfig())
    run = await start(graph, input, store=store, run_id=id, clock=ManualClock(BEGAN), label=f"golden {id}", **given)
    await run.drive()
    return run


async def crash(id: str, store: Store, facts: int, input: Any = None) -> None:
    """Begin a run in a process that dies after so many facts."""
    crashing: Any = CrashingStore(store, facts)
    others = asyncio.all_tasks()
    try:
        await begin(id, crashing, input=input)
    except Crash:
        pass
    left = asyncio.all_tasks() - others
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await crashing.bury()


async def asked(store: Store) -> None:
    await begin("asks", store, input={"n": 4, "price": Money(amount=3), "log": ["begun"]}, limits={"max_tokens": 99})
    await answer(store, "asks", "one", {"text": "yes ü€𝄞"})
    await (await load("asks", asks(), store=store, clock=ManualClock(BEGAN + 60))).drive()


async def mailed(store: Store) -> None:
    await begin("mail", store)
    await answer(store, "mail", "one", 1)
    await answer(store, "mail", "two", True)
    await send(store, "mail", "input", value="more")


async def forked(store: Store) -> None:
    run = await load("everything", everything(), store=store, clock=ManualClock(BEGAN + 60))
    at = next(fact.seq for fact in run.facts if getattr(fact, "on", None) == "again")
    fork = await run.fork(at, run_id="fork", update={"log": ["forked"]}, session="drafts")
    await fork.stop(before=["flaky"])
    await fork.drive()


async def cancelled(store: Store) -> None:
    run = await begin("cancelled", store)
    await run.cancel()


async def stopped(store: Store) -> None:
    run = await start(fails(), store=store, run_id="stopped", clock=ManualClock(BEGAN))
    await run.stop(before=["bad"])
    await run.drive()


async def talked(store: Store) -> None:
    """An agent with tools, a handoff and a session, which waits for an approval."""
    await store.session_write("talk", [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}])
    await Runner.run(clerk(), "Refund order 7", store=store, run_id="agent", session="talk", max_turns=8)


async def changes(store: Store) -> None:
    await begin("changes", store, before(), {"euros": 5})
    await (await resume("changes", changed(), store=store, clock=ManualClock(BEGAN + 60))).drive()


async def failed(store: Store) -> None:
    await begin("fails", store)


STEPS: dict[str, Callable[[Store], Awaitable[Any]]] = {
    "everything": lambda store: begin("everything", store, limits={"max_seconds": 1000}),
    "asks": asked,
    "mail": mailed,
    "fork": forked,
    "nested": lambda store: begin("nested", store),
    "batch": lambda store: crash("batch", store, 3, {"numbers": [1, 2, 3, 4, 5]}),
    "fails": failed,
    "waits": lambda store: begin("waits", store),
    "sleeps": lambda store: crash("sleeps", store, 2),
    "doubts": lambda store: crash("doubts", store, 2),
    "cancelled": cancelled,
    "stopped": stopped,
    "agent": talked,
    "boss": lambda store: begin("boss", store, input="Please"),
    "changes": changes,
    "unchanged": lambda store: begin("unchanged", store, before(), {"euros": 6}),
}


async def state_json() -> str:
    """A ``RunState`` of a run without a store, as text."""
    result = await Runner.run(clerk(), "Refund order 7", context={"customer": 3}, run_config=RunConfig())
    return result.to_state().to_string()


# -- what is read of them, and how they go on ------------------------------------------------------------------------


def plain(state: Any) -> Any:
    return state.model_dump(mode="json")


async def describe(id: str, store: Store) -> dict[str, Any]:
    """What a version reads of a run: all of it has to be read by every later one."""
    row = await store.get(id)
    run = await load(id, GRAPHS[id](), store=store, clock=ManualClock(LATER))
    tree = sorted((await store.runs(root=id, limit=500)).runs, key=lambda one: one.run)
    return {
        "standing": run.standing, "place": run.place, "state": plain(run.state), "usage": run.usage,
        "path": [list(step) for step in run.path()], "facts": [type(fact).__name__ for fact in run.facts],
        "row": [row.graph, row.standing, row.node, row.turns, row.tokens, row.error, row.label, row.waiting],
        "base": [row.base, row.base_seq],
        "requests": [[one.run, one.key, one.kind, one.data, one.schema, one.node] for one in await run.requests()],
        "inbox": [[one.run, one.kind, one.key, one.value] for one in await store.inbox(id)],
        "children": [[one.run, one.standing, one.node, len(await store.read(one.run))] for one in tree[1:]],
    }  # fmt: skip


async def sessions_of(store: Store) -> dict[str, list[Any]]:
    """What the sessions hold."""
    return {id: [one.item for one in await store.session_items(id)] for id in ("talk", "drafts")}


def answers(request: Any) -> Any:
    return "retry" if request.kind == "in_doubt" else True


async def go_on(id: str, store: Store) -> dict[str, Any]:
    """What becomes of a run that goes on."""
    graph = GRAPHS[id]()
    context: Any = Options(None, RunConfig()) if isinstance(graph, Agent) else {"mended": True}
    run = await resume(id, graph, store=store, context=context, clock=ManualClock(LATER))
    await finish(run, answers)
    return {"standing": run.standing, "state": plain(run.state), "path": [list(step) for step in run.path()]}


async def go_on_from(text: str) -> Any:
    """What an agent's state, as text, leads to."""
    agent = clerk()
    state = await RunState.from_string(agent, text)
    for call in state.get_interruptions():
        state.approve(call)
    return (await Runner.run(agent, state)).final_output
