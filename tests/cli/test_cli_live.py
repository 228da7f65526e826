"""What is shown while a run moves, where it's more than one line after another."""

from __future__ import annotations

from cli_process import Cli

RETRIED = """
from flowcore import END, START, Graph, Retry, State, node

class Said(State):
    text: str = ""

@node(retry=Retry(stop=2, retry=ConnectionError))
async def speak(state, ctx):
    for word in ("Once ", "upon"):
        ctx.emit({"type": "response.output_text.delta", "delta": word})
    if ctx.attempt == 1:
        raise ConnectionError("the line is dead")
    return {"text": "Once upon"}

graph = Graph("teller", Said, {START: speak, speak: END}, gives="text")
"""

FAMILY = """
import os
from pathlib import Path
from flowcore import Agent, function_tool
from flowcore.testing import ScriptedModel, function_call

@function_tool(needs_approval=True)
def wire(cents: int) -> str:
    "Pay."
    return f"wired {cents}"

@function_tool(on_crash="ask")
def risky() -> str:
    "May have happened."
    if not Path("risked").exists():
        Path("risked").touch()
        os.kill(os.getpid(), 9)
    return "risked"

clerk = Agent(name="Clerk", model=ScriptedModel.by_turn([function_call("wire", {"cents": 5}), "I wired it."]),
              tools=[wire])
steps = [function_call("ask_clerk", {"input": "pay"}), function_call("risky"), "All done."]
graph = Agent(name="Boss", model=ScriptedModel.by_turn(steps), tools=[clerk.as_tool("ask_clerk", "Ask."), risky])
"""


def test_text_of_an_attempt_that_is_tried_again_is_said_to_be_void(cli: Cli):
    said = cli.run("run", cli.write("teller.py", RETRIED), "{}")
    lines = said.splitlines()
    at = lines.index("Once upon")
    assert lines[at + 1].startswith("speak ─ retry → speak")
    assert "attempt 1 failed: ConnectionError: the line is dead; the text above is void" in lines[at + 2]
    assert lines[at + 3] == "Once upon"
    assert "attempt 2" in lines[at + 4]


def test_a_child_is_shown_under_its_parent_and_answered_through_it(cli: Cli):
    family = cli.write("family.py", FAMILY)
    begun = cli.run("run", family, "x", "--run-id", "r", "--no-input", code=3)
    assert "  Clerk: call_model ─ tool_calls → run_tools" in begun
    assert "  Clerk:   → wire(cents=5)" in begun
    assert "run_tools ■ waiting" in begun
    assert "flowcore approve r call_1_0" in begun
    shown = cli.run("show", "r")
    assert "↳ run_tools.1/0:call_1_0" in shown
    assert "    await_decision.1" not in shown.split("↳")[0]
    child = cli.show("r")["children"][0]["run"]
    assert child == "r/run_tools.1/0:call_1_0"
    assert "agent 'Clerk' wants to call wire" in cli.run("show", child)
    cli.run("approve", "r")


def test_what_a_crash_left_in_doubt_is_asked_and_a_yes_isnt_enough(cli: Cli):
    family = cli.write("family.py", FAMILY)
    cli.run("run", family, "x", "--run-id", "r", "--yes", "--quiet", code=-9)
    asked = cli.run("resume", "r", family, "--yes", "--no-input", code=3)
    assert "in doubt: risky()" in asked
    assert "flowcore answer r in-doubt:0:call_3_0 fail" in asked
    wrong = cli.run("answer", "r", "in-doubt", "ok", code=2)
    assert 'answer "retry" (do it again), {"value": RESULT} (it happened, and gave this), or "fail"' in wrong
    refused = cli.run("approve", "r", code=2)
    assert "needs more than a yes: flowcore answer r in-doubt:0:call_3_0 retry" in refused
    cli.run("answer", "r", "in-doubt", '{"value": "ok"}')
    ended = cli.run("resume", "r", family)
    assert "← risky: ok" in ended
    assert "All done." in ended


def test_a_quiet_result_reaches_a_pipe_to_the_letter(cli: Cli):
    text = "from flowcore import Agent\nfrom flowcore.testing import ScriptedModel\n"
    file = cli.write("exact.py", text + 'graph = Agent(name="a", model=ScriptedModel(["a\\tb\\x1b c" + "d" * 300]))\n')
    assert cli.both("run", file, "x", "--quiet") == ("a\tb\x1b c" + "d" * 300 + "\n", "")
