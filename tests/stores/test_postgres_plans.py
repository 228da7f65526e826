"""What operators ask a PostgreSQL store is found by an index that leads to few rows, with the plans that it keeps."""

from __future__ import annotations

import re
from typing import Any

from stores_postgres import new_store, server

from flowcore.stores import postgres_read
from flowcore.stores.base import IndexRow
from flowcore.stores.checksums import changing_sum, fixed_sum

ASKED = [
    (postgres_read.RUNS[True, True], {"run_latest"}),
    (postgres_read.RUNS[True, False], {"run_standing"}),
    (postgres_read.DUE, {"run_due", "run_loose", "run_called"}),
    (postgres_read._WAITING.replace("%b", "%(owner)b"), {"run_owner"}),
    (postgres_read.ABANDONED, {"run_standing", "run_owner"}),
    (postgres_read._FIND[True], {"run_pkey"}),
    (postgres_read.OLD, {"run_standing"}),
]
TYPES = {
    "created": "float8",
    "run": "bytea",
    "limit": "bigint",
    "alive": "bytea[]",
    "first": "bytea",
    "end": "bytea",
    "owner": "bytea",
}


def row(n: int) -> IndexRow:
    """The n-th run's: every third is done, the others wait."""
    standing = "done" if n % 3 == 0 else "waiting"
    return IndexRow(f"run{n}", f"run{n}", None, "g", "f", standing, "n", n, n, turns=1, tokens=1)


async def test_what_operators_ask_is_found_by_an_index_whatever_the_number_of_runs() -> None:
    store = new_store()
    await store.due(0.0)
    rows = [row(n) for n in range(1, 20_001)]
    server().ask(
        f"""INSERT INTO "{store._names.schema}".run
        SELECT name, name, NULL, CASE WHEN n %% 1000 = 0 THEN 'gone'::bytea END, 1, NULL, 0, 'g', 'f',
        standing, 'n', n, n, NULL, 1, 1, '', NULL, NULL, NULL, 0, fixed, sum
        FROM (
            SELECT n, convert_to('run' || n, 'UTF8') AS name, standing, fixed, sum
            FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS one (standing, fixed, sum, n)
        ) AS made""",
        [one.standing for one in rows],
        [fixed_sum(one.run, one.run, None, one.created, None, None) for one in rows],
        [changing_sum(one.run, one, 0) for one in rows],
    )
    assert len((await store.abandoned(limit=99)).runs) == 14
    assert [one.run for one in await store.find("run1234")] == ["run1234", *(f"run1234{n}" for n in range(10))]

    async def plan(connection: Any, sql: str) -> str:
        names = list(dict.fromkeys(re.findall(r"%\((\w+)\)b", sql)))
        types = ", ".join(TYPES.get(name, "text" if name == "standing" else "float8") for name in names)
        for number, name in enumerate(names, 1):
            sql = sql.replace(f"%({name})b", f"${number}")
        given = ", ".join("'{}'" if name == "alive" else "'1'" for name in names)
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(b"PREPARE asked (" + types.encode() + b") AS " + store._names.script(sql))
        rows = await (await connection.execute(f"EXPLAIN EXECUTE asked ({given})".encode())).fetchall()
        await connection.execute("DEALLOCATE asked")
        return "\n".join(line for (line,) in rows)

    async def plans(connection: Any, again: bool) -> list[str]:
        return [await plan(connection, sql) for sql, _ in ASKED]

    for told, (_, indexes) in zip(await store._pool().do(plans), ASKED, strict=True):
        assert "Seq Scan on run" not in told, told
        used = set(re.findall(r"using (run_\w+) on run", told)) | set(
            re.findall(r"Bitmap Index Scan on (run_\w+)", told)
        )
        assert used - {"run_pkey"} == indexes - {"run_pkey"}, told
    await store.close()
