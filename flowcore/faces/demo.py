"""``run_demo_loop``: talk with an agent in a terminal, to try it out."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from flowcore.agents.agent import TContext
from flowcore.errors import FlowcoreError
from flowcore.faces.agent import Agent
from flowcore.faces.items import ToolCallItem, ToolCallOutputItem, ToolInDoubtItem
from flowcore.faces.results import RunResult, RunResultStreaming
from flowcore.faces.runner import DEFAULT_MAX_TURNS, Runner
from flowcore.faces.stream import AgentUpdatedStreamEvent, RawResponsesStreamEvent, RunItemStreamEvent, StreamEvent
from flowcore.models.base import Item

T = TypeVar("T")
PROMPT = " > "
ENDS = ("exit", "quit")
_SAID = ("response.output_text.delta", "response.refusal.delta")


async def run_demo_loop(
    agent: Agent[TContext],
    *,
    stream: bool = True,
    context: TContext | None = None,
    max_turns: int | None = DEFAULT_MAX_TURNS,
) -> None:
    """Ask for a line, let the agent answer it, and so on; the conversation is kept, and goes on with the last agent.

    With ``stream`` the answer is shown as it comes, with tool calls, their outputs and changes of the agent.
    ``max_turns``: of each answer; None is no limit. A tool call that needs approval is asked about. What a run fails
    with is shown, and the line that it failed on forgotten. "exit", "quit", the end of the input and Ctrl-C end it.
    """
    conversation: list[Item] = []
    current: Any = agent
    talk = _streamed if stream else _whole
    with _Keyboard() as keyboard:
        try:
            while True:
                said = keyboard.ask(PROMPT).strip()
                if said.lower() in ENDS:
                    return
                if not said:
                    continue
                asked = [*conversation, {"role": "user", "content": said}]
                try:
                    result = await keyboard.hold(talk(current, asked, context, max_turns, keyboard))
                except FlowcoreError as error:
                    print(f"\n[{type(error).__name__}: {error}]", flush=True)
                    continue
                conversation = result.to_input_list()
                current = result.last_agent
        except (_Left, KeyboardInterrupt):
            print()


class _Left(Exception):
    """The person left: Ctrl-C, or the end of the input."""


class _Keyboard:
    """Lines and Ctrl-C of the terminal. While it's entered, Ctrl-C ends the loop wherever it stands: an event loop by
    itself would keep it from code that waits for a line, and cancel everything else."""

    def __init__(self) -> None:
        self._talk: asyncio.Task[Any] | None = None
        self._asking = False
        self._pressed = False
        self._before: Any = None
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> _Keyboard:
        ours = threading.current_thread() is threading.main_thread()
        if ours and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._press) or signal.SIG_DFL
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _press(self, number: int, frame: Any) -> None:
        self._pressed = True
        if self._asking or self._talk is None:
            raise KeyboardInterrupt
        self._loop.call_soon_threadsafe(self._talk.cancel)

    def ask(self, prompt: str) -> str:
        """A line. Raises _Left."""
        try:
            self._asking = True
            return input(prompt)
        except (EOFError, KeyboardInterrupt):
            raise _Left from None
        finally:
            self._asking = False

    async def hold(self, talk: Coroutine[Any, Any, T]) -> T:
        """What an answer gives; Ctrl-C cancels it. Raises _Left then."""
        self._talk = asyncio.create_task(talk)
        try:
            result: T = await self._talk
        except asyncio.CancelledError:
            if self._pressed:
                raise _Left from None
            raise
        finally:
            self._talk = None
        if self._pressed:  # just when it ended
            raise _Left
        return result


async def _whole(
    agent: Agent[Any], asked: list[Item], context: Any, max_turns: int | None, keyboard: _Keyboard
) -> RunResult:
    """One answer, shown when it's there."""
    result = await Runner.run(agent, asked, context=context, max_turns=max_turns)
    while result.interruptions:
        await _decide(result, keyboard)
        result = await result.resume()
    if result.final_output is not None:
        print(result.final_output, flush=True)
    return result


async def _streamed(
    agent: Agent[Any], asked: list[Item], context: Any, max_turns: int | None, keyboard: _Keyboard
) -> RunResultStreaming:
    """One answer, shown as it comes."""
    result = Runner.run_streamed(agent, asked, context=context, max_turns=max_turns)
    screen = _Screen()
    while True:
        try:
            async for event in result.stream_events():
                screen.show(event)
        finally:
            if not result.is_complete:
                result.cancel()
        if not result.interruptions:
            break
        await _decide(result, keyboard)
        result = result.resume_streamed()
    if not screen.spoke and result.final_output is not None:
        print(result.final_output, end="")
    print(flush=True)
    return result


class _Screen:
    """Shows events. ``spoke``: whether any of the last agent's words were shown since its last call."""

    def __init__(self) -> None:
        self.spoke = False
        self._agent: str | None = None

    def show(self, event: StreamEvent) -> None:
        """Show one event."""
        if isinstance(event, RawResponsesStreamEvent):
            if getattr(event.data, "type", None) in _SAID:
                self.spoke = True
                print(event.data.delta, end="", flush=True)
        elif isinstance(event, AgentUpdatedStreamEvent):
            if event.new_agent.name != self._agent:  # what goes on after a pause begins with the same agent
                self._agent = event.new_agent.name
                print(f"\n[Agent updated: {self._agent}]", flush=True)
        elif isinstance(event, RunItemStreamEvent):
            self._show_item(event.item)
        else:
            print(f"\n[attempt {event.attempt} failed, asking the model again: {event.error.get('message')}]")

    def _show_item(self, item: Any) -> None:
        if isinstance(item, ToolCallItem):
            self.spoke = False
            print(f"\n[tool called: {item.tool_name or item.item.get('type')}]", flush=True)
        elif isinstance(item, ToolCallOutputItem):
            print(f"\n[tool output: {item.output}]", flush=True)


async def _decide(result: RunResult | RunResultStreaming, keyboard: _Keyboard) -> None:
    """Ask whether the calls that wait may be made."""
    for item in result.interruptions:
        if isinstance(item, ToolInDoubtItem):
            broken = f"\n[a crash broke {item.name}({item.arguments or ''}) off: it may have happened] retry? [y/N] "
            again = keyboard.ask(broken).strip().lower() in ("y", "yes")
            await result.run.answer(item.request.key, "retry" if again else "fail")
            continue
        asked = f"\n[{item.agent.name} wants to call {item.name}({item.arguments or ''})] approve? [y/N] "
        said = keyboard.ask(asked)
        await result.run.answer(item.call_id, said.strip().lower() in ("y", "yes"))
