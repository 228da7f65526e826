"""The keys of an encrypted store: AES-256-GCM (NIST SP 800-38D), and which key opens what.

A record is ``MAGIC, length of the key's id, the key's id, 12 random bytes, ciphertext and tag``; what comes before the
random bytes and the record's place are authenticated with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from flowcore.errors import KeyMissing, StoreError, UserError
from flowcore.graph.values import dumps
from flowcore.stores.sealing import MAGIC, Bound, is_sealed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OneKey: TypeAlias = bytes | str
Key: TypeAlias = OneKey | Sequence[OneKey] | Callable[[str], OneKey | None]
"""A key, keys with the newest first, or what gives the key of an id."""

VARIABLE = "FLOWCORE_KEY"
"""The environment variable that holds the key, or with commas between them the newest key and older ones."""
_NONCE, _TAG = 12, 16
_TEXT = "sealed:"


class Keys:
    """Keys by their ids: the sealing of an EncryptedStore. No error and no repr tells a key.

    ``newest``: the id of the key that seals; ``head``: how the records begin that it sealed.
    """

    def __init__(self, newest: str, known: dict[str, bytes], ask: Callable[[str], OneKey | None] | None) -> None:
        name = newest.encode("utf-8")
        if not 0 < len(name) <= 255:
            raise UserError(f"EncryptedStore(key_id={newest!r}): a key's id is a text of 1 to 255 bytes")
        self._ask = ask
        self._ciphers = {id: _cipher(secret) for id, secret in known.items()}
        self.head = MAGIC + bytes([len(name)]) + name
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

    def why_not(self, id: str, where: str) -> StoreError | None:
        """Why there's no key of an id; None: there is."""
        try:
            self._cipher(id, where)
        except StoreError as error:
            return error
        return None

    def seal(self, data: bytes, place: Bound) -> bytes:
        """Encrypt a record for its place, with the newest key."""
        head, nonce = self.head, os.urandom(_NONCE)
        return head + nonce + self._newest.encrypt(nonce, data, head + dumps(place))

    def seal_text(self, text: str, place: Bound) -> str:
        """``seal``, for a column of text."""
        return _TEXT + base64.b64encode(self.seal(text.encode("utf-8", "surrogatepass"), place)).decode()

    def open_text(self, text: str, place: Bound, where: str) -> str:
        """The inverse of ``seal_text``. Raises StoreError."""
        return self.open(sealed_bytes(text), place, where).decode("utf-8", "surrogatepass")

    def open(self, data: bytes, place: Bound, where: str) -> bytes:
        """The inverse of ``seal``. Raises StoreError, which begins with ``where``, for anything else."""
        from cryptography.exceptions import InvalidTag

        if not is_sealed(data):
            raise StoreError(f"{where} isn't encrypted, and an encrypted store takes nothing else", lasting=True)
        begin = len(MAGIC) + 1
        end = begin + (data[begin - 1] if len(data) >= begin else 0)
        if len(data) < end + _NONCE + _TAG:
            raise StoreError(f"{where} is cut off; the store is damaged", lasting=True)
        head, nonce = data[:end], data[end : end + _NONCE]
        id = head[begin:].decode("utf-8", "backslashreplace")
        cipher = self._cipher(id, where)
        try:
            return cipher.decrypt(nonce, data[end + _NONCE :], head + dumps(place))
        except InvalidTag:
            raise StoreError(
                f"{where} can't be opened with key '{id}': it was changed, it was sealed for another place, or this is"
                " another key of that name",
                lasting=True,
            ) from None

    def _cipher(self, id: str, where: str) -> AESGCM:
        found = self._ciphers.get(id)
        if found is None:
            found = self._ciphers[id] = _cipher(self._asked(id, where))
        return found

    def _asked(self, id: str, where: str) -> bytes:
        """The key of an id, by the function that was given."""
        if self._ask is None:
            raise KeyMissing(
                f"{where} was sealed with key '{id}', which isn't given (given: {', '.join(map(repr, self._ciphers))});"
                f" give that one too: key=[newest, …, older], or {VARIABLE}=NEWEST,OLDER",
                lasting=True,
            )
        try:
            key = self._ask(id)
        except Exception as error:
            raise StoreError(f"{where}: the function key= raised {type(error).__name__} for key '{id}'") from error
        if key is None:
            raise KeyMissing(f"{where} is sealed with key '{id}', for which the function key= has none", lasting=True)
        return _secret(key, f"key= for '{id}'")


def sealed_bytes(text: object) -> bytes:
    """The record in a column of text; nothing where it holds none."""
    if not isinstance(text, str) or not text.startswith(_TEXT):
        return b""
    try:
        return base64.b64decode(text[len(_TEXT) :], validate=True)
    except ValueError:
        return b""


def key_of(record: bytes) -> str:
    """The id of the key that sealed a record."""
    begin = len(MAGIC) + 1
    end = begin + sum(record[begin - 1 : begin])
    return record[begin:end].decode("utf-8", "backslashreplace")


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
