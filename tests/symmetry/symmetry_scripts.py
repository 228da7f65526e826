"""Scripts: what a run will meet, as data. A strategy gives random ones; a fresh world is built of one by
``symmetry_world``, as often as it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hypothesis import strategies as st

Verdict = Literal["pass", "trip", "raise"]
Said = Literal["allow", "reject", "trip", "raise"]
Decides = Literal["approve", "reject", "told", "approve always", "reject always"]


@dataclass(frozen=True)
class Guard:
    """A guardrail. ``late``: of one beside the model, whether it speaks after the model."""

    verdict: Verdict = "pass"
    parallel: bool = True
    late: bool = False


@dataclass(frozen=True)
class Tool:
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


@dataclass(frozen=True)
class Call:
    """A call in a reply. ``same``: its id is one that other calls have too."""

    tool: str
    arguments: Literal["good", "other", "bad json", "wrong"] = "good"
    same: bool = False


@dataclass(frozen=True)
class Handoff:
    """A handoff that an agent has. ``typed``: it takes input."""

    to: int
    filter: Literal["none", "same", "cut", "tools", "raise"] = "none"
    nest: bool | None = None
    typed: bool = False


@dataclass(frozen=True)
class Go:
    """A handoff in a reply."""

    to: int
    good: bool = True


@dataclass(frozen=True)
class Reply:
    """What a model says: ``text``; a "json" text is of the output type, "broken" isn't. ``fails``: how often it fails
    before that, and how."""

    parts: tuple[Call | Go | Literal["hosted", "reasoning", "text", "json", "broken", "empty", "refusal"], ...]
    fails: int = 0
    error: Literal["retryable", "final", "foreign"] = "retryable"


@dataclass(frozen=True)
class Agent:
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


@dataclass(frozen=True)
class Script:
    """A run: its agents (the first begins), helpers (agents that are tools), what it's configured with, and what its
    app does: decides, adds input, goes on after failures."""

    agents: tuple[Agent, ...] = (Agent(),)
    helpers: tuple[Agent, ...] = ()
    items: bool = False
    hooks: bool = False
    max_turns: int | None = 6
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

FEW = st.integers(0, 2)
seldom = st.sampled_from([False] * 5 + [True])
TOOLS = ("t0", "t1", "t2")


def _often(usual: Any, *others: Any, weight: int = 4) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual] * weight + list(others))


@st.composite
def _tool(draw: st.DrawFn, name: str, helpers: tuple[int, ...]) -> Tool:
    does = draw(st.sampled_from(["text", "text", "data", "raise", "told", "worded", "flaky", "slow", "slow raises"]))
    if helpers and draw(st.integers(0, 2)) == 0:
        return Tool(
            name, "agent", approval=draw(_often("never", "always", "sometimes")), helper=draw(st.sampled_from(helpers)),
            words=draw(st.booleans()), reads=draw(seldom),
        )  # fmt: skip
    guard = st.sampled_from([None] * 6 + ["allow", "reject", "trip", "raise"])
    return Tool(
        name,
        does,
        sync=does in ("text", "data", "told", "raise") and draw(seldom),
        steps=draw(FEW),
        approval=draw(_often("never", "always", "sometimes", weight=3)),
        on_crash=draw(_often("retry", "ask", "fail", weight=6)),
        before=draw(guard),
        after=draw(guard),
        custom=draw(seldom),
    )


def _reply(tools: tuple[Tool, ...], handoffs: tuple[Handoff, ...], typed: bool) -> st.SearchStrategy[Reply]:
    names = [one.name for one in tools]
    call = st.builds(
        Call,
        st.sampled_from([*names, *names, *names, "nobody"] if names else ["nobody"]),
        _often("good", "other", "bad json", "wrong", weight=6),
        seldom,
    )
    part: st.SearchStrategy[Any] = st.sampled_from(["hosted", "reasoning", "text"])
    if names:
        part = st.one_of(call, call, call, part)
    if handoffs:
        part = st.one_of(part, part, st.builds(Go, st.sampled_from([one.to for one in handoffs]), _often(True, False)))
    ends = ["json", "json", "broken", "text", "empty", "refusal"] if typed else ["text", "text", "empty", "refusal"]
    parts = st.one_of(
        st.lists(part, min_size=1, max_size=4).map(tuple),
        st.lists(part, min_size=1, max_size=3).map(tuple),
        st.lists(part, min_size=2, max_size=3).map(tuple),
        st.sampled_from([*((one,) for one in ends), ()]),
    )
    return st.builds(Reply, parts, _often(0, 1, 2, 4, weight=9), st.sampled_from(["retryable", "final", "foreign"]))


VERDICTS = _often("pass", "trip", "raise", weight=4)
guards = st.lists(st.builds(Guard, VERDICTS, st.booleans(), st.booleans()), max_size=2).map(tuple)


@st.composite
def _agent(draw: st.DrawFn, others: int, helpers: tuple[int, ...]) -> Agent:
    count = draw(st.sampled_from([0, 1, 2, 2, 3, 3]))
    tools = tuple(draw(_tool(name, helpers)) for name in TOOLS[:count])
    targets = draw(st.lists(st.integers(0, others - 1), unique=True, max_size=2)) if others else []
    handoffs = tuple(
        Handoff(to, draw(_often("none", "same", "cut", "tools", "raise")), draw(_often(None, True, False)), draw(seldom))
        for to in targets
    )
    typed = draw(seldom)
    return Agent(
        tools,
        handoffs,
        tuple(draw(st.lists(_reply(tools, handoffs, typed), min_size=1, max_size=4))),
        draw(guards) if draw(seldom) else (),
        tuple(draw(st.lists(VERDICTS, min_size=1, max_size=2))) if draw(seldom) else (),
        typed,
        draw(_often("run_llm_again", "stop_on_first_tool", "stop at t0", "function", weight=6)),
        draw(st.booleans()),
        draw(seldom),
    )


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Any script."""
    agents = draw(st.sampled_from([1, 1, 2, 3]))
    helpers = draw(st.sampled_from([0, 0, 1, 2]))
    rare = draw(st.booleans())  # half of the scripts have nothing of what is seldom set
    some = seldom if rare else st.just(False)
    session = draw(_often("none", "own", "limited", "foreign", "compacting", "callback", weight=5))
    return Script(
        tuple(draw(_agent(agents if agents > 1 else 0, tuple(range(helpers)))) for _ in range(agents)),
        tuple(draw(_agent(0, tuple(range(n + 1, helpers)))) for n in range(helpers)),  # it has those after it
        items=draw(seldom),
        hooks=draw(st.booleans()),
        max_turns=draw(_often(6, 0, 1, 2, 3, None, weight=9)),
        max_tokens=draw(_often(None, 15, 35)) if rare else None,
        session=session,
        stored=draw(st.booleans()),
        handlers=tuple(
            one for one in ("max_turns", "model_refusal", "invalid_final_output", "over_budget") if draw(some)
        ),
        unknown_told=draw(st.booleans()),
        formatter=draw(some),
        nest=draw(some),
        run_filter=draw(some),
        input_filter=draw(some),
        reasks=draw(st.sampled_from([0, 1, 2])),
        at_a_time=draw(_often(None, 1, 2)),
        pre_approval=draw(some),
        run_guards=draw(guards) if draw(some) else (),
        run_output_guards=tuple(draw(st.lists(VERDICTS, max_size=1))) if draw(some) else (),
        decides=tuple(
            draw(
                st.lists(
                    st.sampled_from(["approve", "approve", "reject", "told", "approve always", "reject always"]),
                    min_size=1,
                    max_size=3,
                )
            )
        ),
        one_by_one=draw(seldom),
        added=tuple(draw(st.lists(st.sampled_from(["more", "even more"]), max_size=2))) if draw(some) else (),
        tries=draw(st.sampled_from([0, 1, 1, 2])),
    )
