"""``RunState``: a run at rest, to decide about, to carry elsewhere as JSON, and to go on with.

It collects decisions and new input, and hands them to the run as letters when it's run. It's detached from the result
that it was taken from: several may be taken from one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from flowcore.agents.agent import AgentSpec as Agent
from flowcore.agents.as_tool import AgentTool
from flowcore.agents.items import input_items
from flowcore.agents.loop.run_tools import APPROVAL
from flowcore.agents.loop.state import AgentState, Crew
from flowcore.engine.carried import Carried, Journal, carried_from
from flowcore.engine.carry import at_once, bring, check, collect, gone_on, letter, requests_of, take_over
from flowcore.engine.clock import CLOCK
from flowcore.engine.private import PrivateStore
from flowcore.engine.run import Run, load
from flowcore.errors import GraphChanged, NotPaused, StoreError, UserError
from flowcore.faces.context_json import Deserializer, Serializer, context_from_json, context_to_json
from flowcore.faces.items import ToolApprovalItem
from flowcore.graph.graph import Graph
from flowcore.graph.values import copy_json, shorten
from flowcore.machine.facts import Standing
from flowcore.machine.snapshot import Snapshot
from flowcore.models.base import Item
from flowcore.models.usage import Usage
from flowcore.stores.base import Letter, OpenRequest, Store

if TYPE_CHECKING:
    from flowcore.agents.options import Options
    from flowcore.faces.results import RunResultBase

TContext = TypeVar("TContext", default=Any)
SCHEMA = "flowcore/1"
"""``$schemaVersion`` of the JSON that is written."""
_FIELDS = {"$schemaVersion", "run", "context", "decisions", "input", "max_turns", "tracing_api_key"}
_THEIRS = re.compile(r"1\.\d{1,3}")
_OURS = re.compile(r"flowcore/(\d{1,6})")
_ENDING = ("output_guardrails", "finalize", "blocked")
"""Places of a run that has its output: no model call follows."""


@dataclass(frozen=True, slots=True)
class _View:
    """What is known of the run as it rests. ``length``: of its journal. ``calls``: names of the tools that the last
    reply calls and that haven't told their output yet."""

    run: str
    length: int
    standing: Standing
    place: str
    agent: str
    original: list[Item]
    calls: list[str]
    tripped: bool
    usage: dict[str, Any]
    turns: int
    limits: dict[str, Any]
    meta: dict[str, Any]
    requests: list[OpenRequest]

    @classmethod
    def of(cls, s: Snapshot, graph: Graph, requests: Sequence[OpenRequest]) -> _View:
        state: AgentState = graph.schema.view(s.values)
        place = s.visit.node
        pending = state.pending_calls() if place in ("run_tools", "await_decision") else []
        return cls(
            s.run, s.seq + 1, s.standing, place, state.agent, list(state.items[: state.begun or None]),
            [str(call["name"]) for call in pending], state.tripped is not None, dict(s.usage),
            s.turns(nodes=graph.nodes.items()), dict(s.limits), dict(s.meta),
            [one for one in requests if one.kind == APPROVAL],
        )  # fmt: skip


class RunState(Generic[TContext]):
    """A run at rest. ``result.to_state()`` and ``RunState.from_json`` give one; ``Runner.run(agent, state)`` goes on.

    ::

        state = result.to_state()
        for item in state.get_interruptions():
            state.approve(item)
        result = await Runner.run(agent, state)

    A run that was given no store goes on in a copy of its own, so that each state taken from its result is a walk of
    its own. A run that lives in a store goes on there, once: who comes later gets AlreadyResumed. ``context``: the
    app's object, where it's known. ``tracing_api_key``: as it was written along, if it was.
    """

    def __init__(self, agent: Agent[Any], view: _View, carried: Carried, context: Any = None) -> None:
        self.context = context
        self.tracing_api_key: str | None = None
        self._agent = agent
        self._seen = view
        self._carried = carried
        self._whole = True
        self._store: Store | None = None
        self._run: Run | None = None
        self._decisions: dict[tuple[str, str], dict[str, Any]] = {}
        self._input: list[Item] = []
        self._limits: dict[str, Any] = {}

    @classmethod
    def of(cls, result: RunResultBase) -> RunState[Any]:
        """The state of a run at rest, from its result, or from ``error.run_data.result``. Raises UserError while it
        still goes."""
        run = result.run
        if run._task is not None and not run._task.done():
            raise UserError(f"run '{run.id}' is still going: consume stream_events() first, or cancel it")
        crew: Crew = run.definition.bound
        agent = crew.agents[crew.first]
        s = run._live.snapshot
        if isinstance(run.store, PrivateStore):
            carried = at_once(lambda: collect(run, _session_read))
            requests = requests_of(carried)
        else:  # it goes on where it lives; its children are read when they're asked for
            carried = Carried((Journal(run.id, run._live.label, 0, tuple(run._live.facts)),))
            requests = [one for one in result._requests if s.standing == "waiting"]
        state: RunState[Any] = cls(agent, _View.of(s, run.definition, requests), carried, result._options.context)
        if not isinstance(run.store, PrivateStore):
            state._store, state._whole = run.store, False
        return state

    # -- what is known --------------------------------------------------------------------------------------------

    @property
    def _view(self) -> _View:
        """As the run rests now: a state that was run goes along with its run."""
        run = self._run
        if run is None:
            return self._seen
        s = run._live.snapshot
        if s.seq + 1 != self._seen.length:
            self._seen = _View.of(s, run.definition, at_once(run.requests) if s.standing == "waiting" else [])
        return self._seen

    @property
    def _crew(self) -> Crew:
        crew: Crew = _graph_of(self._agent).bound
        return crew

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._view.run

    @property
    def standing(self) -> Standing:
        """How the run stands: waiting, failed, stopped, cancelled, running (its process died) or done."""
        return self._view.standing

    @property
    def current_agent(self) -> Agent[Any]:
        """The agent whose turn it is."""
        crew = self._crew
        return crew.agents.get(self._view.agent or crew.first, self._agent)

    @property
    def starting_agent(self) -> Agent[Any]:
        """The agent that the run began with."""
        return self._agent

    @property
    def original_input(self) -> str | list[Item]:
        """The run's input: the text, or the items. A copy."""
        items = self._view.original
        if len(items) == 1 and set(items[0]) == {"role", "content"} and items[0]["role"] == "user":
            content = items[0]["content"]
            if isinstance(content, str):
                return content
        return [copy_json(item) for item in items]

    @property
    def usage(self) -> Usage:
        """What the run has used, its nested runs included."""
        usage = Usage()
        usage.take(self._view.usage)
        return usage

    @property
    def current_turn(self) -> int:
        """How many turns began."""
        return self._view.turns

    @property
    def max_turns(self) -> int | None:
        """How many turns the run may take; None is no limit. Set it to go on with another limit."""
        most: int | None = {**self._view.limits, **self._limits}.get("max_turns")
        return most

    @max_turns.setter
    def max_turns(self, most: int | None) -> None:
        self._limits["max_turns"] = _checked_turns(most)

    @property
    def trace_id(self) -> str | None:
        """The trace that the run belongs to, where it's traced."""
        return self._traced("trace_id")

    @property
    def group_id(self) -> str | None:
        """The group of its trace."""
        return self._traced("group_id")

    @property
    def workflow_name(self) -> str | None:
        """The workflow's name, as it was begun."""
        return self._traced("workflow_name") or self._view.meta.get("workflow")

    def _traced(self, name: str) -> str | None:
        meta = self._view.meta
        trace = meta.get("trace")
        found: str | None = (trace if isinstance(trace, dict) else meta).get(name)
        return found

    _current_agent = current_agent
    _current_turn = current_turn
    _max_turns = max_turns
    _original_input = original_input
    _starting_agent = starting_agent

    def __repr__(self) -> str:
        view = self._view
        return f"<RunState of run '{view.run}' {view.standing} at '{view.place}', {len(view.requests)} to decide>"

    # -- decisions ------------------------------------------------------------------------------------------------

    def get_interruptions(self) -> list[ToolApprovalItem]:
        """The calls that wait for a person, those of nested agents among them; copies."""
        return [self._item(one) for one in self._view.requests]

    def _item(self, request: OpenRequest) -> ToolApprovalItem:
        asked = _asked(request)
        item: Item = {
            "type": "function_call", "name": asked["tool"], "call_id": asked["call_id"], "arguments": asked["arguments"]
        }  # fmt: skip
        if isinstance(asked.get("namespace"), str):
            item["namespace"] = asked["namespace"]
        agent = agent_called(asked["agent"], self._crew.agents) or self.current_agent
        return ToolApprovalItem(agent, item, request=replace(request, data=copy_json(request.data)))

    def approve(self, approval_item: ToolApprovalItem, always_approve: bool = False) -> None:
        """Let a call be made when the run goes on; with ``always_approve`` every one of this tool by this run.

        Until the run goes on the last decision about a call counts. Raises UserError unless it's open with this very
        tool, call id and arguments, listing what is.
        """
        self._decide(approval_item, {"approve": True}, always_approve)

    def reject(
        self, approval_item: ToolApprovalItem, always_reject: bool = False, *, rejection_message: str | None = None
    ) -> None:
        """Don't let a call be made: the model reads ``rejection_message``. Otherwise as ``approve``."""
        if rejection_message is not None and not isinstance(rejection_message, str):
            raise UserError(f"rejection_message={shorten(rejection_message)}: give a text")
        decision: dict[str, Any] = {"approve": False}
        if rejection_message is not None:
            decision["message"] = rejection_message
        self._decide(approval_item, decision, always_reject)

    def _decide(self, item: ToolApprovalItem, decision: dict[str, Any], always: bool) -> None:
        request = self._open(item)
        self._decisions.pop((request.run, request.key), None)  # the last one is the last in order, too
        self._decisions[request.run, request.key] = {**decision, "always": True} if always else decision

    def _open(self, item: ToolApprovalItem) -> OpenRequest:
        """The open request that an item is about. Raises UserError unless there's exactly one."""
        if not isinstance(item, ToolApprovalItem):
            raise UserError(f"approve and reject take an item of get_interruptions(), not {shorten(item)}")
        given = item.request
        told = (item.name, item.call_id, item.arguments or "")
        found = [
            one
            for one in self._view.requests
            if (given is None or (given.run, given.key) == (one.run, one.key)) and _bound_to(one) == told
        ]
        if len(found) == 1:
            return found[0]
        listed = "; ".join(_told(one) for one in self._view.requests) or "nothing"
        why = "is asked twice: take the item from get_interruptions()" if found else "isn't open in this state"
        raise UserError(
            f"the call {told[1]!r} of tool {told[0]!r} with arguments {shorten(told[2])} {why}. Open in run"
            f" '{self.run_id}' ({self.standing}): {listed}"
        )

    # -- input ----------------------------------------------------------------------------------------------------

    def add_input(self, input: str | list[Any]) -> None:
        """Stage input for the next model call of the run: a text or items.

        Raises UserError where no model call will come: the run is done or has its output, has no turns left (set
        ``max_turns``), or a call that is pending may end it.
        """
        items = [copy_json(item) for item in input_items(input)]
        self._check_input(self.max_turns)
        self._input += items

    @property
    def pending_input(self) -> list[Item]:
        """The staged input; a copy."""
        return [copy_json(item) for item in self._input]

    def clear_pending_input(self) -> None:
        """Take back what was staged."""
        self._input = []

    def _check_input(self, most: int | None) -> None:
        view = self._view
        if view.standing == "done" or view.place in _ENDING:
            raise UserError(
                f"run '{view.run}' takes no more input: it {'is done' if view.standing == 'done' else 'has its output'}"
            )
        if most is not None and view.turns >= most:
            raise UserError(
                f"run '{view.run}' takes no more input: its {most} turns are used up; set state.max_turns to more first"
            )
        how = self.current_agent.tool_use_behavior
        if view.calls and how != "run_llm_again":
            stops = how.get("stop_at_tool_names", ()) if isinstance(how, Mapping) else view.calls
            ends = [name for name in view.calls if name in stops]
            if ends:
                raise UserError(
                    f"run '{view.run}' takes no input now: its call of '{ends[0]}' may end it (tool_use_behavior of"
                    f" agent '{self.current_agent.name}')"
                )

    # -- as JSON --------------------------------------------------------------------------------------------------

    def to_json(
        self,
        *,
        context_serializer: Serializer | None = None,
        strict_context: bool = False,
        include_tracing_api_key: bool = False,
    ) -> dict[str, Any]:
        """The journals of the run and of its nested runs, the decisions and the input that wait, and the context.

        Of the context a mapping is kept, and what ``context_serializer`` makes of it; a pydantic model or a dataclass
        becomes its fields and anything else ``{}``, with a warning; under ``strict_context`` that's a UserError. Raises
        AlreadyResumed for a run of a store that has gone on there since.
        """
        data: dict[str, Any] = {"$schemaVersion": SCHEMA, "run": self._tree().to_json()}
        context = context_to_json(self.context, context_serializer, strict_context)
        if context is not None:
            data["context"] = context
        if self._decisions:
            data["decisions"] = [
                {"run": run, "key": key, **decision} for (run, key), decision in self._decisions.items()
            ]
        if self._input:
            data["input"] = self.pending_input
        data.update(self._limits)
        if include_tracing_api_key and self.tracing_api_key is not None:
            data["tracing_api_key"] = self.tracing_api_key
        return data

    def to_string(
        self,
        *,
        context_serializer: Serializer | None = None,
        strict_context: bool = False,
        include_tracing_api_key: bool = False,
    ) -> str:
        """``to_json`` as text."""
        data = self.to_json(
            context_serializer=context_serializer,
            strict_context=strict_context,
            include_tracing_api_key=include_tracing_api_key,
        )
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        try:
            text.encode()
        except UnicodeEncodeError:  # half a character, which a model may write: escaped it can be put into any file
            text = json.dumps(data, separators=(",", ":"))
        return text

    def _tree(self) -> Carried:
        """The whole tree."""
        if self._run is None and self._whole:
            return self._carried
        run, store, seen = self._run, self._store, self._view
        if run is None:
            assert store is not None
            graph = _graph_of(self._agent)
            carried = at_once(lambda: collect_stored(seen.run, graph, store))
        else:
            going = run
            carried = at_once(lambda: collect(going, _session_read))
        if len(carried.root.facts) != seen.length:
            raise gone_on(seen.run, "further on")
        return carried

    @staticmethod
    async def from_string(
        initial_agent: Agent[Any],
        state_string: str,
        *,
        context_override: Any = None,
        context_deserializer: Deserializer | None = None,
        strict_context: bool = False,
        store: Store | None = None,
    ) -> RunState[Any]:
        """``from_json`` from text."""
        try:
            data = json.loads(state_string)
        except (ValueError, TypeError, RecursionError):
            raise UserError("this state isn't JSON: give what to_string() gave") from None
        return await RunState.from_json(
            initial_agent,
            data,
            context_override=context_override,
            context_deserializer=context_deserializer,
            strict_context=strict_context,
            store=store,
        )

    @staticmethod
    async def from_json(
        initial_agent: Agent[Any],
        state_json: dict[str, Any],
        *,
        context_override: Any = None,
        context_deserializer: Deserializer | None = None,
        strict_context: bool = False,
        store: Store | None = None,
    ) -> RunState[Any]:
        """A state from what ``to_json`` gave; ``initial_agent`` is the agent that the run began with.

        The context is ``context_override``, else what was kept, through ``context_deserializer``. ``store``: where the
        run goes on: if it has the run, in it; else the run is admitted there. Without one it goes on in memory.

        The JSON may come from anybody. Raises UserError where it's malformed, damaged, of another version or of the
        Agents SDK, never quoting it; GraphChanged where the agents don't fit the run any more.
        """
        graph = _graph_of(initial_agent)
        data = _checked(state_json)
        context = context_from_json(data.get("context"), context_override, context_deserializer, strict_context)
        try:
            carried = carried_from(data["run"])
            s = check(carried, graph)
            requests = requests_of(carried) if s.standing == "waiting" else []
            view = _View.of(s, graph, requests)
            for request in view.requests:
                _asked(request)
        except (UserError, GraphChanged):
            raise
        except StoreError as error:
            raise UserError(f"this state can't be loaded: {error.message}") from None
        except Exception as error:
            raise UserError(f"this state can't be loaded: its run is damaged ({type(error).__name__})") from None
        state: RunState[Any] = RunState(initial_agent, view, carried, context)
        state._store = store
        state._take(data)
        return state

    def _take(self, data: Mapping[str, Any]) -> None:
        """The decisions, input and limits of a loaded state. Raises UserError for what isn't so."""
        open = {(one.run, one.key) for one in self._seen.requests}
        for one in data.get("decisions", []):
            decision = dict(one) if type(one) is dict else {}
            place = (decision.pop("run", None), decision.pop("key", None))
            types = {"approve": bool, "message": str, "always": bool}
            fits = all(type(value) is types.get(name) for name, value in decision.items())
            if not fits or "approve" not in decision or not all(isinstance(name, str) for name in place):
                raise UserError("this state's 'decisions' are malformed")
            if place not in open:
                raise UserError("this state decides about a call that it doesn't ask about")
            self._decisions[place] = decision
        self._input = list(data.get("input", []))
        if "max_turns" in data:
            self.max_turns = data["max_turns"]
        self.tracing_api_key = data.get("tracing_api_key")

    # -- going on -------------------------------------------------------------------------------------------------

    async def go_on(
        self,
        options: Options,
        *,
        agent: Agent[Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> Run:
        """Hand the decisions and the input to the run, and claim it: what it gives is to be awaited.

        ``agent``: the one that the run began with, where it's given again. ``limits`` replace those of the same name.
        Running a state again goes on with the same run; nothing is handed in twice.

        Raises NotPaused for a run that is done, UserError for one that a tripwire ended and for input that no model
        call would read, AlreadyResumed when somebody else holds the run or has gone on with it, NotOpen for a call that
        somebody else has decided about, GraphChanged, StoreError.
        """
        view = self._view
        if view.standing == "done":
            if view.tripped:
                raise UserError(
                    f"run '{view.run}' was ended by a tripwire: going on from there is a fork, run.fork(seq)"
                )
            raise NotPaused(f"run '{view.run}' is done: there is nothing to resume", run_id=view.run)
        given = {**self._limits, **(limits or {})}
        if self._input:
            self._check_input(_checked_turns({**view.limits, **given}.get("max_turns")))
        letters = self._letters(view)
        run = self._run
        if run is None:
            sent = {one.id for one in letters}
            graph = self._agent if agent is None else agent
            run = await bring(self._carried, graph, store=self._store, context=options, stream=stream, sent=sent)
        else:
            run._live.context, run._live.stream = options, stream
        await take_over(run, letters)
        self._run = run
        self._decisions.clear()
        self._input = []
        try:
            return await run.resume(limits=given or None)
        except BaseException:
            await run._let_go()
            raise

    def _letters(self, view: _View) -> list[Letter]:
        """What is to be handed in. A letter's id is what it says and the moment it's for: it's the same one whoever
        sends it again."""
        now = CLOCK.time()
        decisions = dict(self._decisions)
        tools = {(one.run, one.key): _asked(one)["tool"] for one in view.requests}
        for (run, key), decision in self._decisions.items():
            if decision.get("always"):
                for other in view.requests:
                    if other.run == run and _asked(other)["tool"] == tools[run, key]:
                        decisions.setdefault((run, other.key), decision)
        letters = [
            letter(run, "answer", key, True if decision == {"approve": True} else decision, view.length, now)
            for (run, key), decision in decisions.items()
        ]
        if self._input:
            letters.append(letter(view.run, "input", None, self.pending_input, view.length, now))
        return letters


async def collect_stored(run_id: str, graph: Graph, store: Store) -> Carried:
    """The tree of a run that a store has."""
    return await collect(await load(run_id, graph, store=store), _session_read)


def agent_called(name: str, agents: Mapping[str, Agent[Any]]) -> Agent[Any] | None:
    """The agent of this name among some agents and those that they have as tools or hand off to, however deep."""
    seen: set[int] = set()
    level = list(agents.values())
    while level:
        below: list[Agent[Any]] = []
        for agent in level:
            if agent.name == name:
                return agent
            seen.add(id(agent))
            below += [tool.agent for tool in agent.tools if isinstance(tool, AgentTool)]
            below += [one.agent for one in agent.resolved_handoffs if one.agent is not None]
        level = [agent for agent in below if id(agent) not in seen]
    return None


def _graph_of(agent: Any) -> Graph:
    graph = getattr(agent, "graph", None)
    if not isinstance(agent, Agent) or not isinstance(graph, Graph):
        raise UserError(f"a state belongs to an Agent's run: give the agent that it began with, not {shorten(agent)}")
    return graph


def _session_read(values: Mapping[str, Any]) -> tuple[str, str, int] | None:
    """Which session of its own store an agent's run reads, up to where."""
    session, upto = values.get("session"), values.get("session_upto")
    return None if session is None or upto is None else (session, "session_upto", upto)


def _asked(request: OpenRequest) -> dict[str, Any]:
    """What a request asks. Raises UserError unless it's about a tool's call."""
    data = request.data
    names = ("tool", "call_id", "arguments", "agent")
    if not isinstance(data, dict) or not all(isinstance(data.get(name), str) for name in names):
        raise UserError("this state asks about a call that it doesn't name: it's damaged")
    return data


def _bound_to(request: OpenRequest) -> tuple[str, str, str]:
    asked = _asked(request)
    return asked["tool"], asked["call_id"], asked["arguments"]


def _told(request: OpenRequest) -> str:
    asked = _asked(request)
    return f"{asked['tool']}({shorten(asked['arguments'])}) as '{asked['call_id']}', asked by agent '{asked['agent']}'"


def _checked_turns(most: Any) -> int | None:
    if most is not None and (type(most) is not int or most < 0):
        raise UserError(f"max_turns={shorten(most)} is neither a number of turns nor None")
    return most


def _checked(data: Any) -> dict[str, Any]:
    """A state's JSON, a copy, with its version and the types of its fields looked at. Raises UserError."""
    if not isinstance(data, Mapping):
        raise UserError("this state isn't a JSON object: give what to_json() gave")
    version = data.get("$schemaVersion")
    if isinstance(version, str) and _THEIRS.fullmatch(version):
        raise UserError(
            f"this is a state of the OpenAI Agents SDK (its schema {version}): it holds the SDK's own snapshot, which"
            " flowcore can't go on from. Finish that run there, or begin a new one with its items as the input"
        )
    ours = _OURS.fullmatch(version) if isinstance(version, str) else None
    if ours is None:
        raise UserError(f"this isn't a state: its '$schemaVersion' isn't '{SCHEMA}'")
    if version != SCHEMA:
        why = "was written by a newer flowcore" if int(ours[1]) > int(SCHEMA.partition("/")[2]) else "doesn't exist"
        raise UserError(f"this state's version {version} {why}; this one reads '{SCHEMA}'")
    try:
        copy: dict[str, Any] = copy_json(dict(data))
    except (ValueError, RecursionError):
        raise UserError("this state isn't plain JSON, or is nested too deeply") from None
    unknown = len(set(copy) - _FIELDS)
    if unknown or "run" not in copy:
        raise UserError(f"this state has {unknown or 'no'} {'fields that no state has' if unknown else 'run'}")
    if type(copy.get("decisions", [])) is not list or type(copy.get("input", [])) is not list:
        raise UserError("this state's 'decisions' or 'input' is malformed")
    if not all(type(item) is dict for item in copy.get("input", [])):
        raise UserError("this state's 'input' is malformed: an item is an object")
    if type(copy.get("tracing_api_key")) not in (str, type(None)):
        raise UserError("this state's 'tracing_api_key' is malformed")
    return copy
