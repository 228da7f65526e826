# model> San Francisco.
# model> California.
# model> Nevada.
# model> Fresh.
# prints> San Francisco.
# prints> California.
# prints> ['user', 'assistant', 'user', 'assistant']
# prints> ['What state is it in?', 'California.']
# prints> taken back: assistant user
# prints> Nevada.
# prints> 4
# prints> 0
# prints> Fresh.
import asyncio

from agents import Agent, Runner, SessionSettings, SQLiteSession


def text(item):
    content = item["content"]
    return content if isinstance(content, str) else content[0]["text"]


async def main():
    agent = Agent(name="Guide", instructions="Answer in few words.")
    session = SQLiteSession("trip_1", "conversations.db")
    result = await Runner.run(agent, "In which city is the Golden Gate Bridge?", session=session)
    print(result.final_output)
    result = await Runner.run(agent, "What state is it in?", session=session)
    print(result.final_output)

    print([item["role"] for item in await session.get_items()])
    print([text(item) for item in await session.get_items(limit=2)])

    answer = await session.pop_item()
    question = await session.pop_item()
    print("taken back:", answer["role"], question["role"])
    result = await Runner.run(agent, "And Las Vegas?", session=session)
    print(result.final_output)
    session.close()

    again = SQLiteSession("trip_1", "conversations.db", session_settings=SessionSettings(limit=2))
    print(len(await SQLiteSession("trip_1", "conversations.db").get_items()))
    await again.clear_session()
    print(len(await again.get_items()))
    result = await Runner.run(agent, "Hello again", session=again)
    print(result.final_output)


asyncio.run(main())
