"""What a caller may ask of a model call. Values only: how they reach the wire is each model's business.

A field that is None isn't sent. Nothing here retries: the engine reads ``retry`` and draws edges from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from flowcore.errors import UserError

T = TypeVar("T")


@dataclass
class MCPToolChoice:
    """A ``tool_choice`` that forces one tool of a hosted MCP server."""

    server_label: str
    name: str


@dataclass
class ModelRetryBackoffSettings:
    """How long to wait between attempts, in seconds. None: the default named beside the field."""

    initial_delay: float | None = None
    """Before the second attempt: 0.25."""
    max_delay: float | None = None
    """Never longer than this: 2."""
    multiplier: float | None = None
    """Each wait is this many times the one before it: 2."""
    jitter: bool | None = None
    """Whether waits are spread by up to an eighth either way: True."""

    def __post_init__(self) -> None:
        for name in ("initial_delay", "max_delay", "multiplier"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise UserError(f"ModelRetryBackoffSettings: {name} must be 0 or more, not {value!r}")

    def delay(self, attempt: int, chance: float = 0.5) -> float:
        """Seconds to wait after the failed ``attempt``, from 1. ``chance``: a random number of [0, 1)."""
        first = 0.25 if self.initial_delay is None else self.initial_delay
        longest = 2.0 if self.max_delay is None else self.max_delay
        multiplier = 2.0 if self.multiplier is None else self.multiplier
        # Past 64 doublings any first delay is over any limit; the power of a huge attempt would overflow.
        wait = min(first * multiplier ** min(attempt - 1, 64), longest)
        return wait if self.jitter is False else min(wait * (0.875 + chance / 4), longest)


@dataclass
class ModelRetrySettings:
    """How often, how long and whether a failed model call is tried again.

    ``max_retries``: attempts after the first; None means none. ``policy``: asked with what is known of the
    failure, it answers whether to try again; without one, errors whose ``retryable`` is true are.
    """

    max_retries: int | None = None
    backoff: ModelRetryBackoffSettings | None = None
    policy: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.backoff, Mapping):
            self.backoff = ModelRetryBackoffSettings(**self.backoff)
        if self.max_retries is not None and self.max_retries < 0:
            raise UserError(f"ModelRetrySettings: max_retries must be 0 or more, not {self.max_retries!r}")


@dataclass
class ModelSettings:
    """The settings of a model call. Fields that a provider has no word for are left out of its requests."""

    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    """Chat Completions only."""
    presence_penalty: float | None = None
    """Chat Completions only."""
    tool_choice: str | MCPToolChoice | dict[str, Any] | None = None
    """``"auto"``, ``"required"``, ``"none"``, a tool's name, or the wire form itself."""
    parallel_tool_calls: bool | None = None
    truncation: str | None = None
    """``"auto"`` or ``"disabled"``; Responses only."""
    max_tokens: int | None = None
    """The most tokens of one reply."""
    reasoning: Any = None
    """openai's ``Reasoning``, or a dict like ``{"effort": "low"}``."""
    verbosity: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    prompt_cache_retention: str | None = None
    include_usage: bool | None = None
    """Whether a streamed chat asks for usage: True. False is for servers that refuse ``stream_options``."""
    response_include: list[str] | None = None
    """Responses only."""
    top_logprobs: int | None = None
    extra_query: Any = None
    extra_body: Any = None
    """Added to the request's JSON, over everything else."""
    extra_headers: Any = None
    extra_args: dict[str, Any] | None = None
    """More parameters of the provider's call, e.g. ``{"seed": 7}``."""
    retry: ModelRetrySettings | None = None
    context_management: list[dict[str, Any]] | None = None
    """Responses only."""
    prompt_cache_options: Any = None
    preserve_raw_usage: bool | None = None
    """Whether ``ModelResponse.raw_usage`` keeps the provider's usage as it came."""
    timeout: float | None = None
    """Seconds for one attempt, streamed or not; then ``ModelTimeoutError``."""

    def __post_init__(self) -> None:
        if isinstance(self.retry, Mapping):
            self.retry = ModelRetrySettings(**self.retry)
        if self.timeout is not None and not self.timeout > 0:
            raise UserError(f"ModelSettings: timeout must be more than 0 seconds, not {self.timeout!r}")

    def resolve(self, override: ModelSettings | None) -> ModelSettings:
        """These settings under those that ``override`` sets; ``extra_args`` and ``retry`` are merged."""
        if override is None:
            return self
        return _overlay(self, override)

    def to_json_dict(self) -> dict[str, Any]:
        """All fields as plain values. The retry policy is code, so it's left out."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def to_traceable_dict(self) -> dict[str, Any]:
        """The fields that are set, without ``extra_*``: those may carry secrets."""
        return {
            name: value
            for name, value in self.to_json_dict().items()
            if value is not None and not name.startswith("extra_")
        }


def _overlay(base: T, override: Any) -> T:
    """A copy of ``base`` under the fields that ``override`` sets; what is nested is merged."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(override):
        value = getattr(override, field.name)
        if value is None:
            continue
        below = getattr(base, field.name)
        if isinstance(value, (ModelRetrySettings, ModelRetryBackoffSettings)) and below is not None:
            value = _overlay(below, value)
        elif field.name == "extra_args" and below:
            value = {**below, **value}
        changes[field.name] = value
    return dataclasses.replace(base, **changes)  # type: ignore[type-var]


def _plain(value: Any) -> Any:
    """A value of a settings field as JSON data."""
    if isinstance(value, ModelRetrySettings):
        return {"max_retries": value.max_retries, "backoff": _plain(value.backoff)}
    return to_wire(value)


def to_wire(value: Any) -> Any:
    """A small value that a user may give as a dict, a dataclass or one of openai's models, as plain data."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    dump = getattr(value, "model_dump", None)
    return dump(mode="json", exclude_unset=True) if dump is not None else value
