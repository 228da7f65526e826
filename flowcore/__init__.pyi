"""The public names, for type checkers. `tests/test_facade.py` holds it against `__init__.py`."""

from openai import AsyncOpenAI as AsyncOpenAI

from flowcore.agents.agent import AgentBase as AgentBase
from flowcore.agents.agent import MCPConfig as MCPConfig
from flowcore.agents.agent import StopAtTools as StopAtTools
from flowcore.agents.agent import ToolsToFinalOutputFunction as ToolsToFinalOutputFunction
from flowcore.agents.agent import ToolsToFinalOutputResult as ToolsToFinalOutputResult
from flowcore.agents.context import AgentHookContext as AgentHookContext
from flowcore.agents.context import RunContextWrapper as RunContextWrapper
from flowcore.agents.context import TContext as TContext
from flowcore.agents.context import ToolContext as ToolContext
from flowcore.agents.guardrails import GuardrailFunctionOutput as GuardrailFunctionOutput
from flowcore.agents.guardrails import InputGuardrail as InputGuardrail
from flowcore.agents.guardrails import InputGuardrailResult as InputGuardrailResult
from flowcore.agents.guardrails import OutputGuardrail as OutputGuardrail
from flowcore.agents.guardrails import OutputGuardrailResult as OutputGuardrailResult
from flowcore.agents.guardrails import input_guardrail as input_guardrail
from flowcore.agents.guardrails import output_guardrail as output_guardrail
from flowcore.agents.handoffs import Handoff as Handoff
from flowcore.agents.handoffs import HandoffInputData as HandoffInputData
from flowcore.agents.handoffs import HandoffInputFilter as HandoffInputFilter
from flowcore.agents.handoffs import handoff as handoff
from flowcore.agents.hosted import CodeInterpreterTool as CodeInterpreterTool
from flowcore.agents.hosted import FileSearchTool as FileSearchTool
from flowcore.agents.hosted import HostedMCPTool as HostedMCPTool
from flowcore.agents.hosted import ImageGenerationTool as ImageGenerationTool
from flowcore.agents.hosted import ImageGenerationToolConfig as ImageGenerationToolConfig
from flowcore.agents.hosted import MCPToolApprovalFunction as MCPToolApprovalFunction
from flowcore.agents.hosted import MCPToolApprovalFunctionResult as MCPToolApprovalFunctionResult
from flowcore.agents.hosted import MCPToolApprovalRequest as MCPToolApprovalRequest
from flowcore.agents.hosted import ToolSearchTool as ToolSearchTool
from flowcore.agents.hosted import WebSearchTool as WebSearchTool
from flowcore.agents.hosted import WebSearchToolImageSettings as WebSearchToolImageSettings
from flowcore.agents.items import TResponseInputItem as TResponseInputItem
from flowcore.agents.lifecycle import AgentHooks as AgentHooks
from flowcore.agents.lifecycle import RunHooks as RunHooks
from flowcore.agents.namespaces import tool_namespace as tool_namespace
from flowcore.agents.nesting import default_handoff_history_mapper as default_handoff_history_mapper
from flowcore.agents.nesting import get_conversation_history_wrappers as get_conversation_history_wrappers
from flowcore.agents.nesting import nest_handoff_history as nest_handoff_history
from flowcore.agents.nesting import reset_conversation_history_wrappers as reset_conversation_history_wrappers
from flowcore.agents.nesting import set_conversation_history_wrappers as set_conversation_history_wrappers
from flowcore.agents.options import AgentToolInvocation as AgentToolInvocation
from flowcore.agents.options import Options as Options
from flowcore.agents.options import RunErrorData as RunErrorData
from flowcore.agents.options import RunErrorHandler as RunErrorHandler
from flowcore.agents.options import RunErrorHandlerInput as RunErrorHandlerInput
from flowcore.agents.options import RunErrorHandlerResult as RunErrorHandlerResult
from flowcore.agents.options import RunErrorHandlers as RunErrorHandlers
from flowcore.agents.origins import ToolOrigin as ToolOrigin
from flowcore.agents.origins import ToolOriginType as ToolOriginType
from flowcore.agents.output import AgentOutputSchema as AgentOutputSchema
from flowcore.agents.output import AgentOutputSchemaBase as AgentOutputSchemaBase
from flowcore.agents.prompts import DynamicPromptFunction as DynamicPromptFunction
from flowcore.agents.prompts import GenerateDynamicPromptData as GenerateDynamicPromptData
from flowcore.agents.prompts import Prompt as Prompt
from flowcore.agents.run_config import CallModelData as CallModelData
from flowcore.agents.run_config import CallModelInputFilter as CallModelInputFilter
from flowcore.agents.run_config import ModelInputData as ModelInputData
from flowcore.agents.run_config import OutputGuardrailBlockedMessageArgs as OutputGuardrailBlockedMessageArgs
from flowcore.agents.run_config import OutputGuardrailBlockedMessageFormatter as OutputGuardrailBlockedMessageFormatter
from flowcore.agents.run_config import ReasoningItemIdPolicy as ReasoningItemIdPolicy
from flowcore.agents.run_config import RunConfig as RunConfig
from flowcore.agents.run_config import ToolErrorFormatter as ToolErrorFormatter
from flowcore.agents.run_config import ToolErrorFormatterArgs as ToolErrorFormatterArgs
from flowcore.agents.run_config import ToolExecutionConfig as ToolExecutionConfig
from flowcore.agents.run_config import ToolNameCollisionPolicy as ToolNameCollisionPolicy
from flowcore.agents.run_config import ToolNotFoundBehavior as ToolNotFoundBehavior
from flowcore.agents.run_config import TracingConfig as TracingConfig
from flowcore.agents.session import Session as Session
from flowcore.agents.session import SessionABC as SessionABC
from flowcore.agents.session import SessionSettings as SessionSettings
from flowcore.agents.session_input import SessionInputCallback as SessionInputCallback
from flowcore.agents.tool_guardrails import ToolGuardrailFunctionOutput as ToolGuardrailFunctionOutput
from flowcore.agents.tool_guardrails import ToolInputGuardrail as ToolInputGuardrail
from flowcore.agents.tool_guardrails import ToolInputGuardrailData as ToolInputGuardrailData
from flowcore.agents.tool_guardrails import ToolInputGuardrailResult as ToolInputGuardrailResult
from flowcore.agents.tool_guardrails import ToolOutputGuardrail as ToolOutputGuardrail
from flowcore.agents.tool_guardrails import ToolOutputGuardrailData as ToolOutputGuardrailData
from flowcore.agents.tool_guardrails import ToolOutputGuardrailResult as ToolOutputGuardrailResult
from flowcore.agents.tool_guardrails import tool_input_guardrail as tool_input_guardrail
from flowcore.agents.tool_guardrails import tool_output_guardrail as tool_output_guardrail
from flowcore.agents.tools import FunctionTool as FunctionTool
from flowcore.agents.tools import FunctionToolCustomDataContext as FunctionToolCustomDataContext
from flowcore.agents.tools import FunctionToolCustomDataExtractor as FunctionToolCustomDataExtractor
from flowcore.agents.tools import FunctionToolResult as FunctionToolResult
from flowcore.agents.tools import Tool as Tool
from flowcore.agents.tools import ToolCaller as ToolCaller
from flowcore.agents.tools import ToolOutputFileContent as ToolOutputFileContent
from flowcore.agents.tools import ToolOutputFileContentDict as ToolOutputFileContentDict
from flowcore.agents.tools import ToolOutputImage as ToolOutputImage
from flowcore.agents.tools import ToolOutputImageDict as ToolOutputImageDict
from flowcore.agents.tools import ToolOutputText as ToolOutputText
from flowcore.agents.tools import ToolOutputTextDict as ToolOutputTextDict
from flowcore.agents.tools import default_tool_error_function as default_tool_error_function
from flowcore.agents.tools import function_tool as function_tool
from flowcore.engine.context import Context as Context
from flowcore.engine.events import Committed as Committed
from flowcore.engine.events import Emitted as Emitted
from flowcore.engine.fanout import map as map
from flowcore.engine.fanout import parallel as parallel
from flowcore.engine.fanout import subgraph as subgraph
from flowcore.engine.fork import Moment as Moment
from flowcore.engine.run import Base as Base
from flowcore.engine.run import Result as Result
from flowcore.engine.run import Run as Run
from flowcore.engine.run import answer as answer
from flowcore.engine.run import load as load
from flowcore.engine.run import resume as resume
from flowcore.engine.run import send as send
from flowcore.engine.run import start as start
from flowcore.errors import AgentsException as AgentsException
from flowcore.errors import AlreadyResumed as AlreadyResumed
from flowcore.errors import BudgetExceeded as BudgetExceeded
from flowcore.errors import ChildrenFailed as ChildrenFailed
from flowcore.errors import EffectInDoubt as EffectInDoubt
from flowcore.errors import FlowcoreError as FlowcoreError
from flowcore.errors import GraphChanged as GraphChanged
from flowcore.errors import GraphError as GraphError
from flowcore.errors import InputGuardrailTripwireTriggered as InputGuardrailTripwireTriggered
from flowcore.errors import KeyMissing as KeyMissing
from flowcore.errors import LimitExceeded as LimitExceeded
from flowcore.errors import LoopRunning as LoopRunning
from flowcore.errors import MaxTurnsExceeded as MaxTurnsExceeded
from flowcore.errors import MCPToolCancellationError as MCPToolCancellationError
from flowcore.errors import ModelBehaviorError as ModelBehaviorError
from flowcore.errors import ModelError as ModelError
from flowcore.errors import ModelRefusalError as ModelRefusalError
from flowcore.errors import ModelTimeoutError as ModelTimeoutError
from flowcore.errors import NodeTimeout as NodeTimeout
from flowcore.errors import NotOpen as NotOpen
from flowcore.errors import NotPaused as NotPaused
from flowcore.errors import OutputGuardrailTripwireTriggered as OutputGuardrailTripwireTriggered
from flowcore.errors import ReplayMismatch as ReplayMismatch
from flowcore.errors import RunCancelled as RunCancelled
from flowcore.errors import RunConflict as RunConflict
from flowcore.errors import RunError as RunError
from flowcore.errors import RunExists as RunExists
from flowcore.errors import RunFailed as RunFailed
from flowcore.errors import RunNotFound as RunNotFound
from flowcore.errors import StoreError as StoreError
from flowcore.errors import ToolInputGuardrailTripwireTriggered as ToolInputGuardrailTripwireTriggered
from flowcore.errors import ToolOutputGuardrailTripwireTriggered as ToolOutputGuardrailTripwireTriggered
from flowcore.errors import ToolTimeoutError as ToolTimeoutError
from flowcore.errors import UndeclaredTransition as UndeclaredTransition
from flowcore.errors import UpdateError as UpdateError
from flowcore.errors import UserError as UserError
from flowcore.faces.agent import Agent as Agent
from flowcore.faces.demo import run_demo_loop as run_demo_loop
from flowcore.faces.items import CompactionItem as CompactionItem
from flowcore.faces.items import HandoffCallItem as HandoffCallItem
from flowcore.faces.items import HandoffOutputItem as HandoffOutputItem
from flowcore.faces.items import InputItem as InputItem
from flowcore.faces.items import ItemHelpers as ItemHelpers
from flowcore.faces.items import MCPApprovalRequestItem as MCPApprovalRequestItem
from flowcore.faces.items import MCPApprovalResponseItem as MCPApprovalResponseItem
from flowcore.faces.items import MCPListToolsItem as MCPListToolsItem
from flowcore.faces.items import MessageOutputItem as MessageOutputItem
from flowcore.faces.items import ReasoningItem as ReasoningItem
from flowcore.faces.items import RunItem as RunItem
from flowcore.faces.items import ToolApprovalItem as ToolApprovalItem
from flowcore.faces.items import ToolCallItem as ToolCallItem
from flowcore.faces.items import ToolCallOutputItem as ToolCallOutputItem
from flowcore.faces.items import ToolInDoubtItem as ToolInDoubtItem
from flowcore.faces.items import ToolSearchCallItem as ToolSearchCallItem
from flowcore.faces.items import ToolSearchOutputItem as ToolSearchOutputItem
from flowcore.faces.items import UnknownItem as UnknownItem
from flowcore.faces.logging import enable_verbose_stdout_logging as enable_verbose_stdout_logging
from flowcore.faces.nested import AgentToolStreamEvent as AgentToolStreamEvent
from flowcore.faces.output import RunCancelledEvent as RunCancelledEvent
from flowcore.faces.output import RunCompletedEvent as RunCompletedEvent
from flowcore.faces.output import RunContentEvent as RunContentEvent
from flowcore.faces.output import RunErrorEvent as RunErrorEvent
from flowcore.faces.output import RunEvent as RunEvent
from flowcore.faces.output import RunOutput as RunOutput
from flowcore.faces.output import RunOutputEvent as RunOutputEvent
from flowcore.faces.output import RunPausedEvent as RunPausedEvent
from flowcore.faces.output import RunRetryEvent as RunRetryEvent
from flowcore.faces.output import RunStartedEvent as RunStartedEvent
from flowcore.faces.output import RunStatus as RunStatus
from flowcore.faces.output import ToolCallCompletedEvent as ToolCallCompletedEvent
from flowcore.faces.output import ToolCallStartedEvent as ToolCallStartedEvent
from flowcore.faces.output import ToolExecution as ToolExecution
from flowcore.faces.results import RunErrorDetails as RunErrorDetails
from flowcore.faces.results import RunResult as RunResult
from flowcore.faces.results import RunResultStreaming as RunResultStreaming
from flowcore.faces.run_state import RunState as RunState
from flowcore.faces.runner import DEFAULT_MAX_TURNS as DEFAULT_MAX_TURNS
from flowcore.faces.runner import AgentRunner as AgentRunner
from flowcore.faces.runner import Runner as Runner
from flowcore.faces.runner import get_default_agent_runner as get_default_agent_runner
from flowcore.faces.runner import set_default_agent_runner as set_default_agent_runner
from flowcore.faces.stream import AgentUpdatedStreamEvent as AgentUpdatedStreamEvent
from flowcore.faces.stream import ModelRetryStreamEvent as ModelRetryStreamEvent
from flowcore.faces.stream import RawResponsesStreamEvent as RawResponsesStreamEvent
from flowcore.faces.stream import RunItemStreamEvent as RunItemStreamEvent
from flowcore.faces.stream import StreamEvent as StreamEvent
from flowcore.graph.bound import Bound as Bound
from flowcore.graph.conditions import otherwise as otherwise
from flowcore.graph.conditions import when as when
from flowcore.graph.draw import Drawing as Drawing
from flowcore.graph.graph import Edge as Edge
from flowcore.graph.graph import Graph as Graph
from flowcore.graph.graph import continues as continues
from flowcore.graph.node import Node as Node
from flowcore.graph.node import Retry as Retry
from flowcore.graph.node import node as node
from flowcore.graph.outcomes import END as END
from flowcore.graph.outcomes import START as START
from flowcore.graph.outcomes import Ask as Ask
from flowcore.graph.outcomes import Goto as Goto
from flowcore.graph.outcomes import Key as Key
from flowcore.graph.outcomes import Of as Of
from flowcore.graph.outcomes import Pause as Pause
from flowcore.graph.outcomes import Replace as Replace
from flowcore.graph.outcomes import Select as Select
from flowcore.graph.prove import Proof as Proof
from flowcore.graph.secret import Secret as Secret
from flowcore.graph.state import State as State
from flowcore.graph.state import add as add
from flowcore.graph.state import append as append
from flowcore.graph.state import merge as merge
from flowcore.graph.state import replace as replace
from flowcore.graph.values import Json as Json
from flowcore.models import InputTokensDetails as InputTokensDetails
from flowcore.models import LitellmModel as LitellmModel
from flowcore.models import LitellmProvider as LitellmProvider
from flowcore.models import LocalModel as LocalModel
from flowcore.models import MCPToolChoice as MCPToolChoice
from flowcore.models import Model as Model
from flowcore.models import ModelProvider as ModelProvider
from flowcore.models import ModelResponse as ModelResponse
from flowcore.models import ModelRetryAdvice as ModelRetryAdvice
from flowcore.models import ModelRetryAdviceRequest as ModelRetryAdviceRequest
from flowcore.models import ModelRetryBackoffSettings as ModelRetryBackoffSettings
from flowcore.models import ModelRetryNormalizedError as ModelRetryNormalizedError
from flowcore.models import ModelRetrySettings as ModelRetrySettings
from flowcore.models import ModelSettings as ModelSettings
from flowcore.models import ModelTracing as ModelTracing
from flowcore.models import MultiProvider as MultiProvider
from flowcore.models import MultiProviderMap as MultiProviderMap
from flowcore.models import OpenAIChatCompletionsModel as OpenAIChatCompletionsModel
from flowcore.models import OpenAIProvider as OpenAIProvider
from flowcore.models import OpenAIResponsesModel as OpenAIResponsesModel
from flowcore.models import OutputTokensDetails as OutputTokensDetails
from flowcore.models import RequestUsage as RequestUsage
from flowcore.models import RetryDecision as RetryDecision
from flowcore.models import RetryPolicy as RetryPolicy
from flowcore.models import RetryPolicyContext as RetryPolicyContext
from flowcore.models import Usage as Usage
from flowcore.models import get_model as get_model
from flowcore.models import retry_policies as retry_policies
from flowcore.models import set_default_openai_api as set_default_openai_api
from flowcore.models import set_default_openai_client as set_default_openai_client
from flowcore.models import set_default_openai_key as set_default_openai_key
from flowcore.sessions.compaction import OpenAIResponsesCompactionArgs as OpenAIResponsesCompactionArgs
from flowcore.sessions.compaction import OpenAIResponsesCompactionAwareSession as OpenAIResponsesCompactionAwareSession
from flowcore.sessions.compaction import OpenAIResponsesCompactionSession as OpenAIResponsesCompactionSession
from flowcore.sessions.compaction import (
    is_openai_responses_compaction_aware_session as is_openai_responses_compaction_aware_session,
)
from flowcore.sessions.openai_conversations import OpenAIConversationsSession as OpenAIConversationsSession
from flowcore.sessions.sqlite import AsyncSQLiteSession as AsyncSQLiteSession
from flowcore.sessions.sqlite import SQLiteSession as SQLiteSession
from flowcore.sessions.store import StoreSession as StoreSession
from flowcore.stores import EncryptedStore as EncryptedStore
from flowcore.stores import MemoryStore as MemoryStore
from flowcore.stores import PostgresStore as PostgresStore
from flowcore.stores import SqliteStore as SqliteStore
from flowcore.stores import Store as Store
from flowcore.stores import open_store as open_store
from flowcore.stores.verify import Damage as Damage
from flowcore.stores.verify import Verified as Verified
from flowcore.tracing.backend import set_tracing_export_api_key as set_tracing_export_api_key
from flowcore.tracing.create import add_trace_processor as add_trace_processor
from flowcore.tracing.create import agent_span as agent_span
from flowcore.tracing.create import custom_span as custom_span
from flowcore.tracing.create import flush_traces as flush_traces
from flowcore.tracing.create import function_span as function_span
from flowcore.tracing.create import generation_span as generation_span
from flowcore.tracing.create import get_current_span as get_current_span
from flowcore.tracing.create import get_current_trace as get_current_trace
from flowcore.tracing.create import guardrail_span as guardrail_span
from flowcore.tracing.create import handoff_span as handoff_span
from flowcore.tracing.create import mcp_tools_span as mcp_tools_span
from flowcore.tracing.create import response_span as response_span
from flowcore.tracing.create import set_trace_processors as set_trace_processors
from flowcore.tracing.create import set_tracing_disabled as set_tracing_disabled
from flowcore.tracing.create import speech_group_span as speech_group_span
from flowcore.tracing.create import speech_span as speech_span
from flowcore.tracing.create import task_span as task_span
from flowcore.tracing.create import trace as trace
from flowcore.tracing.create import transcription_span as transcription_span
from flowcore.tracing.create import turn_span as turn_span
from flowcore.tracing.ids import gen_span_id as gen_span_id
from flowcore.tracing.ids import gen_trace_id as gen_trace_id
from flowcore.tracing.processor_interface import TracingProcessor as TracingProcessor
from flowcore.tracing.provider import set_trace_provider as set_trace_provider
from flowcore.tracing.span_data import AgentSpanData as AgentSpanData
from flowcore.tracing.span_data import CustomSpanData as CustomSpanData
from flowcore.tracing.span_data import FunctionSpanData as FunctionSpanData
from flowcore.tracing.span_data import GenerationSpanData as GenerationSpanData
from flowcore.tracing.span_data import GuardrailSpanData as GuardrailSpanData
from flowcore.tracing.span_data import HandoffSpanData as HandoffSpanData
from flowcore.tracing.span_data import MCPListToolsSpanData as MCPListToolsSpanData
from flowcore.tracing.span_data import ResponseSpanData as ResponseSpanData
from flowcore.tracing.span_data import SpanData as SpanData
from flowcore.tracing.span_data import SpeechGroupSpanData as SpeechGroupSpanData
from flowcore.tracing.span_data import SpeechSpanData as SpeechSpanData
from flowcore.tracing.span_data import TaskSpanData as TaskSpanData
from flowcore.tracing.span_data import TranscriptionSpanData as TranscriptionSpanData
from flowcore.tracing.span_data import TurnSpanData as TurnSpanData
from flowcore.tracing.spans import Span as Span
from flowcore.tracing.spans import SpanError as SpanError
from flowcore.tracing.traces import Trace as Trace

__version__: str
__all__ = [
    "DEFAULT_MAX_TURNS",
    "END",
    "START",
    "Agent",
    "AgentBase",
    "AgentHookContext",
    "AgentHooks",
    "AgentOutputSchema",
    "AgentOutputSchemaBase",
    "AgentRunner",
    "AgentSpanData",
    "AgentToolInvocation",
    "AgentToolStreamEvent",
    "AgentUpdatedStreamEvent",
    "AgentsException",
    "AlreadyResumed",
    "Ask",
    "AsyncOpenAI",
    "AsyncSQLiteSession",
    "Base",
    "Bound",
    "BudgetExceeded",
    "CallModelData",
    "CallModelInputFilter",
    "ChildrenFailed",
    "CodeInterpreterTool",
    "Committed",
    "CompactionItem",
    "Context",
    "CustomSpanData",
    "Damage",
    "Drawing",
    "DynamicPromptFunction",
    "Edge",
    "EffectInDoubt",
    "Emitted",
    "EncryptedStore",
    "FileSearchTool",
    "FlowcoreError",
    "FunctionSpanData",
    "FunctionTool",
    "FunctionToolCustomDataContext",
    "FunctionToolCustomDataExtractor",
    "FunctionToolResult",
    "GenerateDynamicPromptData",
    "GenerationSpanData",
    "Goto",
    "Graph",
    "GraphChanged",
    "GraphError",
    "GuardrailFunctionOutput",
    "GuardrailSpanData",
    "Handoff",
    "HandoffCallItem",
    "HandoffInputData",
    "HandoffInputFilter",
    "HandoffOutputItem",
    "HandoffSpanData",
    "HostedMCPTool",
    "ImageGenerationTool",
    "ImageGenerationToolConfig",
    "InputGuardrail",
    "InputGuardrailResult",
    "InputGuardrailTripwireTriggered",
    "InputItem",
    "InputTokensDetails",
    "ItemHelpers",
    "Json",
    "Key",
    "KeyMissing",
    "LimitExceeded",
    "LitellmModel",
    "LitellmProvider",
    "LocalModel",
    "LoopRunning",
    "MCPApprovalRequestItem",
    "MCPApprovalResponseItem",
    "MCPConfig",
    "MCPListToolsItem",
    "MCPListToolsSpanData",
    "MCPToolApprovalFunction",
    "MCPToolApprovalFunctionResult",
    "MCPToolApprovalRequest",
    "MCPToolCancellationError",
    "MCPToolChoice",
    "MaxTurnsExceeded",
    "MemoryStore",
    "MessageOutputItem",
    "Model",
    "ModelBehaviorError",
    "ModelError",
    "ModelInputData",
    "ModelProvider",
    "ModelRefusalError",
    "ModelResponse",
    "ModelRetryAdvice",
    "ModelRetryAdviceRequest",
    "ModelRetryBackoffSettings",
    "ModelRetryNormalizedError",
    "ModelRetrySettings",
    "ModelRetryStreamEvent",
    "ModelSettings",
    "ModelTimeoutError",
    "ModelTracing",
    "Moment",
    "MultiProvider",
    "MultiProviderMap",
    "Node",
    "NodeTimeout",
    "NotOpen",
    "NotPaused",
    "Of",
    "OpenAIChatCompletionsModel",
    "OpenAIConversationsSession",
    "OpenAIProvider",
    "OpenAIResponsesCompactionArgs",
    "OpenAIResponsesCompactionAwareSession",
    "OpenAIResponsesCompactionSession",
    "OpenAIResponsesModel",
    "Options",
    "OutputGuardrail",
    "OutputGuardrailBlockedMessageArgs",
    "OutputGuardrailBlockedMessageFormatter",
    "OutputGuardrailResult",
    "OutputGuardrailTripwireTriggered",
    "OutputTokensDetails",
    "Pause",
    "PostgresStore",
    "Prompt",
    "Proof",
    "RawResponsesStreamEvent",
    "ReasoningItem",
    "ReasoningItemIdPolicy",
    "Replace",
    "ReplayMismatch",
    "RequestUsage",
    "ResponseSpanData",
    "Result",
    "Retry",
    "RetryDecision",
    "RetryPolicy",
    "RetryPolicyContext",
    "Run",
    "RunCancelled",
    "RunCancelledEvent",
    "RunCompletedEvent",
    "RunConfig",
    "RunConflict",
    "RunContentEvent",
    "RunContextWrapper",
    "RunError",
    "RunErrorData",
    "RunErrorDetails",
    "RunErrorEvent",
    "RunErrorHandler",
    "RunErrorHandlerInput",
    "RunErrorHandlerResult",
    "RunErrorHandlers",
    "RunEvent",
    "RunExists",
    "RunFailed",
    "RunHooks",
    "RunItem",
    "RunItemStreamEvent",
    "RunNotFound",
    "RunOutput",
    "RunOutputEvent",
    "RunPausedEvent",
    "RunResult",
    "RunResultStreaming",
    "RunRetryEvent",
    "RunStartedEvent",
    "RunState",
    "RunStatus",
    "Runner",
    "SQLiteSession",
    "Secret",
    "Select",
    "Session",
    "SessionABC",
    "SessionInputCallback",
    "SessionSettings",
    "Span",
    "SpanData",
    "SpanError",
    "SpeechGroupSpanData",
    "SpeechSpanData",
    "SqliteStore",
    "State",
    "StopAtTools",
    "Store",
    "StoreError",
    "StoreSession",
    "StreamEvent",
    "TContext",
    "TResponseInputItem",
    "TaskSpanData",
    "Tool",
    "ToolApprovalItem",
    "ToolCallCompletedEvent",
    "ToolCallItem",
    "ToolCallOutputItem",
    "ToolCallStartedEvent",
    "ToolCaller",
    "ToolContext",
    "ToolErrorFormatter",
    "ToolErrorFormatterArgs",
    "ToolExecution",
    "ToolExecutionConfig",
    "ToolGuardrailFunctionOutput",
    "ToolInDoubtItem",
    "ToolInputGuardrail",
    "ToolInputGuardrailData",
    "ToolInputGuardrailResult",
    "ToolInputGuardrailTripwireTriggered",
    "ToolNameCollisionPolicy",
    "ToolNotFoundBehavior",
    "ToolOrigin",
    "ToolOriginType",
    "ToolOutputFileContent",
    "ToolOutputFileContentDict",
    "ToolOutputGuardrail",
    "ToolOutputGuardrailData",
    "ToolOutputGuardrailResult",
    "ToolOutputGuardrailTripwireTriggered",
    "ToolOutputImage",
    "ToolOutputImageDict",
    "ToolOutputText",
    "ToolOutputTextDict",
    "ToolSearchCallItem",
    "ToolSearchOutputItem",
    "ToolSearchTool",
    "ToolTimeoutError",
    "ToolsToFinalOutputFunction",
    "ToolsToFinalOutputResult",
    "Trace",
    "TracingConfig",
    "TracingProcessor",
    "TranscriptionSpanData",
    "TurnSpanData",
    "UndeclaredTransition",
    "UnknownItem",
    "UpdateError",
    "Usage",
    "UserError",
    "Verified",
    "WebSearchTool",
    "WebSearchToolImageSettings",
    "__version__",
    "add",
    "add_trace_processor",
    "agent_span",
    "answer",
    "append",
    "continues",
    "custom_span",
    "default_handoff_history_mapper",
    "default_tool_error_function",
    "enable_verbose_stdout_logging",
    "flush_traces",
    "function_span",
    "function_tool",
    "gen_span_id",
    "gen_trace_id",
    "generation_span",
    "get_conversation_history_wrappers",
    "get_current_span",
    "get_current_trace",
    "get_default_agent_runner",
    "get_model",
    "guardrail_span",
    "handoff",
    "handoff_span",
    "input_guardrail",
    "is_openai_responses_compaction_aware_session",
    "load",
    "mcp_tools_span",
    "merge",
    "nest_handoff_history",
    "node",
    "open_store",
    "otherwise",
    "output_guardrail",
    "parallel",
    "replace",
    "reset_conversation_history_wrappers",
    "response_span",
    "resume",
    "retry_policies",
    "run_demo_loop",
    "send",
    "set_conversation_history_wrappers",
    "set_default_agent_runner",
    "set_default_openai_api",
    "set_default_openai_client",
    "set_default_openai_key",
    "set_trace_processors",
    "set_trace_provider",
    "set_tracing_disabled",
    "set_tracing_export_api_key",
    "speech_group_span",
    "speech_span",
    "start",
    "subgraph",
    "task_span",
    "tool_input_guardrail",
    "tool_namespace",
    "tool_output_guardrail",
    "trace",
    "transcription_span",
    "turn_span",
    "when",
]
