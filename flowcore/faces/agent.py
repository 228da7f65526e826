"""``Agent``: what is declared of it, its graph, and the verbs that people know from Agno: ``run``, ``arun``,
``print_response``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, Literal, TypeVar, overload

from flowcore.agents.agent import AgentSpec
from flowcore.agents.as_tool import AgentTool
from flowcore.agents.loop import graph_of
from flowcore.agents.options import Options, RunConfig
from flowcore.agents.tools import FunctionTool
from flowcore.engine.fanout import subgraph
from flowcore.engine.run import Run, start
from flowcore.faces.output import RunContentEvent, RunOutput, RunOutputEvent, events_of_run, output_of
from flowcore.faces.sync import iterate_sync, run_sync
from flowcore.graph.graph import Graph
from flowcore.graph.node import Node
from flowcore.stores.base import Store

TContext = TypeVar("TContext")


class Agent(AgentSpec[TContext]):
    """An agent: see ``AgentSpec`` for its fields. ``graph`` is its loop, ``run`` and ``arun`` run it; ``Runner`` does
    too."""

    @property
    def graph(self) -> Graph:
        """The agent's loop as a graph: it's checked, drawn, inspected and run like any other."""
        return graph_of(self)

    def as_node(
        self,
        name: str | None = None,
        *,
        input: str = "input",
        into: str = "output",
        limits: dict[str, Any] | None = None,
        **policies: Any,
    ) -> Node:
        """This agent as a node of a graph: it's asked what stands in the field ``input``, its output goes into ``into``.

        An agent that stands in an edge table by itself is one, with these fields.
        """
        return subgraph(self, name=name, input=input, into=into, limits=limits, **policies)

    def as_tool(
        self,
        tool_name: str | None = None,
        tool_description: str | None = None,
        custom_output_extractor: Callable[[Any], Any] | None = None,
        *,
        is_enabled: Any = True,
        needs_approval: Any = False,
        max_turns: int | None = None,
    ) -> FunctionTool:
        """This agent as a tool of another: its run is a child of the caller's, with a journal of its own.

        What it waits for, its caller waits for. ``custom_output_extractor(output)``: makes the tool's output of the
        child's (JSON).
        ``max_turns``: of the child (default 10).
        """
        return AgentTool.of(
            self, tool_name, tool_description, custom_output_extractor, is_enabled, needs_approval, max_turns
        )

    @overload
    def run(
        self, input: Any, *, stream: Literal[False] = False, stream_events: bool = False, **more: Any
    ) -> RunOutput: ...
    @overload
    def run(
        self, input: Any, *, stream: Literal[True], stream_events: bool = False, **more: Any
    ) -> Iterator[RunOutputEvent]: ...
    def run(self, input: Any, *, stream: bool = False, stream_events: bool = False, **more: Any) -> Any:
        """Run the agent and return its ``RunOutput``; with ``stream`` an iterator of events.

        The same parameters as ``arun``. An error doesn't raise: it's the output's status "ERROR", unless
        ``raise_on_error``. Raises
        UserError inside a running event loop: use ``arun`` there.
        """
        going = self.arun(input, stream=stream, stream_events=stream_events, **more)
        if stream:
            return iterate_sync(aiter(going), "agent.run()", "agent.arun()")
        return run_sync(going._output(), "agent.run()", "await agent.arun()")

    def arun(
        self,
        input: Any,
        *,
        stream: bool = False,
        stream_events: bool = False,
        session_id: str | None = None,
        user_id: str | None = None,
        run_id: str | None = None,
        metadata: dict[str, Any] | None = None,
        dependencies: Any = None,
        retries: int = 0,
        max_turns: int | None = None,
        run_config: RunConfig | None = None,
        store: Store | None = None,
        raise_on_error: bool = False,
    ) -> Going:
        """Run the agent: await what this returns for the ``RunOutput``, or iterate it for events.

        ``stream``: ``await`` gives the iterator of events itself. ``stream_events``: not only content, but what the
        run does. ``session_id``:
        the conversation that the run joins, in ``store``. ``dependencies``: the app's object for tools and
        instructions. ``retries``: how
        often a failed run goes on by itself. ``max_turns``: None is no limit.
        """
        meta: dict[str, Any] = {"face": "agent", "stream_events": stream_events}
        if session_id is not None:
            meta["session"] = session_id
        if user_id is not None:
            meta["user"] = user_id
        if metadata:
            meta["metadata"] = metadata
        options = Options(dependencies, RunConfig.of(run_config))

        async def admit() -> Run:
            return await start(
                self,
                input,
                store=store,
                run_id=run_id,
                context=options,
                limits={"max_turns": max_turns, "retries": retries, "delay_between_retries": 1.0 if retries else None},
                meta=meta,
                stream=stream,
            )

        return Going(self, admit, input, options, stream, stream_events, raise_on_error)

    def print_response(self, input: Any, *, stream: bool = False, **more: Any) -> None:
        """Run the agent and print what it says; for trying things out."""
        if stream:
            for event in self.run(input, stream=True, **more):
                if isinstance(event, RunContentEvent):
                    print(event.content, end="", flush=True)
            print()
        else:
            print(self.run(input, **more).content)

    async def aprint_response(self, input: Any, *, stream: bool = False, **more: Any) -> None:
        """``print_response`` for async code."""
        if stream:
            async for event in self.arun(input, stream=True, **more):
                if isinstance(event, RunContentEvent):
                    print(event.content, end="", flush=True)
            print()
        else:
            print((await self.arun(input, **more)).content)


class Going:
    """A run of an agent that is about to go: await it for its output, or iterate it for its events."""

    def __init__(
        self,
        agent: Agent[Any],
        admit: Any,
        input: Any,
        options: Options,
        stream: bool,
        stream_events: bool,
        raise_on_error: bool,
    ) -> None:
        self._agent = agent
        self._admit = admit
        self._input = input
        self._options = options
        self._stream = stream
        self._all = stream_events
        self._raise = raise_on_error

    def __await__(self) -> Generator[Any, None, Any]:
        return (self._self() if self._stream else self._output()).__await__()

    async def _self(self) -> AsyncIterator[RunOutputEvent]:
        return aiter(self)

    async def _output(self) -> RunOutput:
        run = await self._admit()
        await run.drive()
        return await output_of(run, self._agent, self._input, self._options, self._raise)

    async def __aiter__(self) -> AsyncIterator[RunOutputEvent]:
        run = await self._admit()
        async for event in events_of_run(run, self._agent, self._input, self._options, self._all, self._raise):
            yield event
