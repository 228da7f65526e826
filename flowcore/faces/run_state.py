"""``RunState``: a run at rest, to decide about, to carry elsewhere as JSON, and to go on with.

It collects decisions and new input, and hands them to the run as letters when it's run. It's detached from the result
that it was taken from: several may be taken from one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, Literal

from typing_extensions import TypeVar

from flowcore.agents.agent import AgentSpec as Agent
from flowcore.agents.context import APPROVAL, RunContextWrapper
from flowcore.agents.items import input_items
from flowcore.agents.loop.state import Crew
from flowcore.engine.carried import Carried, Journal, carried_from
from flowcore.engine.carry import at_once, bring, check, collect, gone_on, letter, requests_of, take_over
from flowcore.engine.clock import CLOCK
from flowcore.engine.forms import IN_DOUBT
from flowcore.engine.private import PrivateStore
from flowcore.engine.run import Run, load
from flowcore.errors import GraphChanged, NotPaused, StoreError, UserError
from flowcore.faces.context_json import Deserializer, Serializer, context_from_json, context_to_json
from flowcore.faces.items import ToolApprovalItem, ToolInDoubtItem
from flowcore.faces.resting import View, agent_called, asked_by, bound_to, call_of, graph_of, told_of, tool_of
from flowcore.faces.spending import below as spent_below
from flowcore.faces.spending import below_carried
from flowcore.faces.state_json import SCHEMA, checked_decisions, checked_state
from flowcore.graph.graph import Graph
from flowcore.graph.values import Json, codec_of, copy_json, shorten
from flowcore.machine.facts import Standing
from flowcore.models.base import Item
from flowcore.models.usage import Usage
from flowcore.stores.base import Letter, OpenRequest, Store

if TYPE_CHECKING:
    from flowcore.agents.options import Options
    from flowcore.faces.results import RunResultBase

TContext = TypeVar("TContext", default=Any)
TAgent = TypeVar("TAgent", default=Any)
_NO_VALUE: Any = object()
_ENDING = ("output_guardrails", "finalize", "blocked")
"""Places of a run that has its output: no model call follows."""


class RunState(Generic[TContext, TAgent]):
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

    def __init__(self, agent: Agent[Any], view: View, carried: Carried, context: Any = None) -> None:
        self.context = context
        self.tracing_api_key: str | None = None
        self._agent = agent
        self._seen = view
        self._carried = carried
        self._whole = True
        self._store: Store | None = None
        self._run: Run | None = None
        self._known: Options | None = None
        """What this process learned of the run until now (the Python values that its tools gave)."""
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
            requests, below = requests_of(carried), below_carried(s, carried)
        else:  # it goes on where it lives; its children are read when they're asked for
            carried = Carried((Journal(run.id, run._live.label, 0, tuple(run._live.facts)),))
            requests, below = [one for one in result._requests if s.standing == "waiting"], result._below
        options = result._options
        state: RunState[Any] = cls(agent, View.of(s, run.definition, requests, below), carried, options.context)
        state._known = options.fresh()
        state._known.remember(options)
        tracing = getattr(options.config, "tracing", None)
        state.tracing_api_key = tracing.get("api_key") if isinstance(tracing, Mapping) else None
        if not isinstance(run.store, PrivateStore):
            state._store, state._whole = run.store, False
        return state

    # -- what is known --------------------------------------------------------------------------------------------

    @property
    def _view(self) -> View:
        """As the run rests now: a state that was run goes along with its run."""
        run = self._run
        if run is None:
            return self._seen
        s = run._live.snapshot
        if s.seq + 1 != self._seen.length:
            requests = at_once(run.requests) if s.standing == "waiting" else []
            self._seen = View.of(s, run.definition, requests, at_once(lambda: spent_below(run)))
        return self._seen

    @property
    def _crew(self) -> Crew:
        crew: Crew = graph_of(self._agent).bound
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
        """The trace that the run belongs to, where it was given one or began inside of one."""
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
        asked = asked_by(request)
        agent = agent_called(asked["agent"], self._crew.agents) or self.current_agent
        kind = ToolApprovalItem if request.kind == APPROVAL else ToolInDoubtItem
        return kind(agent, call_of(asked), request=replace(request, data=copy_json(request.data)))

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

    def resolve(
        self, item: ToolApprovalItem, how: Literal["retry", "fail"] | None = None, *, value: Any = _NO_VALUE
    ) -> None:
        """Say what became of a call that a crash broke off (a ``ToolInDoubtItem``): ``"retry"``: make it again;
        ``value``: it happened, and gave this (JSON); ``"fail"``: let the run fail. Until the run goes on the last word
        counts. Raises UserError for an item that isn't in doubt or isn't open, UpdateError for a value that isn't JSON.
        """
        given = value is not _NO_VALUE
        if (how is None) is not given or how not in (None, "retry", "fail"):
            raise UserError('resolve(item, "retry"), resolve(item, "fail") or resolve(item, value=…)')
        request = self._open(item)
        if request.kind != IN_DOUBT:
            raise UserError(f"the call {item.call_id!r} isn't in doubt, it waits for approve(item) or reject(item)")
        said = {"value": codec_of(Json, "the call's value").admit(value)[0]} if given else how
        self._decisions.pop((request.run, request.key), None)
        self._decisions[request.run, request.key] = {"in_doubt": said}

    def _decide(self, item: ToolApprovalItem, decision: dict[str, Any], always: bool) -> None:
        request = self._open(item)
        if request.kind == IN_DOUBT:
            raise UserError(
                f"the call {item.call_id!r} of tool {item.name!r} may have happened before a crash: neither a yes nor"
                ' a no settles it: state.resolve(item, "retry"), resolve(item, value=…) or resolve(item, "fail")'
            )
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
            if (given is None or (given.run, given.key) == (one.run, one.key)) and bound_to(one) == told
        ]
        if len(found) == 1:
            return found[0]
        listed = "; ".join(told_of(one) for one in self._view.requests) or "nothing"
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
            why = "is done" if view.standing == "done" else "has its output"
            raise UserError(f"Cannot add input to a terminal RunState: run '{view.run}' {why}")
        if most is not None and view.turns >= most:
            raise UserError(
                f"Cannot add input to a RunState with no remaining model turns: run '{view.run}' has used its {most};"
                " set state.max_turns to more first"
            )
        how = self.current_agent.tool_use_behavior
        if view.calls and how != "run_llm_again":
            stops = how.get("stop_at_tool_names", ()) if isinstance(how, Mapping) else view.calls
            ends = [name for name in view.calls if name in stops]
            if ends:
                raise UserError(
                    "Cannot add input to an interrupted RunState whose tool result may end the run: that of"
                    f" '{ends[0]}', by the tool_use_behavior of agent '{self.current_agent.name}'"
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

        No store keeps the context, but this JSON takes a mapping along, whole, whatever is in it: where it holds what
        isn't to leave the process, say with ``context_serializer`` what is taken along instead (``lambda context: {}``:
        nothing). A pydantic model or a dataclass becomes its fields, but for those marked secret, and anything else
        ``{}``, with a warning; under ``strict_context`` that's a UserError. Raises AlreadyResumed for a run of a store
        that has gone on there since.
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
            graph = graph_of(self._agent)
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
        graph = graph_of(initial_agent)
        data = checked_state(state_json)
        if isinstance(context_override, RunContextWrapper):
            context_override = context_override.context
        context = context_from_json(data.get("context"), context_override, context_deserializer, strict_context)
        try:
            carried = carried_from(data["run"])
            s = check(carried, graph)
            requests = requests_of(carried) if s.standing == "waiting" else []
            view = View.of(s, graph, requests, below_carried(s, carried))
            for request in view.requests:
                asked_by(request)
        except (UserError, GraphChanged):
            raise
        except StoreError as error:
            cause = error.__cause__  # its text may quote what the JSON holds
            told = error.message if cause is None else f"its run is damaged ({type(cause).__name__})"
            raise UserError(f"this state can't be loaded: {told}") from None
        except Exception as error:
            raise UserError(f"this state can't be loaded: its run is damaged ({type(error).__name__})") from None
        state: RunState[Any] = RunState(initial_agent, view, carried, context)
        state._store = store
        state._take(data)
        return state

    def _take(self, data: Mapping[str, Any]) -> None:
        """The decisions, input and limits of a loaded state. Raises UserError for what isn't so."""
        self._decisions = checked_decisions(data, {(one.run, one.key): one.kind for one in self._seen.requests})
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
        if self._known is not None:
            options.remember(self._known)
        self._known = options
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

    def _letters(self, view: View) -> list[Letter]:
        """What is to be handed in. A letter's id is what it says and the moment it's for: it's the same one whoever
        sends it again."""
        now = CLOCK.time()
        decisions = dict(self._decisions)
        tools = {(one.run, one.key): tool_of(one) for one in view.requests}
        for (run, key), decision in self._decisions.items():
            if decision.get("always"):
                for other in view.requests:
                    if other.kind == APPROVAL and other.run == run and tool_of(other) == tools[run, key]:
                        decisions.setdefault((run, other.key), decision)
        letters = [
            letter(run, "answer", key, _as_answer(decision), view.length, now)
            for (run, key), decision in decisions.items()
        ]
        if self._input:
            letters.append(letter(view.run, "input", None, self.pending_input, view.length, now))
        return letters


def _as_answer(decision: dict[str, Any]) -> Any:
    """What a decision says to the request."""
    return True if decision == {"approve": True} else decision.get("in_doubt", decision)


async def collect_stored(run_id: str, graph: Graph, store: Store) -> Carried:
    """The tree of a run that a store has."""
    return await collect(await load(run_id, graph, store=store), _session_read)


def _session_read(values: Mapping[str, Any]) -> tuple[str, str, int] | None:
    """Which session of its own store an agent's run reads, up to where."""
    session, upto = values.get("session"), values.get("session_upto")
    return None if session is None or upto is None else (session, "session_upto", upto)


def _checked_turns(most: Any) -> int | None:
    if most is not None and (type(most) is not int or most < 0):
        raise UserError(f"max_turns={shorten(most)} is neither a number of turns nor None")
    return most
