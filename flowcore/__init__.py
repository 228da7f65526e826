"""flowcore: every agent run is an explicit state machine.

Declare a ``Graph`` (or an ``Agent``, which has one), ``start`` a run, and find every step that it took in its
journal. The names below
are resolved when they're first used, so that ``import flowcore`` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flowcore.sdk_paths import install

_HOMES: dict[str, tuple[str, ...]] = {
    "flowcore.agents.agent": (
        "AgentBase", "MCPConfig", "StopAtTools", "ToolsToFinalOutputFunction", "ToolsToFinalOutputResult",
    ),
    "flowcore.agents.context": ("AgentHookContext", "RunContextWrapper", "TContext", "ToolContext"),
    "flowcore.agents.guardrails": (
        "GuardrailFunctionOutput", "InputGuardrail", "InputGuardrailResult", "OutputGuardrail", "OutputGuardrailResult",
        "input_guardrail", "output_guardrail",
    ),
    "flowcore.agents.handoffs": ("Handoff", "HandoffInputData", "HandoffInputFilter", "handoff"),
    "flowcore.agents.hosted": (
        "CodeInterpreterTool", "FileSearchTool", "HostedMCPTool", "ImageGenerationTool",
        "ImageGenerationToolConfig", "MCPToolApprovalFunction", "MCPToolApprovalFunctionResult",
        "MCPToolApprovalRequest", "ToolSearchTool", "WebSearchTool", "WebSearchToolImageSettings",
    ),
    "flowcore.agents.items": ("TResponseInputItem",),
    "flowcore.agents.lifecycle": ("AgentHooks", "RunHooks"),
    "flowcore.agents.namespaces": ("tool_namespace",),
    "flowcore.agents.nesting": (
        "default_handoff_history_mapper", "get_conversation_history_wrappers", "nest_handoff_history",
        "reset_conversation_history_wrappers", "set_conversation_history_wrappers",
    ),
    "flowcore.agents.options": (
        "AgentToolInvocation", "Options", "RunErrorData", "RunErrorHandler", "RunErrorHandlerInput",
        "RunErrorHandlerResult", "RunErrorHandlers",
    ),
    "flowcore.agents.run_config": (
        "CallModelData", "CallModelInputFilter", "ModelInputData", "OutputGuardrailBlockedMessageArgs",
        "OutputGuardrailBlockedMessageFormatter", "ReasoningItemIdPolicy", "RunConfig", "ToolErrorFormatter",
        "ToolErrorFormatterArgs", "ToolExecutionConfig", "ToolNameCollisionPolicy", "ToolNotFoundBehavior",
        "TracingConfig",
    ),
    "flowcore.agents.origins": ("ToolOrigin", "ToolOriginType"),
    "flowcore.agents.output": ("AgentOutputSchema", "AgentOutputSchemaBase"),
    "flowcore.agents.prompts": ("DynamicPromptFunction", "GenerateDynamicPromptData", "Prompt"),
    "flowcore.agents.session": ("Session", "SessionABC", "SessionSettings"),
    "flowcore.agents.session_input": ("SessionInputCallback",),
    "flowcore.agents.tool_guardrails": (
        "ToolGuardrailFunctionOutput", "ToolInputGuardrail", "ToolInputGuardrailData",
        "ToolInputGuardrailResult", "ToolOutputGuardrail", "ToolOutputGuardrailData",
        "ToolOutputGuardrailResult", "tool_input_guardrail", "tool_output_guardrail",
    ),
    "flowcore.agents.tools": (
        "FunctionTool", "FunctionToolCustomDataContext", "FunctionToolCustomDataExtractor",
        "FunctionToolResult", "Tool", "ToolCaller", "ToolOutputFileContent", "ToolOutputFileContentDict",
        "ToolOutputImage", "ToolOutputImageDict", "ToolOutputText", "ToolOutputTextDict",
        "default_tool_error_function", "function_tool",
    ),
    "flowcore.engine.context": ("Context",),
    "flowcore.engine.events": ("Committed", "Emitted"),
    "flowcore.engine.fanout": ("map", "parallel", "subgraph"),
    "flowcore.engine.fork": ("Moment",),
    "flowcore.engine.run": ("Base", "Result", "Run", "answer", "load", "resume", "send", "start"),
    "flowcore.errors": (
        "AgentsException", "AlreadyResumed", "BudgetExceeded", "ChildrenFailed", "EffectInDoubt", "FlowcoreError",
        "GraphChanged", "GraphError", "InputGuardrailTripwireTriggered", "KeyMissing", "LimitExceeded", "LoopRunning",
        "MCPToolCancellationError", "MaxTurnsExceeded", "ModelBehaviorError", "ModelError", "ModelRefusalError",
        "ModelTimeoutError", "NodeTimeout", "NotOpen", "NotPaused", "OutputGuardrailTripwireTriggered",
        "ReplayMismatch", "RunCancelled", "RunConflict", "RunError", "RunExists", "RunFailed", "RunNotFound",
        "StoreError", "ToolInputGuardrailTripwireTriggered", "ToolOutputGuardrailTripwireTriggered",
        "ToolTimeoutError", "UndeclaredTransition", "UpdateError", "UserError",
    ),
    "flowcore.faces.agent": ("Agent",),
    "flowcore.faces.demo": ("run_demo_loop",),
    "flowcore.faces.items": (
        "CompactionItem", "HandoffCallItem", "HandoffOutputItem", "InputItem", "ItemHelpers", "MCPApprovalRequestItem",
        "MCPApprovalResponseItem", "MCPListToolsItem", "MessageOutputItem", "ReasoningItem", "RunItem",
        "ToolApprovalItem", "ToolCallItem", "ToolCallOutputItem", "ToolInDoubtItem", "ToolSearchCallItem",
        "ToolSearchOutputItem", "UnknownItem",
    ),
    "flowcore.faces.logging": ("enable_verbose_stdout_logging",),
    "flowcore.faces.nested": (
        "AgentToolStreamEvent",
    ),
    "flowcore.faces.output": (
        "RunCancelledEvent", "RunCompletedEvent", "RunContentEvent", "RunErrorEvent", "RunEvent", "RunOutput",
        "RunOutputEvent", "RunPausedEvent", "RunRetryEvent", "RunStartedEvent", "RunStatus",
        "ToolCallCompletedEvent", "ToolCallStartedEvent", "ToolExecution",
    ),
    "flowcore.faces.results": ("RunErrorDetails", "RunResult", "RunResultStreaming"),
    "flowcore.faces.run_state": (
        "RunState",
    ),
    "flowcore.faces.runner": (
        "AgentRunner", "DEFAULT_MAX_TURNS", "Runner", "get_default_agent_runner", "set_default_agent_runner",
    ),
    "flowcore.faces.stream": (
        "AgentUpdatedStreamEvent", "ModelRetryStreamEvent", "RawResponsesStreamEvent", "RunItemStreamEvent",
        "StreamEvent",
    ),
    "flowcore.graph.bound": ("Bound",),
    "flowcore.graph.conditions": ("otherwise", "when"),
    "flowcore.graph.draw": ("Drawing",),
    "flowcore.graph.graph": ("Edge", "Graph", "continues"),
    "flowcore.graph.node": ("Node", "Retry", "node"),
    "flowcore.graph.outcomes": ("END", "START", "Ask", "Goto", "Key", "Of", "Pause", "Replace", "Select"),
    "flowcore.graph.prove": ("Proof",),
    "flowcore.graph.secret": ("Secret",),
    "flowcore.graph.state": ("State", "add", "append", "merge", "replace"),
    "flowcore.graph.values": ("Json",),
    "flowcore.models": (
        "InputTokensDetails", "LitellmModel", "LitellmProvider", "LocalModel", "MCPToolChoice", "Model",
        "ModelProvider", "ModelResponse", "ModelRetryAdvice", "ModelRetryAdviceRequest",
        "ModelRetryBackoffSettings", "ModelRetryNormalizedError", "ModelRetrySettings", "ModelSettings",
        "ModelTracing", "MultiProvider", "MultiProviderMap", "OpenAIChatCompletionsModel", "OpenAIProvider",
        "OpenAIResponsesModel", "OutputTokensDetails", "RequestUsage", "RetryDecision", "RetryPolicy",
        "RetryPolicyContext", "Usage", "get_model", "retry_policies", "set_default_openai_api",
        "set_default_openai_client", "set_default_openai_key",
    ),
    "flowcore.sessions.compaction": (
        "OpenAIResponsesCompactionArgs", "OpenAIResponsesCompactionAwareSession", "OpenAIResponsesCompactionSession",
        "is_openai_responses_compaction_aware_session",
    ),
    "flowcore.sessions.openai_conversations": ("OpenAIConversationsSession",),
    "flowcore.sessions.sqlite": ("AsyncSQLiteSession", "SQLiteSession"),
    "flowcore.sessions.store": ("StoreSession",),
    "flowcore.stores": ("EncryptedStore", "MemoryStore", "PostgresStore", "SqliteStore", "Store", "open_store"),
    "flowcore.stores.verify": ("Damage", "Verified"),
    "flowcore.tracing.backend": ("set_tracing_export_api_key",),
    "flowcore.tracing.create": (
        "add_trace_processor", "agent_span", "custom_span", "flush_traces", "function_span", "generation_span",
        "get_current_span", "get_current_trace", "guardrail_span", "handoff_span", "mcp_tools_span", "response_span",
        "set_trace_processors", "set_tracing_disabled", "speech_group_span", "speech_span", "task_span", "trace",
        "transcription_span", "turn_span",
    ),
    "flowcore.tracing.ids": ("gen_span_id", "gen_trace_id"),
    "flowcore.tracing.processor_interface": ("TracingProcessor",),
    "flowcore.tracing.provider": ("set_trace_provider",),
    "flowcore.tracing.span_data": (
        "AgentSpanData", "CustomSpanData", "FunctionSpanData", "GenerationSpanData", "GuardrailSpanData",
        "HandoffSpanData", "MCPListToolsSpanData", "ResponseSpanData", "SpanData", "SpeechGroupSpanData",
        "SpeechSpanData", "TaskSpanData", "TranscriptionSpanData", "TurnSpanData",
    ),
    "flowcore.tracing.spans": ("Span", "SpanError"),
    "flowcore.tracing.traces": ("Trace",),
    "openai": ("AsyncOpenAI",),
}  # fmt: skip
install()
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
_NOT_STARRED = {"map"}
"""Names that stand for something else in every file: ``from flowcore import *`` leaves them alone."""
__all__ = sorted({*_HOME_OF, "__version__"} - _NOT_STARRED)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'flowcore' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_NOT_STARRED])
