"""Names are found where users of the OpenAI Agents SDK look for them."""

from __future__ import annotations

import importlib
import subprocess
import sys
import types

import pytest

import flowcore

PATHS = {
    "agent": "Agent AgentBase MCPConfig StopAtTools ToolsToFinalOutputFunction ToolsToFinalOutputResult",
    "agent_output": "AgentOutputSchema AgentOutputSchemaBase",
    "decorators": "tool function_tool input_guardrail output_guardrail tool_input_guardrail tool_output_guardrail",
    "exceptions": (
        "AgentsException InputGuardrailTripwireTriggered MaxTurnsExceeded MCPToolCancellationError ModelBehaviorError"
        " ModelRefusalError ModelTimeoutError OutputGuardrailTripwireTriggered RunErrorDetails"
        " ToolInputGuardrailTripwireTriggered ToolOutputGuardrailTripwireTriggered ToolTimeoutError UserError"
    ),
    "extensions": "ToolOutputTrimmer",
    "extensions.handoff_filters": "nest_handoff_history remove_all_tools",
    "extensions.handoff_prompt": "RECOMMENDED_PROMPT_PREFIX prompt_with_handoff_instructions",
    "extensions.memory": "AdvancedSQLiteSession AsyncSQLiteSession EncryptedSession RedisSession SQLAlchemySession",
    "extensions.memory.advanced_sqlite_session": "AdvancedSQLiteSession",
    "extensions.memory.async_sqlite_session": "AsyncSQLiteSession",
    "extensions.memory.encrypt_session": "EncryptedSession",
    "extensions.memory.redis_session": "RedisSession",
    "extensions.memory.sqlalchemy_session": "SQLAlchemySession",
    "extensions.models.litellm_model": "LitellmModel",
    "extensions.models.litellm_provider": "LitellmProvider",
    "extensions.visualization": "draw_graph",
    "function_schema": "DocstringStyle FuncSchema function_schema",
    "guardrail": (
        "GuardrailFunctionOutput InputGuardrail InputGuardrailResult OutputGuardrail OutputGuardrailResult"
        " input_guardrail output_guardrail"
    ),
    "handoffs": "Handoff HandoffInputData HandoffInputFilter handoff nest_handoff_history",
    "handoffs.history": "default_handoff_history_mapper nest_handoff_history",
    "items": (
        "HandoffCallItem HandoffOutputItem ItemHelpers MessageOutputItem ModelResponse ReasoningItem RunItem"
        " TResponseInputItem ToolApprovalItem ToolCallItem ToolCallOutputItem"
    ),
    "lifecycle": "AgentHooks AgentHooksBase RunHooks RunHooksBase",
    "mcp": "MCPServer MCPServerManager MCPServerSse MCPServerStdio MCPServerStreamableHttp create_static_tool_filter",
    "mcp.server": "MCPServer MCPServerSse MCPServerStdio MCPServerStdioParams MCPServerStreamableHttp",
    "mcp.util": "MCPUtil MCPToolMetaContext ToolFilterContext ToolFilterStatic create_static_tool_filter",
    "memory": "OpenAIConversationsSession SQLiteSession Session SessionABC SessionSettings",
    "memory.openai_conversations_session": "OpenAIConversationsSession",
    "memory.openai_responses_compaction_session": "OpenAIResponsesCompactionSession",
    "memory.session": "Session SessionABC",
    "memory.session_settings": "SessionSettings",
    "memory.sqlite_session": "SQLiteSession",
    "model_settings": "MCPToolChoice ModelSettings",
    "models": "get_default_model get_default_model_settings gpt_5_reasoning_settings_required is_gpt_5_default",
    "models.default_models": "get_default_model get_default_model_settings is_gpt_5_default",
    "models.interface": "Model ModelProvider ModelTracing",
    "models.multi_provider": "MultiProvider MultiProviderMap",
    "models.openai_chatcompletions": "OpenAIChatCompletionsModel",
    "models.openai_provider": "OpenAIProvider",
    "models.openai_responses": "OpenAIResponsesModel",
    "prompts": "DynamicPromptFunction GenerateDynamicPromptData Prompt",
    "repl": "run_demo_loop",
    "result": "AgentToolInvocation RunResult RunResultBase RunResultStreaming",
    "retry": "ModelRetryBackoffSettings ModelRetrySettings RetryDecision RetryPolicyContext retry_policies",
    "run": (
        "AgentRunner CallModelData DEFAULT_MAX_TURNS ModelInputData RunConfig RunContextWrapper RunResult RunState"
        " Runner set_default_agent_runner"
    ),
    "run_config": "CallModelData ModelInputData RunConfig ToolErrorFormatterArgs ToolExecutionConfig",
    "run_context": "AgentHookContext RunContextWrapper TContext",
    "run_error_handlers": "RunErrorData RunErrorHandlerInput RunErrorHandlerResult RunErrorHandlers",
    "run_state": "RunState",
    "stream_events": "AgentUpdatedStreamEvent RawResponsesStreamEvent RunItemStreamEvent StreamEvent",
    "strict_schema": "ensure_strict_json_schema",
    "testing": "ModelStep ScriptedModel assistant_message function_call",
    "tool": (
        "CodeInterpreterTool FileSearchTool FunctionTool FunctionToolResult HostedMCPTool Tool ToolContext"
        " ToolOutputImage ToolOutputText WebSearchTool default_tool_error_function function_tool"
    ),
    "tool_context": "ToolContext",
    "tool_guardrails": "ToolGuardrailFunctionOutput ToolInputGuardrail ToolOutputGuardrailData tool_input_guardrail",
    "tracing": "Span Trace TracingProcessor custom_span get_trace_provider set_trace_provider trace",
    "tracing.create": "custom_span trace",
    "tracing.processor_interface": "TracingExporter TracingProcessor",
    "tracing.processors": "BackendSpanExporter BatchTraceProcessor ConsoleSpanExporter",
    "tracing.provider": "DefaultTraceProvider TraceProvider",
    "tracing.setup": "get_trace_provider set_trace_provider",
    "tracing.span_data": "AgentSpanData FunctionSpanData GenerationSpanData HandoffSpanData ResponseSpanData",
    "tracing.spans": "Span SpanError",
    "tracing.traces": "Trace",
    "tracing.util": "gen_span_id gen_trace_id",
    "usage": "RequestUsage Usage",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_has_the_names_that_users_import_from_it(path: str) -> None:
    module = importlib.import_module(f"flowcore.{path}")
    for name in PATHS[path].split():
        found = getattr(module, name)
        if name in flowcore.__all__:
            assert found is getattr(flowcore, name), f"another {name} than flowcore's"


def test_a_path_is_importable_first_and_in_every_form() -> None:
    code = (
        "from flowcore.memory.session import SessionABC\n"
        "import flowcore.items as items, flowcore.run\n"
        "from flowcore import exceptions, mcp, Runner\n"
        "import flowcore\n"
        "assert flowcore.run.Runner is Runner and items.__doc__ and flowcore.memory.SessionABC is SessionABC\n"
        "assert 'openai' not in __import__('sys').modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_path_that_nobody_knows_is_no_module() -> None:
    for path in ("flowcore.nothing", "flowcore.items.nothing", "flowcore.extensions.memory.nothing"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(path)


def test_a_path_of_the_table_hides_no_room() -> None:
    for name in flowcore.__all__:
        assert not isinstance(getattr(flowcore, name), types.ModuleType), name
