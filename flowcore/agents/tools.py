"""Function tools: what a model may call, and how a call is made.

A tool is inspected when it's declared; a call only validates and awaits. The agent loop knows two verbs:
``FunctionTool.invoke`` gives the Python value, ``FunctionTool.wire_output`` what the model is told of it. A cancel
always goes through: it never becomes a tool's result.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, NotRequired, Protocol, TypeAlias, TypedDict, Unpack, overload

from pydantic import BaseModel, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticSerializationError, to_json

from flowcore.agents.context import RunContextWrapper, ToolContext
from flowcore.agents.schema import (
    DocstringStyle,
    FuncSchema,
    JsonSchema,
    describe_errors,
    ensure_strict_json_schema,
    function_schema,
)
from flowcore.agents.tool_guardrails import ToolInputGuardrail, ToolOutputGuardrail
from flowcore.errors import FlowcoreError, ModelBehaviorError, ToolTimeoutError, UserError
from flowcore.graph.secret import is_secret, returns_secret, secret_properties, without_marks
from flowcore.models.base import Item

ToolFunction: TypeAlias = Callable[..., Any]
"""A function that ``function_tool`` makes a tool of, sync or async."""

ToolErrorFunction: TypeAlias = Callable[[RunContextWrapper[Any], Exception], str | Awaitable[str]]
"""What the model is told of an error."""

ErrorFormat: TypeAlias = Callable[[str, Exception], Any]
"""``(default message, error)``, sync or async: a text for the model, or None for the default message."""

ToolTimeoutBehavior: TypeAlias = Literal["error_as_result", "raise_exception"]
"""Whether a timeout is told to the model or raised as ``ToolTimeoutError``."""

OnCrash: TypeAlias = Literal["retry", "ask", "fail"]
"""What becomes of a call that a crash interrupted: it's made again, a person decides, or the run fails."""

ToolCaller: TypeAlias = Literal["direct", "programmatic"]
"""Who may call a tool: the model itself, or code that the model wrote."""

IsEnabled: TypeAlias = bool | Callable[[RunContextWrapper[Any], Any], bool | Awaitable[bool]]
"""Whether a tool is offered: a bool, or ``(context, agent) -> bool``, sync or async."""

NeedsApproval: TypeAlias = bool | Callable[[RunContextWrapper[Any], dict[str, Any], str], bool | Awaitable[bool]]
"""Whether a call waits for a person: a bool, or ``(context, parameters, call id) -> bool``, sync or async."""


# --- what a tool may return -------------------------------------------------------------------------------------------


class ToolOutputText(BaseModel):
    """A text."""

    type: Literal["text"] = "text"
    text: str

    def to_wire(self) -> Item:
        """The part of a ``function_call_output`` that says this."""
        return {"type": "input_text", "text": self.text}


class ToolOutputImage(BaseModel):
    """An image: ``image_url`` (a URL, or a data URL with base64) or ``file_id`` (of an uploaded file)."""

    type: Literal["image"] = "image"
    image_url: str | None = None
    file_id: str | None = None
    detail: Literal["low", "high", "auto"] | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> ToolOutputImage:
        if not self.image_url and not self.file_id:
            raise ValueError("At least one of image_url or file_id must be provided")
        return self

    def to_wire(self) -> Item:
        """The part of a ``function_call_output`` that says this."""
        return {"type": "input_image", **self.model_dump(exclude={"type"}, exclude_none=True)}


class ToolOutputFileContent(BaseModel):
    """A file: ``file_data`` (base64), ``file_url``, or ``file_id`` (of an uploaded file)."""

    type: Literal["file"] = "file"
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> ToolOutputFileContent:
        if not (self.file_data or self.file_url or self.file_id):
            raise ValueError("At least one of file_data, file_url, or file_id must be provided")
        return self

    def to_wire(self) -> Item:
        """The part of a ``function_call_output`` that says this."""
        return {"type": "input_file", **self.model_dump(exclude={"type"}, exclude_none=True)}


class ToolOutputTextDict(TypedDict):
    """``ToolOutputText`` as a dict."""

    type: Literal["text"]
    text: str


class ToolOutputImageDict(TypedDict):
    """``ToolOutputImage`` as a dict."""

    type: Literal["image"]
    image_url: NotRequired[str]
    file_id: NotRequired[str]
    detail: NotRequired[Literal["low", "high", "auto"]]


class ToolOutputFileContentDict(TypedDict):
    """``ToolOutputFileContent`` as a dict."""

    type: Literal["file"]
    file_data: NotRequired[str]
    file_url: NotRequired[str]
    file_id: NotRequired[str]
    filename: NotRequired[str]


_PARTS: dict[str, type[ToolOutputText] | type[ToolOutputImage] | type[ToolOutputFileContent]] = {
    "text": ToolOutputText,
    "image": ToolOutputImage,
    "file": ToolOutputFileContent,
}


def output_to_wire(value: Any) -> str | list[Item]:
    """What the model is told: the ``output`` of a Responses ``function_call_output`` item.

    A str as it is; a ``ToolOutput*``, its dict form, or a list of them as content parts; the rest by ``str()``.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        parts = [_part(one) for one in value]
        whole = [part for part in parts if part is not None]
        return whole if whole and len(whole) == len(parts) else str(value)
    part = _part(value)
    return str(value) if part is None else [part]


def _part(value: Any) -> Item | None:
    if isinstance(value, (ToolOutputText, ToolOutputImage, ToolOutputFileContent)):
        return value.to_wire()
    if not isinstance(value, dict):
        return None
    kind = value.get("type")
    model = _PARTS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return None
    try:
        return model.model_validate(value).to_wire()
    except ValidationError:
        return None


# --- errors -----------------------------------------------------------------------------------------------------------


def default_tool_error_function(ctx: RunContextWrapper[Any], error: Exception) -> str:
    """What the model is told of a tool's error where nothing else is declared."""
    if isinstance(error, ModelBehaviorError) and isinstance(error.__cause__, json.JSONDecodeError):
        return (
            "An error occurred while parsing tool arguments. Please try again with valid JSON. "
            f"Error: {error.__cause__}"
        )
    return f"An error occurred while running the tool. Please try again. Error: {error}"


def _told_by_default(ctx: RunContextWrapper[Any], error: Exception) -> str:
    """``function_tool``'s own choice of words, told apart from one that a user made: a run may override only this."""
    return default_tool_error_function(ctx, error)


async def _settled(value: Any) -> Any:
    """What a callable returned, awaited if it has to be."""
    return await value if inspect.isawaitable(value) else value


# --- the tool ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class FunctionToolCustomDataContext:
    """What a ``custom_data_extractor`` is handed: the call, its tool, its value, and the item made of it."""

    tool_context: ToolContext[Any]
    tool: FunctionTool
    output: Any
    raw_item: Mapping[str, Any]


FunctionToolCustomDataExtractor: TypeAlias = Callable[
    [FunctionToolCustomDataContext], Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None
]
"""Gives the app's own data for a tool's output item; the model never sees it. Sync or async."""


@dataclass(eq=False)
class FunctionTool:
    """A function that a model may call. ``function_tool`` makes one; by hand it takes ``on_invoke_tool``.

    ``on_invoke_tool(ctx, arguments)``: makes the call; ``arguments`` is JSON text as the model wrote it.
    ``is_enabled``: whether the tool is offered. ``needs_approval``: whether a call waits for a person.
    ``timeout_seconds``: how long a call may take; ``timeout_behavior`` and ``timeout_error_function`` say what
    the model is told then. ``failure_error_function``: what the model is told of an error; None raises it.
    ``tool_input_guardrails``, ``tool_output_guardrails``: judge each call, one after the other. ``defer_loading``: the
    model finds the tool by searching. ``allowed_callers``: the model itself (``"direct"``), code that it wrote
    (``"programmatic"``); None is the provider's default. ``tool_namespace``: see ``tool_namespace()``.
    ``on_crash``: what becomes of a call that a crash interrupted. ``secret_arguments``, ``secret_output``: what traces,
    logs and the command line hide; arguments that the schema calls ``writeOnly`` are secret by themselves. Tools are
    compared by identity.

    Raises ``UserError`` (a schema that isn't strict, guardrails or callers that are none), ``TypeError`` and
    ``ValueError`` (a timeout that can't be).
    """

    name: str
    description: str
    params_json_schema: JsonSchema
    on_invoke_tool: Callable[[ToolContext[Any], str], Awaitable[Any]]
    strict_json_schema: bool = True
    is_enabled: IsEnabled = True
    tool_input_guardrails: list[ToolInputGuardrail[Any]] | None = None
    tool_output_guardrails: list[ToolOutputGuardrail[Any]] | None = None
    needs_approval: NeedsApproval = False
    timeout_seconds: float | None = None
    timeout_behavior: ToolTimeoutBehavior = "error_as_result"
    timeout_error_function: ToolErrorFunction | None = None
    defer_loading: bool = False
    custom_data_extractor: FunctionToolCustomDataExtractor | None = field(default=None, kw_only=True)
    allowed_callers: list[ToolCaller] | None = field(default=None, kw_only=True)
    output_json_schema: JsonSchema | None = field(default=None, kw_only=True)
    failure_error_function: ToolErrorFunction | None = field(default=None, kw_only=True)
    on_crash: OnCrash = field(default="retry", kw_only=True)
    tool_namespace: str | None = field(default=None, kw_only=True)
    tool_namespace_description: str | None = field(default=None, kw_only=True)
    secret_arguments: frozenset[str] = field(default=frozenset(), kw_only=True)
    secret_output: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        _check_timeout(self)
        marked = secret_properties(self.params_json_schema)
        if marked:
            self.params_json_schema = without_marks(self.params_json_schema)
        self.secret_arguments = frozenset(self.secret_arguments) | marked
        if self.on_crash not in ("retry", "ask", "fail"):
            raise ValueError(f"tool '{self.name}': on_crash {self.on_crash!r} isn't one of 'retry', 'ask', 'fail'")
        _check_guardrails(self)
        _check_callers(self)
        if self.strict_json_schema:
            self.params_json_schema = ensure_strict_json_schema(self.params_json_schema)
        if self.output_json_schema is not None:
            self.output_json_schema = _strict_output(self.name, self.output_json_schema)
        call = self.on_invoke_tool
        if isinstance(call, _Call):
            if self.timeout_seconds is not None and not call.is_async:
                raise ValueError("FunctionTool timeout_seconds is only supported for async @function_tool handlers.")
            if (call.name, call.on_error) != (self.name, self.failure_error_function):
                self.on_invoke_tool = call.renamed(self.name, self.failure_error_function)

    @property
    def qualified_name(self) -> str:
        """The name with its namespace, where it has one: ``namespace.name``."""
        return f"{self.tool_namespace}.{self.name}" if self.tool_namespace else self.name

    @property
    def approval(self) -> Literal["never", "always", "sometimes"]:
        """Whether a call waits for a person, as far as it's known without the call."""
        if isinstance(self.needs_approval, bool):
            return "always" if self.needs_approval else "never"
        return "sometimes"

    def invoke(
        self, ctx: ToolContext[Any], arguments: str, *, format_error: ErrorFormat | None = None,
        on_error: Callable[[Exception], None] | None = None,
    ) -> Coroutine[Any, Any, Any]:  # fmt: skip
        """Make the call and give the function's value, or, after an error, what the model is to be told.

        ``arguments``: JSON text, empty for none. ``format_error``: the run's own words for an error, asked only where
        the tool was declared without a ``failure_error_function``. ``on_error``: called with an error that isn't
        raised. Raises ``ToolTimeoutError`` (``timeout_behavior="raise_exception"``)
        and, where ``failure_error_function`` is None, flowcore's errors as they are and others as ``UserError``.
        A sync function runs in a thread: a cancel leaves the call at once, but the thread goes on to its end.
        """
        if self.timeout_seconds is None:
            return self._call(ctx, arguments, format_error, on_error)
        return self._call_within(ctx, arguments, self.timeout_seconds, format_error, on_error)

    async def _call(
        self, ctx: ToolContext[Any], arguments: str, format_error: ErrorFormat | None,
        on_error: Callable[[Exception], None] | None,
    ) -> Any:  # fmt: skip
        call = self.on_invoke_tool
        try:
            return await (call.attempt if isinstance(call, _Call) else call)(ctx, arguments)
        except Exception as error:
            if self.failure_error_function is None:
                self.blame(error)
            failure = error
        if on_error is not None:
            on_error(failure)
        try:
            told = await _settled(self.failure_error_function(ctx, failure))
            if format_error is None or self.failure_error_function is not _told_by_default:
                return told
            formatted = await _settled(format_error(told, failure))
            return told if formatted is None else formatted
        except Exception as error:
            self.blame(error)

    def blame(self, error: Exception) -> NoReturn:
        """Raise the error as the run does: flowcore's own as it is, another as the tool's."""
        if isinstance(error, FlowcoreError):
            raise error
        raise UserError(f"Error running tool {self.name}: {error}") from error

    async def _call_within(
        self, ctx: ToolContext[Any], arguments: str, seconds: float, format_error: ErrorFormat | None,
        on_error: Callable[[Exception], None] | None,
    ) -> Any:  # fmt: skip
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._call(ctx, arguments, format_error, on_error)
        except TimeoutError as error:
            if not limit.expired():
                raise
            late = ToolTimeoutError(self.name, seconds)
            if self.timeout_behavior == "raise_exception":
                raise late from error
        if on_error is not None:
            on_error(late)
        if self.timeout_error_function is None:
            return late.message
        return await _settled(self.timeout_error_function(ctx, late))

    async def enabled(self, ctx: RunContextWrapper[Any], agent: Any) -> bool:
        """Whether the tool is offered to ``agent`` now."""
        if isinstance(self.is_enabled, bool):
            return self.is_enabled
        return bool(await _settled(self.is_enabled(ctx, agent)))

    async def requires_approval(self, ctx: RunContextWrapper[Any], arguments: str, call_id: str) -> bool:
        """Whether this call waits for a person. ``arguments``: JSON text as the model wrote it.

        Arguments that aren't a JSON object can't be put before a ``needs_approval`` function: they wait for a person.
        """
        if isinstance(self.needs_approval, bool):
            return self.needs_approval
        parameters = _json_object(arguments)
        return parameters is None or bool(await _settled(self.needs_approval(ctx, parameters, call_id)))

    def wire_output(self, value: Any) -> str | list[Item]:
        """What the model is told of ``invoke``'s value: JSON text where the output has a schema, else
        ``output_to_wire``. Raises ``UserError`` for a value that has a schema and no JSON form."""
        if self.output_json_schema is None or isinstance(value, str):
            return output_to_wire(value)
        adapter = self.on_invoke_tool.output if isinstance(self.on_invoke_tool, _Call) else None
        try:
            return (to_json(value) if adapter is None else adapter.dump_json(value, by_alias=True)).decode()
        except PydanticSerializationError as error:
            raise UserError(f"tool '{self.name}' has an output schema, but its output isn't JSON: {error}") from error

    async def custom_data(
        self, ctx: ToolContext[Any], output: Any, raw_item: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """What ``custom_data_extractor`` gives for this output, None without one."""
        if self.custom_data_extractor is None:
            return None
        context = FunctionToolCustomDataContext(ctx, self, output, raw_item)
        data = await _settled(self.custom_data_extractor(context))
        if data is None:
            return None
        if not isinstance(data, Mapping):
            what = type(data).__name__
            raise UserError(f"custom_data_extractor must return a mapping or None. Tool '{self.name}': {what}.")
        try:
            return {str(key): value for key, value in json.loads(json.dumps(dict(data))).items()}
        except (TypeError, ValueError) as error:
            raise UserError(
                f"custom_data_extractor must return JSON-compatible data. Tool '{self.name}': {error}"
            ) from error


def _json_object(arguments: str) -> dict[str, Any] | None:
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _check_timeout(tool: FunctionTool) -> None:
    seconds = tool.timeout_seconds
    if seconds is not None:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise TypeError("FunctionTool timeout_seconds must be a positive number in seconds or None.")
        if not math.isfinite(seconds):
            raise ValueError("FunctionTool timeout_seconds must be a finite number.")
        if seconds <= 0:
            raise ValueError("FunctionTool timeout_seconds must be greater than 0.")
    if tool.timeout_behavior not in ("error_as_result", "raise_exception"):
        raise ValueError("FunctionTool timeout_behavior must be one of: error_as_result, raise_exception")
    if tool.timeout_error_function is not None and not callable(tool.timeout_error_function):
        raise TypeError("FunctionTool timeout_error_function must be callable or None.")


def _check_guardrails(tool: FunctionTool) -> None:
    _check_kind(tool, "tool_input_guardrails", tool.tool_input_guardrails, ToolInputGuardrail)
    _check_kind(tool, "tool_output_guardrails", tool.tool_output_guardrails, ToolOutputGuardrail)


def _check_kind(tool: FunctionTool, name: str, guardrails: Sequence[Any] | None, kind: type) -> None:
    for one in guardrails or ():
        if not isinstance(one, kind):
            raise UserError(
                f"tool '{tool.name}': {name} holds a {type(one).__name__}; declare it with @{name.removesuffix('s')}"
            )


def _check_callers(tool: FunctionTool) -> None:
    callers: Any = tool.allowed_callers
    if callers is None:
        return
    if not isinstance(callers, list) or not callers:
        raise UserError(
            f"Tool `{tool.name}` allowed_callers must be a non-empty list containing 'direct', 'programmatic', or both."
        )
    for i, caller in enumerate(callers):
        if caller not in ("direct", "programmatic"):
            raise UserError(
                f"Tool `{tool.name}` allowed_callers contains unsupported caller {caller!r}."
                " Expected 'direct' or 'programmatic'."
            )
        if caller in callers[:i]:
            raise UserError(f"Tool `{tool.name}` allowed_callers contains duplicate caller {caller!r}.")


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """``on_invoke_tool`` of a declared function: validate, call, and tell errors as declared."""

    name: str
    func: ToolFunction
    schema: FuncSchema
    is_async: bool
    on_error: ToolErrorFunction | None
    output: TypeAdapter[Any] | None

    async def __call__(self, ctx: ToolContext[Any], arguments: str) -> Any:
        try:
            return await self.attempt(ctx, arguments)
        except Exception as error:
            if self.on_error is None:
                raise
            failure = error
        return await _settled(self.on_error(ctx, failure))

    async def attempt(self, ctx: ToolContext[Any], arguments: str) -> Any:
        """The function's value; errors as they come."""
        args, kwargs = self.schema.bind(arguments)
        if self.schema.takes_context:
            args = (ctx, *args)
        if self.is_async:
            value = await self.func(*args, **kwargs)
        else:
            value = await _settled(await asyncio.to_thread(_in_thread, self.func, args, kwargs))
        return value if self.output is None else self._checked(value, self.output)

    def _checked(self, value: Any, output: TypeAdapter[Any]) -> Any:
        try:
            return output.validate_python(value)
        except ValidationError as error:
            raise UserError(
                f"Function tool {self.name} returned an output that does not match its declared output type: "
                f"{describe_errors(error)}"
            ) from error

    def renamed(self, name: str, on_error: ToolErrorFunction | None) -> _Call:
        """The same call under another name or with other words for errors."""
        return dataclasses.replace(
            self, name=name, schema=dataclasses.replace(self.schema, name=name), on_error=on_error
        )


def _in_thread(func: ToolFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return func(*args, **kwargs)
    except StopIteration as error:  # a future can't hold it, and would never be done
        raise RuntimeError(f"{getattr(func, '__name__', func)} raised StopIteration") from error


@dataclass(eq=False)
class FunctionToolResult:
    """One call, done: the tool, its Python value, and the item made of it.

    ``interruptions``: what an agent tool's own run waits for; ``agent_run_result``: that run's result.
    """

    tool: FunctionTool
    output: Any
    run_item: Any
    interruptions: list[Any] = field(default_factory=list)
    agent_run_result: Any = None


class HostedTool(Protocol):
    """A tool that the model's provider runs."""

    @property
    def name(self) -> str: ...

    def to_wire(self) -> dict[str, Any]: ...


Tool: TypeAlias = FunctionTool | HostedTool
"""What an agent's ``tools`` may hold."""


# --- declaring --------------------------------------------------------------------------------------------------------


class FunctionToolOptions(TypedDict, total=False):
    """The options of ``function_tool``; their meaning is in its docstring."""

    name_override: str | None
    description_override: str | None
    docstring_style: DocstringStyle | None
    use_docstring_info: bool
    failure_error_function: ToolErrorFunction | None
    strict_mode: bool
    is_enabled: IsEnabled
    needs_approval: NeedsApproval
    tool_input_guardrails: list[ToolInputGuardrail[Any]] | None
    tool_output_guardrails: list[ToolOutputGuardrail[Any]] | None
    timeout: float | None
    timeout_behavior: ToolTimeoutBehavior
    timeout_error_function: ToolErrorFunction | None
    defer_loading: bool
    custom_data_extractor: FunctionToolCustomDataExtractor | None
    allowed_callers: list[ToolCaller] | None
    output_type: Any
    output_json_schema: JsonSchema | None
    on_crash: OnCrash


@overload
def function_tool(func: ToolFunction, **options: Unpack[FunctionToolOptions]) -> FunctionTool: ...
@overload
def function_tool(**options: Unpack[FunctionToolOptions]) -> Callable[[ToolFunction], FunctionTool]: ...
def function_tool(
    func: ToolFunction | None = None,
    *,
    name_override: str | None = None,
    description_override: str | None = None,
    docstring_style: DocstringStyle | None = None,
    use_docstring_info: bool = True,
    failure_error_function: ToolErrorFunction | None = _told_by_default,
    strict_mode: bool = True,
    is_enabled: IsEnabled = True,
    needs_approval: NeedsApproval = False,
    tool_input_guardrails: list[ToolInputGuardrail[Any]] | None = None,
    tool_output_guardrails: list[ToolOutputGuardrail[Any]] | None = None,
    timeout: float | None = None,
    timeout_behavior: ToolTimeoutBehavior = "error_as_result",
    timeout_error_function: ToolErrorFunction | None = None,
    defer_loading: bool = False,
    custom_data_extractor: FunctionToolCustomDataExtractor | None = None,
    allowed_callers: list[ToolCaller] | None = None,
    output_type: Any = None,
    output_json_schema: JsonSchema | None = None,
    on_crash: OnCrash = "retry",
) -> FunctionTool | Callable[[ToolFunction], FunctionTool]:
    """Make a tool of a function: ``@function_tool``, or ``@function_tool(...)`` with options.

    Name, description and parameters are read from the function and its docstring (see ``function_schema``); its first
    parameter may be the context. An async function is awaited, a sync one runs in a thread.

    ``failure_error_function``: ``(context, error) -> str``, what the model is told of an error; None raises it.
    Left out, it's told as by ``default_tool_error_function``, unless the run has words of its own
    (``RunConfig.tool_error_formatter``).
    ``strict_mode``: the schema keeps the strict dialect, in which every parameter is required. ``timeout``: seconds,
    for async functions only. ``output_type``: the type of what is returned (a model, TypedDict or dataclass), validated
    and told to the model as a schema; ``output_json_schema``: that schema, written out. ``on_crash``: ``"retry"`` makes
    an interrupted call again, ``"ask"`` lets a person decide, ``"fail"`` fails the run.

    Raises ``UserError`` (a signature that no schema fits), ``ValueError`` (a timeout on a sync function).
    """

    def declare(function: ToolFunction) -> FunctionTool:
        is_async = _inspect_kind(function, name_override)
        schema = function_schema(
            function,
            docstring_style,
            name_override,
            description_override,
            use_docstring_info,
            strict_mode,
        )
        adapter, output_schema = _output_contract(schema.name, output_type, output_json_schema)
        return FunctionTool(
            name=schema.name,
            description=schema.description,
            params_json_schema=schema.params_json_schema,
            on_invoke_tool=_Call(schema.name, function, schema, is_async, failure_error_function, adapter),
            strict_json_schema=strict_mode,
            is_enabled=is_enabled,
            tool_input_guardrails=tool_input_guardrails,
            tool_output_guardrails=tool_output_guardrails,
            needs_approval=needs_approval,
            timeout_seconds=timeout,
            timeout_behavior=timeout_behavior,
            timeout_error_function=timeout_error_function,
            defer_loading=defer_loading,
            custom_data_extractor=custom_data_extractor,
            allowed_callers=allowed_callers,
            output_json_schema=output_schema,
            failure_error_function=failure_error_function,
            on_crash=on_crash,
            secret_arguments=schema.secrets,
            secret_output=returns_secret(function) or is_secret(output_type),
        )

    return declare if func is None else declare(func)


def _inspect_kind(func: ToolFunction, name_override: str | None) -> bool:
    """Whether the function is async. Refuses what can't be a tool."""
    if isinstance(func, FunctionTool):
        raise UserError(f"'{func.name}' is a tool already")
    if not callable(func):
        raise UserError(f"function_tool takes a function, not {type(func).__name__}; options go by keyword")
    name = getattr(func, "__name__", None) or type(func).__name__
    if name == "<lambda>" and not name_override:
        raise UserError("a lambda has no name that a model could call: pass name_override")
    body = func if inspect.isroutine(func) else type(func).__call__
    if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
        raise UserError(f"function '{name}' yields, but a tool gives one value: return it")
    return inspect.iscoroutinefunction(body)


def _output_contract(
    name: str, output_type: Any, output_json_schema: JsonSchema | None
) -> tuple[TypeAdapter[Any] | None, JsonSchema | None]:
    if output_type is None:
        return None, output_json_schema
    if output_json_schema is not None:
        raise UserError(f"output_type and output_json_schema cannot both be provided. Tool '{name}' needs one of them.")
    adapter: TypeAdapter[Any] = TypeAdapter(output_type)
    schema = ensure_strict_json_schema(adapter.json_schema(mode="serialization"))
    if schema.get("type") != "object":
        raise UserError(f"tool '{name}': output_type has to be an object: a pydantic model, a TypedDict or a dataclass")
    return adapter, schema


def _strict_output(name: str, schema: JsonSchema) -> JsonSchema:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise UserError(f"Function tool output_json_schema must define a JSON object schema. Tool '{name}'.")
    try:
        return ensure_strict_json_schema(schema)
    except UserError as error:
        raise UserError(
            f"Function tool output_json_schema must define a strict JSON object schema. Tool '{name}': {error}"
        ) from error
