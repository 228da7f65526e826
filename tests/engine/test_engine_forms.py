"""Forms: a request with a schema takes only answers that fit it."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from flowcore import END, START, Ask, Graph, Json, Pause, State, UpdateError, UserError, start


class Address(BaseModel):
    street: str
    code: Annotated[int, Field(ge=1000, le=99999)]
    kind: Literal["home", "work"] = "home"


class Signup(State):
    form: dict[str, Json] = {}


async def ask(state: Signup) -> Pause:
    return Pause(Ask("address", "where do you live?", schema=Address, kind="form"), into="form", on="done")


GRAPH = Graph("signup", Signup, {START: ask, ask: {"done": END}})


async def test_an_answer_that_fits_is_accepted() -> None:
    run = await start(GRAPH)
    await run
    await run.answer("address", {"street": "Elm", "code": 1234})
    assert (await run).state.form == {"address": {"street": "Elm", "code": 1234}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"street": "Elm"}, "'code' is a required property"),
        ({"street": "Elm", "code": 3}, "code: 3 is less than the minimum of 1000"),
        ({"street": 5, "code": 1234}, "street: 5 is not of type 'string'"),
        ("Elm", "the answer: 'Elm' is not of type 'object'"),
    ],
)
async def test_an_answer_that_does_not_fit_is_refused_and_the_run_waits_on(value: Any, message: str) -> None:
    run = await start(GRAPH)
    await run
    with pytest.raises(UpdateError, match=f"request 'address'.*{message}"):
        await run.answer("address", value)
    assert [one.key for one in await run.requests()] == ["address"]
    await run.answer("address", {"street": "Elm", "code": 1234})
    assert (await run).standing == "done"


async def test_without_the_package_that_checks_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    run = await start(GRAPH)
    await run
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(UserError, match=r"pip install 'flowcore\[forms\]'"):
        await run.answer("address", {})
