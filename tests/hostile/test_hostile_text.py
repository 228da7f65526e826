"""Any text in any place, over every store: it comes back exactly, or is refused at once; ids get nowhere else."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from stores_postgres import new_store

from flowcore import (
    END,
    START,
    Agent,
    Ask,
    Context,
    Graph,
    GraphError,
    MemoryStore,
    Pause,
    Runner,
    State,
    UserError,
    function_tool,
    load,
    node,
    resume,
    start,
)
from flowcore.stores import SqliteStore, Store
from flowcore.stores.base import Letter, Owner
from flowcore.testing import ScriptedModel, function_call
from flowcore.testing.store_suite.making import begin

TEXTS = {
    "surrogates": "\ud800 lone \udfff",
    "nul": "a\0b",
    "bom": "\ufeffbegins",
    "combining": "Z̷͑a̴lgo é e\u0301",
    "right to left": "\u202eright\u2066 to left\u2069 שלום",
    "quotes": """it's "quoted" \\ `back` ${x} %s {} <script>alert(1)</script> '); DROP TABLE run; --""",
    "lines": "a\r\nb\u2028c\x85d\x1b[31m",
    "large": "0123456789" * 1_000_000,
}


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    makers: dict[str, Any] = {
        "memory": lambda: MemoryStore(keep_bytes=True),
        "sqlite": lambda: SqliteStore(tmp_path / "runs.db", synchronous="NORMAL"),
        "postgres": new_store,
    }
    made: Store = makers[request.param]()
    yield made
    await made.close()


def waiting(key: str) -> Graph:
    class Asking(State):
        text: str = ""
        said: dict[str, str] = {}

    @node
    async def ask(state: Asking, ctx: Context) -> Pause:
        await ctx.once(key, lambda text: text, state.text, returns=str)
        return Pause(Ask(key, {"about": state.text}, str), into="said")

    return Graph("asking", Asking, {START: ask, ask: {"answered": END}})


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_any_text_in_any_place_of_a_run_comes_back_as_it_went(store: Store, text: str) -> None:
    """As input, label, an effect's key, arguments and value, a request's key and data, an answer, an output."""
    key = text[:300]
    run = await start(waiting(key), {"text": text}, store=store, run_id="r", label=text[:200])
    await run
    assert (await store.get("r")).label == text[:200]
    [request] = await store.requests()
    assert (request.key, request.data) == (key, {"about": text})
    again = await resume("r", waiting(key), store=store)
    await again.answer(key, text)
    assert (await again).output == {"text": text, "said": {key: text}}
    kept = await load("r", waiting(key), store=store)
    assert kept.state.said == {key: text}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_any_text_in_an_agents_run_and_its_session(store: Store, text: str) -> None:
    """As a tool's argument and result, a call's id, an item of a session, a session's id."""
    session, given = text[:200], []

    @function_tool
    def tell(what: str) -> str:
        given.append(what)
        return what

    call = function_call("tell", {"what": text}, call_id=text[:100])
    agent = Agent("a", tools=[tell], model=ScriptedModel([call, "done " + text]))
    result = await Runner.run(agent, text, store=store, run_id="r")
    assert result.final_output == "done " + text
    outputs = [one["output"] for one in result.to_input_list() if one.get("type") == "function_call_output"]
    if text == TEXTS["surrogates"]:  # JSON that pydantic doesn't read: the model is told
        assert given == []
        assert "Invalid JSON input for tool tell" in outputs[0]
    else:
        assert given == outputs == [text]
    await store.session_write(session, [{"text": text}])
    assert [one.item for one in await store.session_items(session)] == [{"text": text}]
    await store.signal(Letter("r", text[:200], "input", text[:200], text))
    assert [(one.id, one.key, one.value) for one in await store.inbox("r")] == [(text[:200], text[:200], text)]


@pytest.mark.parametrize("text", [one for name, one in TEXTS.items() if name != "large"])
async def test_an_error_of_any_text_is_kept_with_its_run(store: Store, text: str) -> None:
    class Plain(State):
        x: int = 0

    @node
    async def fails(state: Plain) -> dict[str, Any]:
        raise ValueError(text)

    graph = Graph("fails", Plain, {START: fails, fails: END})
    run = await start(graph, store=store, run_id="r")
    with pytest.raises(ValueError):  # noqa: PT011 - any text
        await run
    kept = await load("r", graph, store=store)
    assert (kept.standing, (await kept.result()).error["message"]) == ("failed", text)  # type: ignore[index]
    assert text[:3].encode("utf-8", "replace").decode() in str((await store.get("r")).error)


IDS = [
    "../../etc/passwd",
    "a/b",
    "'; DROP TABLE run; --",
    '"',
    "\\",
    "%",
    "_",
    "a%b",
    "~",
    "$(id)",
    "x" * 512,
    "\u00e9",
]
BAD = ["", "a\nb", "a\0b", "\ud800", "\u202e", "x" * 513, "x" * 10_000]


@pytest.mark.parametrize("run", IDS)
async def test_a_run_id_is_a_text_and_nothing_else(store: Store, run: str) -> None:
    me = Owner.this_process()
    for one in (run, "other"):
        await store.admit(begin(one), me)
    assert [row.run for row in await store.find(run)] == [run]  # no character in it stands for others
    assert sorted(row.run for row in (await store.runs()).runs) == sorted([run, "other"])
    assert (await store.read(run))[0].seq == 0


@pytest.mark.parametrize("run", BAD)
async def test_what_no_run_id_may_be_is_refused_before_anything_is_written(store: Store, run: str) -> None:
    class Plain(State):
        x: int = 0

    @node
    async def a(state: Plain) -> None: ...

    with pytest.raises(UserError, match="a run id is a text of 1 to 512 printable characters"):
        await start(Graph("g", Plain, {START: a, a: END}), store=store, run_id=run)
    assert (await store.runs()).runs == []


@pytest.mark.parametrize("name", ["a b", "../x", "a.b", "", "a\0", "__import__('os')", "x\n", '"', "a-->b"])
def test_a_nodes_name_is_an_identifier(name: str) -> None:
    with pytest.raises(GraphError, match="name"):
        node(name=name)(lambda state: None)


async def filled(path: Path) -> None:
    store = SqliteStore(path)
    texts = {name: one[:200] for name, one in TEXTS.items()}
    for number, (name, text) in enumerate(texts.items()):
        await (await start(waiting("q"), {"text": text}, store=store, run_id=f"{number}-{name}", label=text))
    await store.signal(Letter("0-surrogates", "\x1b", "input", None, "\x1b[2J\ud800"))
    await store.close()


def test_the_command_line_shows_a_run_of_any_text_without_control_characters(tmp_path: Path) -> None:
    asyncio.run(filled(tmp_path / "runs.db"))
    for command in (["runs"], ["show", "0-surrogates"], ["show", "6-lines"], ["runs", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "flowcore", *command, "--store", str(tmp_path / "runs.db")],
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        shown = done.stdout.decode("utf-8")  # whatever is shown is text
        assert done.returncode == 0, done.stderr
        assert not set(shown) & {"\0", "\x1b", "\x85", "\u202e"}, command
        if "--json" in command:
            assert len(json.loads(shown)) >= 1
