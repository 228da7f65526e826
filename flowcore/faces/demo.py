"""``run_demo_loop``: talk with an agent in a terminal, to try it out."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flowcore.agents.agent import TContext
from flowcore.errors import FlowcoreError
from flowcore.faces.agent import Agent
from flowcore.faces.items import ToolCallItem, ToolCallOutputItem
from flowcore.faces.results import RunResult, RunResultStreaming
from flowcore.faces.runner import DEFAULT_MAX_TURNS, Runner
from flowcore.faces.stream import AgentUpdatedStreamEvent, RawResponsesStreamEvent, RunItemStreamEvent, StreamEvent
from flowcore.models.base import Item

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
    while True:
        try:
            said = _ask(PROMPT).strip()
            if said.lower() in ENDS:
                return
            if not said:
                continue
            asked = [*conversation, {"role": "user", "content": said}]
            talk = _streamed if stream else _whole
            result = await _unless_interrupted(asyncio.ensure_future(talk(agent, asked, context, max_turns)))
        except (EOFError, KeyboardInterrupt):
            print()
            return
        except FlowcoreError as error:
            print(f"\n[{type(error).__name__}: {error}]", flush=True)
            continue
        conversation = result.to_input_list()
        agent = result.last_agent


async def _whole(agent: Agent[Any], asked: list[Item], context: Any, max_turns: int | None) -> RunResult:
    """One answer, shown when it's there."""
    result = await Runner.run(agent, asked, context=context, max_turns=max_turns)
    while result.interruptions:
        await _decide(result)
        result = await result.resume()
    if result.final_output is not None:
        print(result.final_output, flush=True)
    return result


async def _streamed(agent: Agent[Any], asked: list[Item], context: Any, max_turns: int | None) -> RunResultStreaming:
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
        await _decide(result)
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


async def _decide(result: RunResult | RunResultStreaming) -> None:
    """Ask whether the calls that wait may be made."""
    for item in result.interruptions:
        said = _ask(f"\n[{item.agent.name} wants to call {item.name}({item.arguments or ''})] approve? [y/N] ")
        await result.run.answer(item.call_id, said.strip().lower() in ("y", "yes"))


def _ask(prompt: str) -> str:
    """A line of the terminal's. Raises EOFError at its end, and KeyboardInterrupt at Ctrl-C: an event loop keeps that
    from code that waits for a line."""
    with _on_ctrl_c(signal.default_int_handler):
        return input(prompt)


async def _unless_interrupted(talk: asyncio.Future[Any]) -> Any:
    """What an answer gives. Ctrl-C cancels it. Raises KeyboardInterrupt then."""
    loop = asyncio.get_running_loop()
    pressed = False

    def stop(number: int, frame: Any) -> None:
        nonlocal pressed
        pressed = True
        loop.call_soon_threadsafe(talk.cancel)

    with _on_ctrl_c(stop):
        try:
            return await talk
        except asyncio.CancelledError:
            if pressed:
                raise KeyboardInterrupt from None
            raise


@contextmanager
def _on_ctrl_c(act: Callable[[int, Any], Any]) -> Iterator[None]:
    """What Ctrl-C does for a while, where this is the main thread, whose it is."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, act)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
