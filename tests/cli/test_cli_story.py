"""What is read from a journal without a graph, and how values are put into words. No processes, no loop."""

from __future__ import annotations

import pytest

from flowcore.cli import words
from flowcore.cli.asking import parsed
from flowcore.cli.hints import Hints
from flowcore.cli.story import busy_seconds, items_of, path_line
from flowcore.machine.facts import Effect, Fact, Intent, Rested, Resumed, Signal, Started, Transition


def started(at: float) -> Fact:
    return Started(0, at, at, "a", 1, "g", "f", {}, {}, "r")


def moved(seq: int, began: float, at: float, to: str = "b", not_before: float | None = None) -> Fact:
    return Transition(seq, began, at, "a", 1, "on", to, 1, {}, not_before=not_before)


def test_time_at_work_leaves_out_what_a_person_took_and_a_crash_lay_there():
    facts = [
        started(0.0),
        moved(1, 0.0, 2.0),
        Rested(2, 2.0, 3.0, "b", 1, "waiting"),
        Signal(3, 900.0, 1_000.0, "b", 1, "id", "answer", "k"),
        Resumed(4, 1_000.0, 1_000.0, "b", 1, "answer"),
        moved(5, 1_000.0, 1_004.0),
        moved(6, 5_000.0, 5_001.0),  # killed before it, resumed an hour later
    ]
    assert busy_seconds(facts) == 8.0


def test_time_at_work_counts_what_goes_on_side_by_side_once_and_pauses_before_retries():
    facts = [
        started(0.0),
        Intent(1, 1.0, 1.0, "a", 1, "k", "", "ask"),
        Effect(2, 1.0, 3.0, "a", 1, "k", None),
        Signal(3, 2.0, 2.5, "a", 1, "id", "stop"),
        Effect(4, 0.5, 4.0, "a", 1, "l", None),
        moved(5, 0.0, 5.0, not_before=7.0),
        moved(6, 7.0, 8.0),
    ]
    assert busy_seconds(facts) == 8.0


def test_a_path_is_one_line_in_which_repeats_are_counted():
    facts = [started(0), moved(1, 0, 0, "b"), moved(2, 0, 0, "b"), moved(3, 0, 0, "END")]
    assert path_line(facts) == "a -> b x2 -> END"


def test_items_are_found_in_transitions_and_effects():
    call = {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c", "output": "x"}
    plain = Transition(1, 0, 0, "a", 1, "on", "b", 1, {"items": [call]})
    parts = Transition(2, 0, 0, "a", 1, "on", "b", 1, {"items": [{"of": ["k"]}, {"new": output}]}, {"items": "parts"})
    assert items_of(plain) == [call]
    assert items_of(parts) == [output]
    assert items_of(Effect(3, 0, 0, "a", 1, "k", output)) == [output]
    assert items_of(Effect(3, 0, 0, "a", 1, "model", {"output": [call], "response_id": None})) == [call]
    assert items_of(Effect(3, 0, 0, "a", 1, "k", {"anything": 1})) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0 ms"), (0.0123, "12 ms"), (1.24, "1.2 s"), (59.94, "59.9 s"), (125, "2 min 5 s"), (7200, "2 h"),
     (190_000, "2 d 4 h")],
)  # fmt: skip
def test_durations_are_short(seconds: float, text: str):
    assert words.duration(seconds) == text


def test_text_from_outside_cant_steer_a_terminal_but_keeps_its_letters():
    assert words.clean("a\x1b[31mb\u202e\x9b\r\nc\td 👨‍👩‍👧") == "a\\x1b[31mb\\u202e\\x9b\nc\td 👨‍👩‍👧"
    assert words.call("f", '{"a": 1, "b": "x"}') == 'f(a=1, b="x")'
    assert words.call("f", "not json") == "f(not json)"
    assert words.short_id("0" * 32) == "0" * 8
    assert words.short_id("order-2026-000017") == "order-2026-000017"


def test_an_answer_is_json_or_text_and_text_where_text_is_asked_for():
    assert parsed("3", None) == 3
    assert parsed("three", None) == "three"
    assert parsed("3", {"type": "string"}) == "3"
    assert parsed('"3"', {"type": "string"}) == "3"
    assert parsed('{"a": 1}', {"type": "object"}) == {"a": 1}


def test_a_hint_never_shows_a_stores_password():
    told = Hints(where="postgresql://me:s3cret@host:5432/db").resume("r")
    assert told == "flowcore resume r --store 'postgresql://me:***@host:5432/db'"
    assert Hints(where="runs.db").show("r") == "flowcore show r --store runs.db"
