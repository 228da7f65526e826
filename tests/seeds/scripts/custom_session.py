# model> Hi Ada.
# model> You are Ada.
# prints> Hi Ada.
# prints> You are Ada.
# prints> u_7 4
import asyncio

from agents import Agent, RunConfig, Runner
from agents.items import TResponseInputItem
from agents.memory.session import SessionABC


class ListSession(SessionABC):
    def __init__(self, session_id: str):
        self.session_id = session_id
        self.items: list[TResponseInputItem] = []

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        return self.items if limit is None else self.items[-limit:]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        self.items.extend(items)

    async def pop_item(self) -> TResponseInputItem | None:
        return self.items.pop() if self.items else None

    async def clear_session(self) -> None:
        self.items.clear()


def combine(history, new):
    return history[-10:] + new


async def main():
    session = ListSession("u_7")
    agent = Agent(name="Friend")
    print((await Runner.run(agent, "I'm Ada.", session=session)).final_output)
    config = RunConfig(session_input_callback=combine)
    result = await Runner.run(agent, [{"role": "user", "content": "Who am I?"}], session=session, run_config=config)
    print(result.final_output)
    print(session.session_id, len(session.items))


asyncio.run(main())
