"""A model that says what a test tells it to. No network, no provider's package.

A script is a list of steps, one for each call, or one function that is asked at each call. A run that is
resumed in another process builds its script anew, so a counter would begin again at the first step: for that,
``by_turn`` picks the step from how many replies the input already holds.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from flowcore.errors import UserError
from flowcore.models.base import HandoffSpec, Item, Model, ModelResponse, ModelTracing, OutputSchema
from flowcore.models.events import ReplyEvents
from flowcore.models.settings import ModelSettings
from flowcore.models.usage import Usage


def message(text: str, *, id: str | None = None) -> Item:
    """An assistant's message. A ``ScriptedModel`` gives it an id when it says it, unless it has one."""
    item: Item = {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": text, "annotations": []}],
    }
    return {"id": id, **item} if id is not None else item


assistant_message = message


def refusal(text: str) -> Item:
    """An assistant's message that refuses."""
    return {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "refusal", "refusal": text}],
    }


def function_call(name: str, arguments: Mapping[str, Any] | str = "{}", call_id: str | None = None) -> Item:
    """A call of a function tool or a handoff. ``arguments``: the object, or its JSON text as it is.

    Without a ``call_id``, the ``ScriptedModel`` that says it fills one in: ``call_{items in its
    input}_{position}``, so it's the same however the run is driven, and unique as long as the history grows.
    """
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    item: Item = {"type": "function_call", "name": name, "arguments": text, "status": "completed"}
    return {"call_id": call_id, **item} if call_id is not None else item


@dataclass(slots=True)
class ModelStep:
    """A step with more to say than its output.

    ``output``: what a step may be otherwise. ``delay``: seconds before the reply. ``deltas``: the pieces in
    which the reply's text is streamed; they must make up the text of its only message. ``usage``: tokens of
    the call.
    """

    output: Step
    delay: float = 0.0
    deltas: Sequence[str] | None = None
    usage: Usage | None = None


@dataclass(slots=True)
class ModelCall:
    """What a ``ScriptedModel`` was called with. ``turn``: which step was due, from 0."""

    turn: int
    system_instructions: str | None
    input: str | list[Any]
    model_settings: ModelSettings
    tools: Sequence[Any]
    output_schema: OutputSchema | None
    handoffs: Sequence[HandoffSpec]
    tracing: ModelTracing
    previous_response_id: str | None
    conversation_id: str | None
    prompt: Any
    stream: bool


_Error: TypeAlias = BaseException | type[BaseException]

Step: TypeAlias = "str | Item | Sequence[Item] | ModelResponse | _Error | ModelStep | StepFunction"
"""A text, an item, items, a whole reply, an error to raise, a ``ModelStep``, or a function that gives one."""

StepFunction: TypeAlias = Callable[[ModelCall], "Step | Awaitable[Step]"]

_MADE_BY_MODEL = frozenset({"function_call", "reasoning", "custom_tool_call"})


def count_replies(items: str | Sequence[Mapping[str, Any]]) -> int:
    """How many replies of a model a history holds: unbroken runs of the items that models make."""
    if isinstance(items, str):
        return 0
    replies = 0
    inside = False
    for item in items:
        by_model = item.get("type") in _MADE_BY_MODEL or item.get("role") == "assistant"
        replies += by_model and not inside
        inside = by_model
    return replies


class ScriptedModel(Model):
    """A model that follows a script.

    ``steps``: one step for each call, in order; or a function, asked at each call with its ``ModelCall``.
    Running out of steps raises ``UserError``. ``usage``: of each reply whose step gives none;
    ``Usage(requests=1)`` unless given. ``record=False`` keeps no ``calls``: each holds a copy of its input,
    which adds up over thousands of turns.

    Streamed, a reply is cut into deltas of one word; both verbs end in the same ``ModelResponse``.
    """

    def __init__(
        self,
        steps: Sequence[Step] | StepFunction,
        *,
        usage: Usage | None = None,
        record: bool = True,
        name: str = "scripted",
    ) -> None:
        self.model = name
        self.calls: list[ModelCall] = []
        self._script: StepFunction | None = steps if callable(steps) else None
        self._steps: Sequence[Step] = () if callable(steps) else _as_list(steps)
        self._usage = usage
        self._record = record
        self._count: Callable[[Any], int] | None = None
        self._turns = 0

    @classmethod
    def by_turn(
        cls,
        steps: Sequence[Step] | StepFunction,
        *,
        count: Callable[[Any], int] = count_replies,
        usage: Usage | None = None,
        record: bool = True,
        name: str = "scripted",
    ) -> ScriptedModel:
        """A script whose step is picked by ``count(input)``, not by how often this object was called.

        So a new process that resumes a run, and a retried call, find the step that is due, and one model may
        serve many runs. ``count``: by default the replies that the input already holds.
        """
        model = cls(steps, usage=usage, record=record, name=name)
        model._count = count
        return model

    @property
    def last_call(self) -> ModelCall:
        """The latest call. Raises ``UserError`` when there was none, or none was recorded."""
        if not self.calls:
            raise UserError(
                f"ScriptedModel '{self.model}': no call was recorded; was it called, and without record=False?"
            )
        return self.calls[-1]

    async def get_response(
        self,
        system_instructions: str | None,
        input: str | Sequence[Mapping[str, Any]],
        model_settings: ModelSettings,
        tools: Sequence[Any],
        output_schema: OutputSchema | None,
        handoffs: Sequence[HandoffSpec],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None = None,
        conversation_id: str | None = None,
        prompt: Any | None = None,
    ) -> ModelResponse:
        turn = self._next_turn(input)
        call = ModelCall(
            turn,
            system_instructions,
            input if isinstance(input, str) else list(input),
            model_settings,
            tools,
            output_schema,
            handoffs,
            tracing,
            previous_response_id,
            conversation_id,
            prompt,
            False,
        )
        return (await self._reply(call))[0]

    async def stream_response(
        self,
        system_instructions: str | None,
        input: str | Sequence[Mapping[str, Any]],
        model_settings: ModelSettings,
        tools: Sequence[Any],
        output_schema: OutputSchema | None,
        handoffs: Sequence[HandoffSpec],
        tracing: ModelTracing,
        *,
        previous_response_id: str | None = None,
        conversation_id: str | None = None,
        prompt: Any | None = None,
    ) -> AsyncIterator[Any]:
        turn = self._next_turn(input)
        call = ModelCall(
            turn,
            system_instructions,
            input if isinstance(input, str) else list(input),
            model_settings,
            tools,
            output_schema,
            handoffs,
            tracing,
            previous_response_id,
            conversation_id,
            prompt,
            True,
        )
        response, deltas = await self._reply(call)
        events = ReplyEvents(response.response_id or f"resp_{_position(call)}", self.model)
        yield events.created()
        for index, item in enumerate(response.output):
            for event in events.whole_item(index, item, lambda text: _split(text, deltas)):
                yield event
                # Events come one by one from a real model too: whoever listens gets a turn between them.
                await asyncio.sleep(0)
        yield events.completed(response.output, response.usage)
        yield response

    def _next_turn(self, input: Any) -> int:
        if self._count is not None:
            return self._count(input)
        self._turns += 1
        return self._turns - 1

    async def _reply(self, call: ModelCall) -> tuple[ModelResponse, Sequence[str] | None]:
        """The reply to a call, and the deltas in which its text is to be streamed."""
        if self._record:
            self.calls.append(call)
        step: Any = self._script or self._due(call)
        usage = self._usage
        deltas: Sequence[str] | None = None
        while True:
            if type(step) is ModelStep:
                if step.delay:
                    await asyncio.sleep(step.delay)
                usage = step.usage or usage
                deltas = step.deltas if step.deltas is not None else deltas
                step = step.output
            elif isinstance(step, BaseException) or (isinstance(step, type) and issubclass(step, BaseException)):
                raise step
            elif callable(step):
                step = step(call)
                if inspect.isawaitable(step):
                    step = await step
            else:
                return _response(step, call, usage), deltas

    def _due(self, call: ModelCall) -> Step:
        if call.turn < len(self._steps):
            return self._steps[call.turn]
        due = "turn" if self._count is not None else "call"
        raise UserError(
            f"ScriptedModel '{self.model}': its script has {len(self._steps)} steps, and this is {due} "
            f"{call.turn + 1}; add a step, or find out why the run asks again. "
            f"The input ends with {_end_of(call.input)}"
        )


def _as_list(steps: Any) -> list[Any]:
    return [steps] if isinstance(steps, (str, Mapping)) else list(steps)


def _response(step: Any, call: ModelCall, usage: Usage | None) -> ModelResponse:
    if type(step) is ModelResponse:
        return step
    if usage is None:
        usage = Usage(requests=1)
    if type(step) is str:
        return ModelResponse([{"id": f"msg_{_position(call)}_0", **message(step)}], usage)
    items = [step] if isinstance(step, Mapping) else step
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, Mapping) for item in items):
        raise UserError(
            f"ScriptedModel: {step!r} is no step; give a text, items as dicts, a ModelResponse, an error, a "
            "ModelStep or a function that takes the call"
        )
    position = _position(call)
    return ModelResponse([_with_ids(item, position, i) for i, item in enumerate(items)], usage)


def _with_ids(item: Mapping[str, Any], position: int, i: int) -> Item:
    """The item with the ids that a provider would have given it.

    Always a new dict, as a script may run twice.
    """
    kind = item.get("type")
    if kind == "function_call" and "call_id" not in item:
        return {"call_id": f"call_{position}_{i}", **item}
    if kind == "message" and "id" not in item:
        return {"id": f"msg_{position}_{i}", **item}
    return dict(item)


def _position(call: ModelCall) -> int:
    return 1 if isinstance(call.input, str) else len(call.input)


def _end_of(input: str | list[Any]) -> str:
    last = input if isinstance(input, str) else input[-1] if input else "nothing"
    text = repr(last)
    return text if len(text) <= 200 else text[:200] + "..."


def _split(text: str, deltas: Sequence[str] | None) -> Sequence[str]:
    if deltas is not None and "".join(deltas) == text:
        return deltas
    return re.findall(r"\s*\S+|\s+$", text)
