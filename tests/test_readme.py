"""What the README shows is what happens."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from flowcore import MultiProvider
from flowcore.testing import ScriptedModel, function_call

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
    (source,) = [one for one in blocks("python") if "needs_approval" in one]
    printed = run_block(source, tmp_path)
    assert printed.startswith("Done: order 7 is paid back.")
    assert "await_decision" in printed


def test_the_graph_of_the_readme_is_proved_runs_waits_goes_on_and_forks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (source,) = [one for one in blocks("python") if "class Draft" in one]
    printed = run_block(source, tmp_path)
    assert printed.startswith("All about bees. waiting ['wrote', 'wrote']\n")
    assert "stateDiagram-v2" in printed


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


def test_the_two_commands_of_the_readme_are_what_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    assert "uv run pytest" in ci
    assert "python -m pip install uv && uv run pytest" in README
