"""The tables of a store file, and how a file is known to be one."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias

from flowcore.errors import StoreError
from flowcore.stores.sqlite_sums import add_sums

Synchronous: TypeAlias = Literal["FULL", "NORMAL"]

APPLICATION_ID = 0x666C6F77
"""The file header's application id: "flow"."""
NOW = "((julianday('now') - 2440587.5) * 86400.0)"
"""The database's clock, in seconds since the epoch (2440587.5 is the Julian day of 1970-01-01T00:00Z)."""

# Facts lie in the order in which they were written, found by a small index: faster by 10 to 25 % and, from 1 kB a fact
# on, 10 % smaller than a table clustered by (run, seq). The payload comes last: lists don't read its pages.
# `kept`: deleted runs whose facts, or some of them, forks still share. They stand in no other table but `fact`.
_TABLES = """
CREATE TABLE fact (
    run TEXT NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, node TEXT NOT NULL, visit INTEGER NOT NULL,
    "on" TEXT, "to" TEXT, at REAL NOT NULL, nonce TEXT NOT NULL, payload BLOB NOT NULL,
    UNIQUE (run, seq)
);
CREATE TABLE run (
    id TEXT NOT NULL PRIMARY KEY, root TEXT NOT NULL, parent TEXT,
    owner TEXT, epoch INTEGER NOT NULL, known INTEGER NOT NULL,
    graph TEXT NOT NULL, fingerprint TEXT NOT NULL, standing TEXT NOT NULL, node TEXT NOT NULL,
    created REAL NOT NULL, updated REAL NOT NULL, due REAL, turns INTEGER NOT NULL, tokens INTEGER NOT NULL,
    label TEXT NOT NULL, error TEXT, base TEXT, base_seq INTEGER
);
CREATE TABLE kept (
    id TEXT NOT NULL PRIMARY KEY, root TEXT NOT NULL, base TEXT, base_seq INTEGER
) WITHOUT ROWID;
CREATE INDEX kept_root ON kept (root);
CREATE INDEX kept_base ON kept (base) WHERE base IS NOT NULL;
CREATE INDEX run_base ON run (base) WHERE base IS NOT NULL;
CREATE INDEX run_latest ON run (created, id) WHERE root = id;
CREATE INDEX run_standing ON run (standing, created, id) WHERE root = id;
CREATE INDEX run_tree ON run (root, created, id);
CREATE INDEX run_due ON run (due) WHERE due IS NOT NULL AND root = id;
CREATE TABLE owner (
    id TEXT NOT NULL PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, born TEXT NOT NULL, expires REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE letter (
    number INTEGER PRIMARY KEY, root TEXT NOT NULL, id TEXT NOT NULL, run TEXT NOT NULL, kind TEXT NOT NULL,
    key TEXT, at REAL NOT NULL, value BLOB NOT NULL,
    UNIQUE (root, id)
);
CREATE TABLE request (
    root TEXT NOT NULL, run TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, node TEXT NOT NULL,
    opened REAL NOT NULL, data BLOB NOT NULL, schema BLOB NOT NULL,
    PRIMARY KEY (root, run, key)
) WITHOUT ROWID;
CREATE TABLE session_item (
    position INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT NOT NULL, run TEXT, seq INTEGER, i INTEGER,
    item BLOB NOT NULL
);
CREATE INDEX session_order ON session_item (session);
CREATE UNIQUE INDEX session_once ON session_item (run, seq, session, i) WHERE run IS NOT NULL;
"""
_HELD = "CREATE INDEX run_held ON run (standing, created, id) WHERE owner IS NOT NULL AND root = id"
_SUMS = """
ALTER TABLE run ADD COLUMN head INTEGER NOT NULL DEFAULT -1;
ALTER TABLE run ADD COLUMN fixed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
"""

_ASKED = "CREATE INDEX request_opened ON request (opened, run, key)"

# How many letters wait for a tree, at its root: so an index holds the runs that somebody should take up for them.
_LETTERS = """
ALTER TABLE run ADD COLUMN letters INTEGER NOT NULL DEFAULT 0;
UPDATE run SET letters = (SELECT count(*) FROM letter WHERE letter.root = run.id) WHERE id IN (SELECT root FROM letter);
CREATE TRIGGER letter_came AFTER INSERT ON letter BEGIN
    UPDATE run SET letters = letters + 1 WHERE id = NEW.root;
END;
CREATE TRIGGER letter_went AFTER DELETE ON letter BEGIN
    UPDATE run SET letters = letters - 1 WHERE id = OLD.root;
END;
CREATE INDEX run_called ON run (coalesce(due, created), id)
WHERE root = id AND letters > known AND standing IN ('running', 'waiting');
CREATE INDEX run_loose ON run (created, id) WHERE root = id AND standing = 'running' AND due IS NULL;
"""
# `loose`: somebody should look which of its facts a fork needs still, and free the others.
_LOOSE = """
ALTER TABLE kept ADD COLUMN loose INTEGER NOT NULL DEFAULT 0;
CREATE INDEX kept_loose ON kept (id) WHERE loose;
"""

STEPS = (_TABLES, _HELD, _SUMS, _ASKED, _LETTERS, _LOOSE)
"""What leads from each version to the next, an empty file being version 0; the version stands in the file header's
user version. A step is never changed once it was released. After the third, ``add_sums``: see ``checksums``."""


def connect(path: str, synchronous: Synchronous, timeout: float) -> sqlite3.Connection:
    """A connection in autocommit mode, for any thread, one at a time. ``timeout``: seconds to wait for a lock."""
    connection = sqlite3.connect(path, timeout, isolation_level=None, check_same_thread=False)
    connection.text_factory = _text
    try:
        connection.execute("PRAGMA synchronous=FULL" if synchronous == "FULL" else "PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA cell_size_check=ON")  # as SQLite advises for files that one doesn't trust
        connection.execute("PRAGMA trusted_schema=OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_impatient(path: str, synchronous: Synchronous, timeout: float) -> sqlite3.Connection:
    """``connect``, but once it's open it never waits for a lock."""
    connection = connect(path, synchronous, timeout)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        connection.execute("PRAGMA busy_timeout=0")
    except BaseException:
        connection.close()
        raise
    return connection


def open_file(path: str, synchronous: Synchronous, timeout: float) -> sqlite3.Connection:
    """A connection to a store file, which is made if it isn't there.

    Raises StoreError for a file that is something else or that a newer flowcore wrote, and when it can't be opened.
    """
    deadline = time.monotonic() + timeout
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"store file {path}: its directory can't be made: {error}") from None
    while True:
        connection = None
        try:
            connection = connect(path, synchronous, timeout)
            _prepare(connection, path)
            return connection
        except BaseException as error:
            if connection is not None:
                connection.close()
            # Two that turn one new file to WAL at once: one is told "busy" without being let wait.
            if is_busy(error) and time.monotonic() < deadline:
                time.sleep(0.01)
                continue
            if isinstance(error, sqlite3.Error):
                raise store_error(path, error) from error
            raise


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("BEGIN")  # one look at the header and the tables: another process may be making them
    version = _version(connection, path)
    connection.execute("COMMIT")
    if version == len(STEPS):
        return
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"store file {path}: SQLite can't use its write-ahead log here (journal mode {mode!r})")
    connection.execute("BEGIN IMMEDIATE")
    for step in STEPS[_version(connection, path) :]:
        for statement in _statements(step):
            connection.execute(statement)
        if step == _SUMS:
            add_sums(connection)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={len(STEPS)}")
    connection.execute("COMMIT")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script. A trigger holds some of its own."""
    text = ""
    for part in script.split(";"):
        text += part + ";"
        if sqlite3.complete_statement(text):
            yield text
            text = ""


def _version(connection: sqlite3.Connection, path: str) -> int:
    """Which version of a store the file is, 0 if it's empty. Raises StoreError for anything else. Asked inside a
    transaction."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        if tables or application or version:
            raise StoreError(f"store file {path}: it is a database, but not a flowcore store; give another path")
        return 0
    if version > len(STEPS):
        raise StoreError(
            f"store file {path}: a newer flowcore wrote it (schema {version}, this one knows {len(STEPS)});"
            " update flowcore"
        )
    return int(version)


def store_error(path: str, error: Exception) -> StoreError:
    """What SQLite says, as a StoreError that names the file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return StoreError(f"store file {path}: it is not a database, so not a flowcore store; give another path")
    if code == sqlite3.SQLITE_BUSY:
        return StoreError(f"store file {path}: another process kept it locked for the whole busy_timeout ({error})")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
        return StoreError(f"store file {path}: {_unopened(path) or error}")
    if isinstance(error, UnicodeDecodeError):
        return StoreError(f"store file {path}: a text in it isn't UTF-8; the store is damaged", lasting=True)
    return StoreError(f"store file {path}: {error}", lasting=code == sqlite3.SQLITE_CORRUPT)


def _unopened(path: str) -> str:
    """Why a file can't be opened, as far as one sees; else an empty text."""
    if os.path.isdir(path):
        return "it is a directory; give the path of a file in it"
    if os.path.exists(path) and not os.access(path, os.R_OK):
        return "it can't be read by this user"
    if os.access(os.path.dirname(path), os.W_OK) and (not os.path.exists(path) or os.access(path, os.W_OK)):
        return ""
    if not os.path.exists(path):
        return "its directory can't be written to by this user; give a path in another"
    return (
        "it or its directory can't be written to by this user, and SQLite keeps a log and locks there even to read;"
        " copy the file, with those whose names begin like it, to where you may write"
    )


def is_busy(error: BaseException) -> bool:
    """Whether SQLite says that somebody else has the lock."""
    return (
        isinstance(error, sqlite3.OperationalError)
        and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    )


def utf8(text: str) -> bytes:
    """Text for ``CAST(? AS TEXT)``: sqlite3 itself refuses lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=1024)
def _text(data: bytes) -> str:
    """The inverse of ``utf8``. Kinds, nodes and labels repeat, so they share one text."""
    return data.decode("utf-8", "surrogatepass")
