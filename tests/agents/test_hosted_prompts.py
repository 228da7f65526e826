"""Stored prompts, given or made."""

from __future__ import annotations

from typing import Any

import pytest

from flowcore.agents.context import RunContextWrapper
from flowcore.agents.prompts import GenerateDynamicPromptData, Prompt, resolve_prompt
from flowcore.errors import UserError

CTX: RunContextWrapper[Any] = RunContextWrapper("Ada")


async def test_a_prompt_is_given_or_made_from_the_run() -> None:
    def made(data: GenerateDynamicPromptData) -> Prompt:
        return {"id": "pmpt_1", "variables": {"name": data.context.context, "agent": data.agent}}

    async def later(data: GenerateDynamicPromptData) -> Prompt:
        return made(data)

    assert await resolve_prompt(None, CTX, "clerk") is None
    assert await resolve_prompt({"id": "pmpt_1", "version": None}, CTX, "clerk") == {"id": "pmpt_1"}  # type: ignore[typeddict-item]
    for function in (made, later):
        prompt = await resolve_prompt(function, CTX, "clerk")
        assert prompt == {"id": "pmpt_1", "variables": {"name": "Ada", "agent": "clerk"}}


async def test_what_is_no_prompt_is_refused() -> None:
    with pytest.raises(UserError, match="Dynamic prompt function must return a Prompt"):
        await resolve_prompt(lambda data: "pmpt_1", CTX, "clerk")  # type: ignore[arg-type,return-value]
    for wrong in ("pmpt_1", {"version": "2"}):
        with pytest.raises(UserError, match="a prompt is a dict with an 'id'"):
            await resolve_prompt(wrong, CTX, "clerk")  # type: ignore[arg-type]
