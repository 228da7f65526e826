"""``fold`` and ``plan`` on facts made by hand: no event loop, no clock, no store."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from flowcore.errors import StoreError, UpdateError, UserError
from flowcore.graph.graph import Graph, continues
from flowcore.graph.node import node
from flowcore.graph.outcomes import END, START, Key
from flowcore.graph.state import State, add, append, merge
from flowcore.graph.values import Json
from flowcore.machine.facts import Effect, Fact, Intent, Request, Rested, Resumed, Signal, Started, Transition
from flowcore.machine.fold import fold, fold_all
from flowcore.machine.plan import Enter, Fail, GoOn, Halt, Rest, Sleep, Take, over_budget, plan
from flowcore.machine.snapshot import Snapshot
from flowcore.machine.walk import Step, path, same_form, walk_graph


class S(State):
    n: int = 0
    total: Annotated[int, add] = 0
    log: Annotated[list[str], append] = []
    seen: Annotated[dict[str, Json], merge] = {}
    chosen: list[str] = []
    answers: dict[str, Json] = {}


@node(limit="turns", retry=2)
def a(state: S) -> None: ...
@node(limit=2)
def b(state: S) -> None: ...
@node(waits=True)
def w(state: S) -> None: ...
def spare(state: S) -> None: ...


GRAPH = Graph(
    "g",
    S,
    {
        START: a,
        a: {"b": b, "w": w, "end": END, "over_budget": spare, "limit": spare},
        b: {"a": a, "again": b, "w": w},
        w: {"answered": continues(a), "late": b, "end": END},
        spare: {"end": END, "back": a},
    },
)


class Journal:
    """Facts written by hand: each call appends one."""

    def __init__(self, limits: dict[str, Any] | None = None, **input: Any) -> None:
        self.facts: list[Fact] = []
        self.s = Snapshot("r")
        self.now = 100.0
        self._add(
            Started(0, self.now, self.now, "a", 1, "g", GRAPH.fingerprint, input, limits or {}, "r"),
        )

    def _add(self, fact: Fact) -> Journal:
        fold(GRAPH.schema, self.s, fact)
        self.facts.append(fact)
        return self

    def _at(self) -> tuple[int, float, float, str, int]:
        self.now += 1
        return (self.s.seq + 1, self.now, self.now, self.s.visit.node, self.s.visit.number)

    def go(self, on: str, how: Any = None, **update: Any) -> Journal:
        more = {key: update.pop(key) for key in ("not_before", "error", "usage") if key in update}
        edge = GRAPH.out[self.s.visit.node][on]
        opened = self.s.opened.get(edge.target, 0)
        visit = opened if edge.continues and opened else opened + 1
        attempt = self.s.visit.attempt
        return self._add(Transition(*self._at(), on, edge.target, visit, update, how, attempt, **more))

    def effect(self, key: str, value: Any, **more: Any) -> Journal:
        return self._add(Effect(*self._at(), key, value, **more))

    def intent(self, key: str) -> Journal:
        return self._add(Intent(*self._at(), key, "", "ask"))

    def ask(self, key: str) -> Journal:
        return self._add(Request(*self._at(), key, "decision"))

    def letter(self, kind: str, key: str | None = None, value: Any = None, accepted: bool = True) -> Journal:
        return self._add(Signal(*self._at(), f"id{self.s.seq}", kind, key, value, accepted))

    def rest(self, standing: Any, **more: Any) -> Journal:
        return self._add(Rested(*self._at(), standing, self.s.visit.attempt, **more))

    def wait(
        self, *keys: str, enough: str = "all", until: Any = None, late: Any = None, into: Any = "answers"
    ) -> Journal:
        pause = {"on": "answered", "into": into, "until": until, "late": late, "enough": enough, "keys": list(keys)}
        return self.rest("waiting", pause=pause)

    def resume(self, by: str = "resume", limits: Any = None, not_before: Any = None) -> Journal:
        return self._add(Resumed(*self._at(), by, limits, not_before))

    def plan(self, now: float | None = None) -> Any:
        return plan(GRAPH, self.s, self.now if now is None else now)


def test_a_started_run_enters_its_first_node() -> None:
    journal = Journal(n=5)
    assert (journal.s.visit.node, journal.s.visit.number, journal.s.values["n"]) == ("a", 1, 5)
    assert isinstance(journal.plan(), Enter)


def test_updates_join_by_their_reducers() -> None:
    journal = Journal(log=["0"]).go("b", n=1, total=2, log=["1", "2"], seen={"x": 1})
    journal.go("a", n=3, total=4, log=["3"], seen={"y": 2})
    values = journal.s.values
    assert (values["n"], values["total"], values["log"], values["seen"]) == (
        3,
        6,
        ["0", "1", "2", "3"],
        {"x": 1, "y": 2},
    )
    assert values["log"].keys() == [Key(0, 0), Key(1, 0), Key(1, 1), Key(2, 0)]


def test_replace_of_parts_and_select() -> None:
    journal = Journal(log=["0"]).effect("e", {"deep": ["x", "y"]}).effect("f", "z")
    journal.go("b", {"log": "parts", "n": "replace"}, log=[{"of": ["e", "deep", 1]}, {"new": "n"}, {"of": ["f"]}], n=9)
    assert journal.s.values["log"] == ["0", "y", "n", "z"]
    journal.go("a", {"chosen": "select"}, chosen={"of": "log", "pick": [[3, 2], {"new": "made"}, [0, 0]]})
    assert journal.s.values["chosen"] == ["z", "made", "0"]
    journal.effect("g", ["p"]).go("b", {"log": "of", "total": "replace"}, log=["g"], total=1)
    assert journal.s.values["log"][-1] == "p"
    journal.go("a", {"log": "replace"}, log=["only"])
    assert journal.s.values["log"].keys() == [Key(journal.s.seq, 0)]


@pytest.mark.parametrize(
    ("how", "update", "error"),
    [
        ("of", {"log": ["ghost"]}, UserError),
        ("of", {"log": ["e", "nope"]}, UserError),
        ("of", {"n": ["e"]}, UpdateError),
        ("select", {"log": {"of": "log", "pick": [[9, 9]]}}, UpdateError),
        ("odd", {"log": []}, StoreError),
        (None, {"ghost": 1}, StoreError),
        (None, {"n": "text"}, UpdateError),
    ],
)
def test_a_fact_that_cant_be_folded_leaves_no_trace(how: Any, update: dict[str, Any], error: Any) -> None:
    journal = Journal(log=["0"]).effect("e", {"a": 1})
    before = (dict(journal.s.values), journal.s.seq, journal.s.visit)
    name = next(iter(update))
    with pytest.raises(error):
        journal.go("b", {name: how} if how else None, total=1, **update)
    assert before == (journal.s.values, journal.s.seq, journal.s.visit)
    assert len(journal.s.values["log"]) == 1


def test_a_gap_in_the_journal_is_damage() -> None:
    facts = Journal().go("b").go("a").facts
    with pytest.raises(StoreError, match="run 'r': fact 2 can't follow fact 0; the journal has a gap"):
        fold_all(GRAPH.schema, "r", [facts[0], facts[2]])
    with pytest.raises(StoreError, match="can't follow"):
        fold_all(GRAPH.schema, "r", [facts[0], facts[0]])
    with pytest.raises(StoreError, match="belongs to visit 7 of 'a'"):
        fold_all(GRAPH.schema, "r", [facts[0], Effect(1, 0, 0, "a", 7, "k", 1)])


def test_an_edge_opens_a_visit_and_continues_goes_on_with_the_last() -> None:
    journal = Journal().effect("e", 1).ask("q").go("w")
    first = journal.s.visits["a"]
    journal.wait("q").letter("answer", "q", True).go("answered")
    assert journal.s.visit is first
    assert (first.number, list(first.effects), first.questions["q"].answer) == (1, ["e"], True)
    journal.go("b").go("a")
    assert (journal.s.visit.number, journal.s.visit.effects) == (2, {})
    assert journal.s.ran == {"a": 1, "w": 1, "b": 1}


def test_a_retry_counts_an_attempt_and_waits() -> None:
    journal = Journal().effect("e", 1).go("retry", not_before=200.0, error={"kind": "OSError", "message": "x"})
    assert (journal.s.visit.attempt, journal.s.visit.number, journal.s.cause) == (
        2,
        1,
        {"kind": "OSError", "message": "x"},
    )
    assert journal.plan(150.0) == Sleep(200.0)
    assert isinstance(journal.plan(200.0), Enter)
    assert list(journal.s.visit.effects) == ["e"]


def test_limits_count_visits_whose_body_ran() -> None:
    journal = Journal({"turns": 2}).go("b").go("a")
    assert isinstance(journal.plan(), Enter)
    journal.go("b").go("a")
    assert journal.plan() == Take("limit", {})
    journal.go("limit")
    assert journal.s.ran["a"] == 2
    journal.go("back")
    command = journal.plan()
    assert isinstance(command, Fail)
    assert "nothing bounds that cycle" in command.reason
    journal.rest("failed", ran=False).resume(limits={"turns": 3})
    assert isinstance(journal.plan(), Enter)
    journal.resume(limits={"turns": None})
    assert isinstance(journal.plan(), Enter)


def test_a_limit_without_an_edge_fails() -> None:
    journal = Journal().go("b").go("again").go("again")
    command = journal.plan()
    assert isinstance(command, Fail)
    assert command.reason == "node 'b' reached its limit of 2 visits and has no edge 'limit'"
    journal = Journal().go("b").go("again").effect("begun", 1)
    assert isinstance(journal.plan(), Enter)  # a visit that has begun goes on


@pytest.mark.parametrize(
    ("limits", "usage", "words"),
    [
        ({"max_tokens": 10}, {"total_tokens": 10}, "max_tokens=10 is used up (10)"),
        ({"max_cost": 0.5}, {"cost": 0.75}, "max_cost=0.5 is used up (0.75)"),
        ({"max_requests": 1}, {"requests": 1}, "max_requests=1 is used up (1)"),
        ({"max_tokens": 10}, {"total_tokens": 9}, None),
        ({"max_tokens": None}, {"total_tokens": 99}, None),
    ],
)
def test_budgets(limits: dict[str, Any], usage: dict[str, Any], words: str | None) -> None:
    journal = Journal(limits).go("b", usage=usage).go("a")
    assert over_budget(journal.s, journal.now) == words
    assert journal.plan() == (Take("over_budget", {}) if words else Enter())


def test_usage_is_summed_over_effects_transitions_and_rests() -> None:
    journal = (
        Journal()
        .effect("e", 1, usage={"total_tokens": 1}, child="r/a.1/e")
        .go("b", usage={"total_tokens": 2, "cost": 1})
    )
    journal.rest("failed", usage={"total_tokens": 4})
    assert journal.s.usage == {"total_tokens": 7, "cost": 1}


def test_time_at_rest_is_no_time_of_the_run() -> None:
    journal = Journal({"max_seconds": 50}).go("w").ask("q").wait("q")
    journal.now += 10_000
    journal.letter("answer", "q", 1).go("answered")
    assert over_budget(journal.s, journal.now) is None
    assert over_budget(journal.s, journal.now + 50) == "max_seconds=50 have passed"
    journal.rest("failed").now += 10_000
    journal.resume()
    assert over_budget(journal.s, journal.now) is None


def test_a_pause_for_all() -> None:
    journal = Journal().go("w").ask("p").ask("q").wait("p", "q")
    assert journal.plan() == Rest()
    journal.letter("answer", "p", 1)
    assert journal.plan() == Rest()
    journal.letter("answer", "q", None)
    assert journal.plan() == Take("answered", {"answers": {"p": 1, "q": None}})


def test_a_pause_for_any_tells_the_answers_there_are() -> None:
    journal = Journal().go("w").ask("p").ask("q").wait("p", "q", enough="any")
    journal.letter("answer", "q", 2)
    assert journal.plan() == Take("answered", {"answers": {"q": 2}})
    journal.go("answered")
    assert journal.s.open == {}  # what this visit asked is closed when it's left


def test_a_request_of_another_visit_stays_open_until_its_node_is_visited_anew() -> None:
    journal = Journal().ask("p").ask("q").go("w").wait("p", "q", enough="any").letter("answer", "p", 1).go("answered")
    assert list(journal.s.open) == ["q"]
    journal.go("b").go("a")
    assert journal.s.open == {}


def test_a_pause_until() -> None:
    journal = Journal().go("w").ask("q").wait("q", until=500.0, late="late")
    assert journal.plan(400.0) == Rest(due=500.0)
    assert journal.plan(500.0) == Take("late", {})
    journal = Journal().go("w").wait(until=500.0)
    assert journal.plan(400.0) == Sleep(500.0)
    assert journal.plan(500.0) == Take("answered", {})


def test_the_latest_question_of_a_name_is_the_one_that_counts() -> None:
    journal = Journal().ask("q").letter("answer", "q", "of a").go("b")
    journal.ask("q").letter("answer", "q", "of b").go("w").ask("q").wait("q")
    assert journal.plan() == Rest()
    journal.letter("answer", "q", "of w")
    assert journal.plan() == Take("answered", {"answers": {"q": "of w"}})


def test_a_refused_answer_has_no_effect() -> None:
    journal = Journal().ask("q").letter("answer", "q", 1).letter("answer", "q", 2, accepted=False)
    assert journal.s.visit.questions["q"].answer == 1


def test_a_cancel_and_a_stop_rest_the_run_and_a_resume_clears_them() -> None:
    for kind, standing in (("cancel", "cancelled"), ("stop", "stopped")):
        journal = Journal().letter(kind)
        assert journal.plan() == Halt(standing)  # type: ignore[arg-type]
        journal.rest(standing, ran=False)
        assert journal.plan() == Rest()
        assert isinstance(journal.resume().plan(), Enter)
        assert journal.s.ran == {}


def test_a_rest_that_was_asked_for_keeps_what_is_waited_for() -> None:
    journal = Journal().go("w").ask("q").wait("q").letter("cancel").rest("cancelled", ran=False)
    journal.resume()
    assert journal.s.standing == "waiting"
    journal.letter("answer", "q", 1)
    assert isinstance(journal.plan(), Take)


def test_children_that_wait() -> None:
    journal = Journal().rest("waiting", children=["c"], due=300.0)
    assert journal.plan() == Rest(due=300.0)
    assert journal.plan(300.0) == GoOn("due")
    journal.resume("due")
    assert isinstance(journal.plan(), Enter)
    assert (journal.s.waiting_children, journal.s.due, journal.s.visit.attempt) == ((), None, 1)


def test_automatic_resumes_are_counted_and_a_persons_begins_anew() -> None:
    limits = {"retries": 2, "delay_between_retries": 3, "exponential_backoff": True}
    journal = Journal(limits).rest("failed", error={"kind": "OSError", "message": "x"})
    assert journal.plan() == GoOn("retries", 3.0)
    journal.resume("retries", not_before=200.0)
    assert (journal.s.visit.attempt, journal.plan(150.0)) == (2, Sleep(200.0))
    journal.rest("failed")
    assert journal.plan() == GoOn("retries", 6.0)
    journal.resume("retries").rest("failed")
    assert journal.plan() == Rest()
    journal.resume().rest("failed")
    assert journal.plan() == GoOn("retries", 3.0)
    journal.letter("cancel")
    assert journal.plan() == Rest()


def test_an_intent_is_in_doubt_until_an_entry_ended_in_order() -> None:
    error = {"kind": "OSError", "message": ""}
    assert not Journal().intent("pay").go("retry", error=error).s.visit.intents
    assert not Journal().intent("pay").rest("failed", error=error).s.visit.intents
    for broken_off in ("NodeTimeout", "EffectInDoubt"):
        assert Journal().intent("pay").go("retry", error={"kind": broken_off, "message": ""}).s.visit.intents
    assert Journal().intent("pay").rest("cancelled").s.visit.intents
    assert Journal().intent("pay").rest("waiting", children=["in-doubt:pay"]).s.visit.intents


def test_the_end() -> None:
    journal = Journal().ask("q").go("end", n=3)
    assert (journal.s.standing, journal.s.open, journal.s.visit.node, journal.plan()) == ("done", {}, END, Rest())
    assert path(journal.facts) == [Step("a", "end", END)]


def test_a_walk_as_a_graph() -> None:
    journal = Journal().go("b", usage={"cost": 1}).go("a").go("end")
    walk = walk_graph(journal.facts)
    assert list(walk.nodes) == [1, 2, 3]
    assert [walk.edges[edge]["on"] for edge in walk.edges] == ["b", "a"]
    assert walk.nodes[1]["usage"] == {"cost": 1}
    assert (walk.nodes[2]["node"], walk.nodes[2]["to"], walk.nodes[2]["duration"]) == ("b", "a", 0.0)


def test_the_form_of_a_walk_leaves_out_what_may_differ() -> None:
    one = Journal().effect("x", 1).effect("y", 2).intent("z").go("b").facts
    two = Journal().rest("failed").resume().effect("y", 2).effect("x", 1).go("b").facts
    forms = same_form(one), same_form(two)
    assert [[place, effects] for place, effects, _ in forms[0]] == [[place, effects] for place, effects, _ in forms[1]]
    assert same_form(one) != same_form(Journal().effect("x", 1).effect("y", 3).go("b").facts)
