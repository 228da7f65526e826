"""Encryption at rest: a store around another one, whose records are sealed before they reach it. The extra ``encrypt``.

AES-256-GCM (NIST SP 800-38D). A record is ``MAGIC, length of the key's id, the key's id, 12 random bytes, ciphertext
and tag``; what comes before the random bytes and the record's place are authenticated with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from flowcore.errors import StoreError, UserError
from flowcore.graph.values import dumps
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
from flowcore.stores.sealing import MAGIC, Bound, is_sealed
from flowcore.stores.verify import Verified, verify

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OneKey: TypeAlias = bytes | str
Key: TypeAlias = OneKey | Sequence[OneKey] | Callable[[str], OneKey | None]
"""A key, keys with the newest first, or what gives the key of an id."""

VARIABLE = "FLOWCORE_KEY"
"""The environment variable that holds the key, or with commas between them the newest key and older ones."""
_NONCE, _TAG = 12, 16
_TEXT = "sealed:"


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
        label = self._text(index.label, index.run, "label") if index.label else ""
        error = None if index.error is None else self._text(index.error, index.run, "error")
        return replace(member, index=replace(index, label=label, error=error))

    def _opened(self, row: IndexRow) -> IndexRow:
        if row.label:
            row.label = self._open_text(row.label, row.run, "label")
        if row.error is not None:
            row.error = self._open_text(row.error, row.run, "error")
        return row

    def _text(self, text: str, run: str, column: str) -> str:
        data = self.keys.seal(text.encode("utf-8", "surrogatepass"), (column, run))
        return _TEXT + base64.b64encode(data).decode()

    def _open_text(self, text: str, run: str, column: str) -> str:
        where = f"run '{run}': its {column}"
        try:
            data = base64.b64decode(text[len(_TEXT) :], validate=True) if text.startswith(_TEXT) else b""
        except ValueError:
            data = b""
        return self.keys.open(data, (column, run), where).decode("utf-8", "surrogatepass")

    # What the store does by itself

    async def claim(self, run: str, owner: Owner) -> Claim:
        """Take the lease of a root run. Raises RunNotFound, RunConflict while it's held, UserError for a child."""
        return await self.store.claim(run, owner)

    async def release(self, run: str, claim: Claim, known: int = 0) -> bool:
        """Give the lease of a root run back, unless more than ``known`` letters wait; whether it was given back."""
        return await self.store.release(run, claim, known)

    async def beat(self, owner: Owner) -> None:
        """Keep the owner's leases for another LEASE_SECONDS."""
        await self.store.beat(owner)

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


class Keys:
    """Keys by their ids: the sealing of an EncryptedStore. No error and no repr tells a key."""

    def __init__(self, newest: str, known: dict[str, bytes], ask: Callable[[str], OneKey | None] | None) -> None:
        name = newest.encode("utf-8")
        if not 0 < len(name) <= 255:
            raise UserError(f"EncryptedStore(key_id={newest!r}): a key's id is a text of 1 to 255 bytes")
        self._ask = ask
        self._ciphers = {id: _cipher(secret) for id, secret in known.items()}
        self._head = MAGIC + bytes([len(name)]) + name
        self._newest = self._cipher(newest, f"EncryptedStore(key_id={newest!r})")
        self.newest = newest

    @classmethod
    def given(cls, key: Key | None, key_id: str | None) -> Keys:
        """What EncryptedStore's arguments mean. Raises UserError."""
        if key_id is not None and not isinstance(key_id, str):
            raise UserError(f"EncryptedStore(key_id={key_id!r}): give a text")
        if callable(key):
            if key_id is None:
                raise UserError("EncryptedStore: key= is a function; name the key that seals: key_id='…'")
            return cls(key_id, {}, key)
        name = "key="
        if key is None:
            name, text = VARIABLE, os.environ.get(VARIABLE, "")
            key = [one.strip() for one in text.split(",") if one.strip()]
            if not key:
                raise UserError(
                    f"EncryptedStore: there's no key; give key=, or set {VARIABLE} (make one: openssl rand -base64 32)"
                )
        secrets = [_secret(one, name) for one in ([key] if isinstance(key, (bytes, str)) else key)]
        if not secrets:
            raise UserError("EncryptedStore: key=[] holds no key")
        known = {_id_of(one): one for one in reversed(secrets)}
        newest = key_id or _id_of(secrets[0])
        return cls(newest, {**known, newest: secrets[0]}, None)

    def seal(self, data: bytes, place: Bound) -> bytes:
        """Encrypt a record for its place, with the newest key."""
        head, nonce = self._head, os.urandom(_NONCE)
        return head + nonce + self._newest.encrypt(nonce, data, head + dumps(place))

    def open(self, data: bytes, place: Bound, where: str) -> bytes:
        """The inverse of ``seal``. Raises StoreError, which begins with ``where``, for anything else."""
        from cryptography.exceptions import InvalidTag

        if not is_sealed(data):
            raise StoreError(f"{where} isn't encrypted, and an encrypted store takes nothing else")
        begin = len(MAGIC) + 1
        end = begin + (data[begin - 1] if len(data) >= begin else 0)
        if len(data) < end + _NONCE + _TAG:
            raise StoreError(f"{where} is cut off; the store is damaged")
        head, nonce = data[:end], data[end : end + _NONCE]
        id = head[begin:].decode("utf-8", "backslashreplace")
        cipher = self._cipher(id, where)
        try:
            return cipher.decrypt(nonce, data[end + _NONCE :], head + dumps(place))
        except InvalidTag:
            raise StoreError(
                f"{where} can't be opened with key '{id}': it was changed, it was sealed for another place, or this is"
                " another key of that name"
            ) from None

    def _cipher(self, id: str, where: str) -> AESGCM:
        found = self._ciphers.get(id)
        if found is None:
            found = self._ciphers[id] = _cipher(self._asked(id, where))
        return found

    def _asked(self, id: str, where: str) -> bytes:
        """The key of an id, by the function that was given."""
        if self._ask is None:
            raise StoreError(
                f"{where} was sealed with key '{id}', which isn't given (given: {', '.join(map(repr, self._ciphers))});"
                f" give that one too: key=[newest, …, older], or {VARIABLE}=NEWEST,OLDER"
            )
        try:
            key = self._ask(id)
        except Exception as error:
            raise StoreError(f"{where}: the function key= raised {type(error).__name__} for key '{id}'") from error
        if key is None:
            raise StoreError(f"{where} is sealed with key '{id}', for which the function key= has none")
        return _secret(key, f"key= for '{id}'")


def _secret(key: object, name: str) -> bytes:
    """The 32 bytes of a key. Raises UserError, which doesn't tell them."""
    data = b""
    if isinstance(key, bytes):
        data = key
    elif isinstance(key, str):
        try:
            data = base64.b64decode(key.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            pass
    if len(data) != 32:
        raise UserError(
            f"EncryptedStore: {name}: a key is 32 random bytes, or a text with their base64; make one with"
            " EncryptedStore.new_key(), or openssl rand -base64 32"
        )
    return data


def _id_of(secret: bytes) -> str:
    """What a key is called where nobody named it; it tells nothing of the key."""
    return hashlib.sha256(b"flowcore key id\0" + secret).hexdigest()[:12]


def _cipher(secret: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as missing:
        raise UserError(f"EncryptedStore: {missing}; install it with: pip install 'flowcore[encrypt]'") from missing
    return AESGCM(secret)
