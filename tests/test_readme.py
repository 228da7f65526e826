"""What the README shows is what happens."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import runpy
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import flowcore
from flowcore import MultiProvider, set_trace_processors
from flowcore.testing import ScriptedModel, function_call
from flowcore.testing.faults.files import FILE_FAULTS
from flowcore.testing.faults.kills import FAULTS
from flowcore.testing.faults.servers import server_faults

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def run_block(source: str, tmp_path: Path) -> str:
    file = tmp_path / "block.py"
    file.write_text(source)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        runpy.run_path(str(file), run_name="__main__")
    return out.getvalue()


def test_the_agent_of_the_readme_waits_is_approved_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ScriptedModel.by_turn([function_call("refund", {"order": 7}), "Done: order 7 is paid back."])
    monkeypatch.setattr(MultiProvider, "get_model", lambda self, name: model)
    (source,) = [one for one in blocks("python") if "result.run.answer" in one]
    printed = run_block(source, tmp_path)
    assert printed.startswith("Done: order 7 is paid back.")
    assert "await_decision" in printed


def run_with(marker: str, steps: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the block that has the marker prints, line by line."""
    model = ScriptedModel.by_turn(steps)
    monkeypatch.setattr(MultiProvider, "get_model", lambda self, name: model)
    monkeypatch.chdir(tmp_path)
    (source,) = [one for one in blocks("python") if marker in one]
    return run_block(source, tmp_path).splitlines()


def test_approvals_of_the_readme_go_through_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [function_call("delete", {"row": 7}, "c1"), function_call("delete", {"row": 8}, "c2")]
    assert run_with("RunState.from_json", [both, "Row 7 is gone."], tmp_path, monkeypatch) == ["Row 7 is gone."]


def test_errors_of_the_readme_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [function_call("search", {"words": "bees"}), "They hum."]
    assert run_with("MaxTurnsExceeded", steps, tmp_path, monkeypatch) == ["They hum.", "They hum."]


def test_sessions_hooks_and_traces_of_the_readme_work_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        lines = run_with("SQLiteSession", ["San Francisco.", "California."], tmp_path, monkeypatch)
    finally:
        set_trace_processors([])
    said = [line for line in lines if not line.startswith("[Exporter]")]
    assert [line for line in said if "tokens" not in line] == ["San Francisco.", "California.", "4 items"]
    assert sum("tokens" in line for line in said) == 2
    exported = [line for line in lines if line.startswith("[Exporter]")]
    assert "name=Trip" in exported[0]
    assert sum("'generation'" in line for line in exported) == 2


def test_the_mcp_server_of_the_readme_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "server.py").write_text(
        "from mcp.server.mcpserver import MCPServer\n"
        "server = MCPServer('files')\n"
        "@server.tool()\n"
        "def list_files() -> str:\n"
        "    return 'a.txt'\n"
        "server.run('stdio')\n"
    )
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    steps = [function_call("list_files", {}), "There is a.txt."]
    assert run_with("MCPServerStdio", steps, tmp_path, monkeypatch) == ["There is a.txt."]


def test_every_block_of_the_readme_is_run_by_a_test() -> None:
    source = Path(__file__).read_text()
    markers = {*re.findall(r'run_with\("(.+?)"', source), *re.findall(r'if "(.+?)" in one\]', source)}
    for block in blocks("python"):
        assert any(marker in block for marker in markers), block


def section(title: str) -> str:
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ )", README, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_what_the_readme_says_is_missing_is_missing() -> None:
    named = re.findall(r"`(\w+)`", section("What of the SDK isn't here"))
    assert "ComputerTool" in named
    for name in named:
        if name != "ImportError":
            assert not hasattr(flowcore, name), name


def test_every_extra_is_in_the_readme() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = re.findall(r"^\| (`.+?) \|", section("Extras"), re.MULTILINE)
    assert set(extras) == {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_the_graph_of_the_readme_is_proved_runs_waits_goes_on_and_forks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (source,) = [one for one in blocks("python") if "class Draft" in one]
    printed = run_block(source, tmp_path)
    assert printed.startswith("All about bees. waiting ['wrote', 'wrote']\n")
    assert "stateDiagram-v2" in printed


def test_the_migration_of_the_readme_takes_a_run_of_the_old_graph_to_the_new_one(tmp_path: Path) -> None:
    (source,) = [one for one in blocks("python") if "class OldOrder" in one]
    file = tmp_path / "block.py"
    file.write_text(source)
    found = runpy.run_path(str(file))
    old = flowcore.Graph("order", found["OldOrder"], {"START": found["ask"], found["ask"]: {"answered": "END"}})

    async def both() -> Any:
        store = flowcore.MemoryStore(keep_bytes=True)
        run = await flowcore.start(old, {"euros": 5}, store=store)
        await run
        run = await flowcore.resume(run.id, found["graph"], store=store)
        await run.answer("pay", True)
        return await run

    result = asyncio.run(both())
    assert (result.standing, result.output, [step.on for step in result.path]) == (
        "done", {"cents": 500}, ["migrate", "answered"],
    )  # fmt: skip


def test_every_step_that_the_readme_shows_is_an_edge_of_the_example() -> None:
    graph: Any = runpy.run_path(str(ROOT / "graphs" / "support.py"))["graph"].graph
    (shown,) = [one for one in blocks("text") if "await_decision" in one]
    steps = re.findall(r"^(\w+) ─ (\w+) → (\w+)", shown, re.MULTILINE)
    assert len(steps) > 8
    drawn = {(edge.source, edge.on, edge.target) for edge in graph.edges}
    assert set(steps) <= drawn


def test_every_command_that_the_readme_shows_exists() -> None:
    typer = pytest.importorskip("typer")
    from flowcore.cli.app import app  # the extra may be missing

    names = set(typer.main.get_command(app).commands)
    shown = {line.split()[1] for block in blocks("sh") for line in block.splitlines() if line.startswith("flowcore ")}
    assert shown
    assert shown <= names


def test_every_fault_that_is_tried_stands_in_the_readme_and_nothing_was_lost() -> None:
    (table,) = [one for one in blocks("text") if "effects repeated" in one]
    shown = re.findall(r"^(\S.*?)  .*?(\d+) +(\d+) +(\d+) +(\d+)$", table, re.MULTILINE)
    server: Any = object()
    tried = {one.name for one in (*FAULTS, *FILE_FAULTS, *server_faults(server))}
    assert {row[0] for row in shown} == {*tried, "in all"}
    assert all(int(row[1]) > 0 and row[2:] == ("0", "0", "0") for row in shown)


def test_the_two_commands_of_the_readme_are_what_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    assert "uv run pytest" in ci
    assert "python -m pip install uv && uv run pytest" in README
