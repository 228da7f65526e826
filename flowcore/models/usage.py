"""Tokens and requests, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from flowcore.machine.facts import SPENT


@dataclass(slots=True)
class InputTokensDetails:
    """Parts of the input tokens. None, as some providers say it, is 0."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0

    def __post_init__(self) -> None:
        self.cached_tokens = self.cached_tokens or 0
        self.cache_write_tokens = self.cache_write_tokens or 0

    @classmethod
    def of(cls, told: Any) -> InputTokensDetails:
        """From details of any kind: ours, a mapping, a provider's object, a list of one of them, or None."""
        return cls(_told(told, "cached_tokens"), _told(told, "cache_write_tokens"))


@dataclass(slots=True)
class OutputTokensDetails:
    """Parts of the output tokens. None, as some providers say it, is 0."""

    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        self.reasoning_tokens = self.reasoning_tokens or 0

    @classmethod
    def of(cls, told: Any) -> OutputTokensDetails:
        """From details of any kind: ours, a mapping, a provider's object, a list of one of them, or None."""
        return cls(_told(told, "reasoning_tokens"))


def _told(details: Any, name: str) -> int:
    if isinstance(details, list):
        details = details[0] if details else None
    count = details.get(name) if isinstance(details, Mapping) else getattr(details, name, None)
    return count or 0


@dataclass(slots=True)
class RequestUsage:
    """What a single request used."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: InputTokensDetails = field(default_factory=InputTokensDetails)
    output_tokens_details: OutputTokensDetails = field(default_factory=OutputTokensDetails)

    def __post_init__(self) -> None:
        if type(self.input_tokens_details) is not InputTokensDetails:
            self.input_tokens_details = InputTokensDetails.of(self.input_tokens_details)
        if type(self.output_tokens_details) is not OutputTokensDetails:
            self.output_tokens_details = OutputTokensDetails.of(self.output_tokens_details)


@dataclass(slots=True)
class Usage:
    """What model calls used: ``requests`` made (failed ones too), tokens in and out.

    ``request_usage_entries``: each request by itself, where it is known; ``add`` keeps them. ``cost``: in US dollars,
    where the provider tells it or litellm knows its prices; ``limits={"max_cost": …}`` bounds it.
    """

    requests: int = 0
    input_tokens: int = 0
    input_tokens_details: InputTokensDetails = field(default_factory=InputTokensDetails)
    output_tokens: int = 0
    output_tokens_details: OutputTokensDetails = field(default_factory=OutputTokensDetails)
    total_tokens: int = 0
    request_usage_entries: list[RequestUsage] = field(default_factory=list)
    cost: float = 0.0

    def __post_init__(self) -> None:
        if type(self.input_tokens_details) is not InputTokensDetails:
            self.input_tokens_details = InputTokensDetails.of(self.input_tokens_details)
        if type(self.output_tokens_details) is not OutputTokensDetails:
            self.output_tokens_details = OutputTokensDetails.of(self.output_tokens_details)

    def add(self, other: Usage) -> None:
        """Add another usage to this one, and its requests to the entries."""
        self.requests += other.requests or 0
        self.input_tokens += other.input_tokens or 0
        self.output_tokens += other.output_tokens or 0
        self.total_tokens += other.total_tokens or 0
        self.cost += getattr(other, "cost", 0.0)
        inputs, outputs = (
            InputTokensDetails.of(other.input_tokens_details),
            OutputTokensDetails.of(other.output_tokens_details),
        )
        self.input_tokens_details.cached_tokens += inputs.cached_tokens
        self.input_tokens_details.cache_write_tokens += inputs.cache_write_tokens
        self.output_tokens_details.reasoning_tokens += outputs.reasoning_tokens
        if other.request_usage_entries:
            self.request_usage_entries += other.request_usage_entries
        elif other.requests == 1 and other.total_tokens:
            self.request_usage_entries.append(other.as_request())

    def as_request(self) -> RequestUsage:
        """The tokens of this usage as those of one request."""
        return RequestUsage(
            self.input_tokens,
            self.output_tokens,
            self.total_tokens,
            InputTokensDetails.of(self.input_tokens_details),
            OutputTokensDetails.of(self.output_tokens_details),
        )

    def count_failed(self, attempts: int) -> None:
        """Count ``attempts`` that failed before the request that this is the usage of; each is an entry without
        tokens, before its own."""
        if attempts <= 0:
            return
        own = self.request_usage_entries or [self.as_request()]
        self.requests = max(self.requests, 1) + attempts
        self.request_usage_entries = [RequestUsage(0, 0, 0) for _ in range(attempts)] + own

    def to_counts(self) -> dict[str, int | float]:
        """The numbers that aren't zero, flat: the form in which a fact records them. The entries aren't among them:
        there is a fact for each call."""
        inputs, outputs = self.input_tokens_details, self.output_tokens_details
        counts: dict[str, int | float] = {}
        if self.requests:
            counts["requests"] = self.requests
        if self.input_tokens:
            counts["input_tokens"] = self.input_tokens
        if self.output_tokens:
            counts["output_tokens"] = self.output_tokens
        if self.total_tokens:
            counts["total_tokens"] = self.total_tokens
        if inputs.cached_tokens:
            counts["cached_tokens"] = inputs.cached_tokens
        if inputs.cache_write_tokens:
            counts["cache_write_tokens"] = inputs.cache_write_tokens
        if outputs.reasoning_tokens:
            counts["reasoning_tokens"] = outputs.reasoning_tokens
        if self.cost:
            counts["cost"] = self.cost
        return counts

    def take(self, counts: Mapping[str, Any]) -> None:
        """Become what ``to_counts`` wrote down; names it doesn't know are left out, and so are the entries."""
        get = counts.get
        self.requests = get("requests", 0)
        self.input_tokens = get("input_tokens", 0)
        self.output_tokens = get("output_tokens", 0)
        self.total_tokens = get("total_tokens", 0)
        self.cost = get("cost", 0.0)
        inputs, outputs = self.input_tokens_details, self.output_tokens_details
        inputs.cached_tokens = get("cached_tokens", 0)
        inputs.cache_write_tokens = get("cache_write_tokens", 0)
        outputs.reasoning_tokens = get("reasoning_tokens", 0)

    @classmethod
    def from_counts(cls, counts: Mapping[str, Any]) -> Usage:
        """The inverse of ``to_counts``."""
        usage = cls()
        usage.take(counts)
        return usage

    @classmethod
    def of_calls(cls, calls: Iterable[Mapping[str, Any]]) -> Usage:
        """The sum of several calls, each as ``to_counts`` wrote it down, with an entry for each."""
        usage = cls()
        for counts in calls:
            usage.add(cls.from_counts(counts))
        return usage

    @classmethod
    def of_request(cls, told: Mapping[str, Any] | None, inputs: str = "input", outputs: str = "output") -> Usage:
        """The usage of one request, from what a provider tells of it: ``{inputs}_tokens``,
        ``{inputs}_tokens_details`` and so on."""
        if not told:
            return cls(requests=1)
        of_inputs, of_outputs = told.get(f"{inputs}_tokens_details"), told.get(f"{outputs}_tokens_details")
        usage = cls(requests=1, input_tokens=told.get(f"{inputs}_tokens") or 0)
        usage.output_tokens = told.get(f"{outputs}_tokens") or 0
        usage.total_tokens = told.get("total_tokens") or usage.input_tokens + usage.output_tokens
        usage.cost = told.get("cost") or 0.0
        usage.input_tokens_details = InputTokensDetails.of(of_inputs)
        usage.output_tokens_details = OutputTokensDetails.of(of_outputs)
        return usage


class RunUsage(Usage):
    """What a run has used, as its functions and its result see it: it grows with the run. What they ``add`` is the
    run's, too (``given``, until the run has noted it). A copy is a plain ``Usage``.

    ``facts``: the run's journal, from which ``request_usage_entries`` are made when they're asked for; ``spent``: what
    the fact after ``known`` of them will tell. ``nested`` gives the entries of a nested run; without it, what one used
    is a single entry.
    """

    __slots__ = ("facts", "given", "known", "nested", "spent")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self.facts: Sequence[Any] = ()
        self.given: Usage | None = None
        self.spent: Mapping[str, Any] | None = None
        self.known = 0
        self.nested: Callable[[Any], Iterable[RequestUsage]] | None = None
        super().__init__()

    @property
    def request_usage_entries(self) -> list[RequestUsage]:
        made = list(entries_of(self.facts, self.nested))
        spent = self.spent
        if spent and spent.get("total_tokens") and len(self.facts) == self.known:
            made.append(Usage.from_counts(spent).as_request())
        return made if self.given is None else made + self.given.request_usage_entries

    @request_usage_entries.setter
    def request_usage_entries(self, entries: list[RequestUsage]) -> None:
        """What the facts tell isn't set."""

    def add(self, other: Usage) -> None:
        self.given = self.given or Usage()
        self.given.add(other)
        mine = Usage.from_counts(self.to_counts())
        mine.add(other)
        self.take(mine.to_counts())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Usage) and serialize_usage(self) == serialize_usage(other)

    def __reduce__(self) -> tuple[Any, ...]:
        return deserialize_usage, (serialize_usage(self),)


def entries_of(
    facts: Iterable[Any], nested: Callable[[Any], Iterable[RequestUsage]] | None = None
) -> Iterable[RequestUsage]:
    """The requests that a journal tells of, each by itself: one that failed used nothing."""
    for fact in facts:
        counts = getattr(fact, "usage", None)
        if not counts or not counts.get("requests"):
            continue
        used = Usage.from_counts(counts)
        if used.requests > 1 and nested is not None:
            yield from nested(fact)
        elif used.total_tokens or used.requests > 1 or getattr(fact, "error", None) or _failed(fact):
            yield used.as_request()


def _failed(fact: Any) -> bool:
    """Whether a fact tells of an effect that failed."""
    return str(getattr(fact, "key", "")).startswith(SPENT)


def by_details(usage: Usage) -> dict[str, Any]:
    """A usage as spans of replies tell it: counts, and their details below them."""
    return {
        "requests": usage.requests,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "input_tokens_details": asdict(usage.input_tokens_details),
        "output_tokens_details": asdict(usage.output_tokens_details),
    }


def serialize_usage(usage: Usage) -> dict[str, Any]:
    """A usage as JSON data, entries and all; the details stand in lists of one."""
    data = asdict(usage)
    if not data["cost"]:
        del data["cost"]
    for name in ("input_tokens_details", "output_tokens_details"):
        data[name] = [data[name]]
    return data


def deserialize_usage(data: Mapping[str, Any]) -> Usage:
    """The inverse of ``serialize_usage``; what is missing is 0."""

    def request(of: Mapping[str, Any]) -> RequestUsage:
        return RequestUsage(
            of.get("input_tokens") or 0,
            of.get("output_tokens") or 0,
            of.get("total_tokens") or 0,
            InputTokensDetails.of(of.get("input_tokens_details")),
            OutputTokensDetails.of(of.get("output_tokens_details")),
        )

    whole = request(data)
    return Usage(
        requests=data.get("requests") or 0,
        input_tokens=whole.input_tokens,
        input_tokens_details=whole.input_tokens_details,
        output_tokens=whole.output_tokens,
        output_tokens_details=whole.output_tokens_details,
        total_tokens=whole.total_tokens,
        request_usage_entries=[request(one) for one in data.get("request_usage_entries") or ()],
        cost=data.get("cost") or 0.0,
    )
