"""A run from a store is written as a test, which passes in a process of its own, offline."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from graphs_loading import GRAPHS, SENTENCE, obedient
from testing_agents import AGENTS

from flowcore.agents.options import Options
from flowcore.agents.run_config import RunConfig
from flowcore.engine.run import Run, start
from flowcore.errors import RunNotFound, UserError
from flowcore.stores.memory import MemoryStore
from flowcore.stores.sqlite import SqliteStore
from flowcore.testing import ManualClock, ScriptedModel, finish, function_call, load_graph, write_test_case

SHOP = '''
"""A shop's graph and its agent. Whoever touches the world from a test fails."""

import os
import uuid
from typing import Any

from flowcore import END, START, Agent, Ask, Goto, Graph, Pause, State, function_tool


def world(value):
    if os.environ.get("OFFLINE"):
        raise SystemExit("the world was touched")
    return value


class Order(State):
    total: int = 0
    answers: dict[str, bool] = {}
    text: str = ""


async def price(state, ctx):
    async def ask(item):
        return world({"amount": 21 * len(item)})

    found = await ctx.once("price", ask, "tea")
    return {"total": found["amount"]}


async def confirm(state, ctx):
    return Pause(Ask("ok", {"total": state.total}), into="answers")


async def ship(state, ctx):
    if not state.answers["ok"]:
        return Goto("no")
    label = await ctx.once("label", lambda: world("L-1"))
    return Goto("shipped", text=f"{label} at {ctx.now:.3f} for {ctx.uuid()}")


shop = Graph(
    "shop",
    Order,
    {START: price, price: confirm, confirm: {"answered": ship}, ship: {"shipped": END, "no": END}},
)


@function_tool
def weather(city: str) -> str:
    """The weather."""
    return world(f"22 degrees in {city}")


@function_tool(needs_approval=True)
async def refund(order: int) -> str:
    """Refund an order."""
    return world(f"refunded {order}")


inner = Agent("inner", tools=[refund], model="none/of-these")
clerk = Agent("clerk", tools=[weather, inner.as_tool()], model="none/of-these")
'''


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    """The module of a file ``shop.py`` in the test's own folder."""
    file = tmp_path / f"shop_{tmp_path.name}.py"
    file.write_text(SHOP)
    return load_graph(f"{file}:shop"), file


def module_of(file: Path) -> Any:
    return sys.modules[f"flowcore_file_{file.stem}"]


def passes(test: Path, cwd: Path) -> str:
    """Run a written test with pytest in a clean process, with nothing but what any project has; its output."""
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-c", "/dev/null"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(test)],
        cwd=cwd, capture_output=True, text=True, env={"OFFLINE": "1", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    return done.stdout


async def written(store: Any, run: Run, file: Path) -> Path:
    test = file.parent / "tests" / f"test_{run.id}.py"
    text = await write_test_case(store, run.id, file.name, out=test, graph=run.definition)
    assert test.read_text(encoding="utf-8") == text
    ast.parse(text)
    return test


async def test_a_run_of_a_graph_becomes_a_test_that_passes_offline(shop: Any, tmp_path: Path) -> None:
    graph, file = shop
    store = SqliteStore(tmp_path / "runs.db")
    run = await start(graph, store=store, run_id="order-17")
    assert await run.drive() == "waiting"
    waiting = await written(store, run, file)
    assert 'assert run.standing == "waiting"' in waiting.read_text()
    passes(waiting, tmp_path)
    waiting.unlink()
    await run.answer("ok", True)
    await run.drive()
    done = await written(store, run, file)
    text = done.read_text()
    assert '"effects": {"price": {"amount": 63}}' in text
    assert '"answers": {"ok": True}' in text
    assert '("confirm", "answered"),' in text
    assert "def test_shop_run_order_17():" in text
    assert "assert run.output == {" in text
    assert f'"text": "{run.state.text}"' in text
    passes(done, tmp_path)
    passes(done, Path("/"))  # wherever it's started: the graph is found from the test's own place
    await store.close()


async def test_an_agents_run_with_an_approval_in_a_nested_agent_becomes_a_test(shop: Any) -> None:
    _, file = shop
    module = module_of(file)
    module.inner.model = ScriptedModel([function_call("refund", {"order": 7}), "refunded"])
    calls = [function_call("weather", {"city": "Rome"}), function_call("inner", {"input": "refund 7"})]
    module.clerk.model = ScriptedModel([calls, 'done: "ok", it\'s \ud800 \n\0 end'])
    store = MemoryStore(keep_bytes=True)
    run = await start(module.clerk, "hello", store=store, run_id="agent-1", limits={"max_turns": 5})
    assert await finish(run) == "done"
    test = await written(store, run, file)
    text = test.read_text()
    assert '"22 degrees in Rome"' in text
    assert '"answers": {"call_1_0": True}' in text
    passes(test, file.parent)


async def test_a_run_that_failed_becomes_a_test_that_expects_that(shop: Any) -> None:
    _, file = shop
    module = module_of(file)
    module.clerk.model = ScriptedModel([function_call("nope", {})])
    store = MemoryStore(keep_bytes=True)
    run = await start(module.clerk, "hello", store=store, run_id="bad")
    assert await finish(run) == "failed"
    test = await written(store, run, file)
    assert 'assert run.standing == "failed"' in test.read_text()
    assert '"kind": "ModelBehaviorError"' in test.read_text()
    passes(test, file.parent)


async def test_a_written_test_fails_when_the_graph_goes_another_way(shop: Any) -> None:
    graph, file = shop
    store = MemoryStore(keep_bytes=True)
    run = await start(graph, store=store, run_id="r")
    await finish(run)
    test = await written(store, run, file)
    file.write_text(SHOP.replace('if not state.answers["ok"]', "if True"))
    with pytest.raises(AssertionError, match="expected was ship --shipped-->, but it took ship --no--> END"):
        passes(test, file.parent)
    file.write_text(SHOP.replace('ctx.once("label"', 'ctx.once("sticker"'))
    with pytest.raises(AssertionError, match="effect 'sticker' isn't recorded, and nothing is done anew"):
        passes(test, file.parent)


async def test_a_run_of_the_gallerys_support_desk_becomes_a_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "graphs" / "support.py"
    file.parent.mkdir()
    file.write_bytes((GRAPHS / "support.py").read_bytes())
    monkeypatch.chdir(tmp_path)
    desk = load_graph("graphs/support.py")
    store = MemoryStore(keep_bytes=True)
    run = await start(desk, SENTENCE, store=store, run_id="sup", context=Options(None, RunConfig(model=obedient())))
    assert await finish(run) == "done"
    (tmp_path / ".flowcore" / "orders.db").unlink()
    test = tmp_path / "tests" / "test_support.py"
    text = await write_test_case(store, "sup", "graphs/support.py", out=test)
    assert '("run_tools", "needs_decision"),' in text
    passes(test, tmp_path)
    assert not (tmp_path / ".flowcore" / "orders.db").exists()


@pytest.mark.parametrize("name", AGENTS)
async def test_each_edge_of_the_agent_loop_can_be_written(name: str) -> None:
    make, input = AGENTS[name]
    agent = make()
    store = MemoryStore(keep_bytes=True)
    run = await start(agent, input, store=store, clock=ManualClock())
    await finish(run)
    text = await write_test_case(store, run.id, "nowhere.py", graph=agent)
    names: dict[str, Any] = {}
    module = ast.parse(text)
    data = {target.id: node.value for node in module.body if isinstance(node, ast.Assign) for target in node.targets
            if isinstance(target, ast.Name)}  # fmt: skip
    names = {key: ast.literal_eval(value) for key, value in data.items()}
    assert names["PATH"] == [(step.node, step.on) for step in run.path()]
    assert names["RECORDING"]["run_id"] == run.id


async def test_what_cant_be_written_is_refused(shop: Any, tmp_path: Path) -> None:
    graph, file = shop
    store = MemoryStore(keep_bytes=True)
    run = await start(graph, store=store, run_id="r")
    await finish(run)
    with pytest.raises(RunNotFound):
        await write_test_case(store, "nobody", str(file), graph=graph)
    there = tmp_path / "there.py"
    there.write_text("mine")
    with pytest.raises(UserError, match="exists; give another name"):
        await write_test_case(store, "r", str(file), out=there)
    await write_test_case(store, "r", str(file), out=there, overwrite=True)
    assert "RECORDING" in there.read_text()
    with pytest.raises(UserError, match=r"there is no file 'nowhere\.py'"):
        await write_test_case(store, "r", "nowhere.py")


async def test_a_child_is_written_with_its_root(shop: Any) -> None:
    _, file = shop
    module = module_of(file)
    module.inner.model = ScriptedModel(["inner says"])
    module.clerk.model = ScriptedModel([function_call("inner", {"input": "x"}), "done"])
    store = MemoryStore(keep_bytes=True)
    run = await start(module.clerk, "hello", store=store, run_id="root")
    await finish(run)
    with pytest.raises(UserError, match="is a child run: write its root 'root'"):
        await write_test_case(store, "root/run_tools.1/0:call_1_0", str(file))


def test_a_graph_is_found_by_file_module_variable_and_name(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, file = shop
    assert load_graph(str(file), "shop") is graph
    assert load_graph(f"{file.name}:clerk", near=file).name == "clerk"
    monkeypatch.syspath_prepend(str(file.parent))
    assert load_graph(f"{file.stem}:shop").name == "shop"
    assert load_graph(file.stem, "inner").name == "inner"
    assert load_graph("graphs/support.py", near=__file__).name == "Triage"  # of several the one that is called `graph`
    with pytest.raises(UserError, match=r"has 3 graphs; name the variable: .*'shop', 'inner', 'clerk'"):
        load_graph(str(file))
    with pytest.raises(UserError, match="has 0 graphs named 'nope'"):
        load_graph(file.stem, "nope")
    with pytest.raises(UserError, match=r"neither a \.py file nor a module"):
        load_graph("no_such_module_at_all")
    with pytest.raises(UserError, match="has no 'nope'"):
        load_graph(f"{file.stem}:nope")
