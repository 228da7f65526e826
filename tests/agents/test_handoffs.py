"""How a handoff is declared, called, and how it chooses what the next agent sees."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.handoffs import (
    Handoff,
    HandoffInputData,
    as_handoff,
    filtered,
    handoff,
    history_items,
    wire,
)
from flowcore.agents.nesting import changes, handed_over
from flowcore.errors import ModelBehaviorError, UserError

APP = RunContextWrapper("the app")
BILLING = SimpleNamespace(name="Billing & Co", handoff_description="Knows invoices.")
PLAIN = SimpleNamespace(name="plain", handoff_description=None)
DATA = HandoffInputData("hello", (), ({"type": "function_call", "call_id": "h", "name": "t", "arguments": "{}"},))


class Reason(BaseModel):
    why: str
    level: int = 1


def test_a_handoff_is_named_and_described_after_its_agent():
    one = handoff(BILLING)
    assert one.tool_name == "transfer_to_billing___co" == Handoff.default_tool_name(BILLING)
    assert one.tool_description == "Handoff to the Billing & Co agent to handle the request. Knows invoices."
    assert handoff(PLAIN).tool_description == "Handoff to the plain agent to handle the request."
    assert one.input_json_schema == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert (one.agent_name, one.strict_json_schema, one.nest_handoff_history) == ("Billing & Co", True, None)
    assert one.get_transfer_message(BILLING) == '{"assistant": "Billing & Co"}'


def test_name_and_description_may_be_told_by_position():
    one = handoff(PLAIN, "escalate", "Calls for help.", None, None, None, True, False)
    assert (one.tool_name, one.tool_description) == ("escalate", "Calls for help.")
    assert (one.nest_handoff_history, one.is_enabled) == (True, False)


def test_a_handoff_made_by_hand_takes_its_fields_in_order():
    async def invoke(ctx: Any, arguments: str) -> Any:
        return PLAIN

    one = Handoff("go", "Goes.", {}, invoke, "plain", None, False, False, False)
    assert (one.input_filter, one.nest_handoff_history, one.strict_json_schema, one.is_enabled) == (
        None,
        False,
        False,
        False,
    )


async def test_its_input_is_validated_and_handed_to_the_function():
    got: list[Any] = []

    async def on_handoff(ctx: Any, reason: Reason) -> None:
        got.append((ctx.context, reason))

    one = handoff(PLAIN, on_handoff=on_handoff, input_type=Reason)
    assert one.input_json_schema["required"] == ["why", "level"]
    assert await one.on_invoke_handoff(APP, '{"why": "late"}') is PLAIN
    assert got == [("the app", Reason(why="late"))]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("{", "handoff to 'plain' was called with invalid input"),
        ("{}", "why: Field required"),
        ("", "why: Field required"),
        ("null", "valid dictionary|an object"),
        ('{"why": 1}', "why: .*string"),
        ('{"why": "x", "level": "2"}', "level: .*integer"),
        (None, "expected non-null input, but got None"),
    ],
)
async def test_input_that_is_not_of_the_type_is_the_models_error(arguments, says):
    one = handoff(PLAIN, on_handoff=lambda ctx, reason: None, input_type=Reason)
    with pytest.raises(ModelBehaviorError, match=says):
        await one.on_invoke_handoff(APP, arguments)


async def test_without_an_input_type_the_arguments_do_not_matter():
    called: list[Any] = []
    one = handoff(PLAIN, on_handoff=lambda ctx: called.append(ctx.context))
    assert await one.on_invoke_handoff(APP, "no json") is PLAIN
    assert called == ["the app"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"input_type": Reason}, "You must provide on_handoff when input_type is provided"),
        ({"on_handoff": 3}, "on_handoff must be callable"),
        ({"on_handoff": lambda: None}, "on_handoff must take one argument: context"),
        ({"on_handoff": lambda ctx, more: None}, "on_handoff must take one argument: context"),
        (
            {"on_handoff": lambda ctx: None, "input_type": Reason},
            "on_handoff must take two arguments: context and input",
        ),
    ],
)
def test_a_handoff_that_cannot_be_called_is_refused(options, says):
    with pytest.raises(UserError, match=says):
        handoff(PLAIN, **options)


def test_a_handoff_goes_to_an_agent():
    with pytest.raises(UserError, match="goes to an agent, not to 'sales'"):
        as_handoff("sales")
    own = handoff(PLAIN)
    assert as_handoff(own) is own


async def test_a_handoff_may_be_offered_by_a_function():
    async def for_ada(ctx: Any, agent: Any) -> bool:
        return bool(ctx.context == "the app" and agent == "ada")

    assert await handoff(PLAIN, is_enabled=for_ada).enabled(APP, "ada")
    assert not await handoff(PLAIN, is_enabled=for_ada).enabled(APP, "bob")
    assert not await handoff(PLAIN, is_enabled=False).enabled(APP, "ada")


# --- what the next agent sees -----------------------------------------------------------------------------------------


def test_input_data_is_frozen_and_cloned_with_changes():
    changed = DATA.clone(new_items=())
    assert (changed.input_history, changed.new_items, changed.input_items) == ("hello", (), None)
    assert DATA.new_items
    with pytest.raises(dataclasses.FrozenInstanceError):
        DATA.new_items = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        DATA.clone(nothing=1)


def test_an_item_is_read_whatever_its_form():
    class Message(BaseModel):
        role: str
        content: str
        phase: str | None = None

    item = {"role": "user", "content": "hi"}
    assert wire(item) is item
    assert wire(SimpleNamespace(to_input_item=lambda: item)) is item
    assert wire(Message(role="user", content="hi")) == item
    with pytest.raises(UserError, match="not 3"):
        wire(3)
    assert history_items("hi") == [item]
    assert history_items((item,)) == [item]


async def test_a_filter_is_sync_or_async_and_gives_input_data():
    async def forget(data: HandoffInputData) -> HandoffInputData:
        return data.clone(input_history=())

    assert (await filtered(forget, DATA)).input_history == ()
    assert (await filtered(lambda data: data.clone(new_items=()), DATA)).new_items == ()
    with pytest.raises(UserError, match="Invalid input filter: 3"):
        await filtered(3, DATA)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"Invalid input filter result: None .*; return a HandoffInputData"):
        await filtered(lambda data: None, DATA)  # type: ignore[arg-type,return-value]


def said(text: str) -> Any:
    return lambda data: data.clone(input_history=text)


@pytest.mark.parametrize(
    ("own", "run", "sees"),
    [
        ({}, {}, "hello"),
        ({"input_filter": said("own")}, {"input_filter": said("run"), "nest": True}, "own"),
        ({}, {"input_filter": said("run"), "nest": True}, "run"),
        ({"nest_handoff_history": True}, {"input_filter": said("run")}, "run"),
        ({"nest_handoff_history": False}, {"nest": True}, "hello"),
        ({"nest_handoff_history": True}, {"history_mapper": lambda t: [{"n": len(t)}]}, ({"n": 2},)),
        ({}, {"nest": True, "history_mapper": lambda t: [{"n": len(t)}]}, ({"n": 2},)),
    ],
)
async def test_the_handoffs_filter_goes_before_the_runs_and_both_before_nesting(own, run, sees):
    one = handoff(PLAIN, **own)
    assert (await handed_over(one, DATA, **run)).input_history == sees
    run.pop("history_mapper", None)
    assert changes(one, **run) is (sees != "hello")
