"""The run of an agent that is a tool, as its app sees it: as a result, and as stream events."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypedDict, cast

from flowcore.agents.agent import AgentSpec
from flowcore.agents.as_tool import Follow, Follower, Read
from flowcore.agents.loop.judge import input_of
from flowcore.agents.options import Options
from flowcore.engine.events import Event
from flowcore.engine.log import log
from flowcore.engine.run import Run
from flowcore.engine.tree import Live
from flowcore.errors import UserError
from flowcore.faces.results import RunResult
from flowcore.faces.stream import AgentUpdatedStreamEvent, StreamEvent, Translator
from flowcore.machine.facts import Fact
from flowcore.models.base import Item
from flowcore.models.openai_types import typed_items


class AgentToolStreamEvent(TypedDict):
    """What ``on_stream`` is told: an event of the nested run, the agent whose turn it is, and the call that it is."""

    event: StreamEvent
    agent: AgentSpec[Any]
    tool_call: Any


def reading(extract: Callable[[RunResult], Any]) -> Read:
    """What makes a tool's output of the nested run by ``extract(result)``."""

    async def read(run: Run, options: Options) -> Any:
        most = run._live.snapshot.limits.get("max_turns")
        made = extract(RunResult(run, input_of(run.state), options, most))
        return await made if inspect.isawaitable(made) else made

    return read


def following(agent: AgentSpec[Any], tell: Callable[[AgentToolStreamEvent], Any], most: int | None) -> Follow:
    """What tells an app of the nested runs of ``agent``."""
    return lambda live, options, call: _Follower(live, options, call, tell, most, agent.name)


class _View:
    """A run that somebody else holds, as far as a translator looks at it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.id = live.id
        self.definition = live.graph

    @property
    def state(self) -> Any:
        return self._live.graph.schema.view(self._live.snapshot.values)

    @property
    def facts(self) -> Sequence[Fact]:
        return self._live.facts


class _Follower(Follower):
    """Tells of one nested run, event after event, beside it: what the app raises is logged, and harms nobody."""

    def __init__(
        self, live: Live, options: Options, call: Item, tell: Callable[[AgentToolStreamEvent], Any], most: int | None,
        name: str,
    ) -> None:  # fmt: skip
        self._translator = Translator(cast(Run, _View(live)), options)
        self._call = typed_items([call])[0]
        self._tell = tell
        self._most = most
        self._name = name
        self._waiting: deque[AgentToolStreamEvent] = deque()
        self._task: asyncio.Task[None] | None = None
        self._lost = False
        self._put(AgentUpdatedStreamEvent(self._translator.agent))

    def __call__(self, event: Event) -> None:
        for one in self._translator.events_of(event):
            self._put(one)

    def _put(self, event: StreamEvent) -> None:
        if self._most is not None and len(self._waiting) >= self._most:
            self._lost = True
            return
        self._waiting.append(AgentToolStreamEvent(event=event, agent=self._translator.agent, tool_call=self._call))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._go())

    async def _go(self) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            try:
                made = self._tell(event)
                if inspect.isawaitable(made):
                    await made
            except Exception as error:
                log("on_stream failed", level="error", agent=self._name, error=repr(error))

    async def close(self) -> None:
        if self._task is not None:
            await self._task
        if self._lost:
            raise UserError(
                f"on_stream of agent '{self._name}' was too slow: more than {self._most} events waited for it; make it"
                " faster, or raise on_stream_max_pending_events"
            )
