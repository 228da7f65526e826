"""What every store promises, asked of all of them."""

from __future__ import annotations

import pytest
from stores_making import (
    asking,
    begin,
    dead_owner,
    effect,
    far_owner,
    member,
    move,
    owner,
    question,
    rest,
    row,
    started,
)

from flowcore.errors import RunConflict, RunExists, RunNotFound, StoreError, UserError
from flowcore.machine.facts import Rested, Signal
from flowcore.stores import Store
from flowcore.stores.base import Append, Claim, Letter, SessionWrite

ME, OTHER = owner("me"), owner("other")


async def append(store: Store, claim: Claim, *members: Append) -> list[Exception | None]:
    return await store.append(members, claim)


# Admission and leases


async def test_an_admitted_run_is_there_with_its_first_fact_and_held(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    assert (claim.epoch, claim.head) == (1, 0)
    assert await store.read("r") == [started("r")]
    index = await store.get("r")
    assert (index.standing, index.node, index.owner, index.graph) == ("running", "first", "me", "graph")


async def test_a_run_may_be_admitted_with_a_whole_journal(store: Store) -> None:
    claim = await store.admit(member("r", started("r"), move(1), rest(2), index=row("r", standing="waiting")), ME)
    assert claim.head == 2
    assert [fact.seq for fact in await store.read("r")] == [0, 1, 2]
    assert await append(store, claim, member("r", move(3))) == [None]


async def test_a_run_is_admitted_once(store: Store) -> None:
    await store.admit(begin("r"), ME)
    with pytest.raises(RunExists, match="'r'"):
        await store.admit(begin("r"), OTHER)
    assert len(await store.read("r")) == 1


@pytest.mark.parametrize("run", ["", "a\0b", "a\nb", "\ud800", "x" * 513])
async def test_a_run_id_that_is_not_printable_or_too_long_is_refused(store: Store, run: str) -> None:
    with pytest.raises(UserError, match="run id"):
        await store.admit(begin(run), ME)
    with pytest.raises(UserError, match="run id"):
        await store.get(run)


async def test_a_journal_begins_with_fact_0_and_has_no_gap(store: Store) -> None:
    with pytest.raises(RunConflict):
        await store.admit(member("r", move(1), index=row("r")), ME)
    with pytest.raises(StoreError):
        await store.admit(member("r", started("r"), move(2)), ME)
    with pytest.raises(StoreError, match="not Started"):
        await store.admit(member("r", move(0)), ME)
    with pytest.raises(RunNotFound):
        await store.get("r")


async def test_every_question_about_an_unknown_run_is_run_not_found(store: Store) -> None:
    for ask in (
        store.claim("r", ME),
        store.read("r"),
        store.get("r"),
        store.signal(Letter("r", "1", "cancel")),
        store.release("r", Claim(1, 0, "n")),
    ):
        with pytest.raises(RunNotFound) as caught:
            await ask
        assert caught.value.run_id == "r"
    assert await store.inbox("r") == []
    assert (await store.runs(root="r")).runs == []


async def test_a_held_run_is_not_claimed_and_the_holder_is_named(store: Store) -> None:
    await store.admit(begin("r"), ME)
    with pytest.raises(RunConflict, match=rf"process {ME.pid} on host '{ME.host}'"):
        await store.claim("r", OTHER)
    with pytest.raises(RunConflict, match="this process"):
        await store.claim("r", ME)


async def test_a_released_run_is_claimed_with_a_new_epoch_and_the_journals_head(store: Store) -> None:
    first = await store.admit(begin("r"), ME)
    await append(store, first, member("r", move(1), move(2)))
    assert await store.release("r", first)
    assert (await store.get("r")).owner is None
    second = await store.claim("r", OTHER)
    assert (second.epoch, second.head) == (2, 2)
    assert second.nonce != first.nonce
    assert (await store.get("r")).owner == "other"


async def test_an_owner_whose_process_is_gone_is_dead_at_once(store: Store) -> None:
    await store.admit(begin("r"), dead_owner("dead"))
    assert (await store.get("r")).owner is None
    assert (await store.claim("r", ME)).epoch == 2


async def test_an_owner_on_another_host_counts_as_alive(store: Store) -> None:
    await store.admit(begin("r"), far_owner("far"))
    await store.beat(far_owner("far"))
    with pytest.raises(RunConflict, match="host 'elsewhere'"):
        await store.claim("r", ME)


async def test_the_lease_of_a_tree_is_its_roots(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    assert await append(store, claim, begin("r/n.1/k", "r")) == [None]
    with pytest.raises(UserError, match="claim 'r'"):
        await store.claim("r/n.1/k", OTHER)
    assert (await store.get("r/n.1/k")).owner == "me"


async def test_a_lease_is_given_back_once(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    assert await store.release("r", claim)
    with pytest.raises(RunConflict):
        await store.release("r", claim)


# Fencing


async def test_an_old_epoch_appends_nothing(store: Store) -> None:
    old = await store.admit(begin("r"), dead_owner("stalled"))
    new = await store.claim("r", ME)
    [refused] = await append(store, old, member("r", move(1)))
    assert isinstance(refused, RunConflict)
    assert "epoch 2" in str(refused)
    assert len(await store.read("r")) == 1
    assert await append(store, new, member("r", move(1))) == [None]


async def test_after_a_release_nothing_is_appended(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    await store.release("r", claim)
    [refused] = await append(store, claim, member("r", move(1)))
    assert isinstance(refused, RunConflict)
    [refused] = await append(store, claim, begin("r/n.1/k", "r"))
    assert isinstance(refused, RunConflict)
    with pytest.raises(RunNotFound):
        await store.get("r/n.1/k")


@pytest.mark.parametrize("seq", [0, 1, 3])
async def test_a_wrong_seq_appends_nothing(store: Store, seq: int) -> None:
    claim = await store.admit(member("r", started("r"), move(1)), ME)
    await store.release("r", claim)
    claim = await store.claim("r", ME)
    [refused] = await append(store, claim, member("r", move(seq, to="elsewhere")))
    assert isinstance(refused, RunConflict)
    assert "2" in str(refused)
    assert refused.run_id == "r"
    assert await store.read("r") == [started("r"), move(1)]


async def test_the_same_member_again_is_a_success_and_written_once(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    again = member(
        "r",
        move(1),
        effect(2),
        opened=[question("r", "q")],
        writes=[SessionWrite("s", 1, ["item"])],
        index=row("r", standing="waiting"),
    )
    assert await append(store, claim, again) == [None]
    closing = member("r", move(3), closed=["q"], index=row("r", standing="done"))
    assert await append(store, claim, closing) == [None]
    assert await append(store, claim, again) == [None]
    assert [fact.seq for fact in await store.read("r")] == [0, 1, 2, 3]
    assert len(await store.session_items("s")) == 1
    assert await store.requests() == []
    assert (await store.get("r")).standing == "done"


async def test_the_same_member_again_is_a_success_after_the_lease_was_lost(store: Store) -> None:
    claim = await store.admit(begin("r"), dead_owner("stalled"))
    assert await append(store, claim, member("r", move(1))) == [None]
    await store.claim("r", ME)
    assert await append(store, claim, member("r", move(1))) == [None]
    [refused] = await append(store, claim, member("r", move(1), move(2)))
    assert isinstance(refused, RunConflict)


async def test_another_writers_facts_are_not_taken_for_ones_own(store: Store) -> None:
    first = await store.admit(begin("r"), ME)
    await append(store, first, member("r", move(1)))
    await store.release("r", first)
    second = await store.claim("r", OTHER)
    [refused] = await append(store, second, member("r", move(1)))
    assert isinstance(refused, RunConflict)
    await append(store, second, member("r", move(2)))
    [refused] = await append(store, second, member("r", move(1), move(2)))
    assert isinstance(refused, RunConflict)


async def test_members_of_a_batch_fail_alone(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    answers = await append(
        store,
        claim,
        begin("r/n.1/a", "r"),
        member("r", move(7)),
        begin("r/n.1/b", "r"),
        member("r/n.1/a", move(1), root="r", opened=[question("r/n.1/a", "q", "r")]),
        member("r/n.1/b", move(5), root="r", opened=[question("r/n.1/b", "q", "r")]),
    )
    assert [type(answer) for answer in answers] == [type(None), RunConflict, type(None), type(None), RunConflict]
    assert len(await store.read("r")) == 1
    assert len(await store.read("r/n.1/a")) == 2
    assert len(await store.read("r/n.1/b")) == 1
    assert [one.run for one in await store.requests("r")] == ["r/n.1/a"]


async def test_a_value_that_is_not_json_refuses_its_member_alone(store: Store) -> None:
    if getattr(store, "keep_bytes", None) is False:
        pytest.skip("this store keeps the facts themselves")
    claim = await store.admit(begin("r"), ME)
    answers = await append(store, claim, member("r", move(1, x=object())), member("r", move(1)))
    assert isinstance(answers[0], StoreError)
    assert "fact 1" in str(answers[0])
    assert answers[1] is None
    assert await store.read("r") == [started("r"), move(1)]


async def test_a_member_of_another_tree_is_refused(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    await store.admit(begin("s"), OTHER)
    for wrong in (member("s", move(1), root="r"), member("s", move(1)), member("t", started("t"))):
        claim.epoch = 1 if wrong.root == "r" else 9
        [refused] = await append(store, claim, wrong)
        assert isinstance(refused, RunConflict)
    assert len(await store.read("s")) == 1


async def test_append_now_writes_at_once_or_says_that_it_did_not(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    answers = store.append_now([member("r", move(1))], claim)
    assert answers == ([None] if store.inline else None)
    assert len(await store.read("r")) == (2 if store.inline else 1)


# Journals


async def test_a_journal_is_read_from_a_fact_on(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    await append(store, claim, member("r", move(1, text="a"), effect(2, value=[1, None, 2.5]), rest(3)))
    assert await store.read("r") == [started("r"), move(1, text="a"), effect(2, value=[1, None, 2.5]), rest(3)]
    assert await store.read("r", 1) == [effect(2, value=[1, None, 2.5]), rest(3)]
    assert await store.read("r", 3) == []
    assert await store.read("r", 99) == []
    assert len(await store.read("r", -5)) == 4


@pytest.mark.parametrize(
    "text",
    ["\ud800 lone \udfff", "a\0b", "", "ä€𝄞\u2028", "x" * 10_000_000],
    ids=["surrogates", "nul", "empty", "wide", "10 MB"],
)
async def test_any_text_survives_in_a_fact_a_letter_a_request_and_a_session(store: Store, text: str) -> None:
    claim = await store.admit(begin("r", label="\udc80\0"), ME)
    key = text[:20]
    answers = await append(
        store,
        claim,
        member(
            "r",
            move(1, text=text, **{key or "k": 1}),
            opened=[question("r", key, data={"text": text})],
            writes=[SessionWrite("s" + key, 1, [{"content": text}])],
            index=row("r", standing="failed", error=key, label=key),
        ),
    )
    assert answers == [None]
    assert await store.signal(Letter("r", "id", "answer", key, text))
    assert (await store.read("r", 0)) == [move(1, text=text, **{key or "k": 1})]
    [request] = await store.requests("r")
    assert (request.key, request.data) == (key, {"text": text})
    [letter] = await store.inbox("r")
    assert (letter.key, letter.value) == (key, text)
    assert [item.item for item in await store.session_items("s" + key)] == [{"content": text}]
    index = await store.get("r")
    assert (index.error, index.label) == (key, key)


# The inbox


async def waiting_run(store: Store, run: str = "r", key: str = "q") -> Claim:
    claim = await store.admit(begin(run), ME)
    assert await append(store, claim, asking(run, 1, key)) == [None]
    return claim


async def test_an_open_request_is_listed_and_counted(store: Store) -> None:
    claim = await waiting_run(store)
    await append(store, claim, begin("r/n.1/k", "r"), asking("r/n.1/k", 1, "q", "r", opened=3.0))
    assert await store.requests("r") == [question("r/n.1/k", "q", "r", 3.0), question("r", "q")]
    assert (await store.get("r")).waiting == 2
    assert (await store.get("r/n.1/k")).waiting == 1
    assert len(await store.requests(limit=1)) == 1
    assert await store.requests("s") == []
    await append(store, claim, member("r", move(2), closed=["q"]))
    assert await store.requests() == [question("r/n.1/k", "q", "r", 3.0)]


async def test_an_answer_is_accepted_while_its_request_is_open(store: Store) -> None:
    claim = await waiting_run(store)
    assert not await store.signal(Letter("r", "0", "answer", "other", 1))
    assert await store.signal(Letter("r", "1", "answer", "q", {"yes": True}, at=7.0))
    assert await store.inbox("r") == [Letter("r", "1", "answer", "q", {"yes": True}, 7.0)]
    assert await append(store, claim, member("r", move(2), closed=["q"], consumed=["1"])) == [None]
    assert not await store.signal(Letter("r", "2", "answer", "q", 1))
    assert await store.inbox("r") == []


async def test_of_two_answers_the_second_is_refused(store: Store) -> None:
    await waiting_run(store)
    assert await store.signal(Letter("r", "1", "answer", "q", 1))
    assert not await store.signal(Letter("r", "2", "answer", "q", 2))
    assert [letter.id for letter in await store.inbox("r")] == ["1"]


async def test_the_same_letter_sent_again_is_one_letter(store: Store) -> None:
    await waiting_run(store)
    assert await store.signal(Letter("r", "1", "answer", "q", 1))
    assert await store.signal(Letter("r", "1", "answer", "q", 1))
    assert len(await store.inbox("r")) == 1


async def test_other_letters_are_always_taken_and_keep_their_order(store: Store) -> None:
    await store.admit(begin("r"), ME)
    for number, kind in enumerate(["input", "stop", "cancel", "input"]):
        assert await store.signal(Letter("r", f"id{9 - number}", kind, None, number))
    assert [letter.value for letter in await store.inbox("r")] == [0, 1, 2, 3]


async def test_letters_to_a_child_lie_in_its_trees_inbox(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    await append(store, claim, begin("r/n.1/k", "r"))
    assert await store.signal(Letter("r/n.1/k", "1", "cancel"))
    assert [letter.run for letter in await store.inbox("r")] == ["r/n.1/k"]
    assert await store.waiting(ME) == ["r"]
    assert await store.waiting(OTHER) == []
    signal = Signal(1, 1.0, 1.0, "first", 1, "1", "cancel")
    assert await append(store, claim, member("r/n.1/k", signal, root="r", consumed=["1"])) == [None]
    assert await store.waiting(ME) == []


async def test_a_letter_is_consumed_with_its_append_or_not_at_all(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    await store.signal(Letter("r", "1", "stop"))
    await store.signal(Letter("r", "2", "input"))
    everything = {
        "consumed": ["1"],
        "opened": [question("r", "q")],
        "writes": [SessionWrite("s", 9, [1])],
        "index": row("r", standing="stopped"),
    }
    [refused] = await append(store, claim, member("r", move(9), **everything))
    assert isinstance(refused, RunConflict)
    assert [letter.id for letter in await store.inbox("r")] == ["1", "2"]
    assert await store.requests() == []
    assert await store.session_items("s") == []
    assert (await store.get("r")).standing == "running"
    assert await append(store, claim, member("r", move(1), **everything)) == [None]
    assert [letter.id for letter in await store.inbox("r")] == ["2"]
    assert len(await store.requests()) == len(await store.session_items("s")) == 1
    assert (await store.get("r")).standing == "stopped"


async def test_a_run_is_not_released_while_unknown_letters_wait(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    await store.signal(Letter("r", "1", "stop"))
    assert not await store.release("r", claim)
    assert (await store.get("r")).owner == "me"
    assert not await store.release("r", claim, 0)
    assert await store.release("r", claim, 1)
    assert (await store.get("r")).owner is None


async def test_a_letter_that_is_not_json_is_refused(store: Store) -> None:
    await store.admit(begin("r"), ME)
    with pytest.raises(UserError, match="input to run 'r'"):
        await store.signal(Letter("r", "1", "input", value={"x": object()}))
    assert await store.inbox("r") == []


# The index


async def test_a_running_run_is_listed_where_its_last_transition_led(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    await append(store, claim, member("r", move(1, "second")), member("r", move(2, "third")), member("r", effect(3)))
    index = await store.get("r")
    assert (index.node, index.updated) == ("third", 2.0)
    assert (await store.runs()).runs == [index]
    resting = row("r", standing="waiting", node="fourth", updated=9.0, turns=3, tokens=70, due=50.0)
    await append(store, claim, member("r", rest(4), index=resting))
    index = await store.get("r")
    assert (index.node, index.updated, index.turns, index.tokens, index.due) == ("fourth", 9.0, 3, 70, 50.0)


async def test_an_index_row_keeps_when_and_below_what_its_run_began(store: Store) -> None:
    claim = await store.admit(begin("r", at=7.0), ME)
    await append(store, claim, begin("r/n.1/k", "r"))
    changed = row("r/n.1/k", at=99.0, standing="done", owner="x", waiting=9)
    await append(store, claim, member("r/n.1/k", move(1), root="r", index=changed))
    index = await store.get("r/n.1/k")
    assert (index.root, index.parent, index.created, index.standing) == ("r", "r", 100.0, "done")
    assert (index.owner, index.waiting) == ("me", 0)


async def test_runs_are_listed_latest_first_in_pages(store: Store) -> None:
    for number in range(7):
        claim = await store.admit(begin(f"r{number}", at=float(number // 2)), ME)
        await append(store, claim, begin(f"r{number}/n.1/k", f"r{number}"))
    seen, after = [], None
    while True:
        page = await store.runs(limit=3, after=after)
        seen.append([index.run for index in page.runs])
        after = page.after
        if after is None:
            break
    assert seen == [["r6", "r5", "r4"], ["r3", "r2", "r1"], ["r0"]]
    assert (await store.runs(limit=7)).after is None


async def test_runs_are_listed_by_standing_and_by_tree(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    await append(store, claim, begin("r/n.1/b", "r", at=102.0), begin("r/n.1/a", "r", at=101.0))
    await append(store, claim, member("r/n.1/a", rest(1), root="r", index=row("r/n.1/a", "r", standing="done")))
    await store.admit(begin("s", at=200.0, standing="failed"), ME)
    await store.admit(begin("t", at=300.0, standing="failed"), ME)
    assert [index.run for index in (await store.runs(standing="failed")).runs] == ["t", "s"]
    page = await store.runs(standing="failed", limit=1)
    assert [index.run for index in (await store.runs(standing="failed", after=page.after)).runs] == ["s"]
    assert (await store.runs(standing="cancelled")).runs == []
    page = await store.runs(root="r", limit=2)
    assert [index.run for index in page.runs] == ["r", "r/n.1/a"]
    assert [index.run for index in (await store.runs(root="r", limit=2, after=page.after)).runs] == ["r/n.1/b"]
    assert [index.run for index in (await store.runs(root="r", standing="done")).runs] == ["r/n.1/a"]


async def test_a_page_begins_only_where_a_page_ended(store: Store) -> None:
    with pytest.raises(UserError, match="after="):
        await store.runs(after="nonsense")


async def test_due_are_the_runs_that_nobody_holds_and_that_have_something_to_do(store: Store) -> None:
    async def leave(run: str, **index: object) -> Claim:
        claim = await store.admit(begin(run, **index), ME)  # type: ignore[arg-type]
        assert await append(store, claim, asking(run, 1, "q")) == [None]
        return claim

    late = {"standing": "waiting", "due": 10.0}
    await leave("held", **late)
    await store.release("late", await leave("late", **late))
    await store.release("sooner", await leave("sooner", standing="waiting", due=5.0))
    await store.release("early", await leave("early", standing="waiting", due=20.0))
    await store.release("done", await leave("done", standing="done"))
    await store.admit(begin("orphan"), dead_owner("dead"))
    await store.release("answered", await leave("answered", standing="waiting"))
    assert await store.due(10.0) == ["sooner", "late", "orphan"]
    assert await store.due(10.0, limit=1) == ["sooner"]
    assert await store.signal(Letter("answered", "1", "answer", "q", True))
    assert "answered" in await store.due(1.0)
    known = await store.claim("answered", ME)
    await store.release("answered", known, 1)
    assert await store.due(1.0) == ["orphan"]
    assert await store.due(30.0) == ["sooner", "late", "early", "orphan"]


# Sessions


async def test_a_sessions_items_come_back_in_order(store: Store) -> None:
    await store.session_write("s", [{"n": 0}, {"n": 1}])
    claim = await store.admit(begin("r"), ME)
    writes = [SessionWrite("s", 1, [2, 3]), SessionWrite("t", 1, ["other"]), SessionWrite("s", 1, [4])]
    assert await append(store, claim, member("r", move(1), writes=writes)) == [None]
    items = await store.session_items("s")
    assert [item.item for item in items] == [{"n": 0}, {"n": 1}, 2, 3, 4]
    positions = [item.position for item in items]
    assert positions == sorted(set(positions))
    assert [item.item for item in await store.session_items("s", limit=2)] == [3, 4]
    assert [item.item for item in await store.session_items("s", upto=positions[2])] == [{"n": 0}, {"n": 1}, 2]
    assert [item.item for item in await store.session_items("s", upto=positions[2], limit=1)] == [2]
    assert await store.session_items("s", limit=0) == []
    assert await store.session_items("nobody") == []


async def test_a_session_is_popped_and_cleared_and_never_reuses_a_position(store: Store) -> None:
    await store.session_write("s", [1, 2])
    last = (await store.session_items("s"))[-1].position
    assert await store.session_pop("s") == 2
    await store.session_write("s", [3])
    assert (await store.session_items("s"))[-1].position > last
    await store.session_clear("s")
    assert await store.session_items("s") == []
    assert await store.session_pop("s") is None


async def test_a_session_is_not_changed_through_what_was_read(store: Store) -> None:
    given = {"content": ["a"]}
    await store.session_write("s", [given])
    given["content"].append("b")
    (await store.session_items("s"))[0].item["content"].append("c")
    assert (await store.session_items("s"))[0].item == {"content": ["a"]}


@pytest.mark.parametrize("session", ["", "x" * 513])
async def test_a_session_id_that_is_no_id_is_refused(store: Store, session: str) -> None:
    with pytest.raises(UserError, match="session id"):
        await store.session_write(session, [1])
    with pytest.raises(UserError, match="item"):
        await store.session_write("s", [{"item": object()}])
    claim = await store.admit(begin("r"), ME)
    [refused] = await append(store, claim, member("r", move(1), writes=[SessionWrite(session, 1, [1])]))
    assert isinstance(refused, UserError)
    assert len(await store.read("r")) == 1


async def test_a_large_session_is_read(store: Store) -> None:
    await store.session_write("s", ["x" * 1000] * 300)
    assert len(await store.session_items("s")) == 300


async def test_a_large_journal_is_read(store: Store) -> None:
    facts = [move(seq, text="x" * 1000) for seq in range(1, 300)]
    claim = await store.admit(begin("r"), ME)
    assert await append(store, claim, member("r", *facts)) == [None]
    assert await store.read("r", 0) == facts


async def test_the_standing_of_a_rested_run_survives_a_reopening(store: Store) -> None:
    claim = await store.admit(begin("r"), ME)
    rested = Rested(1, 1.0, 2.0, "first", 1, "failed", error={"kind": "ValueError", "message": "no"})
    index = row("r", standing="failed", error="no", updated=2.0)
    assert await append(store, claim, member("r", rested, index=index)) == [None]
    await store.close()
    assert (await store.read("r"))[1] == rested
    assert (await store.get("r")).error == "no"
