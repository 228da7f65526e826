"""What sessions in databases, in Redis and encrypted ones do of their own."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import subprocess
import sys
import time
from typing import Any

import pytest
import redis.asyncio
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sessions_making import KEY, World, reply, user
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.schema import CreateTable

from flowcore import RunContextWrapper, SessionSettings, StoreError, UserError
from flowcore.extensions import memory
from flowcore.extensions.memory import EncryptedSession, RedisSession, SQLAlchemySession


async def test_a_session_in_a_database_can_be_made_from_a_url(world: World) -> None:
    url = f"sqlite+aiosqlite:///{world.folder / 'mine.db'}"
    session = SQLAlchemySession.from_url("s", url=url, create_tables=True, engine_kwargs={"echo": False})
    await session.add_items([user("x")])
    await session.close()
    again = SQLAlchemySession.from_url("s", url=url, session_settings={"limit": 1})
    assert await again.get_items() == [user("x")]
    assert again.engine.url.drivername == "sqlite+aiosqlite"
    await again.close()
    with pytest.raises(TypeError):
        SQLAlchemySession.from_url("s", url=url, tables=True)


async def test_missing_tables_are_told_and_contents_are_not(world: World) -> None:
    session = SQLAlchemySession.from_url("s", url=f"sqlite+aiosqlite:///{world.folder / 'empty.db'}")
    with pytest.raises(StoreError, match="pass create_tables=True") as caught:
        await session.add_items([user("a secret")])
    assert "a secret" not in "".join([str(caught.value), str(caught.value.__cause__)])
    await session.close()


async def test_a_file_that_is_no_database_is_named(world: World) -> None:
    (world.folder / "notes.txt").write_text("not a database, " * 100)
    session = SQLAlchemySession.from_url("s", url=f"sqlite+aiosqlite:///{world.folder / 'notes.txt'}")
    with pytest.raises(StoreError, match=r"notes\.txt.*not a database"):
        await session.get_items()
    await session.close()


async def test_many_that_make_the_tables_at_once_all_succeed(world: World) -> None:
    sessions = [world.sqlalchemy(str(n)) for n in range(10)]
    await asyncio.gather(*(session.add_items([user("x")]) for session in sessions))
    assert [await session.get_items() for session in sessions] == [[user("x")]] * 10


async def test_names_of_tables_are_data_for_nobody(world: World) -> None:
    with pytest.raises(UserError, match="messages_table"):
        world.sqlalchemy(messages_table="x; DROP TABLE y")
    other = world.sqlalchemy(sessions_table="order", messages_table="select")
    await other.add_items([user("x")])
    assert await other.get_items() == [user("x")]
    assert await world.sqlalchemy().get_items() == []


async def test_texts_may_be_kept_as_utf8_where_that_can_be(world: World) -> None:
    session = world.sqlalchemy(ensure_ascii=False)
    await session.add_items([user("é"), user("é\ud800")])
    assert await session.get_items() == [user("é"), user("é\ud800")]
    with sqlite3.connect(world.folder / "alchemy.db") as other:
        texts = [text for (text,) in other.execute("SELECT message_data FROM agent_messages ORDER BY id")]
    other.close()
    assert texts == ['{"role":"user","content":"é"}', '{"role":"user","content":"\\u00e9\\ud800"}']


async def test_a_database_of_the_sdk_opens_here(world: World) -> None:
    with sqlite3.connect(world.folder / "alchemy.db") as made:
        made.executescript("""
            CREATE TABLE agent_sessions (session_id VARCHAR NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
                NOT NULL, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL, PRIMARY KEY (session_id));
            CREATE TABLE agent_messages (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, session_id VARCHAR NOT NULL,
                message_data TEXT NOT NULL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
                FOREIGN KEY(session_id) REFERENCES agent_sessions (session_id) ON DELETE CASCADE);
            INSERT INTO agent_sessions (session_id) VALUES ('s');
            INSERT INTO agent_messages (session_id, message_data) VALUES ('s', '{"role":"user","content":"h\\u00e9"}');
        """)
    made.close()
    session = world.sqlalchemy()
    await session.add_items([reply("x")])
    assert await session.get_items() == [user("hé"), reply("x")]


def test_the_tables_suit_other_databases_too(world: World) -> None:
    session = world.sqlalchemy()
    on_mysql = str(CreateTable(session._messages).compile(dialect=mysql.dialect()))
    assert "message_data LONGTEXT" in on_mysql
    assert "session_id VARCHAR(255)" in on_mysql
    on_postgres = str(CreateTable(session._messages).compile(dialect=postgresql.dialect()))
    assert "id SERIAL" in on_postgres
    assert "message_data TEXT" in on_postgres


async def test_redis_keeps_the_keys_of_the_sdk(world: World) -> None:
    session = world.redis(key_prefix="app", ttl=100)
    await session.add_items([user("é")])
    async with redis.asyncio.from_url(world.redis_url(), decode_responses=True) as raw:
        assert sorted(await raw.keys("*")) == ["app:s", "app:s:messages"]
        assert await raw.lrange("app:s:messages", 0, -1) == ['{"role":"user","content":"\\u00e9"}']
        told = await raw.hgetall("app:s")
        assert set(told) == {"session_id", "created_at", "updated_at"}
        assert abs(time.time() - int(told["created_at"])) < 60
        assert 90 < await raw.ttl("app:s:messages") <= 100
        assert 90 < await raw.ttl("app:s") <= 100
        await raw.expire("app:s:messages", 5)
        await session.add_items([user("again")])
        assert await raw.ttl("app:s:messages") > 90, "each write begins the time anew"
        assert (await raw.hgetall("app:s"))["created_at"] == told["created_at"]
        await session.clear_session()
        assert await raw.keys("*") == []


@pytest.mark.parametrize("decode", [True, False])
async def test_a_client_of_yours_stays_open(world: World, decode: bool) -> None:
    async with redis.asyncio.from_url(world.redis_url(), decode_responses=decode) as mine:
        session = RedisSession("s", redis_client=mine)
        await session.add_items([user("é")])
        await session.close()
        assert await session.get_items() == [user("é")]
        assert await session.pop_item() == user("é")


async def test_a_server_pings_or_does_not(world: World) -> None:
    session = world.redis()
    assert await session.ping() is True
    await session.close()
    for doing in (session.ping(), session.get_items(), session.add_items([user("x")]), session.pop_item()):
        with pytest.raises(RuntimeError, match="RedisSession is closed"):
            await doing
    nowhere = RedisSession.from_url("s", url="redis://127.0.0.1:1/0", redis_kwargs={"retry": None})
    assert await nowhere.ping() is False
    with pytest.raises(StoreError, match="RedisSession, session 's'"):
        await nowhere.get_items()
    await nowhere.close()


async def test_wrong_arguments_for_redis_are_refused(world: World) -> None:
    for ttl in (0, -1, 1.5, "x"):
        with pytest.raises(UserError, match="ttl"):
            world.redis(ttl=ttl)
    with pytest.raises(UserError, match="a key of another session"):
        world.redis("s:messages")
    with pytest.raises(TypeError):
        world.redis(prefix="x")


def token(item: dict[str, Any], session_id: str, key: str, at: float | None = None) -> dict[str, Any]:
    """An envelope as the SDK makes it, of a given time."""
    info = b"agents.session-store.hkdf.v1"
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=session_id.encode(), info=info).derive(key.encode())
    fernet = Fernet(base64.urlsafe_b64encode(derived))
    sealed = fernet.encrypt_at_time(json.dumps(item).encode(), int(time.time() if at is None else at))
    return {"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": sealed.decode()}


async def test_nothing_that_is_kept_can_be_read(world: World) -> None:
    session = world.encrypted()
    await session.add_items([user("my secret"), reply("yours")])
    for path in world.folder.glob("sessions.db*"):
        assert b"secret" not in path.read_bytes()
    envelopes = await session.underlying_session.get_items()
    assert [set(one) for one in envelopes] == [{"__enc__", "v", "kid", "payload"}] * 2


async def test_an_envelope_of_the_sdk_opens_here(world: World) -> None:
    # Written by openai-agents 0.24 with this key and id.
    payload = (
        "gAAAAABrAbYxywskFa13Bo597aDG_8W1deAYjfGVP3qPK6-twPmLPF0p_6YybP086bNQrljJd90krhlkxbNCz0FdNMvl1pcEXtAwOv-60etf"
        "rYNoK9S8ugg="
    )
    kept = world.sqlite("enc")
    await kept.add_items([{"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": payload}])
    assert await EncryptedSession("enc", kept, KEY, ttl=None).get_items() == [user("2")]
    assert await EncryptedSession("enc", kept, KEY, ttl=1).get_items() == []


async def test_a_fernet_key_is_taken_as_its_bytes(world: World) -> None:
    kept, key = world.sqlite(), Fernet.generate_key().decode()
    await EncryptedSession("s", kept, key).add_items([user("x")])
    assert await EncryptedSession("s", kept, key.rstrip("=")).get_items() == []
    assert await EncryptedSession("s", kept, key).get_items() == [user("x")]


async def test_what_has_expired_or_cannot_be_read_is_skipped(world: World) -> None:
    kept, old = world.sqlite(), time.time() - 1000
    await kept.add_items(
        [
            token(user("old"), "s", KEY, old),
            token(user("first"), "s", KEY),
            user("in the clear"),
            token(user("of another key"), "s", "other"),
            {"__enc__": 1, "kid": "hkdf-v1", "payload": "garbage é"},
            {"__enc__": 1, "kid": "hkdf-v9", "payload": "x"},
            token(user("second"), "s", KEY),
            token(user("also old"), "s", KEY, old),
        ]
    )
    session = EncryptedSession("s", kept, KEY)
    assert await session.get_items() == [user("first"), user("second")]
    assert await session.get_items(1) == [user("second")], "a limit counts what can be read"
    assert await session.get_items(2) == [user("first"), user("second")]
    assert await session.get_items(0) == []
    assert len(await EncryptedSession("s", kept, KEY, ttl=None).get_items()) == 4
    session.session_settings = SessionSettings(limit=1)
    assert await session.get_items() == [user("second")]
    assert kept.session_settings == SessionSettings(limit=1)


async def test_pop_skips_what_has_expired_and_spares_what_another_key_wrote(world: World) -> None:
    kept, old = world.sqlite(), time.time() - 1000
    foreign = token(user("theirs"), "s", "other", old)
    mine = [token(user("mine"), "s", KEY), token(user("old"), "s", KEY, old), user("in the clear")]
    await kept.add_items([foreign, *mine])
    session = EncryptedSession("s", kept, KEY)
    assert await session.pop_item() == user("mine")
    with pytest.raises(StoreError, match="another key; it wasn't removed"):
        await session.pop_item()
    assert await kept.get_items() == [foreign]


async def test_another_session_cannot_read_it_with_the_same_key(world: World) -> None:
    kept = world.sqlite()
    await EncryptedSession("a", kept, KEY).add_items([user("x")])
    assert await EncryptedSession("b", kept, KEY).get_items() == []


async def test_other_attributes_are_those_of_the_session_below(world: World) -> None:
    session = world.encrypted()
    assert session.db_path == world.folder / "sessions.db"
    with pytest.raises(AttributeError):
        _ = session.no_such_thing


async def test_the_wrapper_is_handed_down_where_it_is_asked_for(world: World) -> None:
    seen: list[Any] = []
    kept = world.memory()

    class Asking:
        session_id = "s"
        add_items, pop_item, clear_session = kept.add_items, kept.pop_item, kept.clear_session

        async def get_items(self, limit: int | None = None, wrapper: Any = None) -> list[Any]:
            seen.append(wrapper)
            return await kept.get_items(limit)

    wrapper = RunContextWrapper(None)
    session = EncryptedSession("s", Asking(), KEY)
    await session.add_items([user("x")], wrapper=wrapper)
    assert await session.get_items(wrapper=wrapper) == [user("x")]
    assert seen == [wrapper]


async def test_wrong_encryption_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="encryption_key not set"):
        EncryptedSession("s", world.sqlite(), "")
    for ttl in (0, -5, 2.5):
        with pytest.raises(UserError, match="ttl"):
            EncryptedSession("s", world.sqlite(), KEY, ttl=ttl)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="is no session"):
        EncryptedSession("s", "sessions.db", KEY)


def test_the_names_of_the_extensions_resolve() -> None:
    assert memory.__all__ == dir(memory) == sorted(memory._HOME_OF)
    for name in memory.__all__:
        assert getattr(memory, name).__name__ == name
    with pytest.raises(AttributeError, match="no_such"):
        _ = memory.no_such


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("SQLAlchemySession", "sqlalchemy", "sqlalchemy"),
        ("RedisSession", "redis", "redis"),
        ("EncryptedSession", "cryptography", "encrypt"),
    ],
)
def test_a_missing_extra_is_named(name: str, package: str, extra: str) -> None:
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import flowcore.extensions.memory as memory\n"
        "from flowcore import UserError, SQLiteSession\n"
        f"try: memory.{name}\n"
        "except UserError as error: print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert f"pip install 'flowcore[{extra}]'" in told
    assert name in told
