"""The public names, for type checkers. `tests/test_facade.py` holds it against `__init__.py`."""

from flowcore.testing.clock import ManualClock as ManualClock
from flowcore.testing.crash import (
    Crash as Crash,
)
from flowcore.testing.crash import (
    CrashingStore as CrashingStore,
)
from flowcore.testing.crash import (
    Kills as Kills,
)
from flowcore.testing.crash import (
    finish as finish,
)
from flowcore.testing.crash import (
    kill_everywhere as kill_everywhere,
)
from flowcore.testing.scripted import (
    ModelCall as ModelCall,
)
from flowcore.testing.scripted import (
    ModelStep as ModelStep,
)
from flowcore.testing.scripted import (
    ScriptedModel as ScriptedModel,
)
from flowcore.testing.scripted import (
    assistant_message as assistant_message,
)
from flowcore.testing.scripted import (
    count_replies as count_replies,
)
from flowcore.testing.scripted import (
    function_call as function_call,
)
from flowcore.testing.scripted import (
    message as message,
)
from flowcore.testing.scripted import (
    refusal as refusal,
)
from flowcore.testing.walks import journals as journals
from flowcore.testing.walks import same_walk as same_walk
from flowcore.testing.walks import walk_form as walk_form

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
