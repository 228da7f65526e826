"""What somebody wrote into a store who also knew its checksums: a clear error when it's read or loaded, or a run that
goes on; nothing else is ever raised, and nothing hangs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hostile_runs import RUNS, broken, fill, finished, walked
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcore import END, START, Context, Graph, MemoryStore, State, node, start
from flowcore.errors import FlowcoreError, StoreError
from flowcore.graph.values import loads
from flowcore.stores import checks
from flowcore.stores.base import Letter
from flowcore.stores.checksums import checked_row, summed, summed_row
from flowcore.stores.sealing import letter_place, value

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "q", "ask", "last", "END", "waiting", "answer", "stop", "\ud800", "a\0b", "../x", "'"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["of", "new", "pick", "q", "x"]), inner)
    ),
    max_leaves=6,
)
KINDS = st.sampled_from(["started", "transition", "effect", "intent", "request", "signal", "rested", "resumed", "x"])
COLUMNS: dict[str, Any] = {
    "kind": KINDS,
    "node": st.sampled_from(["ask", "below", "last", "END", "x", "", None, 7]),
    "visit": st.sampled_from([0, 1, 2, -1, 2**62, None, "1"]),
    "on": st.sampled_from([None, "answered", "x", 1]),
    "to": st.sampled_from([None, "END", "last", "x", 1]),
    "at": st.sampled_from([0.0, -1.0, 1e300, 5, None, "now"]),
}


@pytest.fixture(scope="module")
def sound() -> MemoryStore:
    store = MemoryStore(keep_bytes=True)
    asyncio.run(fill(store))
    return store


def changed(data: st.DataObject, body: Any) -> Any:
    """The body with one value in it replaced, removed or added."""
    if not isinstance(body, (dict, list)) or not body or data.draw(st.integers(0, 3)) == 0:
        return data.draw(JSON)
    if isinstance(body, list):
        at = data.draw(st.integers(0, len(body) - 1))
        return [changed(data, one) if number == at else one for number, one in enumerate(body)]
    name = data.draw(st.sampled_from([*body, "", "how", "error", "pause", "usage", "limits"]))
    what = data.draw(st.sampled_from(["replace", "replace", "remove"]))
    if what == "remove":
        return {key: one for key, one in body.items() if key != name}
    return {**body, name: changed(data, body[name]) if name in body else data.draw(JSON)}


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_a_forged_fact_is_refused_or_followed(sound: MemoryStore, data: st.DataObject) -> None:
    store, run = sound.copy(), data.draw(st.sampled_from(RUNS))
    facts = store._journals[run].facts
    at = data.draw(st.integers(0, len(facts) - 1))
    row = checked_row(run, facts[at], "")
    if data.draw(st.booleans()):
        column = data.draw(st.sampled_from(sorted(COLUMNS)))
        row = row._replace(**{column: data.draw(COLUMNS[column])})
    else:
        row = row._replace(payload=json.dumps(changed(data, loads(row.payload))).encode())
    try:
        facts[at] = summed_row(run, row)
    except Exception:  # a column of another type: no checksum fits it
        facts[at] = row
    broken["world"] = False

    async def follow() -> None:
        for question in (store.read(run), walked(store, run.split("/")[0]), finished(store, run.split("/")[0])):
            try:
                await asyncio.wait_for(question, 30)
            except FlowcoreError:
                pass

    asyncio.run(follow())


@settings(max_examples=150, deadline=None)
@given(payload=st.binary(max_size=60) | JSON.map(lambda one: json.dumps(one).encode()), kind=KINDS)
def test_no_payload_does_anything_but_decode_or_fail(payload: bytes, kind: str) -> None:
    row = summed_row("r", checks.Row(1, kind, "a", 1, None, None, 1.0, payload))
    try:
        checks.decode_row("r", "here", checked_row("r", row, "here"))
    except StoreError as error:
        assert error.message.startswith("run 'r' in here: fact 1")  # noqa: PT017 - most payloads raise, and some don't
    with pytest.raises(StoreError, match="its checksum doesn't fit"):
        checked_row("other", row, "here")


@pytest.mark.parametrize(
    "data", [b"", b"NaN", b"[Infinity]", b"{", b"[" * 100_000, b"\xef\xbb\xbf{}", b"1" * 5000, b"\xff"]
)
def test_what_isnt_json_is_refused_in_a_letter_as_in_a_fact(data: bytes) -> None:
    place = letter_place("r", "id", "input", None, 1.0)
    with pytest.raises(StoreError, match="letter: it isn't JSON"):
        value(summed(data, place), place, None, "letter")


def test_of_two_keys_of_one_name_the_last_counts_as_everywhere() -> None:
    place = letter_place("r", "id", "input", None, 1.0)
    assert value(summed(b'{"a":1,"a":2}', place), place, None, "letter") == {"a": 2}


async def test_a_letter_that_was_taken_in_and_is_sent_again_doesnt_keep_the_run_from_resting(
    sound: MemoryStore,
) -> None:
    store = sound.copy()
    letter = Letter("waits", "again", "input")
    assert await store.signal(letter)
    real = store.release

    async def release(run: str, claim: Any, known: int = 0) -> bool:
        await store.signal(letter)  # it was taken in before, and comes once more
        return await real(run, claim, known)

    store.release = release  # type: ignore[method-assign]
    assert (await asyncio.wait_for(finished(store, "waits"), 30))[0] == "done"


async def test_a_store_that_tells_of_letters_and_gives_none_is_damaged_and_doesnt_hang(sound: MemoryStore) -> None:
    store = sound.copy()

    async def inbox(root: str) -> list[Letter]:
        return []

    assert await store.signal(Letter("fails", "x", "input"))
    store.inbox = inbox  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="letters wait for it that the store doesn't give"):
        await asyncio.wait_for(finished(store, "fails"), 30)


async def test_arguments_of_an_effect_and_a_child_may_hold_any_text_and_be_nested() -> None:
    class S(State):
        text: str = ""

    nested: Any = "\ud800"
    for _ in range(300):
        nested = {"a": nested}

    @node
    async def inner(state: S, ctx: Context) -> dict[str, Any]:
        return {"text": await ctx.once("k\ud800\0", lambda text, deep: text, state.text, nested, returns=str)}

    below = Graph("below", S, {START: inner, inner: END})

    @node
    async def outer(state: S, ctx: Context) -> dict[str, Any]:
        return {"text": (await ctx.child(below, {"text": state.text}, "k"))["text"]}

    store = MemoryStore(keep_bytes=True)
    run = await start(Graph("g", S, {START: outer, outer: END}), {"text": "a\ud800\0"}, store=store)
    assert (await run).output == {"text": "a\ud800\0"}
