# model> Two.
# model> Four.
# prints> Two.
# prints> Four.
# prints> Calculator 1 message_output_item
from agents import Agent, Runner

agent = Agent(name="Calculator", instructions="Say the number and nothing else.", model="gpt-4.1-mini")

first = Runner.run_sync(agent, "1 + 1")
print(first.final_output)

second = Runner.run_sync(agent, [{"role": "user", "content": "2 + 2"}])
print(second.final_output)
print(second.last_agent.name, len(second.new_items), second.new_items[0].type)
