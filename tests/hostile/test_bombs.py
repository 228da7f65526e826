"""Data that is made to exhaust who reads it: deep, wide, or slow to match. No limit here is a matter of how fast a
machine is: what is exponential never ends."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore import (
    END,
    START,
    Agent,
    Graph,
    MemoryStore,
    RunState,
    State,
    StoreError,
    UpdateError,
    UserError,
    function_tool,
    node,
)
from flowcore.agents.agent import AgentSpec
from flowcore.engine.carried import carried_from
from flowcore.engine.run import start
from flowcore.stores.base import Letter, Owner
from flowcore.testing import ScriptedModel, function_call
from flowcore.testing.store_suite.making import begin

HOUSE = Path(__file__).parent.parent.parent / "flowcore"
DEEP = "[" * 100_000 + "]" * 100_000


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


async def test_a_tools_arguments_nested_without_end_are_refused_to_the_model_and_the_run_goes_on() -> None:
    called: list[Any] = []

    @function_tool(strict_mode=False)
    def take(data: dict[str, Any]) -> str:
        called.append(data)
        return "taken"

    call = {**function_call("take", {}), "arguments": '{"data":' + DEEP + "}"}
    agent: AgentSpec[Any] = Agent("a", tools=[take], model=ScriptedModel([call, "done"]))
    run = await start(agent, "go", store=MemoryStore(keep_bytes=True))
    assert (await run).output == "done"
    assert called == []


@pytest.mark.parametrize("depth", [2_000, 200_000])
async def test_a_letter_and_an_item_nested_without_end_are_refused_before_they_are_written(depth: int) -> None:
    store = MemoryStore(keep_bytes=True)
    await store.admit(begin("r"), Owner.this_process())
    with pytest.raises(UserError, match="give plain JSON"):
        await store.signal(Letter("r", "id", "input", None, nested(depth)))
    with pytest.raises(UserError, match="give plain JSON"):
        await store.session_write("s", [nested(depth)])
    assert (await store.inbox("r"), await store.session_items("s")) == ([], [])


async def test_a_state_nested_without_end_is_refused() -> None:
    agent: AgentSpec[Any] = Agent("a", model=ScriptedModel([]))
    for text in (DEEP, '{"$schemaVersion":"flowcore/1","run":' + DEEP + "}"):
        with pytest.raises(UserError, match="this state isn't"):
            await RunState.from_string(agent, text)
    with pytest.raises(StoreError, match="nested too deeply"):
        carried_from(nested(200_000))


async def test_a_value_nested_without_end_fails_its_node_by_name() -> None:
    class Plain(State):
        text: str = ""

    @node
    async def deep(state: Plain) -> dict[str, Any]:
        return {"text": nested(200_000)}

    run = await start(Graph("g", Plain, {START: deep, deep: END}), store=MemoryStore(keep_bytes=True))
    with pytest.raises(UpdateError, match="field 'text'"):
        await run
    assert run.standing == "failed"


def test_a_graph_of_very_many_nodes_is_built_and_checked() -> None:
    class S(State):
        x: int = 0

    def made(number: int) -> Any:
        async def body(state: S) -> None: ...

        body.__name__ = f"n{number}"
        return node(body)

    nodes = [made(number) for number in range(10_000)]
    began = time.process_time()
    graph = Graph("wide", S, {START: nodes[0], **dict(zip(nodes, [*nodes[1:], END], strict=True))})
    assert len(graph.nodes) == 10_000
    assert time.process_time() - began < 60  # a second


VERBS = ("match", "fullmatch", "search", "finditer", "findall", "split", "sub")


def patterns() -> Iterator[tuple[str, str, set[str]]]:
    """Where each pattern stands, itself, and by which verbs it's used."""
    for file in sorted(HOUSE.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        for one in ast.walk(ast.parse(text)):
            call = one.value if isinstance(one, ast.Assign) else one
            if not isinstance(call, ast.Call) or not call.args or not isinstance(call.args[0], ast.Constant):
                continue
            called, where = ast.unparse(call.func), f"{file.relative_to(HOUSE)}:{call.lineno}"
            if called.startswith("re.") and called[3:] in VERBS:
                yield where, call.args[0].value, {called[3:]}
            elif called == "re.compile" and isinstance(one, ast.Assign):
                name = ast.unparse(one.targets[0])
                yield where, call.args[0].value, {verb for verb in VERBS if f"{name}.{verb}(" in text}


PATTERNS = sorted(patterns())
BAIT = [
    one * 10_000 + end
    for one in ("a", " ", "1", ".", ":", "-", "[", "\n", "_", "(", "a ", " a", "a:", "::", "A\n", "1.", "ft:", "0d")
    for end in ("", "!", "\0")
]


@pytest.mark.parametrize(("where", "pattern", "verbs"), PATTERNS, ids=[one[0] for one in PATTERNS])
def test_no_pattern_of_ours_is_slow_on_any_text(where: str, pattern: str, verbs: set[str]) -> None:
    compiled = re.compile(pattern, re.MULTILINE)
    for text in BAIT:
        began = time.process_time()
        for verb in verbs or {"sub"}:
            getattr(compiled, verb)(*(["x", text] if verb == "sub" else [text]))
        assert time.process_time() - began < 20, (where, text[:10])
