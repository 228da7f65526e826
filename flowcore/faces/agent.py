"""``Agent``: what is declared of it, its graph, and the verbs that people know from Agno: ``run``, ``arun``,
``print_response``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator, Mapping
from typing import Any, Literal, TypedDict, Unpack, overload

from typing_extensions import TypeVar

from flowcore.agents.agent import AgentSpec
from flowcore.agents.as_tool import StructuredToolInputBuilder, agent_tool
from flowcore.agents.lifecycle import RunHooksBase, validate_run_hooks
from flowcore.agents.loop import graph_of
from flowcore.agents.options import Options
from flowcore.agents.run_config import RunConfig
from flowcore.agents.session import as_session
from flowcore.agents.tools import FunctionTool, ToolErrorFunction, default_tool_error_function
from flowcore.engine.fanout import subgraph
from flowcore.engine.run import Run, start
from flowcore.errors import UserError
from flowcore.faces.nested import AgentToolStreamEvent, following, reading
from flowcore.faces.output import RunContentEvent, RunOutput, RunOutputEvent, events_of_run, output_of
from flowcore.faces.results import SHOWN
from flowcore.faces.sync import iterate_sync, run_sync
from flowcore.graph.graph import Graph
from flowcore.graph.node import Node
from flowcore.graph.state import listed
from flowcore.machine.snapshot import BUDGETS
from flowcore.stores.base import Store
from flowcore.stores.memory import MemoryStore

TContext = TypeVar("TContext", default=Any)


class RunArguments(TypedDict, total=False):
    """What ``Agent.run`` and ``Agent.arun`` take by keyword.

    ``session_id``: the conversation that the run joins, in ``store``, or without one in the agent's memory.
    ``user_id``, ``metadata``: kept with the run. ``run_id``: made up if absent. ``dependencies``: the app's object for
    tools and instructions. ``retries``: how often a failed run goes on by itself. ``max_turns``: None is no limit.
    ``run_config``: a ``RunConfig`` or a dict of its fields. ``raise_on_error``: raise what ended the run, instead of an
    output of status "ERROR".
    """

    session_id: str | None
    user_id: str | None
    run_id: str | None
    metadata: dict[str, Any] | None
    dependencies: Any
    retries: int
    max_turns: int | None
    run_config: RunConfig | Mapping[str, Any] | None
    store: Store | None
    raise_on_error: bool


class Agent(AgentSpec[TContext]):
    """An agent: see ``AgentSpec`` for its fields. ``graph`` is its loop, ``run`` and ``arun`` run it; ``Runner`` does
    too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._memory: MemoryStore | None = None

    @property
    def graph(self) -> Graph:
        """The agent's loop as a graph: it's checked, drawn, inspected and run like any other."""
        return graph_of(self, SHOWN)

    def as_node(
        self,
        name: str | None = None,
        *,
        input: str = "input",
        into: str = "output",
        limits: dict[str, Any] | None = None,
        **policies: Any,
    ) -> Node:
        """This agent as a node of a graph: it's asked what stands in the field ``input``, its output goes into
        ``into``.

        An agent that stands in an edge table by itself is one, with these fields.
        """
        return subgraph(self, name=name, input=input, into=into, limits=limits, **policies)

    def as_tool(
        self,
        tool_name: str | None = None,
        tool_description: str | None = None,
        custom_output_extractor: Callable[[Any], Any] | None = None,
        is_enabled: Any = True,
        on_stream: Callable[[AgentToolStreamEvent], Any] | None = None,
        run_config: RunConfig | Mapping[str, Any] | None = None,
        max_turns: int | None = None,
        hooks: RunHooksBase[Any, Any] | None = None,
        previous_response_id: str | None = None,
        conversation_id: str | None = None,
        session: Any = None,
        failure_error_function: ToolErrorFunction | None = default_tool_error_function,
        needs_approval: Any = False,
        parameters: type[Any] | None = None,
        input_builder: StructuredToolInputBuilder | None = None,
        include_input_schema: bool = False,
        on_stream_max_pending_events: int | None = 1024,
    ) -> FunctionTool:
        """This agent as a tool of another: its run is a child of the caller's, with a journal of its own. What it waits
        for, its caller waits for.

        ``custom_output_extractor(result)``: makes the tool's output of the nested ``RunResult``; sync or async.
        ``on_stream(event)``: is told what happens in the nested run, which is streamed then; what it raises is only
        logged. ``run_config``: of the nested run; the caller's without one. ``max_turns``: default 10. ``hooks``,
        ``session``, ``previous_response_id``, ``conversation_id``: of the nested run. ``failure_error_function``: what
        the caller's model is told of a nested run that failed; None raises it, and a resume of the caller goes on with
        it. ``parameters``: a dataclass or pydantic model that the caller's model fills in; ``input_builder(options)``
        makes the nested input of it, and ``include_input_schema`` adds its schema to the default one.
        ``on_stream_max_pending_events``: how many events may wait for a slow ``on_stream``, None for no limit; the
        nested run fails when they're more.

        Raises TypeError and UserError for what can't be.
        """
        if on_stream is not None and not callable(on_stream):
            raise UserError("on_stream must be callable or None; a run configuration is run_config=...")
        if on_stream_max_pending_events is not None and on_stream_max_pending_events <= 0:
            raise UserError("on_stream_max_pending_events must be a positive integer or None")
        kept = {"conversation_id": conversation_id, "previous_response_id": previous_response_id, "auto": False}
        return agent_tool(
            self,
            tool_name,
            tool_description,
            parameters,
            builder=input_builder,
            include_input_schema=include_input_schema,
            read=None if custom_output_extractor is None else reading(custom_output_extractor),
            follow=None if on_stream is None else following(self, on_stream, on_stream_max_pending_events),
            is_enabled=is_enabled,
            needs_approval=needs_approval,
            failure_error_function=failure_error_function,
            max_turns=max_turns,
            run_config=None if run_config is None else RunConfig.of(run_config),
            hooks=validate_run_hooks(hooks),
            session=session if session is None or isinstance(session, str) else as_session(session),
            conversation=kept if any(kept.values()) else None,
        )

    @overload
    def run(
        self, input: Any, *, stream: Literal[False] = False, stream_events: bool = False, **more: Unpack[RunArguments]
    ) -> RunOutput: ...
    @overload
    def run(
        self, input: Any, *, stream: Literal[True], stream_events: bool = False, **more: Unpack[RunArguments]
    ) -> Iterator[RunOutputEvent]: ...
    def run(
        self, input: Any, *, stream: bool = False, stream_events: bool = False, **more: Unpack[RunArguments]
    ) -> Any:
        """Run the agent and return its ``RunOutput``; with ``stream`` an iterator of events.

        The same parameters as ``arun``. An error doesn't raise: it's the output's status "ERROR", unless
        ``raise_on_error``. Raises
        UserError inside a running event loop: use ``arun`` there.
        """
        going = self._going(input, stream, stream_events, more)
        if stream:
            return iterate_sync(aiter(going), "agent.run()", "agent.arun()")
        return run_sync(going.output(), "agent.run()", "await agent.arun()")

    @overload
    def arun(
        self, input: Any, *, stream: Literal[False] = False, stream_events: bool = False, **more: Unpack[RunArguments]
    ) -> Coroutine[Any, Any, RunOutput]: ...
    @overload
    def arun(
        self, input: Any, *, stream: Literal[True], stream_events: bool = False, **more: Unpack[RunArguments]
    ) -> Going: ...
    def arun(
        self, input: Any, *, stream: bool = False, stream_events: bool = False, **more: Unpack[RunArguments]
    ) -> Any:
        """Run the agent: ``await`` gives its ``RunOutput``. With ``stream`` it's an async iterator of events, and
        ``await`` gives the iterator itself.

        ``stream_events``: not only content and tools, but what the run does. The other arguments: see
        ``RunArguments``.
        """
        going = self._going(input, stream, stream_events, more)
        return going if stream else going.output()

    def _going(self, input: Any, stream: bool, stream_events: bool, more: RunArguments) -> Going:
        unknown = sorted(set(more) - set(RunArguments.__annotations__))
        if unknown:
            raise TypeError(
                f"agent.run() has no argument {listed(unknown)}; it takes 'input', 'stream', 'stream_events', "
                + listed(RunArguments.__annotations__)
            )
        session_id, user_id, metadata = more.get("session_id"), more.get("user_id"), more.get("metadata")
        store, retries = more.get("store"), more.get("retries", 0)
        meta: dict[str, Any] = {"face": "agent", "stream_events": stream_events}
        if session_id is not None:
            meta["session"] = session_id
        if user_id is not None:
            meta["user"] = user_id
        if metadata:
            meta["metadata"] = metadata
        config = RunConfig.of(more.get("run_config"))
        if more.get("run_config") is not None:
            meta["workflow"] = config.workflow_name
        trace = config.trace_meta()
        if trace:
            meta["trace"] = trace
        options = Options(more.get("dependencies"), config)
        limits = {
            "max_turns": more.get("max_turns"),
            "retries": retries,
            "delay_between_retries": 1.0 if retries else None,
        }

        async def admit() -> Run:
            return await start(
                self,
                input,
                store=self.store_for(store, session_id),
                run_id=more.get("run_id"),
                context=options,
                limits=limits,
                meta=meta,
                stream=stream,
            )

        return Going(self, admit, input, options, stream_events, more.get("raise_on_error", False))

    def store_for(self, store: Store | None, session: str | None) -> Store | None:
        """Where a run is kept: the given store; without one, a run that joins a session is kept in this agent's memory,
        so that the next run of it knows the session."""
        if store is None and session is not None:
            if self._memory is None:
                self._memory = MemoryStore()
            return self._memory
        return store

    def print_response(self, input: Any, *, stream: bool = False, **more: Unpack[RunArguments]) -> None:
        """Run the agent and print what it says; for trying things out."""
        if stream:
            for event in self.run(input, stream=True, **more):
                if isinstance(event, RunContentEvent):
                    print(event.content, end="", flush=True)
            print()
        else:
            print(self.run(input, **more).content)

    async def aprint_response(self, input: Any, *, stream: bool = False, **more: Unpack[RunArguments]) -> None:
        """``print_response`` for async code."""
        if stream:
            async for event in self.arun(input, stream=True, **more):
                if isinstance(event, RunContentEvent):
                    print(event.content, end="", flush=True)
            print()
        else:
            print((await self.arun(input, **more)).content)


class Going:
    """A streamed run of an agent that is about to go: iterate it for its events. ``await`` gives the iterator too."""

    def __init__(
        self,
        agent: Agent[Any],
        admit: Callable[[], Awaitable[Run]],
        input: Any,
        options: Options,
        stream_events: bool,
        raise_on_error: bool,
    ) -> None:
        self._agent = agent
        self._admit = admit
        self._input = input
        self._options = options
        self._all = stream_events
        self._raise = raise_on_error

    def __await__(self) -> Generator[Any, None, AsyncIterator[RunOutputEvent]]:
        return self._iterator().__await__()

    async def _iterator(self) -> AsyncIterator[RunOutputEvent]:
        return aiter(self)

    async def output(self) -> RunOutput:
        """Run to the end, without a stream."""
        run = await self._admit()
        return await output_of(run, self._agent, self._input, self._options, self._raise)

    async def __aiter__(self) -> AsyncIterator[RunOutputEvent]:
        run = await self._admit()
        async for event in events_of_run(run, self._agent, self._input, self._options, self._all, self._raise):
            yield event


def check_limits(limits: Mapping[str, Any] | None) -> None:
    """Raises UserError for a limit that no agent's run has."""
    known = {"max_turns", "max_seconds", *BUDGETS}
    unknown = sorted(set(limits or ()) - known)
    if unknown:
        raise UserError(f"no limit is called {listed(unknown)}; there are {listed(sorted(known))}")
