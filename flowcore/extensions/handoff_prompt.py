"""A beginning of instructions for agents that hand off to each other."""

RECOMMENDED_PROMPT_PREFIX = (
    "# The team you work in\n"
    "You are one of several agents that share this conversation. Every agent has its own instructions and tools, and "
    "may give the conversation to another agent by calling a tool, which is usually named `transfer_to_<agent_name>`. "
    "The user sees one assistant: hand over without announcing it, and don't talk about other agents or about "
    "transfers.\n"
)
"""Tells a model what handoffs are and that the user needn't hear of them."""


def prompt_with_handoff_instructions(prompt: str) -> str:
    """An agent's instructions with ``RECOMMENDED_PROMPT_PREFIX`` before them."""
    return f"{RECOMMENDED_PROMPT_PREFIX}\n\n{prompt}"
