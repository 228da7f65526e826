"""What agents say, effects give and tools that are found at run time take, where it's marked secret: shown nowhere."""

from __future__ import annotations

import json
import traceback
from pathlib import Path
from typing import Annotated, Any

import pytest
from mcp.types import CallToolResult, TextContent, Tool
from pydantic import BaseModel, Field, SecretStr
from secrets_looking import PASSWORD, TOKEN, Looked
from tracing_cli import Caught, seen_by_command_line
from typing_extensions import TypedDict

from flowcore import (
    END,
    START,
    Agent,
    Goto,
    Graph,
    GuardrailFunctionOutput,
    InputGuardrail,
    Of,
    RunConfig,
    Runner,
    Secret,
    State,
    answer,
    function_tool,
    resume,
    start,
)
from flowcore.cli.hints import Hints
from flowcore.cli.live import Live
from flowcore.cli.summary import Summary
from flowcore.errors import ModelBehaviorError
from flowcore.graph.secret import MASK
from flowcore.mcp import MCPServer
from flowcore.stores import MemoryStore, SqliteStore
from flowcore.testing import ModelStep, ScriptedModel, function_call, message
from flowcore.tracing import spans_of


class Account(BaseModel):
    user: str
    password: SecretStr
    token: Annotated[str, Secret] = Field(alias="accessToken")
    pin: Annotated[int, Secret] = 7


class Key(TypedDict):
    user: str
    key: Annotated[str, Secret]


ACCOUNT = json.dumps({"user": "ann", "password": PASSWORD, "accessToken": TOKEN, "pin": 7}, ensure_ascii=False)


def maker(output_type: Any = Account, said: str = ACCOUNT, **more: Any) -> Agent:
    return Agent(name="maker", model=ScriptedModel.by_turn([said]), output_type=output_type, **more)


# What an agent says


async def test_marked_fields_of_an_output_type_are_shown_nowhere_and_given(looked: Looked, tmp_path: Path) -> None:
    async def fine(ctx: Any, agent: Any, input: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(None, False)

    for guards in ([], [InputGuardrail(fine, run_in_parallel=True)]):  # beside one, the reply is an effect's value
        store = SqliteStore(tmp_path / f"{len(guards)}.db")
        result = await Runner.run(maker(input_guardrails=guards), "go", store=store, run_id="r")
        account = result.final_output
        assert (account.password.get_secret_value(), account.token, account.pin) == (PASSWORD, TOKEN, 7)
        facts = await store.read("r")
        assert PASSWORD in str(facts)
        shown = looked.all() + await seen_by_command_line(store, "r") + str(result) + repr(result.new_items)
        shown += repr([span.export() for span in spans_of(facts, maker())])
        assert "MARKER" not in shown
        assert '"pin": "**********"' in looked.lines.getvalue()
        assert "ann" in shown
        await store.close()


@pytest.mark.parametrize(
    ("output_type", "said"),
    [
        (list[Account], f'{{"response": [{ACCOUNT}]}}'),
        (SecretStr, json.dumps({"response": PASSWORD})),
        (Key, json.dumps({"user": "ann", "key": PASSWORD})),
        (Key | None, json.dumps({"response": {"user": "ann", "key": PASSWORD}})),
    ],
)
async def test_of_any_type_that_holds_a_secret_it_is_hidden(output_type: Any, said: str, looked: Looked) -> None:
    store = MemoryStore()
    result = await Runner.run(maker(output_type, said), "go", store=store, run_id="r")
    assert PASSWORD in str(result.run.facts)
    shown = looked.all() + await seen_by_command_line(store, "r") + repr(result.new_items)
    assert "MARKER" not in shown


async def test_output_that_does_not_fit_is_refused_and_asked_for_again_without_telling_it(looked: Looked) -> None:
    wrong = json.dumps({"user": "ann", "password": [PASSWORD], "accessToken": TOKEN})
    store = MemoryStore()
    model = ScriptedModel.by_turn([f"It's {PASSWORD}!", wrong, wrong])
    agent = Agent(name="maker", model=model, output_type=Account)
    with pytest.raises(ModelBehaviorError) as caught:
        await Runner.run(agent, "go", store=store, run_id="r", run_config=RunConfig(reasks=2))
    assert "MARKER" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value.run_data)
    assert "new_items=[MessageOutputItem" in repr(caught.value.run_data)
    shown = looked.all() + await seen_by_command_line(store, "r")
    assert "MARKER" not in shown
    assert "password: it doesn't fit (given: **********)" in shown


async def test_what_a_nested_agent_says_is_hidden_in_its_callers_run(looked: Looked) -> None:
    replies = [function_call("maker", {"input": "go"}), f"She has {PASSWORD}, with {TOKEN}."]
    outer = Agent(name="outer", model=ScriptedModel.by_turn(replies), tools=[maker().as_tool("maker", "Make one.")])
    store = MemoryStore()
    result = await Runner.run(outer, "go", store=store, run_id="r")
    assert result.final_output == f"She has {PASSWORD}, with {TOKEN}."
    assert PASSWORD in result.new_items[1].raw_item["output"]
    shown = looked.all() + await seen_by_command_line(store, "r") + repr(result.new_items[1:])
    assert "MARKER" not in shown
    assert "ToolCallOutputItem(agent='outer'" in shown


# On the terminal


class Streamed(Caught):
    """A terminal that keeps what is written."""

    def stream(self, text: str, style: str = "") -> None:
        self.said.append(text)

    def result(self, record: Any) -> None:
        self.said.append(str(record))

    def fresh_line(self) -> None:
        self.said.append("\n")

    def text(self) -> str:
        return "".join(self.said)


async def printed(agent: Any, input: Any = "go") -> str:
    """What `flowcore run` prints, and its record."""
    run = await start(agent, input, store=MemoryStore(), run_id="r")
    screen = Streamed()
    live = Live(screen, run)
    async for event in run:
        live.event(event)
    summary = Summary(run, await run.result(), await run.store.get("r"), Hints(None, None, None))
    summary.print(screen)
    return screen.text() + json.dumps(summary.record(), ensure_ascii=False)


async def test_a_terminal_is_not_shown_what_is_streamed_of_an_output_type_with_secrets(looked: Looked) -> None:
    told = await printed(maker())
    assert "MARKER" not in told
    assert told.count('"user": "ann"') == 3  # as a message, as the output, and in the record
    plain = await printed(Agent(name="plain", model=ScriptedModel.by_turn([f"It's {PASSWORD}."])))
    assert PASSWORD in plain


@function_tool
def log_in(password: Annotated[str, Secret]) -> str:
    """Log in."""
    return "logged in"


async def test_a_terminal_is_not_shown_a_secret_that_a_model_says_again_in_pieces() -> None:
    said = f"With {PASSWORD} I'm in; MARK twain, MARKE"
    again = ModelStep([message(said)], deltas=[said[:8], said[8:15], said[15:22], said[22:38], said[38:]])
    model = ScriptedModel.by_turn([function_call("log_in", {"password": PASSWORD}), again])
    told = await printed(Agent(name="A", model=model, tools=[log_in]))
    assert "MARKER" not in told
    assert f"With {MASK} I'm in; MARK twain, MARKE" in told


# What an effect gives


class Login(BaseModel):
    user: str
    password: SecretStr


class Kept(State):
    token: Annotated[str, Secret] = ""
    pin: Annotated[int, Secret] = 0
    seen: str = ""


async def fetch(state: Kept, ctx: Any) -> Goto:
    """Fetch a token, in three ways."""
    await ctx.once("typed", lambda: PASSWORD, returns=Annotated[str, Secret])
    await ctx.once("account", lambda: Login(user="ann", password=PASSWORD), returns=Login)
    await ctx.once("named", lambda: {"token": [TOKEN], "user": "bob"})
    return Goto("fetched", token=Of("named", "token", 0), pin=4711, seen="yes")


def fetching() -> Graph:
    return Graph("fetching", Kept, {START: fetch, fetch: {"fetched": END}})


async def test_an_effect_whose_type_is_secret_is_never_shown_and_another_not_once_its_in_a_marked_field(
    looked: Looked,
) -> None:
    store = MemoryStore(keep_bytes=True)
    run = await start(fetching(), {}, store=store, run_id="r")
    result = await run
    assert (result.output["token"], result.output["pin"]) == (TOKEN, 4711)
    assert [getattr(fact, "secret", None) for fact in result.facts] == [None, "value", "value", None, None]
    assert PASSWORD not in looked.all()
    told = await seen_by_command_line(store, "r")
    assert "MARKER" not in told
    assert '"user": "bob"' in told
    again = await printed(fetching(), {})
    end = again[again.index("fetched") :]
    assert "MARKER" not in end
    assert "4711" not in end
    assert PASSWORD not in again


# Tools that are found at run time


class Vaults(MCPServer):
    """A server whose tool takes and gives secrets, as pydantic writes them."""

    name = "vaults"

    async def connect(self) -> None:
        """It's here."""

    async def cleanup(self) -> None:
        """It stays."""

    async def list_tools(self, run_context: Any = None, agent: Any = None) -> list[Tool]:
        secret = {"type": "string", "format": "password", "writeOnly": True}
        taken = {"type": "object", "properties": {"password": secret, "user": {"type": "string"}}}
        given = {"type": "object", "properties": {"key": secret}}
        return [
            Tool(name="unlock", inputSchema=taken),
            Tool(name="fetch", inputSchema={"type": "object", "properties": {}}, outputSchema=given),
        ]

    async def call_tool(self, tool_name: str, arguments: Any, meta: Any = None) -> CallToolResult:
        text = f"unlocked with {arguments['password']}" if tool_name == "unlock" else json.dumps({"key": TOKEN})
        return CallToolResult(content=[TextContent(type="text", text=text)])

    async def list_prompts(self) -> Any:
        """There are none."""

    async def get_prompt(self, name: str, arguments: Any = None) -> Any:
        """There are none."""


async def test_secret_arguments_and_outputs_of_an_mcp_servers_tools_are_shown_nowhere(
    looked: Looked, tmp_path: Path
) -> None:
    def agent(*steps: Any) -> Agent:
        return Agent(name="A", model=ScriptedModel.by_turn(list(steps)), mcp_servers=[Vaults()])

    steps = [
        function_call("unlock", {"password": PASSWORD, "user": "ann"}),
        function_call("fetch", {}),
        f"It was {PASSWORD}, and it's {TOKEN}.",
    ]
    store = SqliteStore(tmp_path / "runs.db")
    result = await Runner.run(agent(*steps), "go", store=store, run_id="r")
    assert result.final_output == f"It was {PASSWORD}, and it's {TOKEN}."
    facts = await store.read("r")
    assert [fact.value for fact in facts if getattr(fact, "secret", None)] == [
        {"arguments": {"unlock": ["password"]}, "outputs": ["fetch"], "agent": "A"}
    ]
    shown = looked.all() + await seen_by_command_line(store, "r") + repr(result.new_items)
    shown += repr([span.export() for span in spans_of(facts, agent())])
    shown += await printed(agent(*steps))
    assert "MARKER" not in shown
    assert "unlocked with **********" in shown
    await store.close()


async def test_the_error_of_an_mcp_tools_call_does_not_tell_its_arguments(looked: Looked) -> None:
    broken = {**function_call("unlock", {}), "arguments": f'{{"password": "{PASSWORD}'}
    model = ScriptedModel.by_turn([broken, "Sorry."])
    store = MemoryStore()
    await Runner.run(Agent(name="A", model=model, mcp_servers=[Vaults()]), "go", store=store, run_id="r")
    assert "MARKER" not in looked.all() + await seen_by_command_line(store, "r")


async def test_marks_that_are_newer_than_a_run_hold_from_its_next_turn_on(looked: Looked, tmp_path: Path) -> None:
    @function_tool(needs_approval=True)
    def wait() -> str:
        """Wait."""
        return "waited"

    def agent(*tools: Any, **more: Any) -> Agent:
        calls = [function_call("wait", {}), function_call("log_in", {"password": PASSWORD})]
        return Agent(name="A", model=ScriptedModel.by_turn([*calls, ACCOUNT]), tools=[wait, *tools], **more)

    store = SqliteStore(tmp_path / "runs.db")
    await Runner.run(agent(), "go", store=store, run_id="r")
    [asked] = await store.requests("r")
    await answer(store, "r", asked.key, True)
    result = await (await resume("r", agent(log_in, output_type=Account), store=store, context=None))
    assert result.output["password"] == PASSWORD
    assert sum(getattr(fact, "secret", None) == "marks" for fact in result.facts) == 1
    assert "MARKER" not in looked.all() + await seen_by_command_line(store, "r")
    await store.close()
