"""Scripts: what a run will meet, as data. A strategy gives random ones; a fresh world is built of one by
``symmetry_world``, as often as it takes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal

from hypothesis import strategies as st

Verdict = Literal["pass", "trip", "raise"]
Said = Literal["allow", "reject", "trip", "raise"]
Decides = Literal["approve", "reject", "told", "approve always", "reject always"]


class _Short:
    """Shown without what is as usual, so that a counterexample can be read, and pasted."""

    def __repr__(self) -> str:
        told = [
            f"{one.name}={getattr(self, one.name)!r}"
            for one in fields(self)  # type: ignore[arg-type]
            if getattr(self, one.name) != one.default
        ]
        return f"{type(self).__name__}({', '.join(told)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@dataclass(frozen=True, repr=False)
class Guard(_Short):
    """A guardrail. ``late``: of one beside the model, whether it speaks after the model."""

    verdict: Verdict = "pass"
    parallel: bool = True
    late: bool = False


@dataclass(frozen=True, repr=False)
class Tool(_Short):
    """A tool. ``does``: what its function does; "flaky" raises once. ``steps``: turns of the loop that an async one
    takes. ``before``, ``after``: what its guardrails say. ``helper``: which helper it is, of an agent tool."""

    name: str
    does: Literal["text", "data", "raise", "told", "worded", "flaky", "slow", "slow raises", "agent"] = "text"
    sync: bool = False
    steps: int = 0
    approval: Literal["never", "always", "sometimes"] = "never"
    on_crash: Literal["retry", "ask", "fail"] = "retry"
    before: Said | None = None
    after: Said | None = None
    custom: bool = False
    helper: int = 0
    words: bool = True
    """Of an agent tool: whether a failure is told to the model."""
    reads: bool = False
    """Of an agent tool: whether an extractor makes its output."""


@dataclass(frozen=True, repr=False)
class Call(_Short):
    """A call in a reply. ``same``: its id is one that other calls have too."""

    tool: str
    arguments: Literal["good", "other", "bad json", "wrong"] = "good"
    same: bool = False


@dataclass(frozen=True, repr=False)
class Handoff(_Short):
    """A handoff that an agent has. ``typed``: it takes input."""

    to: int
    filter: Literal["none", "same", "cut", "tools", "raise"] = "none"
    nest: bool | None = None
    typed: bool = False


@dataclass(frozen=True, repr=False)
class Go(_Short):
    """A handoff in a reply."""

    to: int
    good: bool = True


@dataclass(frozen=True, repr=False)
class Reply(_Short):
    """What a model says: ``text``; a "json" text is of the output type, "broken" isn't. ``fails``: how often it fails
    before that, and how."""

    parts: tuple[Call | Go | Literal["hosted", "reasoning", "text", "json", "broken", "empty", "refusal"], ...]
    fails: int = 0
    error: Literal["retryable", "final", "foreign"] = "retryable"


@dataclass(frozen=True, repr=False)
class Agent(_Short):
    """An agent: what it has, and what its model says at each turn."""

    tools: tuple[Tool, ...] = ()
    handoffs: tuple[Handoff, ...] = ()
    replies: tuple[Reply, ...] = ()
    input_guards: tuple[Guard, ...] = ()
    output_guards: tuple[Verdict, ...] = ()
    typed: bool = False
    behavior: Literal["run_llm_again", "stop_on_first_tool", "stop at t0", "function"] = "run_llm_again"
    hooks: bool = False
    dynamic: bool = False


@dataclass(frozen=True, repr=False)
class Script(_Short):
    """A run: its agents (the first begins), helpers (agents that are tools), what it's configured with, and what its
    app does: decides, adds input, goes on after failures."""

    agents: tuple[Agent, ...] = (Agent(),)
    helpers: tuple[Agent, ...] = ()
    items: bool = False
    hooks: bool = False
    max_turns: int = 6
    max_tokens: int | None = None
    session: Literal["none", "own", "limited", "foreign", "compacting", "callback"] = "none"
    stored: bool = False
    handlers: tuple[Literal["max_turns", "model_refusal", "invalid_final_output", "over_budget"], ...] = ()
    unknown_told: bool = False
    formatter: bool = False
    nest: bool = False
    run_filter: bool = False
    input_filter: bool = False
    reasks: int = 1
    at_a_time: int | None = None
    pre_approval: bool = False
    run_guards: tuple[Guard, ...] = ()
    run_output_guards: tuple[Verdict, ...] = ()
    decides: tuple[Decides, ...] = ("approve",)
    one_by_one: bool = False
    added: tuple[str, ...] = ()
    tries: int = 0

    def decision(self, tool: str) -> Decides:
        """What the app says of a tool's calls."""
        return self.decides[sum(map(ord, tool)) % len(self.decides)]


# -- the strategy ------------------------------------------------------------------------------------------------------
# Strategies cost more to make than to draw from: each is made once.


@cache
def _often(usual: Any, *others: Any, weight: int = 4) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual] * weight + list(others))


TOOLS = ("t0", "t1", "t2")
seldom = _often(False, True, weight=5)
_APPROVAL = _often("never", "always", "sometimes", weight=3)
_SAID = _often(None, "allow", "reject", "trip", "raise", weight=8)
_VERDICT = _often("pass", "trip", "raise")
_ARGUMENTS = _often("good", "other", "bad json", "wrong", weight=6)
_DOES = st.sampled_from(("text", "text", "data", "raise", "told", "worded", "flaky", "slow", "slow raises"))
_SYNC = ("text", "data", "raise", "told")
_GUARDS = st.lists(st.builds(Guard, _VERDICT, st.booleans(), st.booleans()), min_size=1, max_size=2).map(tuple)
_OUTPUT_GUARDS = st.lists(_VERDICT, min_size=1, max_size=2).map(tuple)
_DECIDES = st.lists(
    st.sampled_from(("approve", "approve", "reject", "told", "approve always", "reject always")), min_size=1, max_size=3
).map(tuple)


@cache
def _tool(name: str, helpers: tuple[int, ...]) -> st.SearchStrategy[Tool]:
    own = st.builds(
        _made, st.just(name), _DOES, seldom, st.integers(0, 2), _APPROVAL, _often("retry", "ask", "fail", weight=6),
        _SAID, _SAID, seldom,
    )  # fmt: skip
    if not helpers:
        return own
    nested = st.builds(
        Tool, st.just(name), st.just("agent"), approval=_APPROVAL, helper=st.sampled_from(helpers), words=st.booleans(),
        reads=seldom,
    )  # fmt: skip
    return st.one_of(own, own, nested)


def _made(name: str, does: Any, sync: bool, *more: Any) -> Tool:
    return Tool(name, does, sync and does in _SYNC, *more)


@cache
def _reply(names: tuple[str, ...], targets: tuple[int, ...], typed: bool) -> st.SearchStrategy[Reply]:
    parts: list[Any] = [st.sampled_from(("hosted", "reasoning", "text"))]
    if names:
        parts += [st.builds(Call, st.sampled_from(names * 4 + ("nobody",)), _ARGUMENTS, seldom)] * 3
    if targets:
        parts += [st.builds(Go, st.sampled_from(targets), _often(True, False))] * len(parts)
    part = st.one_of(parts)
    ends = ("json", "json", "broken", "text", "empty", "refusal") if typed else ("text", "text", "empty", "refusal")
    said = st.one_of(
        st.lists(part, min_size=1, max_size=4).map(tuple),
        st.lists(part, min_size=1, max_size=3).map(tuple),
        st.lists(part, min_size=2, max_size=3).map(tuple),
        st.sampled_from([*((one,) for one in ends), ()]),
    )
    return st.builds(Reply, said, _often(0, 1, 2, 4, weight=9), st.sampled_from(("retryable", "final", "foreign")))


@cache
def _tools(helpers: tuple[int, ...]) -> st.SearchStrategy[tuple[Tool, ...]]:
    each = [_tool(name, helpers) for name in TOOLS]
    return st.one_of([st.tuples(*each[:count]) for count in (0, 1, 2, 2, 3, 3)])


@cache
def _handoffs(others: int) -> st.SearchStrategy[tuple[Handoff, ...]]:
    if not others:
        return st.just(())
    one = st.builds(
        Handoff, st.integers(0, others - 1), _often("none", "same", "cut", "tools", "raise"), _often(None, True, False),
        seldom,
    )  # fmt: skip
    return st.lists(one, unique_by=lambda one: one.to, max_size=2).map(tuple)


@cache
def _replies(names: tuple[str, ...], targets: tuple[int, ...], typed: bool) -> st.SearchStrategy[tuple[Reply, ...]]:
    return st.lists(_reply(names, targets, typed), min_size=1, max_size=4).map(tuple)


_NONE = st.just(())
_SOME_GUARDS = st.one_of(_NONE, _NONE, _NONE, _NONE, _GUARDS)
_SOME_OUTPUT_GUARDS = st.one_of(_NONE, _NONE, _NONE, _NONE, _OUTPUT_GUARDS)
_BEHAVIOR = _often("run_llm_again", "stop_on_first_tool", "stop at t0", "function", weight=6)


@st.composite
def _agent(draw: st.DrawFn, others: int, helpers: tuple[int, ...]) -> Agent:
    tools, handoffs, typed = draw(_tools(helpers)), draw(_handoffs(others)), draw(seldom)
    said = _replies(tuple(one.name for one in tools), tuple(one.to for one in handoffs), typed)
    return Agent(
        tools, handoffs, draw(said), draw(_SOME_GUARDS), draw(_SOME_OUTPUT_GUARDS), typed, draw(_BEHAVIOR),
        draw(st.booleans()), draw(seldom),
    )  # fmt: skip


_agent_of = cache(_agent)
_CREWS = {
    (agents, helpers): st.tuples(
        st.tuples(*[_agent_of(agents if agents > 1 else 0, tuple(range(helpers)))] * agents),
        st.tuples(*(_agent_of(0, tuple(range(n + 1, helpers))) for n in range(helpers))),  # it has those after it
    )
    for agents in (1, 2, 3)
    for helpers in (0, 1, 2)
}
_HANDLED = ("max_turns", "model_refusal", "invalid_final_output", "over_budget")
_USUAL = st.fixed_dictionaries(
    {
        "items": seldom,
        "hooks": st.booleans(),
        "max_turns": _often(6, 0, 1, 2, 3, weight=9),
        "session": _often("none", "own", "limited", "foreign", "compacting", "callback", weight=5),
        "stored": st.booleans(),
        "unknown_told": st.booleans(),
        "reasks": st.integers(0, 2),
        "at_a_time": _often(None, 1, 2),
        "decides": _DECIDES,
        "one_by_one": seldom,
        "tries": st.sampled_from((0, 1, 1, 2)),
    }
)
_SELDOM = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.sampled_from((15, 35)),
        "handlers": st.lists(st.sampled_from(_HANDLED), unique=True, min_size=1).map(tuple),
        "formatter": st.just(True),
        "nest": st.just(True),
        "run_filter": st.just(True),
        "input_filter": st.just(True),
        "pre_approval": st.just(True),
        "run_guards": _GUARDS,
        "run_output_guards": _OUTPUT_GUARDS,
        "added": st.lists(st.sampled_from(("more", "even more")), min_size=1, max_size=2).map(tuple),
    },
)
_SIZES = st.sampled_from([(a, h) for a in (1, 1, 2, 3) for h in (0, 0, 1, 2)])


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Any script."""
    agents, helpers = draw(_CREWS[draw(_SIZES)])
    return Script(agents, helpers, **draw(_USUAL), **(draw(_SELDOM) if draw(st.booleans()) else {}))
