"""A session whose items are encrypted before another session keeps them. The extra ``encrypt``.

Each item becomes an envelope with a Fernet token; the key is derived for each session with HKDF-SHA256, the session's
id as the salt. Envelope and derivation are those of the OpenAI Agents SDK, so that either reads what the other wrote.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcore.agents.session import SessionABC, SessionSettings, as_session, ask
from flowcore.errors import StoreError, UserError
from flowcore.models.base import Item
from flowcore.sessions.replacing import replace
from flowcore.sessions.wire import checked_id, decode, encode, how_many

try:
    from cryptography.fernet import Fernet, InvalidToken
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
except ImportError as missing:
    raise UserError(f"EncryptedSession: {missing}; install it with: pip install 'flowcore[encrypt]'") from missing

if TYPE_CHECKING:
    from flowcore.agents.context import RunContextWrapper

_INFO = b"agents.session-store.hkdf.v1"
"""What keys are derived for; part of the format."""
_KEY_ID = "hkdf-v1"


class _Opened(NamedTuple):
    """What an envelope held. ``item`` is None if it can't be read; ``ours``: it was written with our key."""

    item: Item | None
    ours: bool


class EncryptedSession(SessionABC):
    """``underlying_session``, with its items encrypted.

    ``encryption_key``: a Fernet key or another long random text; a password isn't made strong here. ``ttl``: seconds
    after which an item is as good as gone (None: never). Items that have expired, that another key wrote, or that
    aren't encrypted are skipped when they're read. Other attributes are those of the underlying session.
    """

    def __init__(self, session_id: str, underlying_session: Any, encryption_key: str, ttl: int | None = 600) -> None:
        if not encryption_key or not isinstance(encryption_key, str):
            raise ValueError("encryption_key not set; required for EncryptedSession.")
        if ttl is not None and (not isinstance(ttl, int) or ttl <= 0):
            raise UserError(f"EncryptedSession: ttl={ttl!r}: give whole seconds above 0, or None to keep items")
        if callable(getattr(underlying_session, "run_compaction", None)):
            raise UserError(
                "EncryptedSession: the underlying session compacts, which it can't do with encrypted items; "
                "wrap them the other way round: the compacting session outside, the encrypted one inside"
            )
        self.session_id = checked_id(session_id, "EncryptedSession")
        self.underlying_session = as_session(underlying_session)
        self.ttl = ttl
        self._fernet = Fernet(_derived(encryption_key, session_id))
        self._where = f"EncryptedSession, session {session_id!r}"

    @property
    def session_settings(self) -> SessionSettings | None:
        """The settings of the underlying session."""
        return getattr(self.underlying_session, "session_settings", None)

    @session_settings.setter
    def session_settings(self, value: SessionSettings | None) -> None:
        self.underlying_session.session_settings = value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "underlying_session":  # not there yet: copied, or half made
            raise AttributeError(name)
        return getattr(self.underlying_session, name)

    async def get_items(self, limit: int | None = None, *, wrapper: RunContextWrapper[Any] | None = None) -> list[Item]:
        """The readable items, oldest first; with ``limit`` the latest so many, None: as ``session_settings`` say."""
        most = how_many(limit, self.session_settings)
        asked = most
        while True:
            kept = await ask(self.underlying_session, "get_items", asked, wrapper=wrapper)
            opened = await asyncio.to_thread(self._open_all, kept)
            items = [one.item for one in opened if one.item is not None]
            if most is None or asked is None or len(items) >= most or len(kept) < asked:
                break
            asked *= 2  # some of the latest can't be read: look further back
        return items if most is None else items[len(items) - min(most, len(items)) :]

    async def add_items(self, items: list[Item], *, wrapper: RunContextWrapper[Any] | None = None) -> None:
        """Add items at the end, all or none."""
        envelopes = [self._seal(text) for text in encode(items, self._where)]
        if envelopes:
            await ask(self.underlying_session, "add_items", envelopes, wrapper=wrapper)

    async def pop_item(self, *, wrapper: RunContextWrapper[Any] | None = None) -> Item | None:
        """Remove and return the latest readable item, and what has expired after it; None if there's none.

        Raises StoreError, and removes nothing, where the latest item was written with another key.
        """
        while True:
            tail = await ask(self.underlying_session, "get_items", 1, wrapper=wrapper)
            if not tail:
                return None
            self._refuse_foreign(tail[-1])
            kept = await ask(self.underlying_session, "pop_item", wrapper=wrapper)
            if kept is None:
                return None
            opened = self._open(kept)
            if opened.item is not None:
                return opened.item
            if _token(kept) is not None and not opened.ours:  # somebody wrote it between the look and the pop
                await ask(self.underlying_session, "add_items", [kept], wrapper=wrapper)

    async def clear_session(self, *, wrapper: RunContextWrapper[Any] | None = None) -> None:
        """Remove all items, readable or not."""
        await ask(self.underlying_session, "clear_session", wrapper=wrapper)

    async def replace_items(self, items: list[Item], *, wrapper: RunContextWrapper[Any] | None = None) -> None:
        """Put these items in the place of all."""
        envelopes = [self._seal(text) for text in encode(items, self._where)]
        await replace(self.underlying_session, envelopes, wrapper)

    def _seal(self, text: str) -> Item:
        token = self._fernet.encrypt(text.encode())
        return {"__enc__": 1, "v": 1, "kid": _KEY_ID, "payload": token.decode()}

    def _open_all(self, kept: list[Any]) -> list[_Opened]:
        return [self._open(item) for item in kept]

    def _open(self, kept: Any) -> _Opened:
        token = _token(kept)
        if token is None:
            return _Opened(None, False)
        try:
            return _Opened(decode(self._fernet.decrypt(token, ttl=self.ttl), self._where), True)
        except InvalidToken:
            return _Opened(None, self._is_ours(token))

    def _is_ours(self, token: bytes) -> bool:
        try:
            self._fernet.decrypt(token)
        except InvalidToken:
            return False
        return True

    def _refuse_foreign(self, kept: Any) -> None:
        token = _token(kept)
        if token is not None and not self._is_ours(token):
            raise StoreError(f"{self._where}: the latest item was written with another key; it wasn't removed")


def _token(kept: Any) -> bytes | None:
    """The token of an envelope; None for anything else."""
    if not isinstance(kept, dict) or kept.get("__enc__") != 1 or kept.get("kid") != _KEY_ID:
        return None
    payload = kept.get("payload")
    return payload.encode() if isinstance(payload, str) and payload.isascii() else None


def _derived(encryption_key: str, session_id: str) -> bytes:
    """The Fernet key of one session (RFC 5869)."""
    master = encryption_key.encode()
    try:
        plain = base64.urlsafe_b64decode(master)
        master = plain if len(plain) == 32 else master
    except (binascii.Error, ValueError):
        pass  # not a Fernet key: taken as the text that it is
    derivation = HKDF(algorithm=hashes.SHA256(), length=32, salt=session_id.encode(), info=_INFO)
    return base64.urlsafe_b64encode(derivation.derive(master))
