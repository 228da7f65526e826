"""A model that says what a test tells it to. No network, no provider's package.

A script is a list of steps, one for each call, or one function that is asked at each call. A run that is
resumed in another process builds its script anew, so a counter would begin again at the first step: for that,
``by_turn`` picks the step from how many replies the input already holds.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeAlias

from flowcore.errors import UserError
from flowcore.models.base import HandoffSpec, Item, Model, ModelResponse, ModelTracing, OutputSchema
from flowcore.models.events import ReplyEvents
from flowcore.models.retry import ModelRetryAdvice, ModelRetryAdviceRequest
from flowcore.models.settings import ModelSettings, to_wire
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


def assistant_message(text: str, *, item_id: str | None = None) -> Item:
    """``message`` under the name that others know it by."""
    return message(text, id=item_id)


def refusal(text: str) -> Item:
    """An assistant's message that refuses."""
    return {
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "refusal", "refusal": text}],
    }


def function_call(
    name: str,
    arguments: Mapping[str, Any] | str = "{}",
    call_id: str | None = None,
    *,
    item_id: str | None = None,
    namespace: str | None = None,
) -> Item:
    """A call of a function tool or a handoff. ``arguments``: the object, or its JSON text as it is. ``item_id``,
    ``namespace``: of the item, where it has any.

    Without a ``call_id``, the ``ScriptedModel`` that says it fills one in: ``call_{items in its
    input}_{position}``, so it's the same however the run is driven, and unique as long as the history grows.
    """
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    item: Item = {"type": "function_call", "name": name, "arguments": text, "status": "completed"}
    extras = {"id": item_id, "call_id": call_id, "namespace": namespace}
    return {name: value for name, value in extras.items() if value is not None} | item


class ModelScriptError(UserError):
    """A script that can't be followed, or wasn't to its end."""


class InvalidModelStep(ModelScriptError):
    """Something in a script that is no step. ``input_index``: where, from 0, as far as it's known."""

    def __init__(self, message: str, *, input_index: int | None = None) -> None:
        super().__init__(message)
        self.input_index = input_index


class UnexpectedModelCall(ModelScriptError):
    """The model was called after its last step. ``call``: the call; ``call_index``: which, from 0."""

    def __init__(self, message: str, *, call: ModelCall, call_index: int) -> None:
        super().__init__(message)
        self.call = call
        self.call_index = call_index


class UnconsumedModelSteps(ModelScriptError):
    """A test ended before its script did."""

    def __init__(self, message: str, *, remaining_steps: int) -> None:
        super().__init__(message)
        self.remaining_steps = remaining_steps


@dataclass(slots=True)
class ModelStep:
    """A step with more to say than its output. As a dict of these fields it's the same.

    ``output``: what a step may be otherwise. ``usage``: tokens of the call. ``response_id``, ``request_id``,
    ``raw_usage``: of the reply. ``error``: raised instead; ``retry_advice``: what the model then advises.
    ``responder``: asked with the call, it gives the step. ``stream_events``: exactly the events of a streamed call, or
    a function of the call that gives an async iterator of them; its reply is the one in their
    ``response.completed``, else ``output``. ``delay``: seconds before the reply. ``deltas``: the pieces in which the
    reply's text is streamed; they must make up the text of its only message.
    """

    output: Step = ()
    usage: Usage | None = None
    response_id: str | None = None
    request_id: str | None = None
    raw_usage: dict[str, Any] | None = None
    error: BaseException | type[BaseException] | None = None
    responder: StepFunction | None = None
    stream_events: Sequence[Any] | Callable[[ModelCall], AsyncIterator[Any]] | None = None
    retry_advice: ModelRetryAdvice | None = None
    delay: float = field(default=0.0, kw_only=True)
    deltas: Sequence[str] | None = field(default=None, kw_only=True)

    @classmethod
    def raise_error(cls, error: BaseException, *, retry_advice: ModelRetryAdvice | None = None) -> ModelStep:
        """A step that raises."""
        return cls(error=error, retry_advice=retry_advice)

    @classmethod
    def respond(cls, responder: StepFunction) -> ModelStep:
        """A step that is made of the call."""
        return cls(responder=responder)

    @classmethod
    def stream(
        cls,
        events: Sequence[Any] | Callable[[ModelCall], AsyncIterator[Any]],
        *,
        output: Step = (),
        usage: Usage | None = None,
        response_id: str | None = None,
    ) -> ModelStep:
        """A step of exactly these events."""
        return cls(output, usage, response_id, stream_events=events if callable(events) else tuple(events))


_STEP_FIELDS = frozenset(one.name for one in fields(ModelStep))


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

    @property
    def streamed(self) -> bool:
        """``stream``, under the name that others know it by."""
        return self.stream


_Error: TypeAlias = BaseException | type[BaseException]

Step: TypeAlias = "str | Item | Sequence[Any] | ModelResponse | _Error | ModelStep | StepFunction"
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
    Running out of steps raises ``UnexpectedModelCall``, a ``UserError``. ``usage``, or ``default_usage``: of each
    reply whose step gives none; ``Usage(requests=1)`` unless given. ``record=False`` keeps no ``calls``: each holds a
    copy of its input, which adds up over thousands of turns.

    Streamed, a reply is cut into deltas of one word; both verbs end in the same ``ModelResponse``.
    """

    reads_only = True

    def __init__(
        self,
        steps: Iterable[Step] | StepFunction = (),
        *,
        usage: Usage | None = None,
        default_usage: Usage | None = None,
        record: bool = True,
        name: str = "scripted",
    ) -> None:
        if usage is not None and default_usage is not None:
            raise UserError("ScriptedModel: usage and default_usage are the same; give one")
        self.model = name
        self.calls: list[ModelCall] = []
        self._script: StepFunction | None = steps if callable(steps) else None
        self._steps: list[Step] = [] if callable(steps) else _as_list(steps)
        self._usage = usage or default_usage
        self._record = record
        self._count: Callable[[Any], int] | None = None
        self._turns = 0
        self._advice: tuple[BaseException, ModelRetryAdvice] | None = None

    @classmethod
    def by_turn(
        cls,
        steps: Iterable[Step] | StepFunction,
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
    def first_call(self) -> ModelCall | None:
        """The first call that was recorded; None: there was none."""
        return self.calls[0] if self.calls else None

    @property
    def last_call(self) -> ModelCall | None:
        """The latest call that was recorded; None: there was none."""
        return self.calls[-1] if self.calls else None

    @property
    def remaining_steps(self) -> int:
        """How many steps haven't been called for; of a function, and by turn, nobody knows: 0."""
        return 0 if self._count is not None else max(0, len(self._steps) - self._turns)

    def enqueue(self, step: Step) -> None:
        """Add a step. Raises ``UserError`` where a function is the script."""
        self.extend([step])

    def extend(self, steps: Iterable[Step]) -> None:
        """Add steps. Raises ``UserError`` where a function is the script."""
        if self._script is not None:
            raise UserError(f"ScriptedModel '{self.model}': its script is a function; nothing can be added to it")
        self._steps += steps

    def set_default_usage(self, usage: Usage | None) -> None:
        """The usage of each further reply whose step gives none."""
        self._usage = usage

    def assert_complete(self) -> None:
        """Raise ``UnconsumedModelSteps`` when there are steps left."""
        left = self.remaining_steps
        if left:
            raise UnconsumedModelSteps(
                f"ScriptedModel '{self.model}': {left} of its {len(self._steps)} steps were never called for",
                remaining_steps=left,
            )

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        """The advice of the step that raised this very error."""
        return self._advice[1] if self._advice is not None and self._advice[0] is request.error else None

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
        return (await self._reply(call)).response

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
        reply = await self._reply(call)
        response, deltas = reply.response, reply.deltas
        if reply.events is not None:
            async for event in _each(reply.events, call):
                response = _completed_in(event, response)
                yield event
            yield response
            return
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
        turn = self._turns
        if self._script is not None or turn < len(self._steps):  # a step that is added later is due at the next call
            self._turns += 1
        return turn

    async def _reply(self, call: ModelCall) -> _Reply:
        """The reply to a call, and how it is to be streamed."""
        if self._record:
            self.calls.append(call)
        step: Any = self._script or self._due(call)
        said = ModelStep(usage=self._usage)
        while True:
            if isinstance(step, Mapping) and "type" not in step and "role" not in step:
                step = self._step_of(step, call)
            if type(step) is ModelStep:
                if step.delay:
                    await asyncio.sleep(step.delay)
                said = _over(said, step)
                step = step.error or step.responder or step.output
            elif isinstance(step, BaseException) or (isinstance(step, type) and issubclass(step, BaseException)):
                error = step() if isinstance(step, type) else step
                self._advice = (error, said.retry_advice) if said.retry_advice is not None else None
                raise error
            elif callable(step):
                step = step(call)
                if inspect.isawaitable(step):
                    step = await step
            else:
                return _Reply(_response(step, call, said), said.deltas, said.stream_events)

    def _step_of(self, fields: Mapping[str, Any], call: ModelCall) -> ModelStep:
        unknown = sorted(set(fields) - _STEP_FIELDS)
        if unknown or not fields:
            raise InvalidModelStep(
                f"ScriptedModel '{self.model}': {fields!r} is no step; an item has a 'type' or a 'role', and a "
                f"ModelStep has {', '.join(sorted(_STEP_FIELDS))}",
                input_index=call.turn,
            )
        return ModelStep(**fields)

    def _due(self, call: ModelCall) -> Step:
        if call.turn < len(self._steps):
            return self._steps[call.turn]
        due = "turn" if self._count is not None else "call"
        raise UnexpectedModelCall(
            f"ScriptedModel '{self.model}': its script has {len(self._steps)} steps, and this is {due} "
            f"{call.turn + 1}; add a step, or find out why the run asks again. "
            f"The input ends with {_end_of(call.input)}",
            call=call,
            call_index=call.turn,
        )


def _as_list(steps: Any) -> list[Any]:
    return [steps] if isinstance(steps, (str, Mapping)) else list(steps)


@dataclass(slots=True)
class _Reply:
    """A reply, and how it's streamed: in which deltas, or as exactly which events."""

    response: ModelResponse
    deltas: Sequence[str] | None
    events: Any


def _over(base: ModelStep, step: ModelStep) -> ModelStep:
    """What ``step`` says, over what the step that gave it has said."""
    given = {one.name: getattr(step, one.name) for one in fields(step) if getattr(step, one.name) is not None}
    return replace(base, **given)


async def _each(events: Any, call: ModelCall) -> AsyncIterator[Any]:
    if not callable(events):
        for event in events:
            yield event
            await asyncio.sleep(0)
        return
    stream = events(call)
    try:
        async for event in stream:
            yield event
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def _completed_in(event: Any, response: ModelResponse) -> ModelResponse:
    """The reply that a ``response.completed`` carries; another event changes nothing."""
    wire = event if isinstance(event, Mapping) else event.model_dump(mode="json", exclude_unset=True)
    if wire.get("type") != "response.completed":
        return response
    told = wire["response"]
    usage = Usage.of_request(told["usage"]) if told.get("usage") else response.usage
    return ModelResponse(told.get("output") or [], usage, told.get("id"), response.request_id)


def _response(step: Any, call: ModelCall, said: ModelStep) -> ModelResponse:
    if type(step) is ModelResponse:
        return step
    usage = Usage(requests=1) if said.usage is None else copy.deepcopy(said.usage)  # it may be counted on
    more = (said.response_id, said.request_id, said.raw_usage if call.model_settings.preserve_raw_usage else None)
    if type(step) is str:
        return ModelResponse([{"id": f"msg_{_position(call)}_0", **message(step)}], usage, *more)
    items = [step] if isinstance(step, Mapping) or hasattr(step, "model_dump") else step
    if isinstance(items, (list, tuple)):  # openai's own objects are items too
        items = [to_wire(item) if hasattr(item, "model_dump") else item for item in items]
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, Mapping) for item in items):
        raise InvalidModelStep(
            f"ScriptedModel: {step!r} is no step; give a text, items as dicts, a ModelResponse, an error, a "
            "ModelStep or a function that takes the call",
            input_index=call.turn,
        )
    position = _position(call)
    return ModelResponse([_with_ids(item, position, i) for i, item in enumerate(items)], usage, *more)


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
