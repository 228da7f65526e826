"""What calls used: counted, added up, by request, and carried as data."""

from __future__ import annotations

import json

from openai.types.completion_usage import CompletionTokensDetails, PromptTokensDetails
from openai.types.responses import response_usage

from flowcore.models import (
    InputTokensDetails,
    ModelResponse,
    OutputTokensDetails,
    RequestUsage,
    Usage,
    deserialize_usage,
    serialize_usage,
)


def used(tokens: int, cached: int = 0) -> Usage:
    return Usage(1, tokens, InputTokensDetails(cached), 2, OutputTokensDetails(1), tokens + 2)


def test_each_request_that_is_added_stays_known() -> None:
    total = Usage()
    for one in (used(10, 4), used(20), Usage(requests=1)):
        total.add(one)
    assert (total.requests, total.input_tokens, total.output_tokens, total.total_tokens) == (3, 30, 4, 34)
    assert (total.input_tokens_details.cached_tokens, total.output_tokens_details.reasoning_tokens) == (4, 2)
    assert [entry.input_tokens for entry in total.request_usage_entries] == [10, 20]
    assert total.request_usage_entries[0].input_tokens_details == InputTokensDetails(4)
    run = Usage()
    run.add(total)
    run.add(used(5))
    assert [entry.input_tokens for entry in run.request_usage_entries] == [10, 20, 5]


def test_costs_add_up_and_are_carried_where_there_are_any() -> None:
    total = Usage(cost=0.5)
    total.add(Usage.of_request({"input_tokens": 1, "output_tokens": 1, "cost": 0.25}))
    assert (total.cost, total.to_counts()["cost"]) == (0.75, 0.75)
    assert Usage.from_counts(total.to_counts()).cost == 0.75
    assert deserialize_usage(json.loads(json.dumps(serialize_usage(total)))).cost == 0.75
    assert "cost" not in {**Usage(requests=1).to_counts(), **serialize_usage(used(1))}


def test_an_entry_is_not_changed_by_what_is_added_later() -> None:
    one, total = used(10, 4), Usage()
    total.add(one)
    one.add(used(1, 1))
    assert total.request_usage_entries[0].input_tokens_details.cached_tokens == 4


def test_failed_attempts_are_requests_too() -> None:
    usage = used(10)
    usage.count_failed(2)
    assert (usage.requests, usage.input_tokens) == (3, 10)
    assert [entry.total_tokens for entry in usage.request_usage_entries] == [0, 0, 12]
    same = used(10)
    same.count_failed(0)
    assert same == used(10)


def test_details_may_be_a_providers_own_or_nothing() -> None:
    none = Usage(1, 5, None, 2, None, 7)  # type: ignore[arg-type]
    assert (none.input_tokens_details, none.output_tokens_details) == (InputTokensDetails(), OutputTokensDetails())
    assert InputTokensDetails(None, None) == InputTokensDetails(0, 0)  # type: ignore[arg-type]
    chat = Usage(
        input_tokens_details=PromptTokensDetails(cached_tokens=3),  # type: ignore[arg-type]
        output_tokens_details=CompletionTokensDetails(reasoning_tokens=None),  # type: ignore[arg-type]
    )
    assert chat.input_tokens_details == InputTokensDetails(3)
    chat.add(Usage(output_tokens_details=response_usage.OutputTokensDetails(reasoning_tokens=4)))  # type: ignore[arg-type]
    assert chat.output_tokens_details == OutputTokensDetails(4)
    assert RequestUsage(1, 2, 3, None, None).input_tokens_details == InputTokensDetails()  # type: ignore[arg-type]


def test_usage_is_data_and_comes_back_from_it() -> None:
    total = Usage()
    total.add(used(10, 4))
    total.add(used(20))
    assert deserialize_usage(json.loads(json.dumps(serialize_usage(total)))) == total
    assert deserialize_usage({}) == Usage()
    assert serialize_usage(total)["input_tokens_details"] == [{"cached_tokens": 4, "cache_write_tokens": 0}]
    assert Usage.from_counts(total.to_counts()).to_counts() == total.to_counts()
    assert Usage.of_calls([used(10, 4).to_counts(), used(20).to_counts()]) == total


def test_a_response_is_input_for_the_next_call() -> None:
    items = [{"type": "message"}, {"type": "new"}]
    response = ModelResponse(items, Usage(), "resp_1")
    assert response.to_input_items() == items
    assert (response.response_id, response.request_id, response.raw_usage) == ("resp_1", None, None)
