"""`flowcore graph --prove` and `flowcore test-case`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flowcore import Agent, UserError, function_tool
from flowcore.cli.proving import parsed

ROOT = Path(__file__).parent.parent.parent
SUPPORT = str(ROOT / "graphs" / "support.py")


def flowcore(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flowcore", *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )


@function_tool(needs_approval=True)
def pay() -> str:
    """Pay."""
    return "paid"


GRAPH = Agent(name="A", tools=[pay]).graph


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ("requires_approval pay", True),
        ("always_before input_guardrails run_tools", True),
        ("always_before call_model.tool_calls run_tools", True),
        ("never_reaches finalize without output_guardrails", True),
        ("never_reaches run_tools from prepare", False),
        ("bounded max_turns=10 waits=2", True),
        ("bounded", False),
    ],
)
def test_a_claim_holds_or_not(claim: str, holds: bool) -> None:
    answer, told = parsed(claim)(GRAPH)
    assert answer is holds
    assert told.startswith(claim)


@pytest.mark.parametrize(
    "claim", ["nope", "always_before a", "never_reaches x from", "bounded max_turns", "bounded n=x"]
)
def test_words_that_are_no_claim_are_refused_with_the_claims_there_are(claim: str) -> None:
    with pytest.raises(UserError, match="is no claim; claims are: always_before A B"):
        parsed(claim)


def test_proofs_are_asked_for_at_the_command_line(tmp_path: Path) -> None:
    done = flowcore(tmp_path, "graph", SUPPORT, "--prove", "requires_approval refund")
    assert done.returncode == 0, done.stderr
    assert "requires_approval refund: holds" in done.stdout
    failed = flowcore(
        tmp_path, "graph", SUPPORT, "--prove", "requires_approval lookup_order", "--prove", "requires_approval refund"
    )
    assert failed.returncode == 1
    assert "call_model --tool_calls--> run_tools" in failed.stdout
    wrong = flowcore(tmp_path, "graph", SUPPORT, "--prove", "always_before nowhere run_tools")
    assert wrong.returncode == 1
    assert "nowhere" in wrong.stderr


GRAPH_FILE = """
from flowcore import Agent, function_tool
from flowcore.testing import ScriptedModel, function_call

@function_tool
def weigh(grams: int) -> str:
    "Weigh."
    return f"{grams} g"

graph = Agent(name="Scales", tools=[weigh], model=ScriptedModel.by_turn([function_call("weigh", {"grams": 3}), "3 g"]))
"""


def test_a_run_becomes_a_test_that_passes(tmp_path: Path) -> None:
    (tmp_path / "scales.py").write_text(GRAPH_FILE)
    ran = flowcore(tmp_path, "run", "scales.py", "how heavy?", "--run-id", "r1", "--quiet")
    assert ran.stdout == "3 g\n", ran.stderr
    wrote = flowcore(tmp_path, "test-case", "r1", "scales.py", "--out", "test_r1.py")
    assert wrote.returncode == 0, wrote.stderr
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", ".",
        "test_r1.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert tested.returncode == 0, tested.stdout
    again = flowcore(tmp_path, "test-case", "r1", "scales.py", "--out", "test_r1.py")
    assert again.returncode == 2
    assert "--overwrite" in again.stderr or "overwrite" in again.stderr
