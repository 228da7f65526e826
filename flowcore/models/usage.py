"""Tokens and requests, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class InputTokensDetails:
    """Parts of the input tokens."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(slots=True)
class OutputTokensDetails:
    """Parts of the output tokens."""

    reasoning_tokens: int = 0


@dataclass(slots=True)
class Usage:
    """What model calls used: ``requests`` made, tokens in and out."""

    requests: int = 0
    input_tokens: int = 0
    input_tokens_details: InputTokensDetails = field(default_factory=InputTokensDetails)
    output_tokens: int = 0
    output_tokens_details: OutputTokensDetails = field(default_factory=OutputTokensDetails)
    total_tokens: int = 0

    def add(self, other: Usage) -> None:
        """Add another usage to this one."""
        self.requests += other.requests
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.total_tokens += other.total_tokens
        self.input_tokens_details.cached_tokens += other.input_tokens_details.cached_tokens
        self.input_tokens_details.cache_write_tokens += other.input_tokens_details.cache_write_tokens
        self.output_tokens_details.reasoning_tokens += other.output_tokens_details.reasoning_tokens

    def to_counts(self) -> dict[str, int | float]:
        """The numbers that aren't zero, flat: the form in which a fact records them."""
        counts = {
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.total_tokens,
            "cached_tokens": self.input_tokens_details.cached_tokens,
            "cache_write_tokens": self.input_tokens_details.cache_write_tokens,
            "reasoning_tokens": self.output_tokens_details.reasoning_tokens,
        }
        return {name: count for name, count in counts.items() if count}

    def take(self, counts: Mapping[str, Any]) -> None:
        """Become what ``to_counts`` wrote down; names it doesn't know are left out."""
        get = counts.get
        self.requests = get("requests", 0)
        self.input_tokens = get("input_tokens", 0)
        self.output_tokens = get("output_tokens", 0)
        self.total_tokens = get("total_tokens", 0)
        self.input_tokens_details.cached_tokens = get("cached_tokens", 0)
        self.input_tokens_details.cache_write_tokens = get("cache_write_tokens", 0)
        self.output_tokens_details.reasoning_tokens = get("reasoning_tokens", 0)

    @classmethod
    def from_counts(cls, counts: Mapping[str, Any]) -> Usage:
        """The inverse of ``to_counts``."""
        usage = cls()
        usage.take(counts)
        return usage

    @classmethod
    def of_request(cls, told: Mapping[str, Any] | None, inputs: str = "input", outputs: str = "output") -> Usage:
        """The usage of one request, from what a provider tells of it: ``{inputs}_tokens``,
        ``{inputs}_tokens_details`` and so on."""
        if not told:
            return cls(requests=1)
        of_inputs, of_outputs = told.get(f"{inputs}_tokens_details") or {}, told.get(f"{outputs}_tokens_details") or {}
        usage = cls(requests=1, input_tokens=told.get(f"{inputs}_tokens") or 0)
        usage.output_tokens = told.get(f"{outputs}_tokens") or 0
        usage.total_tokens = told.get("total_tokens") or usage.input_tokens + usage.output_tokens
        usage.input_tokens_details.cached_tokens = of_inputs.get("cached_tokens") or 0
        usage.input_tokens_details.cache_write_tokens = of_inputs.get("cache_write_tokens") or 0
        usage.output_tokens_details.reasoning_tokens = of_outputs.get("reasoning_tokens") or 0
        return usage
