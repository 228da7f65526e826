"""A conversation: the run answers, waits for the next message (for weeks, if need be), and ends when the user says bye.

    flowcore run graphs/chat.py "Hello, my name is Ann."
    flowcore run graphs/chat.py '{"message": "Do you remember me?", "session": "ann"}'

Every answer is a child run of one agent in one session, so the model sees what was said before. Without a name for the
session it's the run's own. Close the terminal while it waits: ``flowcore resume RUN`` goes on with the conversation.
"""

import re
from typing import Annotated

from flowcore import END, START, Agent, Ask, Context, Graph, ModelSettings, Pause, State, add, otherwise, when

BYE = re.compile(r"\W*(good)?\s*(bye|by|quit|exit)\b(\W*(bye|now))*\W*", re.IGNORECASE)


class Chat(State):
    """``said``: the user's latest message, under its request's key. ``leaving``: the user said bye."""

    message: str
    session: str = ""
    said: dict[str, str] = {}
    reply: str = ""
    turns: Annotated[int, add] = 0
    leaving: bool = False


assistant = Agent(
    name="Assistant",
    instructions="You are a friendly assistant. Answer in one or two sentences.",
    model_settings=ModelSettings(max_tokens=80),
)


def read(state: Chat) -> dict[str, str | bool]:
    """Take in what the user wrote, and see whether that's goodbye."""
    message = next(iter(state.said.values()), state.message)
    return {"message": message, "leaving": BYE.fullmatch(message) is not None}


async def answer(state: Chat, ctx: Context) -> dict[str, str | int]:
    """Let the assistant answer, in the session."""
    session = state.session or ctx.run_id
    return {"reply": await ctx.child(assistant, state.message, "reply", meta={"session": session}), "turns": 1}


def wait(state: Chat) -> Pause:
    """Show the answer, and wait for the next message: a text of at most so many characters."""
    return Pause(Ask(f"message-{state.turns + 1}", state.reply, str, kind="message"), into="said")


def leave(state: Chat) -> dict[str, str]:
    """Say goodbye."""
    return {"reply": f"Bye! We've talked {state.turns} {'time' if state.turns == 1 else 'times'}."}


graph = Graph(
    "chat",
    Chat,
    {
        START: read,
        read: [when("leaving", "==", True, leave), otherwise(answer)],
        answer: wait,
        wait: {"answered": read},
        leave: END,
    },
    takes="message",
    gives="reply",
)
