"""How what older keys sealed comes under the newest one. A store goes through its records page by page
(``Rotating.reseal``) and asks a Renewal of each what is to stand in its place.

A store replaces a record only if it's still the one that was read, and an index row's text with the row's checksum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from flowcore.errors import StoreError, UserError
from flowcore.stores.base import IndexRow, Store
from flowcore.stores.checksums import changing_sum, check_index
from flowcore.stores.keys import Keys, key_of, sealed_bytes
from flowcore.stores.sealing import Bound, is_sealed, whole

AT_ONCE = 500
"""Records that are replaced in one transaction at most."""
BYTES = 1024 * 1024
"""Bytes of records after which a transaction takes no further one: some 10 ms."""
LOOKS = 5
"""How often a store is gone through at most: once to change it, once to see that nothing is left, and again where
another process still seals with an older key, or held what was to be changed."""
TOLD = 20
"""Records that can't be opened of which each is told: the first ones."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """What ``EncryptedStore.rotate`` came to.

    ``key``: the id of the newest key. ``resealed``: records that came under it (a request or a run's
    index row counts as one). ``old_keys``: the older keys that are
    needed still, by their ids, and for how many records: empty, they may be removed. ``unreadable``: why records
    couldn't be opened: one for each key that wasn't given, and of those that are damaged the first 20.
    """

    key: str
    resealed: int
    old_keys: dict[str, int]
    unreadable: list[str]

    @property
    def done(self) -> bool:
        """Whether every record is under the newest key."""
        return not self.old_keys and not self.unreadable


class Renewal:
    """One look at all records of a store: what takes the place of each that an older key sealed. ``head``: how a
    record begins that needn't be shown. Any thread may ask, one at a time."""

    def __init__(self, keys: Keys) -> None:
        self.head = keys.head
        self.old_keys: Counter[str] = Counter()
        self.found = 0
        self.refused = 0
        self.unreadable: list[str] = []
        self._keys = keys
        self._missing: set[str] = set()

    def record(self, data: bytes, place: Bound, where: str) -> bytes | None:
        """What is to be kept in the place of a record; None: the record itself."""
        if self.is_new(data) or not self._openable([data], where):
            return None
        try:
            return self._keys.seal(self._keys.open(data, whole(place, where), where), place)
        except StoreError as error:
            self._refuse(error)
            return None

    def needs(self, row: IndexRow) -> bool:
        """Whether a text of an index row isn't under the newest key."""
        return any(text and not self.is_new(sealed_bytes(text)) for text in (row.label, row.error))

    def index(self, row: IndexRow) -> bool:
        """Renew the texts of an index row; whether they were changed."""
        run = row.run
        old = [sealed_bytes(text) for text in (row.label, row.error) if text]
        old = [one for one in old if not self.is_new(one)]
        if not old or not self._openable(old, f"run '{run}': its index row"):
            return False
        try:
            texts = {}
            for name in ("label", "error"):
                text = getattr(row, name)
                if text:
                    opened = self._keys.open_text(text, (name, run), f"run '{run}': its {name}")
                    texts[name] = self._keys.seal_text(opened, (name, run))
        except StoreError as error:
            self._refuse(error)
            return False
        row.label, row.error = texts.get("label", row.label), texts.get("error", row.error)
        return True

    def summed_index(self, row: IndexRow, head: int, fixed: Any, changing: Any, where: str) -> int | None:
        """Renew the texts of an index row that has checksums; its new checksum, or None: it stays as it is."""
        try:
            check_index(row, fixed, changing, head, where)
        except StoreError as error:
            self.found += 1
            self._refuse(error)
            return None
        return changing_sum(row.run, row, head) if self.index(row) else None

    def is_new(self, data: object) -> bool:
        """Whether the newest key sealed this."""
        return isinstance(data, bytes) and data.startswith(self.head)

    def _openable(self, records: Sequence[bytes], where: str) -> bool:
        """Count what older keys sealed; whether they're there. Of a key that isn't, the first record tells."""
        self.found += 1
        ids = {key_of(one) for one in records if is_sealed(one)}
        self.old_keys.update(ids)
        for id in ids - self._missing:
            why = self._keys.why_not(id, where)
            if why is not None:
                self._missing.add(id)
                self.unreadable.append(why.message)
        if ids.isdisjoint(self._missing):
            return True
        self.refused += 1
        return False

    def _refuse(self, error: StoreError) -> None:
        self.refused += 1
        if len(self.unreadable) < TOLD:
            self.unreadable.append(error.message)


class Rotating(Protocol):
    """A store that can replace its sealed records."""

    async def reseal(self, renewal: Renewal) -> int:
        """Show every sealed record to ``renewal``, and keep what it gives instead; how many records were replaced.
        Raises StoreError."""


async def rotated(store: Store, keys: Keys) -> Rotation:
    """Bring all of a store under the newest key. Raises StoreError; UserError where the store can't do it."""
    if not hasattr(store, "reseal"):
        raise UserError(f"rotate: a {type(store).__name__} has no reseal(renewal), see flowcore.stores.rotation")
    resealed = 0
    for _ in range(LOOKS):
        look = Renewal(keys)
        resealed += await cast(Rotating, store).reseal(look)
        if look.found == look.refused:
            break
    return Rotation(keys.newest, resealed, dict(look.old_keys), look.unreadable)
