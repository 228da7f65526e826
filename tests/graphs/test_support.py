"""graphs/support.py with a model that follows: its paths, its pause, and that money is paid once whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from graphs_loading import ASKED, DECIDED, END, HANDOFF, SENTENCE, START, TOOL, labels, obedient, options, rows

from flowcore import MemoryStore, RawResponsesStreamEvent, Run, RunConfig, Runner, SqliteStore, UserError, resume, start
from flowcore.agents.loop.calling import REJECTED
from flowcore.stores.base import Store
from flowcore.testing import finish, journals, kill_everywhere, same_walk

PAID = "Hello! We have refunded $49.90 for order 1042. The money arrives within 5 days."


async def begin(support: Any, text: Any = SENTENCE, model: Any = None, **more: Any) -> Run:
    run = await start(support.graph, text, context=options(model or obedient()), limits={"max_turns": 10}, **more)
    await run.drive()
    return run


async def settled(support: Any, text: Any = SENTENCE, model: Any = None, answer: Any = True) -> Run:
    run = await begin(support, text, model)
    if run.standing == "waiting":
        await run.answer(value=answer)
        await run.drive()
    return run


async def output(run: Run) -> Any:
    return (await run).output


# --- paths ---


async def test_a_refund_stops_at_await_decision_and_nothing_is_paid_yet(support: Any) -> None:
    run = await begin(support)
    assert (run.standing, run.place) == ("waiting", "await_decision")
    assert labels(run) == START + HANDOFF + TOOL + ASKED
    (request,) = await run.requests()
    assert request.data["tool"] == "refund"
    assert request.data["arguments"] == '{"order_id": 1042, "reason": "arrived broken"}'
    assert rows(support.DATABASE) == []


async def test_an_approved_refund_is_paid_and_told(support: Any) -> None:
    run = await settled(support)
    assert await output(run) == PAID
    assert labels(run) == START + HANDOFF + TOOL + ASKED + DECIDED + HANDOFF + END
    ((order, cents, reason, key),) = rows(support.DATABASE)
    assert (order, cents, reason) == (1042, 4990, "arrived broken")
    assert key.startswith(f"{run.id}/run_tools.2/")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            {"approve": False, "message": "It's past the 30 days."},
            "Hello! We can't refund your order: It's past the 30 days.",
        ),
        (False, "Hello! We can't refund your order."),
    ],
)
async def test_a_rejected_refund_is_told_and_not_paid(support: Any, answer: Any, told: str) -> None:
    run = await settled(support, answer=answer)
    assert await output(run) == told
    assert labels(run) == START + HANDOFF + TOOL + ASKED + DECIDED + HANDOFF + END
    assert rows(support.DATABASE) == []


def test_a_rejection_without_a_message_is_worded_as_the_engine_words_it(support: Any) -> None:
    assert support.NO_REASON == REJECTED


async def test_a_question_takes_the_other_path_and_asks_nobody(support: Any) -> None:
    run = await begin(support, "where is order 1043?", obedient(lookup_order={"order_id": 1043}))
    assert await output(run) == "Hello! Order 1043, a desk lamp for $74.50, is on its way."
    assert labels(run) == START + HANDOFF + TOOL + HANDOFF + END
    assert run.state.agent == "Reply"
    assert run.state.items[1]["name"] == "transfer_to_orders"


async def test_an_unknown_order_is_told_without_a_refund(support: Any) -> None:
    run = await begin(support, "refund order 9999", obedient(lookup_order={"order_id": 9999}))
    assert await output(run) == "Hello! We have no order 9999. Please check the number."
    assert labels(run) == START + HANDOFF + TOOL + HANDOFF + END


async def test_without_a_number_the_customer_is_asked_for_it(support: Any) -> None:
    run = await begin(support, "My vase arrived broken, I want my money back")
    assert await output(run) == "Hello! Please tell us the number of your order."
    assert labels(run) == START + HANDOFF + HANDOFF + END


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        (SENTENCE, ["transfer_to_refunds"]),
        ("Where is my refund?", ["transfer_to_refunds"]),
        ("When will 1044 arrive?", ["transfer_to_orders"]),
        ("Hello, 1044?", ["transfer_to_orders", "transfer_to_refunds"]),
        ([{"role": "user", "content": [{"type": "input_text", "text": "Where is 1044?"}]}], ["transfer_to_orders"]),
    ],
)
async def test_plain_words_leave_one_handoff_others_leave_the_choice_to_the_model(
    support: Any, text: Any, offered: list[str]
) -> None:
    model = obedient("transfer_to_orders")
    await begin(support, text, model)
    assert [one.tool_name for one in model.calls[0].handoffs] == offered


# --- what a model gets wrong ---


async def test_a_misread_number_is_looked_up_as_the_customer_wrote_it(support: Any) -> None:
    run = await begin(support, model=obedient(lookup_order={"order_id": 1024}))
    assert "Order 1042, a glass vase" in run.state.items[4]["output"]
    assert run.standing == "waiting"


async def test_a_refund_of_another_order_than_the_one_looked_up_isnt_paid_though_approved(support: Any) -> None:
    run = await settled(support, model=obedient(refund={"order_id": 1041, "reason": "wrong item"}))
    assert await output(run) == "Hello! We can't refund order 1041: it isn't the one that was looked up."
    assert rows(support.DATABASE) == []


async def test_of_two_numbers_the_model_chooses(support: Any) -> None:
    model = obedient(lookup_order={"order_id": 1043}, refund={"order_id": 1043, "reason": "wrong item"})
    await settled(support, "1042 is fine, but 1043 was wrong: refund it", model)
    assert [row[0] for row in rows(support.DATABASE)] == [1043]


# --- once ---


async def test_a_second_run_finds_the_order_refunded(support: Any) -> None:
    await settled(support)
    run = await begin(support)
    assert await output(run) == "Hello! Order 1042, a glass vase for $49.90, was refunded already."
    assert len(rows(support.DATABASE)) == 1


async def test_of_two_runs_that_are_both_approved_one_pays(support: Any) -> None:
    runs = [await begin(support) for _ in range(2)]
    for run in runs:
        await run.answer()
    await asyncio.gather(*(run.drive() for run in runs))
    assert sorted([await output(run) for run in runs]) == ["Hello! Order 1042 was refunded already.", PAID]
    assert len(rows(support.DATABASE)) == 1


async def test_processes_that_begin_at_once_share_the_shop(support: Any) -> None:
    script = textwrap.dedent("""
        import asyncio, pathlib, sys
        from graphs_loading import SENTENCE, load_file, obedient, options
        from flowcore import start
        from flowcore.testing import finish
        support = load_file("support")
        support.DATABASE = pathlib.Path(sys.argv[1])
        async def main():
            run = await start(support.graph, SENTENCE, context=options(obedient()))
            await finish(run)
            print((await run).output)
        asyncio.run(main())
    """)
    going = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, str(support.DATABASE),
            stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parent,
        )
        for _ in range(4)
    ]  # fmt: skip
    said = [(await one.communicate())[0].decode().strip() for one in going]
    assert said.count(PAID) == 1
    assert all(one == PAID or "was refunded already" in one for one in said), said
    assert len(rows(support.DATABASE)) == 1


def new_shops(support: Any, tmp_path: Path, make: Callable[[], Store]) -> tuple[Callable[[], Store], list[Path]]:
    """A function that makes an empty store, and with it a new shop; the shops made."""
    shops: list[Path] = []

    def fresh() -> Store:
        shops.append(tmp_path / f"shop-{len(shops)}.db")
        support.DATABASE = shops[-1]
        return make()

    return fresh, shops


async def test_killed_after_any_fact_the_refund_is_paid_once(support: Any, tmp_path: Path, make_store: Any) -> None:
    fresh, shops = new_shops(support, tmp_path, make_store)
    kills = await kill_everywhere(support.graph, SENTENCE, store=fresh, context=lambda: options(obedient()))
    assert (kills.standing, kills.output) == ("done", PAID)
    assert kills.kills == len(shops) - 1
    for shop in shops:
        ((order, cents, _, _),) = rows(shop)
        assert (order, cents) == (1042, 4990)


async def test_killed_after_any_fact_a_rejected_refund_is_never_paid(support: Any, tmp_path: Path) -> None:
    fresh, shops = new_shops(support, tmp_path, lambda: MemoryStore(keep_bytes=True))
    kills = await kill_everywhere(
        support.graph,
        SENTENCE,
        store=fresh,
        context=lambda: options(obedient()),
        answers=lambda request: {"approve": False, "message": "It's past the 30 days."},
    )
    assert kills.output == "Hello! We can't refund your order: It's past the 30 days."
    assert all(rows(shop) == [] for shop in shops)


# --- the same walk however it's run ---


async def test_run_stream_and_a_run_reopened_at_its_pause_are_the_same_walk(support: Any, tmp_path: Path) -> None:
    fresh, _ = new_shops(support, tmp_path, lambda: MemoryStore(keep_bytes=True))

    async def awaited(store: Store) -> Run:
        run = await start(support.graph, SENTENCE, store=store, context=options(obedient()))
        await finish(run)
        return run

    async def streamed(store: Store) -> Run:
        run = await start(support.graph, SENTENCE, store=store, context=options(obedient()))
        async for _ in run:
            pass
        await run.answer()
        async for _ in run:
            pass
        return run

    async def reopened(store: Store) -> Run:
        first = await start(support.graph, SENTENCE, store=store, context=options(obedient()))
        async with first:
            await first.drive()
        run = await resume(first.id, support.graph, store=store, context=options(obedient()))
        await finish(run)
        return run

    walks = []
    for way in (awaited, streamed, reopened):
        store = fresh()
        run = await way(store)
        assert await output(run) == PAID
        walks.append(await journals(store, run.id))
    assert same_walk(walks[0], walks[1])
    assert same_walk(walks[0], walks[2])


async def test_the_runner_streams_the_answer_word_by_word(support: Any) -> None:
    model = obedient(lookup_order={"order_id": 1043})
    result = Runner.run_streamed(support.graph, "where is order 1043?", run_config=RunConfig(model=model))
    deltas = [
        event.data.delta
        async for event in result.stream_events()
        if isinstance(event, RawResponsesStreamEvent) and event.data.type == "response.output_text.delta"
    ]
    assert len(deltas) > 3
    assert "".join(deltas) == result.final_output == "Hello! Order 1043, a desk lamp for $74.50, is on its way."


async def test_an_approval_in_another_process_goes_on_there(support: Any, tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "runs.db")
    async with await begin(support, store=first) as run:
        assert run.standing == "waiting"
    await first.close()
    second = SqliteStore(tmp_path / "runs.db")
    run = await resume(run.id, support.graph, store=second, context=options(obedient()))
    await run.answer()
    assert await output(run) == PAID
    assert len(rows(support.DATABASE)) == 1
    await second.close()


async def test_a_refund_that_was_paid_but_not_recorded_is_found_by_its_key(
    support: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Falters(contextlib.closing):  # type: ignore[type-arg]
        def __exit__(self, *error: object) -> None:
            super().__exit__(*error)
            if rows(support.DATABASE):
                raise OSError("the line went dead")

    run = await begin(support)
    await run.answer()
    with monkeypatch.context() as patch:
        patch.setattr(support, "closing", Falters)
        assert await run.drive() == "failed"
    assert len(rows(support.DATABASE)) == 1, "it was paid, and the run doesn't know"
    await run.resume()
    assert await output(run) == PAID
    assert len(rows(support.DATABASE)) == 1


async def test_a_shop_that_is_away_fails_the_run_which_goes_on_later(support: Any, tmp_path: Path) -> None:
    run = await begin(support)
    await run.answer()
    open_shop, support.DATABASE = support.DATABASE, tmp_path
    assert await run.drive() == "failed"
    assert run.place == "run_tools"
    assert isinstance(run.exception, UserError)
    support.DATABASE = open_shop
    await run.resume()
    assert await output(run) == PAID
    assert len(rows(open_shop)) == 1


async def test_a_customer_who_writes_again_is_served_anew(support: Any) -> None:
    run = await begin(support, "where is order 1043?", obedient(lookup_order={"order_id": 1043}))
    again = [*map(dict, run.state.items), {"role": "user", "content": "It arrived broken, I want my money back!"}]
    model = obedient(lookup_order={"order_id": 1043}, refund={"order_id": 1043, "reason": "arrived broken"})
    second = await settled(support, again, model)
    assert "refunded $74.50 for order 1043" in await output(second)


def test_support_asks_on_the_terminal(support: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    asked: list[str] = []

    def say_yes(prompt: str) -> str:
        asked.append(prompt)
        return "y"

    monkeypatch.setattr("builtins.input", say_yes)
    for agent in (support.graph, support.orders, support.refunds, support.reply):
        agent.model = obedient()
    asyncio.run(support.main(SENTENCE))
    assert asked == ['refund {"order_id": 1042, "reason": "arrived broken"}? [y/N] ']
    assert capsys.readouterr().out == PAID + "\n"
