"""Sessions in SQLite files: several processes and threads, cancels, files of the SDK, and what can go wrong."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sessions_making import World, call, reply, user

from flowcore import AsyncSQLiteSession, SQLiteSession, StoreError, UserError
from flowcore.sessions import sqlite_file
from flowcore.sessions.strand import Strand

HERE = Path(__file__).parent


def test_two_processes_that_write_at_once_lose_nothing_and_tear_nothing(tmp_path: Path) -> None:
    path, count = tmp_path / "shared.db", 60
    command = [sys.executable, str(HERE / "sessions_process.py"), str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, name, str(count)], **pipes) for name in ("x", "y")]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:  # the file isn't there yet: both make it
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0

    async def read() -> list[str]:
        session = AsyncSQLiteSession("shared", path)
        items = await session.get_items()
        await session.close()
        return [item["content"] for item in items]

    texts = asyncio.run(read())
    assert sorted(texts) == sorted(f"{name}-{n}-{half}" for name in "xy" for n in range(count) for half in "ab")
    assert [text for text in texts if text[0] == "x"] == [f"x-{n}-{half}" for n in range(count) for half in "ab"]
    assert all(texts[at][:-1] == texts[at + 1][:-1] for at in range(0, len(texts), 2))


def test_one_object_serves_several_threads_with_loops_of_their_own(tmp_path: Path) -> None:
    session = SQLiteSession("s", tmp_path / "s.db")

    def work(name: str) -> None:
        async def add() -> None:
            for n in range(30):
                await session.add_items([user(f"{name}{n}")])

        asyncio.run(add())

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asyncio.run(session.get_items())) == 120
    session.close()


async def test_what_is_asked_first_is_done_first(world: World) -> None:
    session = world.sqlite()
    await asyncio.gather(*(session.add_items([user(str(n))]) for n in range(50)))
    assert [item["content"] for item in await session.get_items()] == [str(n) for n in range(50)]


async def test_the_loop_runs_on_while_another_process_holds_the_lock(world: World) -> None:
    session = world.sqlite()
    await session.add_items([user("first")])
    other = sqlite3.connect(world.folder / "sessions.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    adding = asyncio.create_task(session.add_items([user("second")]))
    for _ in range(100):
        await asyncio.sleep(0)  # a loop that waits for the lock would never come here
    assert not adding.done()
    other.execute("COMMIT")
    other.close()
    await adding
    assert [item["content"] for item in await session.get_items()] == ["first", "second"]


async def test_a_file_that_stays_locked_is_an_error_that_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)
    session = world.sqlite()
    await session.add_items([user("first")])
    other = sqlite3.connect(world.folder / "sessions.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="kept it locked"):
        await session.add_items([user("second")])
    other.close()
    await session.add_items([user("third")])
    assert [item["content"] for item in await session.get_items()] == ["first", "third"]


async def test_a_cancelled_call_is_done_or_not_but_never_under_way() -> None:
    strand, begun, go_on, done = Strand(), threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        go_on.wait(30)
        done.append("slow")

    running = asyncio.create_task(strand.run(slow))
    await asyncio.to_thread(begun.wait, 30)
    waiting = asyncio.create_task(strand.run(lambda: done.append("waiting")))
    await asyncio.sleep(0)
    waiting.cancel()
    running.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert not running.done(), "it's under way: the cancel waits for its end"
    running.cancel()  # and isn't impatient
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    await strand.run(lambda: done.append("next"))
    assert done == ["slow", "next"]


async def test_a_closed_session_says_so(world: World) -> None:
    for session in (world.sqlite(), world.memory()):
        await session.add_items([user("x")])
        session.close()
        session.close()
        for doing in (session.get_items(), session.add_items([user("y")]), session.pop_item(), session.clear_session()):
            with pytest.raises(RuntimeError, match="SQLiteSession is closed"):
                await doing
    last = world.async_sqlite()
    adding = asyncio.create_task(last.add_items([user("before")]))
    await asyncio.sleep(0)
    await last.close()
    await adding
    with pytest.raises(RuntimeError, match="AsyncSQLiteSession is closed"):
        await last.get_items()
    assert [item["content"] for item in await world.sqlite().get_items()] == ["x", "before"]


async def test_memory_sessions_know_nothing_of_each_other(world: World) -> None:
    await world.memory().add_items([user("mine")])
    assert await world.memory().get_items() == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_uses_a_connection_of_its_own(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, sys\n"
        "from flowcore import SQLiteSession\n"
        "session = SQLiteSession('s', sys.argv[1])\n"
        "asyncio.run(session.add_items([{'role': 'user', 'content': 'parent'}]))\n"
        "child = os.fork()\n"
        "asyncio.run(session.add_items([{'role': 'user', 'content': 'both'}]))\n"
        "if not child: os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "print(len(asyncio.run(session.get_items())))\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "s.db")]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == "3\n"


async def test_the_directory_is_made(tmp_path: Path) -> None:
    session = SQLiteSession("s", str(tmp_path / "new" / "deep" / "s.db"))
    await session.add_items([user("x")])
    session.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="directory can't be made"):
        await SQLiteSession("s", tmp_path / "file" / "s.db").get_items()


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, " * 100)
    with pytest.raises(StoreError, match=r"notes\.txt"):
        await SQLiteSession("s", tmp_path / "notes.txt").get_items()


@pytest.mark.parametrize("name", ["", "a b", "a;b", '"', "1a", "sqlite_x", "ä", "x" * 64, 7, "a.b"])
@pytest.mark.parametrize("which", ["sessions_table", "messages_table"])
def test_names_of_tables_are_checked(which: str, name: object) -> None:
    with pytest.raises(UserError, match=which):
        SQLiteSession("s", **{which: name})


def test_two_tables_have_two_names() -> None:
    with pytest.raises(UserError, match="two names"):
        SQLiteSession("s", sessions_table="same", messages_table="SAME")


@pytest.mark.parametrize("session_id", ["", "a\0b", "\ud800", None, 7])
def test_an_id_that_no_database_holds_is_refused(session_id: object) -> None:
    with pytest.raises(UserError, match="session_id"):
        SQLiteSession(session_id)


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(TypeError):
        SQLiteSession("s", path="x.db")


async def test_sessions_may_have_tables_of_their_own(tmp_path: Path) -> None:
    other = {"sessions_table": "order", "messages_table": "select"}  # words of SQL are names like any other
    one, two = SQLiteSession("s", tmp_path / "s.db"), SQLiteSession("s", tmp_path / "s.db", **other)
    await one.add_items([user("one")])
    await two.add_items([user("two")])
    assert await one.get_items() == [user("one")]
    assert await two.get_items() == [user("two")]
    one.close()
    two.close()


SDK_FILE = """
PRAGMA journal_mode=WAL;
CREATE TABLE agent_sessions (session_id TEXT PRIMARY KEY, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE agent_messages (id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL,
    message_data TEXT NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES agent_sessions (session_id) ON DELETE CASCADE);
CREATE INDEX idx_agent_messages_session_id ON agent_messages (session_id, id);
INSERT INTO agent_sessions (session_id) VALUES ('s');
INSERT INTO agent_messages (session_id, message_data) VALUES ('s', '{"role": "user", "content": "hi \\u00e9"}');
INSERT INTO agent_messages (session_id, message_data) VALUES ('s', '{"role": "assistant", "content": "yo"}');
"""


@pytest.mark.parametrize("kind", ["sqlite", "async_sqlite"])
async def test_a_file_of_the_sdk_opens_here(world: World, kind: str) -> None:
    with sqlite3.connect(world.folder / "sessions.db") as made:
        made.executescript(SDK_FILE)
    made.close()
    session = getattr(world, kind)()
    assert await session.get_items() == [user("hi é"), {"role": "assistant", "content": "yo"}]
    await session.add_items([call("c")])
    assert await session.pop_item() == call("c")
    assert await session.get_items(1) == [{"role": "assistant", "content": "yo"}]


async def test_a_damaged_row_is_an_error_not_a_gap(world: World) -> None:
    session = world.sqlite()
    await session.add_items([user("good"), reply("gone bad")])
    with sqlite3.connect(world.folder / "sessions.db") as other:
        other.execute("UPDATE agent_messages SET message_data = '{\"role\": ' WHERE id = 2")
    other.close()
    for doing in (session.get_items(), session.pop_item()):
        with pytest.raises(StoreError, match="mend or delete that row"):
            await doing
    with sqlite3.connect(world.folder / "sessions.db") as other:
        assert other.execute("SELECT count(*) FROM agent_messages").fetchone() == (2,)
    other.close()


async def test_a_replacement_that_fails_leaves_everything(world: World) -> None:
    session = world.sqlite()
    await session.add_items([user("kept")])
    with sqlite3.connect(world.folder / "sessions.db") as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON agent_messages WHEN new.message_data LIKE '%no room%'"
            " BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    other.close()
    with pytest.raises(StoreError, match="no room"):
        await session.replace_items([user("new"), user("no room")])
    with pytest.raises(StoreError, match="no room"):
        await session.add_items([user("new"), user("no room")])
    assert await session.get_items() == [user("kept")]
