"""Write the golden journals of this version: ``uv run python tests/golden/formats_write.py``.

They go into ``tests/golden/v<version of the facts>``. What a released version wrote is never written again: to add
runs, raise the version first, or give ``--again`` while the version isn't released.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

from formats_runs import STEPS, describe, go_on, sessions_of, state_json

from flowcore.graph.graph import Graph
from flowcore.machine.facts import KINDS, types_of
from flowcore.machine.wire import SCHEMA_VERSION
from flowcore.stores.sqlite import SqliteStore

HERE = Path(__file__).parent


def fields() -> dict[str, dict[str, str]]:
    """The fields of each kind of fact, and their types."""
    return {kind: types_of(cls) for kind, cls in KINDS.items()}


def dump(path: Path) -> str:
    """A store file as SQL, without the processes that held its runs."""
    connection = sqlite3.connect(path)
    connection.text_factory = lambda data: data.decode("utf-8", "surrogatepass")
    with connection:
        connection.execute("DELETE FROM owner")
        connection.execute("UPDATE run SET owner = NULL")
    pragmas = [f"PRAGMA {name}={connection.execute(f'PRAGMA {name}').fetchone()[0]};" for name in PRAGMAS]
    text = "\n".join([*pragmas, *connection.iterdump()]) + "\n"
    connection.close()
    return text


PRAGMAS = ("application_id", "user_version")


async def made() -> dict[str, str]:
    """Make the runs, and what is read of them and becomes of them: texts by the names of their files."""
    later = () if hasattr(Graph, "migrate") else ("changes", "unchanged")  # what version 1 didn't have
    steps = {id: step for id, step in STEPS.items() if id not in later}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "runs.db"
        store = SqliteStore(path)
        for step in steps.values():
            await step(store)
        told: dict[str, Any] = {"fields": fields(), "sessions": await sessions_of(store)}
        told["runs"] = {id: await describe(id, store) for id in steps}
        await store.close()
        text = dump(path)
        store = SqliteStore(path)
        told["after"] = {id: await go_on(id, store) for id in steps if told["runs"][id]["standing"] != "done"}
        told["sessions_after"] = await sessions_of(store)
        await store.close()
    expected = json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True)
    return {"runs.sql": text, "state.json": await state_json() + "\n", "expected.json": expected + "\n"}


def main() -> None:
    """Write the files of this version, unless they're there."""
    folder = HERE / f"v{SCHEMA_VERSION}"
    if folder.exists() and "--again" not in sys.argv[1:]:
        sys.exit(f"{folder} is there: what a released version wrote stays as it is; see the module's text")
    texts = asyncio.run(made())
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    print(f"wrote {folder}")


if __name__ == "__main__":
    main()
