"""Making small agents and reading their walks."""

from typing import Any

from flowcore import Agent, Options, Run, RunConfig, load, start
from flowcore.machine.facts import Transition
from flowcore.testing import ScriptedModel, function_call


def agent(*steps: Any, name: str = "Clerk", **fields: Any) -> Agent:
    """An agent whose model says these steps; picked by the history, so that a resumed run finds the step that's due."""
    return Agent(name=name, model=ScriptedModel.by_turn(list(steps)), **fields)


def labels(run: Any) -> list[str]:
    """The edges that a run took: ``node:label``."""
    return [f"{step.node}:{step.on}" for step in run.path()]


def transitions(run: Run, node: str) -> list[Transition]:
    """The transitions from a node."""
    return [fact for fact in run.facts if isinstance(fact, Transition) and fact.node == node]


def outputs(items: Any) -> list[Any]:
    """What the model was told of its calls, in order."""
    return [item["output"] for item in items if item.get("type") == "function_call_output"]


async def begin(agent: Agent, input: Any = "go", **more: Any) -> Run:
    """Admit and drive a run below the faces, with a clock or a store of the test's."""
    more.setdefault("context", Options(None, RunConfig()))
    run = await start(agent, input, **more)
    await run.drive()
    return run


async def reopened(run: Run, agent: Agent, **more: Any) -> Run:
    """The same run, loaded as another process would."""
    return await load(run.id, agent, store=run.store, **more)


__all__ = ["agent", "begin", "function_call", "labels", "outputs", "reopened", "transitions"]
