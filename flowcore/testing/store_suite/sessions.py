"""Sessions: items in order, kept beside the runs that wrote them."""

from __future__ import annotations

import pytest

from flowcore.errors import UserError
from flowcore.stores.base import SessionWrite, Store
from flowcore.testing.store_suite.cases import Cases, append
from flowcore.testing.store_suite.making import (
    ME,
    begin,
    member,
    move,
)


class Sessions(Cases):
    """Sessions: items in order, kept beside the runs that wrote them."""

    async def test_a_sessions_items_come_back_in_order(self, store: Store) -> None:
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

    async def test_a_session_is_popped_and_cleared_and_never_reuses_a_position(self, store: Store) -> None:
        await store.session_write("s", [1, 2])
        last = (await store.session_items("s"))[-1].position
        assert await store.session_pop("s") == 2
        await store.session_write("s", [3])
        assert (await store.session_items("s"))[-1].position > last
        await store.session_clear("s")
        assert await store.session_items("s") == []
        assert await store.session_pop("s") is None

    async def test_a_session_is_not_changed_through_what_was_read(self, store: Store) -> None:
        given = {"content": ["a"]}
        await store.session_write("s", [given])
        given["content"].append("b")
        (await store.session_items("s"))[0].item["content"].append("c")
        assert (await store.session_items("s"))[0].item == {"content": ["a"]}

    @pytest.mark.parametrize("session", ["", "x" * 513])
    async def test_a_session_id_that_is_no_id_is_refused(self, store: Store, session: str) -> None:
        with pytest.raises(UserError):
            await store.session_write(session, [1])
        with pytest.raises(UserError):
            await store.session_write("s", [{"item": object()}])
        claim = await store.admit(begin("r"), ME)
        [refused] = await append(store, claim, member("r", move(1), writes=[SessionWrite(session, 1, [1])]))
        assert isinstance(refused, UserError)
        assert len(await store.read("r")) == 1

    async def test_a_large_session_is_read(self, store: Store) -> None:
        await store.session_write("s", ["x" * 1000] * 300)
        assert len(await store.session_items("s")) == 300
