"""Hooks: who is called, with what, and what it costs nobody."""

import asyncio
from unittest.mock import AsyncMock

import pytest

from flowcore import AgentHooks, RunHooks
from flowcore.agents.lifecycle import (
    AgentHooksBase,
    RunHooksBase,
    fire,
    hears,
    validate_agent_hooks,
    validate_run_hooks,
)

EVENTS = {
    "on_agent_start": ("ctx", "agent"),
    "on_agent_end": ("ctx", "agent", "output"),
    "on_llm_start": ("ctx", "agent", "prompt", ["items"]),
    "on_llm_end": ("ctx", "agent", "response"),
    "on_tool_start": ("ctx", "agent", "tool"),
    "on_tool_end": ("ctx", "agent", "tool", "result"),
}


def recorder(base, names, said):
    """Hooks that note each call."""

    def noting(name):
        async def note(self, *args, **kwargs):
            said.append((base.__name__, name, args, kwargs))

        return note

    return type("Recorder", (base,), {name: noting(name) for name in names})()


@pytest.mark.parametrize("name", EVENTS)
async def test_both_hear_of_an_event_with_the_same_arguments(name):
    said = []
    agents = {"on_agent_start": "on_start", "on_agent_end": "on_end"}.get(name, name)
    run = recorder(RunHooks, [name], said)
    agent = recorder(AgentHooks, [agents], said)
    await fire(name, run, agent, *EVENTS[name])
    assert said == [("RunHooks", name, EVENTS[name], {}), ("AgentHooks", agents, EVENTS[name], {})]


async def test_a_handoff_is_told_by_keyword_to_the_run_and_with_its_source_to_the_agent():
    said = []
    await fire(
        "on_handoff",
        recorder(RunHooks, ["on_handoff"], said),
        recorder(AgentHooks, ["on_handoff"], said),
        "ctx",
        "a",
        "b",
    )
    assert said == [
        ("RunHooks", "on_handoff", (), {"context": "ctx", "from_agent": "a", "to_agent": "b"}),
        ("AgentHooks", "on_handoff", ("ctx",), {"agent": "b", "source": "a"}),
    ]


async def test_the_two_hooks_of_an_event_run_at_the_same_time():
    met = asyncio.Barrier(2)

    class Run(RunHooks):
        async def on_agent_start(self, context, agent):
            await met.wait()

    class Agent(AgentHooks):
        async def on_start(self, context, agent):
            await met.wait()

    await asyncio.wait_for(fire("on_agent_start", Run(), Agent(), None, None), 5)


async def test_what_a_hook_raises_is_raised_when_the_other_is_through():
    through = []

    class Run(RunHooks):
        async def on_agent_start(self, context, agent):
            raise ValueError("no")

    class Agent(AgentHooks):
        async def on_start(self, context, agent):
            await asyncio.sleep(0)
            through.append(True)

    with pytest.raises(ValueError, match="no"):
        await fire("on_agent_start", Run(), Agent(), None, None)
    assert through == [True]


async def test_a_hook_may_be_a_plain_method():
    said = []

    class Run(RunHooks):
        def on_agent_start(self, context, agent):
            said.append(agent)

    await fire("on_agent_start", Run(), None, None, "a")
    assert said == ["a"]


def test_a_hook_that_nobody_overrode_is_not_heard():
    class Run(RunHooks):
        async def on_llm_end(self, context, agent, response): ...

    class Further(Run): ...

    for name in (*EVENTS, "on_handoff"):
        assert not hears(name, None, None)
        assert not hears(name, RunHooks(), AgentHooks())
        assert hears(name, Run(), None) is hears(name, Further(), AgentHooks()) is (name == "on_llm_end")


async def test_a_hook_that_a_test_puts_on_the_object_is_heard():
    hooks = AgentHooks()
    hooks.on_start = AsyncMock()
    assert hears("on_agent_start", None, hooks)
    await fire("on_agent_start", None, hooks, "ctx", "a")
    hooks.on_start.assert_awaited_once_with("ctx", "a")


async def test_every_hook_of_the_bases_does_nothing():
    for hooks in (RunHooks(), AgentHooks()):
        for name in (one for one in dir(hooks) if one.startswith("on_")):
            method = getattr(hooks, name)
            assert await method(*["x"] * (method.__code__.co_argcount - 1)) is None


def test_hooks_are_generic_over_context_and_agent():
    class Mine(RunHooks[dict]): ...

    class Other(RunHooksBase[dict, object]): ...

    class Own(AgentHooksBase[dict, object]): ...

    assert validate_run_hooks(Mine()) is not None
    assert validate_run_hooks(Other()) is not None
    assert validate_agent_hooks(Own()) is not None
    assert validate_run_hooks(None) is None is validate_agent_hooks(None)


def test_hooks_of_the_wrong_kind_are_refused_with_where_they_belong():
    with pytest.raises(TypeError, match=r"agent-scoped hooks .*Agent\(\.\.\., hooks=\.\.\.\)"):
        validate_run_hooks(AgentHooks())
    with pytest.raises(TypeError, match="Received int"):
        validate_run_hooks(5)
    with pytest.raises(TypeError, match="Received the class RunHooks; make an instance"):
        validate_run_hooks(RunHooks)
    with pytest.raises(TypeError, match="must be an AgentHooks instance or None, got RunHooks"):
        validate_agent_hooks(RunHooks())
