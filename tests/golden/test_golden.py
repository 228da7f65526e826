"""What earlier versions wrote is opened, read and gone on with, byte by byte as it was: see ``formats_write``."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from formats_runs import GRAPHS, describe, go_on, go_on_from, sessions_of
from formats_stores import brought, file_from, postgres, rows_of
from formats_write import fields

from flowcore.errors import StoreError, UserError
from flowcore.machine.facts import KINDS
from flowcore.machine.wire import READS, SCHEMA_VERSION, Row
from flowcore.stores import MemoryStore, SqliteStore, postgres_schema, sqlite_schema
from flowcore.stores.base import Store
from flowcore.stores.checksums import DIGITS, summed_row

HERE = Path(__file__).parent
VERSIONS = sorted(int(one.name[1:]) for one in HERE.glob("v*"))


def golden(version: int, name: str) -> str:
    return (HERE / f"v{version}" / name).read_text(encoding="utf-8")


def expected(version: int) -> dict[str, Any]:
    return json.loads(golden(version, "expected.json"))  # type: ignore[no-any-return]


@pytest.fixture(params=VERSIONS, ids=lambda one: f"v{one}")
def version(request: pytest.FixtureRequest) -> int:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def file(version: int, tmp_path: Path) -> Path:
    return file_from(golden(version, "runs.sql"), tmp_path / "runs.db")


@pytest.fixture(params=["sqlite", "postgres", "memory"])
async def store(request: pytest.FixtureRequest, file: Path) -> AsyncIterator[Store]:
    made: Any
    if request.param == "sqlite":
        made = SqliteStore(file, synchronous="NORMAL")
    else:
        made = postgres() if request.param == "postgres" else MemoryStore(keep_bytes=True)
        await brought(file, made)
    yield made
    await made.close()


def as_of_then(found: Any, read: Any) -> Any:
    """A description without the fields of a state that were added since; these have defaults."""
    found = json.loads(json.dumps(found))
    found["state"] = {name: found["state"][name] for name in read["state"]}
    return found


def test_there_are_journals_of_every_version_with_every_kind_of_fact() -> None:
    assert list(READS) == VERSIONS
    for version in VERSIONS:
        kinds = {kind for run in expected(version)["runs"].values() for kind in run["facts"]}
        assert kinds == {cls.__name__ for cls in KINDS.values()}
    assert {*expected(SCHEMA_VERSION)["runs"]} == {*GRAPHS}


def test_the_fields_of_facts_change_with_their_version_alone() -> None:
    assert fields() == expected(SCHEMA_VERSION)["fields"], (
        "a fact's fields have changed: if this version was released, count SCHEMA_VERSION up; then write its journals:"
        " uv run python tests/golden/formats_write.py (--again)"
    )
    for version in VERSIONS:
        for kind, known in expected(version)["fields"].items():
            assert known.items() <= fields()[kind].items(), f"version {version} has fields of '{kind}' that are gone"


async def test_every_fact_tells_its_version_and_every_run_reads_as_it_was_written(
    version: int, file: Path, store: Store
) -> None:
    assert {json.loads(row.payload)["v"] for own in rows_of(file).values() for row in own} == {version}
    told = expected(version)
    assert await sessions_of(store) == told["sessions"]
    for run, read in told["runs"].items():
        assert as_of_then(await describe(run, store), read) == read, run


async def test_every_run_that_isnt_done_goes_on_as_its_own_version_would_have(version: int, store: Store) -> None:
    told = expected(version)
    for run, after in told["after"].items():
        assert as_of_then(await go_on(run, store), after) == after, run
    assert await sessions_of(store) == told["sessions_after"]


async def test_an_agents_state_as_json_goes_on(version: int) -> None:
    assert await go_on_from(golden(version, "state.json")) == "It's paid back."


async def test_a_state_of_a_newer_version_is_refused(version: int) -> None:
    data = json.loads(golden(version, "state.json"))
    data["run"]["facts"] = 99
    with pytest.raises(UserError, match=r"its 'facts' version isn't .*: a newer flowcore wrote it; update flowcore"):
        await go_on_from(json.dumps(data))


async def test_an_older_store_file_is_migrated_when_its_opened_and_a_newer_one_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = "CREATE TABLE later (id TEXT); ALTER TABLE run ADD COLUMN later TEXT DEFAULT 'none'"
    known = len(sqlite_schema.STEPS)
    with monkeypatch.context() as later:
        later.setattr(sqlite_schema, "STEPS", (*sqlite_schema.STEPS, newer))
        store = SqliteStore(file)
        await describe("asks", store)
        await store.close()
        connection = sqlite3.connect(file)
        assert connection.execute("PRAGMA user_version").fetchone() == (known + 1,)
        assert connection.execute("SELECT DISTINCT later FROM run").fetchall() == [("none",)]
        connection.close()
    store = SqliteStore(file)
    with pytest.raises(StoreError, match=rf"a newer flowcore wrote it \(schema {known + 1}, this one knows {known}\)"):
        await store.get("asks")
    await store.close()


async def test_an_older_schema_in_postgres_is_migrated_when_its_opened_and_a_newer_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = postgres()
    await brought(file_from(golden(SCHEMA_VERSION, "runs.sql"), tmp_path / "runs.db"), store)
    await store.close()
    known = len(postgres_schema.STEPS)
    newer = f"ALTER TABLE @.run ADD COLUMN later text; INSERT INTO @.flowcore_store VALUES ({known + 1});"
    with monkeypatch.context() as later:
        later.setattr(postgres_schema, "STEPS", (*postgres_schema.STEPS, newer))
        assert json.loads(json.dumps(await describe("asks", store))) == expected(SCHEMA_VERSION)["runs"]["asks"]
        await store.close()
    with pytest.raises(StoreError, match=rf"a newer flowcore wrote it \(schema {known + 1}, this one knows {known}\)"):
        await store.get("asks")
    await store.close()


async def test_a_fact_of_a_newer_version_is_refused_by_name_and_its_run_keeps_the_rest(file: Path) -> None:
    connection = sqlite3.connect(file)
    which = "WHERE run = 'asks' AND seq = 3"
    with connection:
        [columns] = connection.execute(f'SELECT seq, kind, node, visit, "on", "to", at, payload FROM fact {which}')
        row = Row(*columns)
        body = row.payload[0 if row.payload.startswith(b"{") else DIGITS :]  # the oldest have no checksum
        newer = row._replace(payload=body.replace(b'"v":', b'"v":9'))
        kept = newer if len(body) == len(row.payload) else summed_row("asks", newer)
        connection.execute(f"UPDATE fact SET payload = ? {which}", (kept.payload,))
    connection.close()
    store = SqliteStore(file)
    with pytest.raises(StoreError, match=r"run 'asks' in .*: fact 3 of kind .*: a newer flowcore wrote it \(facts of"):
        await store.read("asks")
    assert (await store.get("asks")).standing == "waiting"
    assert await store.read("mail")
    await store.close()
