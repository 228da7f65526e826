"""What a model still reads of old, long tool outputs."""

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from flowcore.errors import UserError
from flowcore.extensions.tool_output_trimmer import ToolOutputTrimmer


@dataclass
class ModelData:
    input: list[Any]
    instructions: str | None


@dataclass
class CallData:
    model_data: ModelData
    agent: Any = None
    context: Any = None


def turns(output: Any, count: int = 3, name: str = "search", **call: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    for i in range(count):
        items += [
            {"role": "user", "content": f"question {i}"},
            {"type": "function_call", "call_id": f"c{i}", "name": name, "arguments": "{}", **call},
            {"type": "function_call_output", "call_id": f"c{i}", "output": output},
            {"role": "assistant", "content": f"answer {i}"},
        ]
    return items


def outputs(items: list[Any]) -> list[Any]:
    return [item["output"] for item in items if item.get("type") == "function_call_output"]


def test_old_long_outputs_become_a_preview_and_recent_ones_stay():
    items = turns("x" * 1000, 4)
    before = copy.deepcopy(items)
    trimmed = ToolOutputTrimmer()(CallData(ModelData(items, "be kind")))
    short = "[Trimmed: search output — 1000 chars → 200 char preview]\n" + "x" * 200 + "..."
    assert outputs(trimmed.input) == [short, short, "x" * 1000, "x" * 1000]
    assert trimmed.instructions == "be kind"
    assert items == before
    assert [one for one in trimmed.input if one.get("type") != "function_call_output"] == [
        one for one in items if one.get("type") != "function_call_output"
    ]


@pytest.mark.parametrize("length", [500, 501])
def test_an_output_of_the_allowed_length_stays(length):
    first, *_ = outputs(ToolOutputTrimmer(recent_turns=1).trimmed(turns("x" * length)))
    assert (first == "x" * length) is (length == 500)


def test_an_output_that_would_not_become_shorter_stays():
    trimmer = ToolOutputTrimmer(recent_turns=1, max_output_chars=10, preview_chars=5)
    assert outputs(trimmer.trimmed(turns("x" * 20))) == ["x" * 20] * 3


def test_with_no_more_turns_than_are_recent_nothing_is_old():
    items = turns("x" * 1000, 2)
    assert ToolOutputTrimmer(recent_turns=2).trimmed(items[1:]) == items[1:]
    assert ToolOutputTrimmer().trimmed([]) == []
    one_turn = [*items[1:3], {"role": "user", "content": "next"}]
    assert outputs(ToolOutputTrimmer(recent_turns=1).trimmed(one_turn)) != ["x" * 1000]


@pytest.mark.parametrize(
    ("tools", "call", "is_trimmed"),
    [
        (None, {}, True),
        ("search", {}, True),
        (["other", "search"], {}, True),
        (["other"], {}, False),
        ([], {}, False),
        ("crm.search", {"namespace": "crm"}, True),
        ("search", {"namespace": "crm"}, True),
        ("crm.search", {}, False),
    ],
)
def test_it_is_for_the_tools_that_are_named(tools, call, is_trimmed):
    trimmer = ToolOutputTrimmer(recent_turns=1, trimmable_tools=tools)
    first, *_ = outputs(trimmer.trimmed(turns("x" * 1000, **call)))
    assert first.startswith("[Trimmed") is is_trimmed


def test_a_namespaced_tool_is_named_whole_and_one_without_a_call_unknown():
    trimmer = ToolOutputTrimmer(recent_turns=1)
    assert outputs(trimmer.trimmed(turns("x" * 1000, namespace="crm")))[0].startswith("[Trimmed: crm.search output")
    orphan = [{"type": "function_call_output", "call_id": "?", "output": "x" * 1000}, *turns("", 2)]
    assert outputs(trimmer.trimmed(orphan))[0].startswith("[Trimmed: unknown_tool output")


def test_of_content_parts_the_text_is_previewed_and_the_rest_counted():
    parts = [
        {"type": "input_text", "text": "y" * 1000},
        {"type": "input_image", "image_url": "data:" + "z" * 1000},
        {"type": "input_image", "file_id": "f"},
    ]
    trimmer = ToolOutputTrimmer(recent_turns=1)
    first, *_ = outputs(trimmer.trimmed(turns(parts)))
    assert first == "[Trimmed: search; payload 2006; preview 200; dropped 2 input_image]\n" + "y" * 200 + "..."
    image, *_ = outputs(trimmer.trimmed(turns(parts[1:2])))
    assert image == "[Trimmed: search; payload 1005; dropped 1 input_image]"
    small = [{"type": "input_text", "text": "y"}]
    assert outputs(trimmer.trimmed(turns(small)))[0] == small


def test_an_output_of_another_form_is_read_as_text():
    first, *_ = outputs(ToolOutputTrimmer(recent_turns=1).trimmed(turns({"a": "x" * 1000})))
    assert first.startswith("[Trimmed: search output — 1009 chars → 200 char preview]\n{'a': 'xxx")


def test_tools_that_a_search_found_keep_names_and_types():
    parameters = {
        "type": "object",
        "description": "q" * 900,
        "properties": {"title": {"type": "string", "description": "e" * 900}},
        "required": ["title"],
    }
    tool = {"type": "function", "name": "f", "description": "d" * 900, "parameters": parameters}
    found = {"type": "tool_search_output", "tools": [{"type": "namespace", "name": "n", "tools": [tool]}, tool]}
    items = [found, *turns("", 2)]
    trimmed = ToolOutputTrimmer(recent_turns=1).trimmed(items)[0]
    short = {
        "type": "function",
        "name": "f",
        "description": "d" * 200 + "...",
        "parameters": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
    }
    assert trimmed == {**found, "tools": [{"type": "namespace", "name": "n", "tools": [short]}, short]}
    assert ToolOutputTrimmer(recent_turns=1, trimmable_tools="f").trimmed(items)[0] == found
    assert tool["description"] == "d" * 900


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"recent_turns": 0}, "recent_turns must be >= 1, got 0"),
        ({"max_output_chars": 0}, "max_output_chars must be >= 1, got 0"),
        ({"preview_chars": -1}, "preview_chars must be >= 0, got -1"),
    ],
)
def test_a_number_that_is_too_small_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        ToolOutputTrimmer(**options)


def test_it_is_used_as_a_filter_of_the_models_input_and_nothing_else():
    assert [one.name for one in dataclasses.fields(ToolOutputTrimmer)] == [
        "recent_turns",
        "max_output_chars",
        "preview_chars",
        "trimmable_tools",
    ]
    with pytest.raises(UserError, match="call_model_input_filter"):
        ToolOutputTrimmer()([])
