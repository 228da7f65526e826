"""Every exception of flowcore, and nothing else. Blame is in the type.

::

    FlowcoreError
    ├── GraphError                      yours: a graph, or what a node did with it
    │   ├── UndeclaredTransition        a node took an edge that isn't drawn
    │   ├── UpdateError                 an update that the state's schema doesn't admit
    │   ├── ReplayMismatch              an effect was found under its key with other arguments
    │   └── GraphChanged                the stored run doesn't fit the graph it is resumed with
    ├── RunError                        a run's own: it carries the run id and keeps its place
    │   ├── RunNotFound                 the store holds no such run
    │   ├── RunExists                   a run with this id was admitted before
    │   ├── RunConflict                 somebody else holds the run
    │   │   └── AlreadyResumed          ... and has gone on with it
    │   ├── NotOpen                     an answer to a request that isn't open
    │   ├── NotPaused                   a resume of a run that is done
    │   ├── RunFailed                   the run failed earlier, maybe in another process
    │   ├── RunCancelled                the run was cancelled
    │   ├── LimitExceeded               a node's limit was reached and it has no ``limit`` edge
    │   ├── NodeTimeout                 a node ran longer than its timeout (also a TimeoutError)
    │   ├── ChildrenFailed              more children of a fan-out failed than may
    │   └── EffectInDoubt               a crash left an effect of ``on_crash="fail"`` unrecorded
    ├── StoreError                      the world's: the store can't be read or written
    │   └── KeyMissing                  ... for a record is sealed with a key that isn't given
    └── AgentsException                 an agent's run: carries ``run_data`` where there is a run
        ├── UserError                   yours: flowcore was called wrongly
        │   └── LoopRunning             ... a sync verb inside of an event loop (also a RuntimeError)
        ├── MaxTurnsExceeded
        ├── BudgetExceeded
        ├── ModelBehaviorError          the model's: invalid output, unknown tools
        ├── ModelRefusalError           the model's: it refused
        ├── ModelError                  the world's: a provider answered with an error, or not at all
        │   └── ModelTimeoutError
        ├── ToolTimeoutError
        ├── MCPToolCancellationError    a call to an MCP server was cancelled from within
        ├── InputGuardrailTripwireTriggered
        ├── OutputGuardrailTripwireTriggered
        ├── ToolInputGuardrailTripwireTriggered
        └── ToolOutputGuardrailTripwireTriggered
"""

from __future__ import annotations

from typing import Any


class FlowcoreError(Exception):
    """The base of every error that flowcore raises on purpose."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.message = str(self.args[0])


class GraphError(FlowcoreError):
    """A graph is declared wrongly, or a node didn't keep to it."""


class UndeclaredTransition(GraphError):
    """A node returned a label that none of its edges has."""


class UpdateError(GraphError):
    """A node's update names a field that the state doesn't have, or a value that the field can't hold."""


class ReplayMismatch(GraphError):
    """An effect or a child run was found under its key, recorded with other arguments."""


class GraphChanged(GraphError):
    """The stored run doesn't fit the graph that it's resumed with."""


class RunError(FlowcoreError):
    """Something about one run."""

    def __init__(self, message: str = "", *, run_id: str | None = None) -> None:
        super().__init__(message)
        self.run_id = run_id


class RunNotFound(RunError):
    """The store holds no run with this id."""


class RunExists(RunError):
    """A run with this id was admitted before."""


class RunConflict(RunError):
    """Somebody else holds this run."""


class AlreadyResumed(RunConflict):
    """Somebody else has gone on with this run."""


class NotOpen(RunError):
    """An answer came for a request that isn't open. ``open`` lists the keys of those that are."""

    def __init__(self, message: str = "", *, run_id: str | None = None, open: list[str] | None = None) -> None:
        super().__init__(message, run_id=run_id)
        self.open = open or []


class NotPaused(RunError):
    """The run is done: there is nothing to resume."""


class RunFailed(RunError):
    """The run failed. ``kind`` is the name of the error's class, ``place`` the node where the run stands."""

    def __init__(
        self, message: str = "", *, run_id: str | None = None, kind: str = "", place: str | None = None
    ) -> None:
        super().__init__(message, run_id=run_id)
        self.kind = kind
        self.place = place


class RunCancelled(RunError):
    """The run was cancelled. It keeps its place and can be resumed."""


class LimitExceeded(RunError):
    """A node's limit is reached and it has no ``limit`` edge."""


class NodeTimeout(RunError, TimeoutError):
    """A node ran longer than its timeout."""


class ChildrenFailed(RunError):
    """More children of a fan-out failed than may."""


class EffectInDoubt(RunError):
    """A crash came between an effect's intent and its record: it may have happened."""


class StoreError(FlowcoreError):
    """The store can't be read or written. ``lasting``: trying again can't help: what it keeps is damaged, or
    sealed with a key that isn't given. Any other is an outage, and no attempt of a node."""

    def __init__(self, message: str = "", *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class KeyMissing(StoreError):
    """A record is sealed with a key that isn't given: with that key it can be read."""


class AgentsException(FlowcoreError):
    """The base of what an agent's run raises. ``run_data`` tells what the run had done, where there is a run."""

    run_data: Any = None


class UserError(AgentsException):
    """flowcore was called wrongly."""


class LoopRunning(UserError, RuntimeError):
    """A sync verb was called inside of a running event loop."""


class MaxTurnsExceeded(AgentsException):
    """The run needs more turns than ``max_turns`` allows. It keeps its place: resume it with a higher limit."""


class BudgetExceeded(AgentsException):
    """A budget of the run (tokens, cost, time) is used up. It keeps its place: resume it with a higher limit."""


class ModelBehaviorError(AgentsException):
    """The model did what it was told not to: an unknown tool, malformed JSON, output of the wrong type."""


class ModelRefusalError(AgentsException):
    """The model refused. ``refusal`` is what it said."""

    def __init__(self, refusal: str = "") -> None:
        super().__init__(f"Model refused to produce output: {refusal}")
        self.refusal = refusal


class ModelError(AgentsException):
    """A model's provider answered with an error, or not at all.

    ``status_code``: HTTP status, None when there was no answer. ``code``: the provider's own error code.
    ``retry_after``: seconds that the provider asked to wait. ``retryable``: whether the same call may succeed later
    (408, 409, 429, 5xx and connection errors). ``request_id``, ``body``: what the provider sent along.
    """

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        retryable: bool = False,
        request_id: str | None = None,
        body: Any = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code
        self.retry_after = retry_after
        self.retryable = retryable
        self.request_id = request_id
        self.body = body


class ModelTimeoutError(ModelError):
    """The model's provider didn't answer within ``timeout_seconds``, which may stand alone, too."""

    def __init__(self, message: str | float = "", *, timeout_seconds: float | None = None) -> None:
        if not isinstance(message, str):
            timeout_seconds, message = message, ""
        if not message and timeout_seconds is not None:
            message = f"Model call timed out after {timeout_seconds:g} seconds."
        super().__init__(message, retryable=True)
        self.timeout_seconds = timeout_seconds


class ToolTimeoutError(AgentsException):
    """A tool ran longer than its timeout."""

    def __init__(self, tool_name: str, timeout_seconds: float) -> None:
        super().__init__(f"Tool '{tool_name}' timed out after {timeout_seconds:g} seconds.")
        self.tool_name = tool_name
        self.timeout_seconds = timeout_seconds


class MCPToolCancellationError(AgentsException):
    """A tool call of an MCP server was cancelled, but not by the run."""


class _Tripwire(AgentsException):
    """A guardrail tripped. ``guardrail_result`` is its result."""

    _what = "Guardrail"

    def __init__(self, guardrail_result: Any) -> None:
        name = type(getattr(guardrail_result, "guardrail", None)).__name__
        super().__init__(f"{self._what} {name} triggered tripwire")
        self.guardrail_result = guardrail_result


class InputGuardrailTripwireTriggered(_Tripwire):
    """An input guardrail's tripwire was triggered. The run is final: going on from it is a fork."""


class OutputGuardrailTripwireTriggered(_Tripwire):
    """An output guardrail's tripwire was triggered. The run is final: going on from it is a fork."""


class _ToolTripwire(AgentsException):
    """A tool guardrail tripped. ``guardrail`` is the guardrail, ``output`` its output."""

    _what = "Tool guardrail"

    def __init__(self, guardrail: Any, output: Any) -> None:
        super().__init__(f"{self._what} {type(guardrail).__name__} triggered tripwire")
        self.guardrail = guardrail
        self.output = output


class ToolInputGuardrailTripwireTriggered(_ToolTripwire):
    """A tool input guardrail's tripwire was triggered. The run is final: going on from it is a fork."""

    _what = "Tool input guardrail"


class ToolOutputGuardrailTripwireTriggered(_ToolTripwire):
    """A tool output guardrail's tripwire was triggered. The run is final: going on from it is a fork."""

    _what = "Tool output guardrail"
