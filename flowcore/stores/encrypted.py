"""Encryption at rest: a store around another one, whose records are sealed before they reach it. The extra ``encrypt``.

What a sealed record is stands in ``keys``, how old ones come under a new key in ``rotation``.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from flowcore.errors import UserError
from flowcore.machine.facts import Fact
from flowcore.stores.base import (
    Append,
    Claim,
    IndexRow,
    Letter,
    OpenRequest,
    Owner,
    Page,
    SessionItem,
    Store,
)
from flowcore.stores.keys import Key, Keys
from flowcore.stores.rotation import Rotation, rotated
from flowcore.stores.verify import Verified, verify


class EncryptedStore:
    """``store`` with everything encrypted that a user, a model or a tool may have said.

    Sealed: the facts' payloads, the data of open requests, letters, sessions' items, and the index's labels and
    errors. Readable stay what a store looks for and counts: ids of runs, sessions, requests and letters, names of
    graphs, nodes and edges, kinds, standings, times, numbers of turns and tokens, and how long a record is.

    Each record is bound to where it stands (run, seq and the fact's other columns; session and position): one that was
    changed, moved or copied to another place, sealed with a key that isn't given, or that isn't sealed at all, is
    refused with StoreError. Not seen is what needs no other record: a store that was put back to an earlier state, rows
    removed from the end of a journal or from a session, and another run in the row that says whose facts a fork shares.

    ``key``: 32 random bytes, or their base64 (``EncryptedStore.new_key()``); a list of such keys, where the first
    seals and the others only open what they sealed before; or a function from a key's id to the key, with ``key_id``
    naming the one that seals. Without ``key`` the environment variable ``FLOWCORE_KEY`` is read: a key in base64, or
    several with commas between them, the newest first. ``key_id``: what the newest key is called in the records, at
    most 255 bytes; by default the beginning of its SHA-256. A key is good for some 2^32 records.

    ``store`` belongs to this one from now on: a ``MemoryStore(keep_bytes=True)``, SqliteStore, PostgresStore, or one
    of your own that seals its bytes by its attribute ``sealing``. Attributes that aren't those of every store are
    ``store``'s. Raises UserError.
    """

    def __init__(self, store: Store, *, key: Key | None = None, key_id: str | None = None) -> None:
        if isinstance(store, EncryptedStore) or getattr(store, "sealing", None) is not None:
            raise UserError("EncryptedStore: the store is encrypted already")
        if not hasattr(store, "sealing") or getattr(store, "keep_bytes", None) is False:
            raise UserError(
                f"EncryptedStore({type(store).__name__}): it doesn't keep bytes that could be sealed; give a"
                " SqliteStore, a PostgresStore or a MemoryStore(keep_bytes=True)"
            )
        self.keys = Keys.given(key, key_id)
        self.store = store
        cast(Any, store).sealing = self.keys
        self.inline = store.inline
        self.shared = store.shared

    @staticmethod
    def new_key() -> str:
        """A new random key, in base64."""
        return base64.b64encode(os.urandom(32)).decode()

    def __repr__(self) -> str:
        return f"EncryptedStore({self.store!r})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "store":  # not there yet: copied, or half made
            raise AttributeError(name)
        return getattr(self.store, name)

    def copy(self) -> EncryptedStore:
        """``MemoryStore.copy``, encrypted with the same keys."""
        other = cast(Any, self.store).copy()
        other.sealing = None
        twin = EncryptedStore.__new__(EncryptedStore)
        twin.keys, twin.store, twin.inline, twin.shared = self.keys, other, self.inline, self.shared
        other.sealing = self.keys
        return twin

    async def close(self) -> None:
        """Give back connections. The runs stay."""
        await self.store.close()

    async def rotate(self) -> Rotation:
        """Seal again, with the newest key, every record that an older one sealed; then an older one may go.

        Give the new key to every process first, beside the one in use (``key=[old, new]``), then before it
        (``key=[new, old]``), then rotate: nothing is ever there that a process can't open. Runs, letters and sessions
        go on meanwhile, in this process and in others. It's done in short transactions of at most 500 records or some
        1 MB, each record being replaced by itself, whole, and only if it's still what was read: killed at any instant,
        a store is whole and partly rotated. Called again, it goes on with what is left; what the newest key has
        sealed is looked at, but not written again.

        What came of it says which older keys are needed still, and for how many records: ``Rotation.old_keys``. An
        older key is needed while a process that seals with it runs, however often one rotates. What can't be opened is
        left as it is and told (``Rotation.unreadable``). A key that somebody else may have should be thrown away, but
        what it sealed can be read in backups, and until they're written over (SQLite: VACUUM) in free parts of
        the files.

        Raises StoreError; UserError where the store under this one can't do it.
        """
        return await rotated(self.store, self.keys)

    # What brings an index row, or gives one: its texts are sealed here, everything else where the store makes bytes

    async def admit(self, member: Append, owner: Owner, below: Sequence[Append] = ()) -> Claim:
        """Make a new root run, held by ``owner``, with the children ``below``. Raises RunExists, for a fork
        RunNotFound."""
        return await self.store.admit(self._member(member), owner, [self._member(one) for one in below])

    async def append(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None]:
        """Write a batch of one tree; one answer a member: None, or why it was refused."""
        return await self.store.append([self._member(member) for member in batch], claim)

    def append_now(self, batch: Sequence[Append], claim: Claim) -> list[Exception | None] | None:
        """``append`` without suspending. None: that can't be done now, nothing was written, use ``append``."""
        return self.store.append_now([self._member(member) for member in batch], claim)

    async def verify(self, *, limit: int | None = None, after: str | None = None) -> Verified:
        """Read and open everything, and say what is damaged, was changed or is sealed with a key that isn't given; see
        the ``verify`` of ``store``. Raises UserError for one in memory."""
        return await verify(self, limit, after)

    async def get(self, run: str) -> IndexRow:
        """One run's index row. Raises RunNotFound."""
        return self._opened(await self.store.get(run))

    async def runs(
        self,
        *,
        standing: str | None = None,
        root: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page:
        """Root runs, the latest first, or with ``root`` the runs of one tree, the oldest first. Reads no journal."""
        page = await self.store.runs(standing=standing, root=root, limit=limit, after=after)
        return Page([self._opened(row) for row in page.runs], page.after)

    async def find(self, prefix: str, *, root: str | None = None, limit: int = 20) -> list[IndexRow]:
        """Root runs, or those of one tree, whose ids begin so, in the order of their ids."""
        return [self._opened(row) for row in await self.store.find(prefix, root=root, limit=limit)]

    async def abandoned(self, *, limit: int = 50, after: str | None = None) -> Page:
        """Root runs that should move and that nobody moves, the oldest first."""
        page = await self.store.abandoned(limit=limit, after=after)
        return Page([self._opened(row) for row in page.runs], page.after)

    def _member(self, member: Append) -> Append:
        index = member.index
        if index is None or (not index.label and index.error is None):
            return member
        label = self.keys.seal_text(index.label, ("label", index.run)) if index.label else ""
        error = None if index.error is None else self.keys.seal_text(index.error, ("error", index.run))
        return replace(member, index=replace(index, label=label, error=error))

    def _opened(self, row: IndexRow) -> IndexRow:
        if row.label:
            row.label = self.keys.open_text(row.label, ("label", row.run), f"run '{row.run}': its label")
        if row.error is not None:
            row.error = self.keys.open_text(row.error, ("error", row.run), f"run '{row.run}': its error")
        return row

    # What the store does by itself

    async def claim(self, run: str, owner: Owner) -> Claim:
        """Take the lease of a root run. Raises RunNotFound, RunConflict while it's held, UserError for a child."""
        return await self.store.claim(run, owner)

    async def release(self, run: str, claim: Claim, known: int = 0) -> bool:
        """Give the lease of a root run back, unless more than ``known`` letters wait; whether it was given back."""
        return await self.store.release(run, claim, known)

    def beat(self, owner: Owner) -> None:
        """Keep the owner's leases for another LEASE_SECONDS."""
        self.store.beat(owner)

    async def read(self, run: str, after: int = -1) -> list[Fact]:
        """The facts with a seq above ``after``, in order. Raises RunNotFound; StoreError for a damaged journal."""
        return await self.store.read(run, after)

    async def delete(self, run: str) -> None:
        """Remove a root run and its tree. Raises RunNotFound, RunConflict, UserError."""
        await self.store.delete(run)

    async def prune(
        self, older_than: float | datetime, status: str | Collection[str] = "done", *, dry_run: bool = False
    ) -> list[str]:
        """``delete`` root runs of a standing that nobody holds and that are older. Returns their ids."""
        return await self.store.prune(older_than, status, dry_run=dry_run)

    async def signal(self, letter: Letter) -> bool:
        """Put a letter into the inbox of its run's tree. False: an answer to what isn't open. Raises RunNotFound."""
        return await self.store.signal(letter)

    async def inbox(self, root: str) -> list[Letter]:
        """The letters that wait for a tree, oldest first."""
        return await self.store.inbox(root)

    async def waiting(self, owner: Owner) -> list[str]:
        """Root runs held by this owner for which letters wait."""
        return await self.store.waiting(owner)

    async def requests(self, root: str | None = None, limit: int = 100) -> list[OpenRequest]:
        """Open requests of one tree, or of all, oldest first."""
        return await self.store.requests(root, limit)

    async def due(self, now: float, limit: int = 100) -> list[str]:
        """Root runs that nobody holds and that have something to do by ``now``."""
        return await self.store.due(now, limit)

    async def session_items(
        self, session: str, *, upto: int | None = None, limit: int | None = None
    ) -> list[SessionItem]:
        """A session's items, oldest first: those at or before ``upto``; with ``limit`` only the latest so many."""
        return await self.store.session_items(session, upto=upto, limit=limit)

    async def session_write(self, session: str, items: Sequence[Any]) -> None:
        """Add items from outside of a run."""
        await self.store.session_write(session, items)

    async def session_pop(self, session: str) -> Any | None:
        """Remove and return the latest item; None if there's none."""
        return await self.store.session_pop(session)

    async def session_clear(self, session: str) -> None:
        """Remove all items."""
        await self.store.session_clear(session)
