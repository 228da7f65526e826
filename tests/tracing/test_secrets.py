"""What is marked secret, and what belongs to the app: where it's kept, and that it's shown nowhere."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr
from secrets_looking import PASSWORD, TOKEN, Looked
from tracing_cli import seen_by_command_line

from flowcore import (
    END,
    START,
    Agent,
    Goto,
    Graph,
    RunContextWrapper,
    Runner,
    RunState,
    Secret,
    State,
    ToolContext,
    function_tool,
    resume,
    start,
)
from flowcore.errors import ModelBehaviorError, RunFailed, UpdateError, UserError
from flowcore.graph.secret import MASK
from flowcore.stores import MemoryStore, SqliteStore
from flowcore.testing import ScriptedModel, function_call, kill_everywhere
from flowcore.tracing import spans_of

# What a state keeps


class Login(BaseModel):
    user: str
    password: SecretStr


class Vault(State):
    token: SecretStr = SecretStr("none yet")
    raw: SecretBytes | None = None
    pin: Annotated[str, Secret] = "0000"
    logins: list[Login] = []
    by_name: dict[str, SecretStr] = {}
    seen: list[str] = []


async def fill(state: Vault, ctx: Any) -> Goto:
    """Keep secrets."""
    return Goto(
        "filled",
        token=SecretStr(PASSWORD),
        raw=SecretBytes(b"\x00\xff\xfe raw"),
        pin=TOKEN,
        logins=[Login(user="ann", password=SecretStr(PASSWORD))],
        by_name={"a": SecretStr(TOKEN)},
    )


async def look(state: Vault, ctx: Any) -> Goto:
    """Use them."""
    held = [state.token, state.logins[0].password, state.by_name["a"]]
    return Goto("done", seen=[state.pin, str(state.raw.get_secret_value()), *(one.get_secret_value() for one in held)])


def vault() -> Graph:
    graph = Graph("vault", Vault)
    graph.edge(START, fill)
    graph.edge(fill, "filled", look)
    graph.edge(look, "done", END)
    return graph


async def test_a_secret_in_a_state_comes_back_from_every_store_as_it_was(tmp_path: Path) -> None:
    numbers = iter(range(1000))
    for store in (lambda: MemoryStore(keep_bytes=True), lambda: SqliteStore(tmp_path / f"{next(numbers)}.db")):
        kills = await kill_everywhere(vault, {}, store=store)
        assert kills.standing == "done"
        assert kills.output["seen"] == [TOKEN, r"b'\x00\xff\xfe raw'", PASSWORD, PASSWORD, TOKEN]


def test_no_error_and_no_repr_tells_a_secret() -> None:
    fields = vault().build().schema.fields
    for name, value in (("pin", 7), ("token", 7), ("logins", [{"user": PASSWORD}])):
        with pytest.raises(UpdateError, match=r"\*\*\*\*\*\*\*\*\*\*") as caught:
            fields[name].codec.admit(value)
        assert PASSWORD not in str(caught.value)
    state = Vault(pin=PASSWORD, logins=[Login(user="ann", password=SecretStr(PASSWORD))])
    schema = vault().build().schema
    view = schema.view(schema.begin({"pin": PASSWORD}))
    for told in (repr(state), repr(view), repr(RunContextWrapper({"password": PASSWORD}))):
        assert "MARKER" not in told
    assert state.pin == view.pin == PASSWORD


# What is shown of an agent's run


@function_tool(failure_error_function=None)
def log_in(user: str, password: Annotated[str, Secret], pin: SecretStr) -> str:
    """Log in."""
    if password == PASSWORD:
        return f"logged in with {password} and {pin.get_secret_value()}"
    raise RuntimeError(f"wrong: {password}")


@function_tool
def fetch_token() -> Annotated[str, Secret]:
    """Fetch it."""
    return TOKEN


@function_tool(needs_approval=True)
def burn(token: Annotated[str, Secret], why: str) -> str:
    """Burn it."""
    return "burned"


def clerk(password: str = PASSWORD) -> Agent:
    given = {"user": "ann", "password": password, "pin": "MARKER-0815"}
    calls = [
        function_call("log_in", given),
        function_call("fetch_token", {}),
        function_call("burn", {"token": TOKEN, "why": "old"}),
    ]
    model = ScriptedModel.by_turn([*calls, f"I used {PASSWORD} and {TOKEN}."])
    return Agent(name="clerk", model=model, tools=[log_in, fetch_token, burn])


async def test_marked_arguments_and_outputs_are_shown_nowhere_and_kept(looked: Looked, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    result = await Runner.run(clerk(), "go", store=store, run_id="r")
    [asked] = await store.requests("r")
    assert asked.data["secret"] == ["token"]
    before = await seen_by_command_line(store, "r")
    state = result.to_state()
    state.approve(result.interruptions[0])
    done = await Runner.run(clerk(), state)
    assert done.final_output == f"I used {PASSWORD} and {TOKEN}."
    facts = await store.read("r")
    assert TOKEN in str(facts[-3:]) + done.final_output
    assert json.dumps(PASSWORD)[1:-1] in str(facts)
    shown = looked.all() + before + await seen_by_command_line(store, "r")
    shown += repr([span.export() for span in spans_of(facts, clerk())])
    assert "MARKER" not in shown
    assert MASK in before
    assert "ann" in shown
    for one in (looked.lines.getvalue(), json.dumps([span.export() for span in looked.kept.started])):
        assert "logged in with **********" in one
    await store.close()


async def test_a_tools_error_that_tells_a_secret_is_shown_without_it(looked: Looked, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    run = await start(clerk("MARKER-wrong"), "go", store=store, run_id="r")
    with pytest.raises(UserError, match="MARKER-wrong"):  # the tool's own words, to who runs it
        await run
    row = await store.get("r")
    assert "wrong: **********" in str(row.error)
    again = await resume("r", clerk("MARKER-wrong"), store=store)
    again._live.exception = None
    with pytest.raises((RunFailed, UserError)):
        await again
    shown = looked.all() + await seen_by_command_line(store, "r")
    assert "MARKER" not in shown
    assert "run failed" in str(looked.events)
    await store.close()


async def test_arguments_that_do_not_fit_are_refused_without_telling_the_secret_ones() -> None:
    schema = log_in.on_invoke_tool.schema  # type: ignore[attr-defined]
    assert log_in.secret_arguments == {"password", "pin"}
    assert "writeOnly" not in str(log_in.params_json_schema) + str(log_in.params_json_schema)
    for text in (f'{{"password": ["{PASSWORD}"], "user": 7, "pin": "MARKER"}}', f'{{"password": "{PASSWORD}'):
        with pytest.raises(ModelBehaviorError) as caught:
            schema.parse(text)
        assert "MARKER" not in str(caught.value)
        assert caught.value.__cause__ is None


async def test_nothing_is_hidden_and_nothing_more_is_written_where_nothing_is_marked(looked: Looked) -> None:
    @function_tool
    def echo(text: str) -> str:
        """Say it again."""
        return text

    model = ScriptedModel.by_turn([function_call("echo", {"text": PASSWORD}), "done"])
    result = await Runner.run(Agent(name="A", model=model, tools=[echo]), "go")
    assert "secret" not in (result.run.facts[0].meta or {})
    assert PASSWORD in looked.lines.getvalue()


# The app's own object


@dataclass
class Dependencies:
    password: str = PASSWORD

    def __repr__(self) -> str:
        return f"Dependencies({self.password})"


class Settings(BaseModel):
    password: str = PASSWORD
    token: SecretStr = SecretStr(TOKEN)


class Plain:
    def __init__(self) -> None:
        self.password = PASSWORD

    def __repr__(self) -> str:
        return f"Plain({self.password})"


@function_tool(needs_approval=True)
def use(ctx: ToolContext[Any], what: str) -> str:
    """Use it."""
    assert ctx.context.password == PASSWORD
    if what == "break":
        raise RuntimeError(f"broken: {ctx!r:.2000}")
    return "used"


def nested() -> Agent:
    inner = Agent(name="inner", model=ScriptedModel.by_turn([function_call("use", {"what": "it"}), "in"]), tools=[use])
    calls = [[function_call("inner", {"input": "x"}), function_call("use", {"what": "break"})], "out"]
    tool = inner.as_tool("inner", "Ask it.")
    return Agent(
        name="outer", model=ScriptedModel.by_turn(calls), tools=[tool, use], instructions=lambda ctx, one: "Go."
    )


@pytest.mark.parametrize("make", [Dependencies, Settings, Plain])
async def test_a_context_is_never_stored_and_shown_nowhere(make: Any, looked: Looked, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.db")
    result = await Runner.run(nested(), "go", context=make(), store=store, run_id="r", session="s")
    told = await seen_by_command_line(store, "r")
    state = result.to_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written = json.dumps(state.to_json(context_serializer=lambda one: {"kind": type(one).__name__}))
    again = await RunState.from_json(nested(), json.loads(written), context_override=make(), store=store)
    while again.get_interruptions():
        for one in again.get_interruptions():
            again.approve(one)
        result = await Runner.run(nested(), again)
        again = result.to_state()
    assert result.final_output == "out"
    told += await seen_by_command_line(store, "r") + looked.all() + repr(result.context_wrapper)
    await store.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())  # noqa: ASYNC240 - three small files
    for what in (told, written, stored.decode("utf-8", "replace")):
        assert "MARKER" not in what
    assert "broken: " in stored.decode("utf-8", "replace")


async def test_a_secret_field_of_a_context_that_a_states_json_takes_along_is_left_out() -> None:
    result = await Runner.run(nested(), "go", context=Settings())
    with pytest.warns(UserWarning, match="context"):
        data = result.to_state().to_json()
    assert data["context"]["value"] == {"password": PASSWORD}
