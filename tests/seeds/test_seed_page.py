"""The page that flowcore's ``Runner`` was asked for from: its examples run as they're printed, once ``agents`` is
replaced by ``flowcore``, and what it says holds; against a live model, in processes that know it by the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real_model

FIRST = """\
from flowcore import Agent, Runner

async def main():
    agent = Agent(name="Assistant", instructions="You are a helpful assistant")

    result = await Runner.run(agent, "Write a haiku about recursion in programming.")
    print(result.final_output)
    # Code within the code,
    # Functions calling themselves,
    # Infinite loop's dance.
"""

SECOND = """\
async def main():
    agent = Agent(name="Assistant", instructions="Reply very concisely.")

    with trace(workflow_name="Conversation", group_id=thread_id):
        # First turn
        result = await Runner.run(agent, "What city is the Golden Gate Bridge in?")
        print(result.final_output)
        # San Francisco

        # Second turn
        new_input = output.to_input_list() + [{"role": "user", "content": "What state is it in?"}]
        result = await Runner.run(agent, new_input)
        print(result.final_output)
        # California
"""
"""As printed: it calls its result ``output`` once, which no line binds."""

RUN = "\nimport asyncio\nasyncio.run(main())\n"


def run(source: str, llama: Any, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "program.py"
    program.write_text(source)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return subprocess.run(
        [sys.executable, "-W", "error", str(program)], capture_output=True, text=True, timeout=110, cwd=tmp_path,
        env={**kept, "OPENAI_BASE_URL": llama.url, "OPENAI_API_KEY": llama.api_key},
    )  # fmt: skip


def test_the_first_example_runs_as_printed(llama: Any, tmp_path: Path) -> None:
    done = run(FIRST + RUN, llama, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


def test_the_second_example_runs_once_its_own_slip_is_mended(llama: Any, tmp_path: Path) -> None:
    before = 'from flowcore import Agent, Runner, trace\nthread_id = "thread_1"\n'
    as_printed = run(before + SECOND + RUN, llama, tmp_path)
    assert "NameError: name 'output' is not defined" in as_printed.stderr
    done = run(before + SECOND.replace("output.to_input_list()", "result.to_input_list()") + RUN, llama, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
