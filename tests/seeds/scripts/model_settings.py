# model> %503
# model> @lookup {"key": "a"}
# model> Found 1.
# prints> Found 1.
# prints> 3 requests
# prints> ModelSettings 0.1 True 0.9
import asyncio

from agents import (
    Agent,
    ModelRetryBackoffSettings,
    ModelRetrySettings,
    ModelSettings,
    RunConfig,
    Runner,
    function_tool,
    retry_policies,
)
from openai.types.shared import Reasoning

settings = ModelSettings(
    temperature=0.1,
    max_tokens=300,
    parallel_tool_calls=True,
    tool_choice="required",
    truncation="auto",
    store=False,
    metadata={"team": "docs"},
    reasoning=Reasoning(effort="low"),
    verbosity="low",
    extra_headers={"x-team": "docs"},
    extra_body={"service_tier": "flex"},
    extra_args={"user": "u_1"},
    retry=ModelRetrySettings(
        max_retries=2,
        backoff=ModelRetryBackoffSettings(initial_delay=0.01, max_delay=0.02, multiplier=2, jitter=False),
        policy=retry_policies.any(retry_policies.http_status([429, 503]), retry_policies.network_error()),
    ),
)


@function_tool
def lookup(key: str) -> int:
    return 1


async def main():
    agent = Agent(name="Finder", model="gpt-5-mini", model_settings=settings, tools=[lookup])
    config = RunConfig(
        model="gpt-5-nano", model_settings=ModelSettings(top_p=0.9, response_include=["reasoning.encrypted_content"])
    )
    result = await Runner.run(agent, "Look a up.", run_config=config)
    print(result.final_output)
    print(result.context_wrapper.usage.requests, "requests")
    both = settings.resolve(config.model_settings)
    print(type(both).__name__, both.temperature, both.parallel_tool_calls, both.top_p)


asyncio.run(main())
