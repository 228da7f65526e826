"""What the backends share: items as JSON text and back, names of tables, ids, and how many items to read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

from flowcore.agents.session import SessionSettings, checked_limit
from flowcore.errors import StoreError, UserError
from flowcore.models.base import Item

COMPACT = (",", ":")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")  # 63 is what Postgres keeps of a name


def encode(items: Sequence[Any], where: str, *, ensure_ascii: bool = True) -> list[str]:
    """Each item as JSON text; objects of the openai package become dicts first. ASCII, so that NUL and lone surrogates
    pass through any database; without ``ensure_ascii`` only texts that need it are.

    Raises UserError, naming the item, for what isn't JSON.
    """
    if isinstance(items, (str, bytes, dict)) or not isinstance(items, Iterable):
        raise UserError(f"{where}: items={items!r:.80} ({type(items).__name__}): give a list of items")
    texts = []
    for place, given in enumerate(items):
        item = given if isinstance(given, dict) else _dumped(given)
        if not isinstance(item, dict):
            raise UserError(f"{where}: item {place} is {type(given).__name__}, not a dict; give items of the wire form")
        try:
            text = json.dumps(item, separators=COMPACT, ensure_ascii=ensure_ascii, allow_nan=False)
            if not ensure_ascii and not _utf8(text):
                text = json.dumps(item, separators=COMPACT, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UserError(f"{where}: item {place} can't be written as JSON: {error}; nothing was added") from error
        texts.append(text)
    return texts


def _dumped(item: Any) -> Any:
    dump = getattr(item, "model_dump", None)
    return dump(mode="json", exclude_unset=True, warnings=False) if callable(dump) else item


def decode(text: str | bytes, where: str) -> Item:
    """An item from its JSON text. Raises StoreError for what is no JSON object."""
    try:
        item = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where}: an item is no JSON ({error}): {text!r:.80}; mend or delete that row") from None
    if not isinstance(item, dict):
        raise StoreError(f"{where}: an item is no JSON object: {text!r:.80}; mend or delete that row")
    return cast(Item, item)


def _utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked_id(session_id: Any, kind: str) -> str:
    """A session's id as it is. Raises UserError unless it's a text that every database can hold."""
    if not isinstance(session_id, str) or not session_id or "\0" in session_id or not _utf8(session_id):
        raise UserError(f"{kind}: session_id={session_id!r}: give a text that isn't empty, without NUL or surrogates")
    return session_id


def checked_tables(sessions_table: Any, messages_table: Any, kind: str) -> tuple[str, str]:
    """The names of two tables. Raises UserError unless they're two plain identifiers."""
    for name, value in (("sessions_table", sessions_table), ("messages_table", messages_table)):
        if not isinstance(value, str) or not _NAME.fullmatch(value) or value.lower().startswith("sqlite_"):
            raise UserError(f"{kind}: {name}={value!r}: give letters, digits and _, not beginning with a digit")
    if sessions_table.lower() == messages_table.lower():
        raise UserError(f"{kind}: sessions_table and messages_table are both {sessions_table!r}: give two names")
    return sessions_table, messages_table


def how_many(limit: int | None, settings: SessionSettings | None) -> int | None:
    """How many of the latest items to read: ``limit``, else what the settings say, else None: all."""
    if limit is None and settings is not None:
        limit = settings.limit
    return checked_limit(limit)
