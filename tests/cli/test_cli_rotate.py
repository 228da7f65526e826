"""``flowcore rotate``: an encrypted store's keys."""

from __future__ import annotations

import json

from cli_process import Cli

from flowcore.stores import EncryptedStore

RING = """
from flowcore import END, START, Graph, State, node

class Count(State):
    n: int = 0

@node
async def one(state: Count):
    return {"n": 1}

graph = Graph("ring", Count, {START: one, one: END})
"""


def test_after_a_rotation_the_older_key_may_go_and_before_it_is_told_to_be_needed(cli: Cli) -> None:
    new, old = EncryptedStore.new_key(), EncryptedStore.new_key()
    cli.write("ring.py", RING)

    def flowcore(*words: str, keys: str, code: int = 0, store: str = "encrypted+sqlite:///runs.db") -> str:
        return cli.run(*words, "--store", store, code=code, env={"FLOWCORE_KEY": keys, "COLUMNS": "200"})

    flowcore("run", "ring.py", "{}", "--run-id", "r", keys=old)
    told = flowcore("rotate", keys=new, code=1)
    assert "which isn't given" in told
    assert "is needed still: for" in told
    done = json.loads(flowcore("rotate", "--json", keys=f"{new},{old}"))
    assert (done["done"], done["old_keys"], done["unreadable"]) == (True, {}, [])
    assert done["resealed"] > 2
    told = flowcore("rotate", keys=new)
    assert told.startswith(f"0 records sealed again with key '{done['key']}'")
    assert "FLOWCORE_KEY may name this one alone" in told
    assert "done" in flowcore("show", "r", keys=new)
    assert "which isn't given" in flowcore("show", "r", keys=old, code=1)
    assert "encrypted+sqlite:///runs.db" in flowcore("rotate", keys=new, code=2, store="runs.db")
