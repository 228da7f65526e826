"""The module paths by which users of the OpenAI Agents SDK know names: ``from flowcore.items import ItemHelpers``.

One table instead of a file for each: a path is made, when it's first imported, of the modules that hold its names. A
file of ours comes before a path of the same name. Type checkers don't see these paths; they know the same names from
``flowcore``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

_SESSION_CLASSES = ("sessions.sqlite", "sessions.openai_conversations", "sessions.compaction")
_PATHS: dict[str, tuple[str, ...]] = {
    "agent": ("faces.agent", "agents.agent", "faces.nested"),
    "agent_output": ("agents.output",),
    "exceptions": ("errors", "faces.results"),
    "extensions.memory.advanced_sqlite_session": ("sessions.advanced",),
    "extensions.memory.async_sqlite_session": ("sessions.sqlite",),
    "extensions.memory.encrypt_session": ("sessions.encrypted",),
    "extensions.memory.redis_session": ("sessions.redis",),
    "extensions.memory.sqlalchemy_session": ("sessions.sqlalchemy",),
    "function_schema": ("agents.schema",),
    "guardrail": ("agents.guardrails",),
    "handoffs": ("agents.handoffs", "agents.nesting"),
    "handoffs.history": ("agents.nesting",),
    "items": ("faces.items", "models.base", "agents.items"),
    "lifecycle": ("agents.lifecycle",),
    "mcp.server": ("mcp.base", "mcp.transports", "mcp.options"),
    "memory": ("agents.session", "agents.session_input", *_SESSION_CLASSES),
    "memory.openai_conversations_session": ("sessions.openai_conversations",),
    "memory.openai_responses_compaction_session": ("sessions.compaction",),
    "memory.session": ("agents.session", "sessions.compaction"),
    "memory.session_settings": ("agents.session",),
    "memory.sqlite_session": ("sessions.sqlite",),
    "model_settings": ("models.settings",),
    "models.interface": ("models.base",),
    "models.multi_provider": ("models.provider",),
    "models.openai_chatcompletions": ("models.openai_chat",),
    "prompts": ("agents.prompts",),
    "repl": ("faces.demo",),
    "result": ("faces.results", "agents.options"),
    "retry": ("models.retry", "models.settings"),
    "run": ("faces.runner", "agents.run_config", "faces.run_state", "agents.context", "faces.results"),
    "run_config": ("agents.run_config", "faces.runner"),
    "run_context": ("agents.context",),
    "run_error_handlers": ("agents.options",),
    "run_state": ("faces.run_state",),
    "stream_events": ("faces.stream",),
    "strict_schema": ("agents.schema",),
    "tool": ("agents.tools", "agents.hosted", "agents.origins", "agents.namespaces", "agents.context"),
    "tool_context": ("agents.context",),
    "tool_guardrails": ("agents.tool_guardrails",),
    "tracing.setup": ("tracing.provider",),
    "tracing.util": ("tracing.ids",),
    "usage": ("models.usage",),
}
"""A path below ``flowcore``, and the modules that hold its names, the first before the others."""


class _Paths:
    """Finds and makes the modules of the table; comes after all other finders."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, below = fullname.partition(".")
        if package != "flowcore" or below not in _PATHS:
            return None
        is_package = any(other.startswith(f"{below}.") for other in _PATHS)
        return ModuleSpec(fullname, self, is_package=is_package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        homes = _PATHS[module.__name__.partition(".")[2]]
        for home in reversed(homes):
            held = vars(import_module(f"flowcore.{home}"))
            vars(module).update({name: value for name, value in held.items() if not name.startswith("_")})
        module.__doc__ = f"Names of {', '.join(f'flowcore.{home}' for home in homes)}, where others look for them."


def install() -> None:
    """Make the paths importable. A second call changes nothing."""
    if not any(isinstance(finder, _Paths) for finder in sys.meta_path):
        sys.meta_path.append(_Paths())
