"""Encryption at rest: what can be read of a store without its key, and what is refused with it. What every store
promises is asked of encrypted ones in the tests of stores."""

from __future__ import annotations

import base64
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sealing_filling import KEY, ME, OTHER, SECRET, everything, fill, sqlite_at
from stores_postgres import new_store, server

from flowcore import Agent, Runner, function_tool
from flowcore.errors import StoreError, UserError
from flowcore.stores import EncryptedStore, MemoryStore, PostgresStore, SqliteStore, checksums, open_store
from flowcore.testing import ScriptedModel, function_call, kill_everywhere
from flowcore.testing.store_suite.making import begin, fork_of, member, move


def bytes_in(folder: Path) -> bytes:
    """Every byte of every file."""
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


class Tampered:
    """A filled SQLite store that somebody without the key changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "runs.db"

    def ask(self, sql: str, *given: Any) -> list[Any]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(sql, given).fetchall()
        finally:
            connection.close()

    async def read(self, verb: str, *given: Any, key: Any = KEY) -> Any:
        store = sqlite_at(self.folder, key)
        try:
            return await getattr(store, verb)(*given)
        finally:
            await store.close()


@pytest.fixture
async def tampered(tmp_path: Path) -> Tampered:
    store = sqlite_at(tmp_path)
    await fill(store)
    await store.close()
    return Tampered(tmp_path)


# What can be read without the key


async def test_a_file_holds_nothing_readable_and_the_store_gives_all_of_it_back(tmp_path: Path) -> None:
    plain = MemoryStore(keep_bytes=True)
    store = sqlite_at(tmp_path)
    await fill(plain)
    await fill(store)
    assert await everything(store) == await everything(plain)
    before = bytes_in(tmp_path)
    await store.close()
    for data in (before, bytes_in(tmp_path)):
        assert SECRET.encode() not in data
        assert base64.b64encode(SECRET.encode())[:12] not in data
        assert b"approval" in data


async def test_a_postgres_database_holds_nothing_readable(tmp_path: Path) -> None:
    inner = new_store()
    store = EncryptedStore(inner, key=KEY)
    await fill(store)
    assert [one.item["text"] for one in await store.session_items("s")] == [SECRET] * 4
    assert await store.session_pop("s") == {"text": SECRET}
    assert (await everything(store))[1].error == f"error {SECRET}"
    rows = [
        server().ask(f'SELECT * FROM "{inner._names.schema}".{table}')
        for table in ("fact", "run", "letter", "request", "session_item")
    ]
    await store.close()
    assert all(rows)
    assert SECRET not in repr(rows)


async def test_a_store_in_memory_is_encrypted_too_and_so_is_its_copy() -> None:
    store = EncryptedStore(MemoryStore(keep_bytes=True), key=KEY)
    await fill(store)
    assert SECRET not in repr(store._journals["r"].facts) + repr(store._sessions) + repr(store._trees["r"].letters)
    copy = store.copy()
    for verb, name in (("read", "other"), ("requests", "other"), ("inbox", "other"), ("session_items", "s")):
        assert await getattr(copy, verb)(name) == await getattr(store, verb)(name) != []
    assert (await copy.get("r")).error == f"error {SECRET}"


# What is refused


async def test_every_changed_byte_of_a_fact_is_refused(tampered: Tampered) -> None:
    [(payload,)] = tampered.ask("SELECT payload FROM fact WHERE run = 'r' AND seq = 1")
    store = sqlite_at(tampered.folder)
    for position in range(len(payload)):
        changed = bytearray(payload)
        changed[position] ^= 1
        tampered.ask("UPDATE fact SET payload = ? WHERE run = 'r' AND seq = 1", bytes(changed))
        with pytest.raises(StoreError, match="fact 1"):
            await store.read("r")
    for cut in (0, 3, 4, 20, len(payload) - 1):
        tampered.ask("UPDATE fact SET payload = ? WHERE run = 'r' AND seq = 1", payload[:cut])
        with pytest.raises(StoreError, match="fact 1"):
            await store.read("r")
    tampered.ask("UPDATE fact SET payload = ? WHERE run = 'r' AND seq = 1", payload)
    assert [fact.seq for fact in await store.read("r")] == [0, 1, 2, 3]
    await store.close()


@pytest.mark.parametrize(
    ("sql", "verb", "told"),
    [
        ("UPDATE fact SET payload = (SELECT payload FROM fact AS o WHERE o.run = 'other' AND o.seq = fact.seq)",
         "read", "run 'r' in .*: fact 0 .* sealed for another place"),
        ("UPDATE fact SET payload = (SELECT payload FROM fact AS o WHERE o.run = 'r' AND o.seq = 0) WHERE seq = 1",
         "read", "fact 1 .* sealed for another place"),
        ("UPDATE fact SET \"to\" = 'elsewhere' WHERE run = 'r' AND seq = 1", "read", "fact 1"),
        ("UPDATE fact SET \"on\" = 'no' WHERE run = 'r' AND seq = 1", "read", "fact 1"),
        ("UPDATE fact SET node = 'x' WHERE run = 'r' AND seq = 0", "read", "fact 0"),
        ("UPDATE fact SET visit = 9 WHERE run = 'r' AND seq = 1", "read", "fact 1"),
        ("UPDATE fact SET at = at + 1 WHERE run = 'r' AND seq = 1", "read", "fact 1"),
        ("UPDATE fact SET kind = 'started' WHERE run = 'r' AND seq = 1", "read", "fact 1"),
        ("UPDATE fact SET payload = '{\"v\":1}' WHERE run = 'r' AND seq = 1", "read", "fact 1 .*isn't encrypted"),
        ("UPDATE fact SET payload = 7 WHERE run = 'r' AND seq = 1", "read", "fact 1 .*isn't encrypted"),
        ("UPDATE run SET label = 'plain'", "get", "run 'r': its label isn't encrypted"),
        ("UPDATE run SET error = label", "get", "run 'r': its error can't be opened"),
        ("UPDATE run SET error = (SELECT error FROM run AS o WHERE o.id = 'other')", "get", "run 'r': its error can't"),
        ("UPDATE request SET data = CAST('true' AS BLOB)", "requests", "request 'k' in .* isn't encrypted"),
        ("UPDATE request SET data = schema", "requests", "request 'k' in .* can't be opened"),
        ("UPDATE request SET kind = 'form'", "requests", "request 'k' in .* can't be opened"),
        ("UPDATE letter SET value = CAST('true' AS BLOB)", "inbox", "letter 'answer r' in .* isn't encrypted"),
        ("UPDATE letter SET value = (SELECT value FROM letter AS o WHERE o.run = 'other')", "inbox", "letter"),
        ("UPDATE letter SET key = 'other'", "inbox", "letter 'answer r' in .* can't be opened"),
    ],
)  # fmt: skip
async def test_a_record_that_was_changed_or_moved_is_refused(
    tampered: Tampered, sql: str, verb: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "check_index", lambda *_: None)  # who changes a row can write its checksum, too
    tampered.ask(sql)
    with pytest.raises(StoreError, match=told):
        await tampered.read(verb, "r")


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE session_item SET item = (SELECT item FROM session_item AS o WHERE o.position = 1) WHERE position = 4",
        "UPDATE session_item SET position = 9 WHERE position = 4",
        "UPDATE session_item SET item = CAST('{}' AS BLOB) WHERE position = 4",
    ],
)
async def test_an_item_that_was_moved_is_refused_and_not_popped(tampered: Tampered, sql: str) -> None:
    tampered.ask(sql)
    for verb in ("session_items", "session_pop"):
        with pytest.raises(StoreError, match=r"item '[49]' in store file"):
            await tampered.read(verb, "s")
    assert tampered.ask("SELECT count(*) FROM session_item") == [(4,)]
    tampered.ask("UPDATE session_item SET session = 't' WHERE position = 1")
    with pytest.raises(StoreError, match="item '1'"):
        await tampered.read("session_items", "t")


async def test_a_plain_row_in_postgres_or_one_from_elsewhere_is_refused() -> None:
    inner = new_store()
    store = EncryptedStore(inner, key=KEY)
    await fill(store)
    table = f'"{inner._names.schema}"'
    swap = f"UPDATE {table}.fact SET payload = o.payload FROM {table}.fact AS o WHERE o.run = 'other' AND o.seq = 1"
    server().ask(f"{swap} AND fact.seq = 1 AND fact.run = 'r'")
    with pytest.raises(StoreError, match=r"fact 1 .* sealed for another place"):
        await store.read("r")
    server().ask(f"UPDATE {table}.session_item SET item = 'true'")
    with pytest.raises(StoreError, match="isn't encrypted"):
        await store.session_pop("s")
    assert server().ask(f"SELECT count(*) FROM {table}.session_item") == [(4,)]
    await store.close()
    plain = PostgresStore(server().dsn, schema=inner._names.schema)
    with pytest.raises(StoreError, match="fact 0 is encrypted; open the store as EncryptedStore"):
        await plain.read("r")
    await plain.close()


async def test_a_plain_store_says_that_a_row_is_encrypted_and_an_encrypted_one_that_a_row_is_plain(
    tmp_path: Path, tampered: Tampered
) -> None:
    plain = SqliteStore(tampered.path)
    for verb, told in (("read", "fact 0"), ("requests", "request 'k'"), ("inbox", "letter"), ("session_items", "item")):
        with pytest.raises(StoreError, match=f"{told}.* is encrypted; open the store as EncryptedStore"):
            await getattr(plain, verb)("s" if verb == "session_items" else "r")
    await plain.admit(begin("plain"), ME)
    await plain.close()
    with pytest.raises(StoreError, match=r"run 'plain' .* isn't encrypted, and an encrypted store takes nothing else"):
        await tampered.read("read", "plain")


async def test_a_fork_reads_what_it_shares_and_no_other_runs_facts_in_its_place(tampered: Tampered) -> None:
    store = sqlite_at(tampered.folder)
    claim = await store.admit(fork_of("f", "r", 1), ME)
    assert await store.append([member("f", move(3))], claim) == [None]
    assert (await store.read("f"))[:2] == (await store.read("r"))[:2]
    await store.close()
    tampered.ask("DELETE FROM fact WHERE run = 'r' AND seq = 0")
    tampered.ask("UPDATE fact SET run = 'r' WHERE run = 'other' AND seq = 0")
    with pytest.raises(StoreError, match=r"run 'r' .* fact 0"):
        await tampered.read("read", "f")


# Keys


@pytest.mark.parametrize("key", [OTHER, lambda id: OTHER], ids=["text", "function"])
async def test_another_key_opens_nothing(tampered: Tampered, key: Any) -> None:
    store = sqlite_at(tampered.folder, key, key_id="mine" if callable(key) else None)
    with pytest.raises(StoreError, match=r"fact 0 .*(which isn't given|can't be opened with key)"):
        await store.read("r")
    await store.close()


async def test_after_a_rotation_old_records_are_read_while_their_key_is_given(tampered: Tampered) -> None:
    store = sqlite_at(tampered.folder, [OTHER, KEY])
    before = await store.read("r")
    await store.admit(begin("new"), ME)
    await store.close()
    assert await tampered.read("read", "r", key=[OTHER, base64.b64decode(KEY)]) == before
    assert await tampered.read("read", "new", key=OTHER)
    with pytest.raises(StoreError, match=r"run 'new' .* was sealed with key '[0-9a-f]{12}', which isn't given"):
        await tampered.read("read", "new", key=KEY)
    with pytest.raises(StoreError, match=r"run 'r' .* give that one too: key=\[newest"):
        await tampered.read("read", "r", key=OTHER)


async def test_a_function_gives_keys_by_their_ids_each_asked_for_once(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"2025": KEY, "2026": OTHER}
    asked: list[str] = []

    def key_of(id: str) -> Any:
        asked.append(id)
        return keys[id]

    old = sqlite_at(tmp_path, key_of, key_id="2025")
    await fill(old)
    await old.close()
    new = sqlite_at(tmp_path, key_of, key_id="2026")
    assert len(await new.read("r")) == len(await new.read("other")) == 4
    assert asked == ["2025", "2026", "2025"]
    await new.close()
    del keys["2025"]
    again = sqlite_at(tmp_path, key_of, key_id="2026")
    with pytest.raises(StoreError, match="the function key= raised KeyError for key '2025'"):
        await again.read("r")
    await again.close()
    nothing = sqlite_at(tmp_path, lambda id: OTHER if id == "2026" else None, key_id="2026")
    with pytest.raises(StoreError, match="sealed with key '2025', for which the function key= has none"):
        await nothing.read("r")
    await nothing.close()


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("short", "32 random bytes"),
        (b"x" * 31, "32 random bytes"),
        (7, "32 random bytes"),
        ([], "holds no key"),
        ([KEY, "swordfish!"], "32 random bytes"),
        (lambda id: KEY, "key_id="),
    ],
)
def test_what_is_no_key_is_refused_and_not_told(key: Any, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        EncryptedStore(MemoryStore(keep_bytes=True), key=[key] if key == 7 else key)
    assert "swordfish" not in str(caught.value)


def test_keys_come_from_the_environment_the_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWCORE_KEY", raising=False)
    with pytest.raises(UserError, match="set FLOWCORE_KEY"):
        open_store("encrypted+:memory:")
    urlsafe = KEY.replace("+", "-").replace("/", "_")
    monkeypatch.setenv("FLOWCORE_KEY", f" {urlsafe} , {OTHER}")
    store = open_store("encrypted+sqlite:///runs.db")
    assert isinstance(store, EncryptedStore)
    assert isinstance(store.store, SqliteStore)
    assert store.keys.newest == EncryptedStore(MemoryStore(keep_bytes=True), key=KEY).keys.newest
    assert store.path == os.path.abspath("runs.db")
    assert KEY not in repr(store) + repr(vars(store.keys))
    assert isinstance(open_store("encrypted+:memory:"), EncryptedStore)


def test_only_a_store_of_bytes_can_be_encrypted_and_only_once() -> None:
    with pytest.raises(UserError, match="keep_bytes=True"):
        EncryptedStore(MemoryStore(), key=KEY)
    with pytest.raises(UserError, match="it doesn't keep bytes"):
        EncryptedStore(object(), key=KEY)  # type: ignore[arg-type]
    inner = MemoryStore(keep_bytes=True)
    store = EncryptedStore(inner, key=KEY)
    for one in (inner, store):
        with pytest.raises(UserError, match="encrypted already"):
            EncryptedStore(one, key=KEY)


# Runs in it


@function_tool
def look(place: str) -> str:
    """Look there."""
    return f"{place}: {SECRET}"


@function_tool(needs_approval=True)
def take(what: str) -> str:
    """Take it."""
    return f"took {what}"


def thief() -> Agent:
    replies = [function_call("look", {"place": SECRET}), function_call("take", {"what": SECRET}), f"I have {SECRET}."]
    return Agent(name="thief", model=ScriptedModel.by_turn(replies), tools=[look, take])


async def test_an_agent_killed_at_every_fact_ends_the_same_and_leaves_nothing_readable(tmp_path: Path) -> None:
    folders: Iterator[Path] = (tmp_path / str(number) for number in range(1000))
    kills = await kill_everywhere(thief, f"find {SECRET}", store=lambda: sqlite_at(next(folders)))
    assert (kills.standing, kills.output) == ("done", f"I have {SECRET}.")
    assert kills.kills > 8
    assert SECRET.encode() not in bytes_in(tmp_path)


async def test_a_plain_postgres_database_holds_nothing_of_a_context() -> None:
    store = new_store()
    result = await Runner.run(thief(), "go", context={"password": "MARKER-context"}, store=store, run_id="r")
    state = result.to_state()
    state.approve(result.interruptions[0])
    assert "rosebud" in str((await Runner.run(thief(), state)).final_output)
    tables = ("fact", "run", "letter", "request", "session_item", "kept", "owner")
    rows = [server().ask(f'SELECT * FROM "{store._names.schema}".{table}') for table in tables]
    await store.close()
    assert "rosebud" in repr(rows)
    assert "MARKER-context" not in repr(rows)


async def test_a_session_in_an_encrypted_store_is_remembered(tmp_path: Path) -> None:
    for said in ("one", "two"):
        store = sqlite_at(tmp_path)
        agent = Agent(name="A", model=ScriptedModel([f"{said} {SECRET}"]))
        await Runner.run(agent, said, store=store, session="s")
        await store.close()
    store = sqlite_at(tmp_path)
    assert len(await store.session_items("s")) == 4
    await store.close()


def test_the_command_line_reads_and_writes_an_encrypted_store_by_its_address(tmp_path: Path) -> None:
    (tmp_path / "thief.py").write_text(
        "from flowcore import Agent\nfrom flowcore.testing import ScriptedModel\n"
        f"agent = Agent(name='thief', model=ScriptedModel(['I have {SECRET[:7]}' + '{SECRET[7:]}.']))\n"
    )

    def flowcore(*words: str, key: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "flowcore", *words, "--store", "encrypted+sqlite:///runs.db"]
        env = {**os.environ, "FLOWCORE_KEY": key, "COLUMNS": "200"}
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "done" in flowcore("run", "thief.py", "go", "--run-id", "r", key=KEY)
    assert SECRET.encode() not in bytes_in(tmp_path)
    assert SECRET in flowcore("show", "r", key=f"{OTHER},{KEY}")
    refused = flowcore("show", "r", key=OTHER, code=1)
    assert "which isn't given" in refused
    assert "Traceback" not in refused
