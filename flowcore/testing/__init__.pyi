"""The public names, for type checkers. `tests/test_facade.py` holds it against `__init__.py`."""

from flowcore.testing.clock import ManualClock as ManualClock
from flowcore.testing.crash import (
    Crash as Crash,
    CrashingStore as CrashingStore,
    Kills as Kills,
    finish as finish,
    kill_everywhere as kill_everywhere,
)
from flowcore.testing.scripted import (
    ModelCall as ModelCall,
    ModelStep as ModelStep,
    ScriptedModel as ScriptedModel,
    assistant_message as assistant_message,
    count_replies as count_replies,
    function_call as function_call,
    message as message,
    refusal as refusal,
)
from flowcore.testing.walks import journals as journals, same_walk as same_walk, walk_form as walk_form

__all__ = [
    "Crash",
    "CrashingStore",
    "Kills",
    "ManualClock",
    "ModelCall",
    "ModelStep",
    "ScriptedModel",
    "assistant_message",
    "count_replies",
    "finish",
    "function_call",
    "journals",
    "kill_everywhere",
    "message",
    "refusal",
    "same_walk",
    "walk_form",
]
