"""The public names of openai-agents 0.24.0 are here, but for the rooms that the README says are missing."""

import builtins

import flowcore

THEIRS = """
Agent AgentBase AgentHookContext AgentHooks AgentOutputSchema AgentOutputSchemaBase AgentSpanData
AgentToolInvocation AgentToolStreamEvent AgentUpdatedStreamEvent AgentsException ApplyPatchEditor
ApplyPatchOperation ApplyPatchResult ApplyPatchTool ApplyPatchToolCustomDataContext
ApplyPatchToolCustomDataExtractor AsyncComputer Button CodeInterpreterTool CompactionItem Computer
ComputerProvider ComputerTool ComputerToolCustomDataContext ComputerToolCustomDataExtractor CustomSpanData
CustomTool CustomToolCustomDataContext CustomToolCustomDataExtractor DynamicPromptFunction Environment
FileSearchTool FunctionSpanData FunctionTool FunctionToolCustomDataContext FunctionToolCustomDataExtractor
FunctionToolResult GenerateDynamicPromptData GenerationSpanData GuardrailFunctionOutput GuardrailSpanData
Handoff HandoffCallItem HandoffInputData HandoffInputFilter HandoffOutputItem HandoffSpanData HostedMCPTool
ImageGenerationTool ImageGenerationToolConfig InputGuardrail InputGuardrailResult
InputGuardrailTripwireTriggered InputItem ItemHelpers LocalShellCommandRequest LocalShellExecutor
LocalShellTool MCPApprovalRequestItem MCPApprovalResponseItem MCPListToolsItem MCPListToolsSpanData
MCPToolApprovalFunction MCPToolApprovalFunctionResult MCPToolApprovalRequest MCPToolCancellationError
MaxTurnsExceeded MessageOutputItem Model ModelBehaviorError ModelProvider ModelRefusalError ModelResponse
ModelRetryAdvice ModelRetryAdviceRequest ModelRetryBackoffSettings ModelRetryNormalizedError
ModelRetrySettings ModelSettings ModelTimeoutError ModelTracing MultiProvider OpenAIAgentRegistrationConfig
OpenAIChatCompletionsModel OpenAIConversationsSession OpenAIProvider OpenAIResponsesCompactionArgs
OpenAIResponsesCompactionAwareSession OpenAIResponsesCompactionSession OpenAIResponsesModel
OpenAIResponsesWSModel OpenAIResponsesWebSocketOptions OutputGuardrail OutputGuardrailBlockedMessageArgs
OutputGuardrailBlockedMessageFormatter OutputGuardrailResult OutputGuardrailTripwireTriggered
ProgrammaticToolCallingTool Prompt RawResponsesStreamEvent ReasoningItem ReasoningItemIdPolicy
ResponseSpanData ResponsesWebSocketSession RetryDecision RetryPolicy RetryPolicyContext RunConfig
RunContextWrapper RunErrorData RunErrorDetails RunErrorHandler RunErrorHandlerInput RunErrorHandlerResult
RunErrorHandlers RunHooks RunItem RunItemStreamEvent RunResult RunResultStreaming RunState Runner
SQLiteSession Session SessionABC SessionSettings ShellActionRequest ShellCallData ShellCallOutcome
ShellCommandOutput ShellCommandRequest ShellExecutor ShellResult ShellTool ShellToolContainerAutoEnvironment
ShellToolContainerNetworkPolicy ShellToolContainerNetworkPolicyAllowlist
ShellToolContainerNetworkPolicyDisabled ShellToolContainerNetworkPolicyDomainSecret
ShellToolContainerReferenceEnvironment ShellToolContainerSkill ShellToolEnvironment ShellToolHostedEnvironment
ShellToolInlineSkill ShellToolInlineSkillSource ShellToolLocalEnvironment ShellToolLocalSkill
ShellToolSkillReference Span SpanData SpanError SpeechGroupSpanData SpeechSpanData StopAtTools StreamEvent
TContext TResponseInputItem TaskSpanData Tool ToolApprovalItem ToolCallItem ToolCallOutputItem ToolCaller
ToolErrorFormatter ToolErrorFormatterArgs ToolExecutionConfig ToolGuardrailFunctionOutput ToolInputGuardrail
ToolInputGuardrailData ToolInputGuardrailResult ToolInputGuardrailTripwireTriggered ToolNameCollisionPolicy
ToolNotFoundBehavior ToolOrigin ToolOriginType ToolOutputFileContent ToolOutputFileContentDict
ToolOutputGuardrail ToolOutputGuardrailData ToolOutputGuardrailResult ToolOutputGuardrailTripwireTriggered
ToolOutputImage ToolOutputImageDict ToolOutputText ToolOutputTextDict ToolSearchCallItem ToolSearchOutputItem
ToolSearchTool ToolTimeoutError ToolsToFinalOutputFunction ToolsToFinalOutputResult Trace TracingProcessor
TranscriptionSpanData TurnSpanData Usage UserError WebSearchTool WebSearchToolImageSettings __version__
add_trace_processor agent_span apply_diff custom_span default_handoff_history_mapper
default_tool_error_function dispose_resolved_computers enable_verbose_stdout_logging flush_traces
function_span function_tool gen_span_id gen_trace_id generation_span get_conversation_history_wrappers
get_current_span get_current_trace guardrail_span handoff handoff_span input_guardrail
is_openai_responses_compaction_aware_session mcp_tools_span nest_handoff_history output_guardrail
reset_conversation_history_wrappers resolve_computer response_span responses_websocket_session retry_policies
run_demo_loop sandbox set_conversation_history_wrappers set_default_openai_agent_registration
set_default_openai_api set_default_openai_client set_default_openai_harness set_default_openai_key
set_default_openai_responses_transport set_trace_processors set_trace_provider set_tracing_disabled
set_tracing_export_api_key speech_group_span speech_span task_span tool_input_guardrail tool_namespace
tool_output_guardrail trace transcription_span turn_span
"""

MISSING = (
    "ApplyPatch", "AsyncComputer", "Button", "Computer", "CustomTool", "Environment", "LocalShell",
    "OpenAIAgentRegistration", "OpenAIResponsesW", "ProgrammaticToolCalling", "ResponsesWebSocket", "Shell",
    "apply_diff", "dispose_resolved_computers", "resolve_computer", "responses_websocket_session", "sandbox",
    "set_default_openai_agent_registration", "set_default_openai_harness", "set_default_openai_responses_transport",
)  # fmt: skip
"""How the names begin that are not here: computers, shells, patches, raw tools, sandboxes, WebSockets."""


def test_every_other_name_is_here():
    names = THEIRS.split()
    assert len(names) == 253
    lacking = [name for name in names if name not in flowcore.__all__]
    assert [name for name in lacking if not name.startswith(MISSING)] == []


def test_a_star_import_hides_no_builtin():
    assert not {*flowcore.__all__} & {*dir(builtins)}
    assert "map" in dir(flowcore)


def test_generic_names_take_the_parameters_that_theirs_take():
    agent = flowcore.Agent
    one = (
        "Agent",
        "RunContextWrapper",
        "RunHooks",
        "AgentHooks",
        "ToolContext",
        "RunErrorHandlerInput",
        "CallModelData",
    )
    for name in (*one, "ToolErrorFormatterArgs", "InputGuardrail", "OutputGuardrail"):
        assert getattr(flowcore, name)[dict[str, str]], name
    assert flowcore.RunState[None, agent]
    assert flowcore.Handoff[None, agent]
