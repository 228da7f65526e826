"""Every statement on a store file goes by an index, whatever lies in it: none looks at all runs, facts or requests."""

from __future__ import annotations

import ast
import inspect
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flowcore.stores import sqlite_read, sqlite_write
from flowcore.stores.sqlite_schema import open_file

SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
MANY = ("run", "fact", "request", "session_item", "kept")
FEW = (
    "run USING INDEX run_held", "run USING INDEX run_loose", "run USING INDEX run_called",
    "request USING INDEX request_opened", "kept USING INDEX kept_loose",
)  # fmt: skip
"""What may be read from its beginning: runs that somebody holds, that should move, or that are called; requests in
their order; what is to be freed. All but the first up to a limit."""


def texts(value: Any) -> Iterator[str]:
    """The texts in what a module holds."""
    if isinstance(value, dict):
        for one in value.values():
            yield from texts(one)
    elif isinstance(value, str):
        yield value


def statements(module: ModuleType) -> list[str]:
    """Those of a module: its constants, and what stands in its functions."""
    found = [text for value in vars(module).values() for text in texts(value)]
    tree = ast.parse(inspect.getsource(module))
    inner = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
    found += [
        one.value for f in inner for one in ast.walk(f) if isinstance(one, ast.Constant) and isinstance(one.value, str)
    ]
    whole = [text for text in dict.fromkeys(found) if SQL.match(text)]
    return [text for text in whole if not any(text in other for other in whole if other is not text)]


def parameters(sql: str) -> Any:
    names = re.findall(r":([a-z]+)", sql)
    if names:
        return dict.fromkeys(names, "[]")
    numbers = [int(number) for number in re.findall(r"\?(\d+)", sql)]
    return ["x"] * (max(numbers) if numbers else sql.count("?"))


def plan_of(connection: sqlite3.Connection, sql: str) -> list[str]:
    """What SQLite would do; nothing for a part of a statement, which is seen in the whole one."""
    try:
        return [told for *_, told in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters(sql))]
    except sqlite3.OperationalError as error:
        if re.search("near|incomplete|no such column", str(error)):
            return []
        raise


@pytest.mark.parametrize("module", [sqlite_read, sqlite_write], ids=["read", "write"])
def test_no_statement_looks_at_all_runs_facts_or_requests(module: ModuleType, tmp_path: Path) -> None:
    connection = open_file(str(tmp_path / "runs.db"), "NORMAL", 1.0)
    asked = 0
    for sql in statements(module):
        if sql == sqlite_read._LOST:
            continue  # verify reads everything
        plan = plan_of(connection, sql)
        asked += bool(plan)
        for told in plan:
            scanned = re.match(r"SCAN ((\w+).*)", told)
            assert scanned is None or scanned[1] in FEW or scanned[2] not in MANY, (sql, told)
    assert asked > 15


def test_the_first_requests_of_all_are_found_in_their_order(tmp_path: Path) -> None:
    connection = open_file(str(tmp_path / "runs.db"), "NORMAL", 1.0)
    assert plan_of(connection, sqlite_read._REQUESTS[True]) == ["SCAN request USING INDEX request_opened"]
