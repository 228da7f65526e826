"""The files of graphs/, loaded anew for each test, and models that do what they're forced to."""

from __future__ import annotations

import importlib.util
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from flowcore import Options, Run, RunConfig
from flowcore.testing import ModelCall, ScriptedModel, function_call

GRAPHS = Path(__file__).parents[2] / "graphs"
SENTENCE = "My order 1042 arrived broken, I want my money back"


def load_file(name: str) -> Any:
    """The module of ``graphs/NAME.py``."""
    spec = importlib.util.spec_from_file_location(f"graphs_{name}", GRAPHS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def obedient(choose: str = "", **arguments: Any) -> ScriptedModel:
    """A model that uses the one thing it's offered, with these arguments, and repeats what it's told to.

    ``choose``: which of several things, by name.
    """
    given = {"lookup_order": {"order_id": 1042}, "refund": {"order_id": 1042, "reason": "arrived broken"}, **arguments}

    def reply(call: ModelCall) -> Any:
        offered = [tool.name for tool in call.tools] + [one.tool_name for one in call.handoffs]
        if not offered:
            told: Any = call.input[-1]
            said = re.fullmatch(r"Repeat this text word by word: (.*)", told["content"])
            assert said, f"Reply was told {call.input!r}"
            return said[1]
        assert call.model_settings.tool_choice == "required"
        name = choose if choose in offered else offered[0]
        assert len(offered) == 1 or name == choose, f"the code leaves a choice: {offered}"
        return function_call(name, given.get(name, {}))

    return ScriptedModel.by_turn(reply)


def options(model: Any) -> Options:
    """What a process brings to a run: every agent's model."""
    return Options(None, RunConfig(model=model))


def rows(database: Path) -> list[tuple[Any, ...]]:
    """The refunds that were paid: order, cents, reason, key."""
    with closing(sqlite3.connect(database)) as shop:
        return shop.execute("SELECT * FROM refunds ORDER BY order_id").fetchall()


def labels(run: Run) -> list[str]:
    """The edges that a run took: ``node:label``."""
    return [f"{step.node}:{step.on}" for step in run.path()]


START = ["prepare:ready", "input_guardrails:passed"]
HANDOFF = ["call_model:handoff", "handoff:done"]
TOOL = ["call_model:tool_calls", "run_tools:done"]
ASKED = ["call_model:tool_calls", "run_tools:needs_decision"]
DECIDED = ["await_decision:decided", "run_tools:done"]
END = ["call_model:output", "output_guardrails:passed", "finalize:done"]
