"""The smallest useful graph: one agent.

``python graphs/hello.py "What is a state machine?"``, or ``flowcore run graphs/hello.py "..."``.

The model is the environment's: OpenAI's where OPENAI_API_KEY is set, a server of your own where OPENAI_BASE_URL is,
else the embedded one.
"""

import sys

from flowcore import Agent

graph = Agent(name="Hello", instructions="You are a friendly assistant. Answer shortly.")

if __name__ == "__main__":
    graph.print_response(" ".join(sys.argv[1:]) or "Say hello to the world.", stream=True)
