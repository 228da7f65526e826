"""Items to chat messages and back."""

from __future__ import annotations

from typing import Any

import pytest

from flowcore.errors import UserError
from flowcore.models.chat_convert import call_item, items_to_messages, message_to_items


def call(number: int, **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": f"call_{number}", "name": "f", "arguments": "{}", **more}


def output(number: int, value: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": f"call_{number}", "output": value}


def wire_call(number: int, **more: Any) -> dict[str, Any]:
    return {**more, "id": f"call_{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}


IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}
CHAT_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}


def test_a_text_is_the_users_after_the_systems() -> None:
    assert items_to_messages("Be brief.", "hi") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]


def test_the_parts_of_a_message_take_their_chat_form() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    parts = [
        {"type": "input_text", "text": "what is this?"},
        IMAGE,
        {"type": "input_file", "file_data": "AA==", "filename": "a.pdf"},
        audio,
        {"type": "a_later_kind", "x": [1]},
    ]
    assert items_to_messages(None, [{"role": "user", "content": parts}]) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "what is this?"},
                CHAT_IMAGE,
                {"type": "file", "file": {"file_data": "AA==", "filename": "a.pdf"}},
                audio,
                {"type": "a_later_kind", "x": [1]},
            ],
        }
    ]


def test_several_calls_stand_in_one_message_with_their_text() -> None:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Wait."}]}
    history = [{"role": "user", "content": "hi"}, said, call(1), call(2), output(1, "one"), output(2, "two"), call(3)]
    assert items_to_messages(None, history)[1:] == [
        {"role": "assistant", "content": "Wait.", "tool_calls": [wire_call(1), wire_call(2)]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "call_2", "content": "two"},
        {"role": "assistant", "content": None, "tool_calls": [wire_call(3)]},
    ]


def test_a_tools_image_follows_once_all_tools_have_answered() -> None:
    history = [call(1), call(2), output(1, [{"type": "input_text", "text": "seen"}, IMAGE]), output(2, [IMAGE])]
    assert items_to_messages(None, history)[1:] == [
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "seen"}]},
        {"role": "tool", "tool_call_id": "call_2", "content": "The output follows."},
        {"role": "user", "content": [CHAT_IMAGE, CHAT_IMAGE]},
    ]


def test_what_a_provider_put_beside_a_call_is_given_back_to_it() -> None:
    item = call_item(wire_call(1, signature="s"), "completed")
    assert items_to_messages(None, [item]) == [
        {"role": "assistant", "content": None, "tool_calls": [wire_call(1, signature="s")]}
    ]


def test_a_refusal_goes_back_as_one() -> None:
    said = message_to_items({"content": None, "refusal": "No."}, "stop")
    assert items_to_messages(None, said) == [{"role": "assistant", "content": None, "refusal": "No."}]


def test_a_custom_tools_call_goes_both_ways() -> None:
    wire = {"id": "call_1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    item = call_item(wire, "completed")
    assert (item["type"], item["input"]) == ("custom_tool_call", "select 1")
    assert items_to_messages(None, [item])[0]["tool_calls"] == [wire]


def test_reasoning_is_left_out_and_hosted_calls_are_refused_by_name() -> None:
    assert items_to_messages(None, [{"type": "reasoning", "id": "rs_1", "summary": []}]) == []
    with pytest.raises(UserError, match="'web_search_call' can't be sent through Chat Completions"):
        items_to_messages(None, [{"type": "web_search_call", "id": "ws_1"}])


@pytest.mark.parametrize(
    "part", [{"type": "input_image", "file_id": "f"}, {"type": "input_file", "file_url": "https://x"}]
)
def test_a_part_without_a_chat_form_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="can't be sent through Chat Completions"):
        items_to_messages(None, [{"role": "user", "content": [part]}])


def test_the_history_is_left_as_it_was() -> None:
    history = [{"role": "assistant", "content": "x"}, call(1), output(1, [IMAGE])]
    before = repr(history)
    items_to_messages(None, history)
    assert repr(history) == before


def test_a_reply_that_was_cut_is_incomplete() -> None:
    (item,) = message_to_items({"content": "Hel"}, "length")
    assert item["status"] == "incomplete"
