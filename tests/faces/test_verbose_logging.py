"""The verbose log: what a person reads, what is left out, and that nobody pays who didn't ask."""

import logging
import subprocess
import sys

import pytest
from faces_making import ADD, add, agent, delete

from flowcore import ModelBehaviorError, Runner, enable_verbose_stdout_logging, function_tool
from flowcore.engine.log import SINKS, log
from flowcore.engine.observe import OBSERVERS
from flowcore.models.usage import Usage
from flowcore.testing import ModelStep, function_call

MODEL, TOOL = "OPENAI_AGENTS_DONT_LOG_MODEL_DATA", "OPENAI_AGENTS_DONT_LOG_TOOL_DATA"


@pytest.fixture
def logged(monkeypatch, capsys):
    """Verbose logging for a test; the lines so far."""
    logger = logging.getLogger("flowcore")
    handlers, level = list(logger.handlers), logger.level
    monkeypatch.delenv(MODEL, raising=False)
    monkeypatch.delenv(TOOL, raising=False)
    observers, sinks = list(OBSERVERS), list(SINKS)
    enable_verbose_stdout_logging()
    yield lambda: capsys.readouterr().out.splitlines()
    logger.handlers[:] = handlers
    logger.setLevel(level)
    OBSERVERS[:], SINKS[:] = observers, sinks


def said(lines, text):
    """The lines with a text, without the run's name."""
    return [line.partition("] ")[2] for line in lines if text in line]


async def test_each_step_of_a_run_is_a_line(logged):
    clerk = agent(ADD, ModelStep("secret words", usage=Usage(requests=1, total_tokens=12)), tools=[add])
    result = await Runner.run(clerk, "secret question")
    lines = logged()
    assert any("run admitted" in line for line in lines)
    assert all(line.startswith(f"[{result.run_id[:8]}] ") for line in lines if "run admitted" not in line)
    assert said(lines, "started") == ["'Assistant' started"]
    steps = [line.partition(" (")[0] for line in said(lines, "--> ")]
    assert steps == [
        "prepare --ready--> input_guardrails",
        "input_guardrails --passed--> call_model",
        "call_model --tool_calls--> run_tools",
        "run_tools --done--> call_model",
        "call_model --output--> output_guardrails",
        "output_guardrails --passed--> finalize",
        "finalize --done--> END",
    ]
    assert said(lines, "tokens")[0].endswith("s, 12 tokens)")
    assert said(lines, "function_call add") == ["    function_call add"]


async def test_what_models_and_tools_say_is_left_out(logged):
    async def find(what: str) -> str:
        """Find it."""
        return "secret finding"

    clerk = agent(function_call("find", {"what": "secret"}, "c1"), "secret words", tools=[function_tool(find)])
    result = await Runner.run(clerk, "secret question")
    assert result.to_input_list()[2]["output"] == "secret finding"
    assert "secret" not in "\n".join(logged())


@pytest.mark.parametrize("value", ["0", "false", " NO "])
async def test_each_kind_of_data_is_shown_where_its_switch_says_no(logged, monkeypatch, value):
    monkeypatch.setenv(MODEL, value)
    await Runner.run(agent(ADD, "some words", tools=[add]), "a question")
    lines = logged()
    assert said(lines, "user:") == ["    user: a question"]
    assert said(lines, "assistant:") == ["    assistant: some words"]
    assert said(lines, "function_call add") == ["    function_call add"]
    monkeypatch.delenv(MODEL)
    monkeypatch.setenv(TOOL, value)
    await Runner.run(agent(ADD, "some words", tools=[add]), "a question")
    lines = logged()
    assert said(lines, "function_call add") == ['    function_call add: {"a": 1, "b": 2}']
    assert said(lines, "function_call_output") == ["    function_call_output c1: 3"]
    assert said(lines, "assistant") == ["    assistant said something"]


@pytest.mark.parametrize("value", ["1", "true", "yes", "", "whatever"])
async def test_nothing_but_a_clear_no_shows_data(logged, monkeypatch, value):
    monkeypatch.setenv(MODEL, value)
    monkeypatch.setenv(TOOL, value)
    await Runner.run(agent(ADD, "some words", tools=[add]), "a question")
    text = "\n".join(logged())
    assert "some words" not in text
    assert "a question" not in text
    assert '"b"' not in text


async def test_questions_answers_children_and_failures_are_told(logged, monkeypatch):
    helper = agent("fine", name="Helper")
    calls = [function_call("delete", {"row": "7"}, "d1"), function_call("helper", {"input": "?"}, "h1")]
    clerk = agent(calls, function_call("nothing", "{}", "n1"), tools=[delete, helper.as_tool("helper", "Helps.")])
    result = await Runner.run(clerk, "go")
    lines = logged()
    assert said(lines, "asks") == ["run_tools asks 'd1' (tool_approval)"]
    assert said(lines, "waiting") == ["waiting at await_decision"]
    assert said(lines, "'Helper' started") == ["'Helper' started"]
    assert any("/run_tools.1/" in line for line in lines)
    await result.run.answer("d1", True)
    with pytest.raises(ModelBehaviorError):
        await result.resume()
    lines = logged()
    assert said(lines, "came in") == ["answer came in for 'd1'"]
    assert said(lines, "failed at") == ["failed at call_model: ModelBehaviorError"]
    assert not said(lines, "nothing not found")
    monkeypatch.setenv(MODEL, "0")
    monkeypatch.setenv(TOOL, "0")
    with pytest.raises(ModelBehaviorError):
        await Runner.run(agent(function_call("nothing", "{}", "n1")), "go")
    assert said(logged(), "failed at") == [
        "failed at call_model: ModelBehaviorError: Tool nothing not found in agent Assistant"
    ]


async def test_asking_twice_logs_once(logged):
    enable_verbose_stdout_logging()
    await Runner.run(agent("hi"), "go")
    assert len(said(logged(), "finalize --done--> END")) == 1


def test_the_engines_own_log_is_heard_too(logged):
    log("lease not renewed", level="warning", error="StoreError('secret')", runs=["r1"])
    assert logged() == ["lease not renewed: error=StoreError runs=['r1']"]


def test_long_texts_are_cut(logged):
    log("something", text="x" * 5000)
    (line,) = logged()
    assert line.endswith("… (5000 characters)")
    assert len(line) < 600


def test_nobody_who_did_not_ask_pays():
    code = (
        "import asyncio, sys\n"
        "from flowcore import Agent, Runner\n"
        "from flowcore.testing import ScriptedModel\n"
        "from flowcore.engine.log import SINKS\n"
        "from flowcore.engine.observe import OBSERVERS\n"
        "asyncio.run(Runner.run(Agent(name='A', model=ScriptedModel(['hi'])), 'go'))\n"
        "print(OBSERVERS, SINKS, 'flowcore.faces.logging' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] [] False"
