"""An agent as a tool of another agent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flowcore.agents.context import ToolContext
from flowcore.agents.tools import FunctionTool
from flowcore.errors import ModelBehaviorError, UserError

_INPUT = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


@dataclass(eq=False)
class AgentTool(FunctionTool):
    """A tool whose call is a child run of ``agent``. The loop runs it; by itself it can't be called."""

    agent: Any = field(default=None, kw_only=True, repr=False)
    extract: Callable[[Any], Any] | None = field(default=None, kw_only=True)
    max_turns: int | None = field(default=None, kw_only=True)

    @classmethod
    def of(
        cls,
        agent: Any,
        name: str | None,
        description: str | None,
        extract: Callable[[Any], Any] | None,
        is_enabled: Any,
        needs_approval: Any,
        max_turns: int | None,
    ) -> AgentTool:
        """The tool of an agent; without a name it's the agent's, in the form of an identifier."""
        return cls(
            name=name or re.sub(r"[^a-zA-Z0-9_]", "_", agent.name).lower(),
            description=description or agent.handoff_description or "",
            params_json_schema=dict(_INPUT),
            on_invoke_tool=_outside,
            is_enabled=is_enabled,
            needs_approval=needs_approval,
            agent=agent,
            extract=extract,
            max_turns=max_turns,
        )

    def input_of(self, arguments: str) -> str:
        """What the child is asked. Raises ModelBehaviorError when the arguments aren't ``{"input": text}``."""
        try:
            value = json.loads(arguments)
            asked = value["input"]
        except (ValueError, TypeError, KeyError) as error:
            raise ModelBehaviorError(f"Invalid JSON input for tool {self.name}: {arguments[:200]!r}") from error
        if not isinstance(asked, str):
            raise ModelBehaviorError(f"Invalid JSON input for tool {self.name}: 'input' isn't a text")
        return asked


async def _outside(ctx: ToolContext[Any], arguments: str) -> Any:
    raise UserError(f"tool '{ctx.tool_name}' is an agent: it runs only inside of an agent's run")
