"""The public names, for type checkers. `tests/test_facade.py` holds it against `__init__.py`."""

from flowcore.testing.cases import load_graph as load_graph
from flowcore.testing.cases import write_test_case as write_test_case
from flowcore.testing.clock import ManualClock as ManualClock
from flowcore.testing.closing import Closes as Closes
from flowcore.testing.closing import close_everywhere as close_everywhere
from flowcore.testing.coverage import (
    EdgeCoverage as EdgeCoverage,
)
from flowcore.testing.coverage import (
    GraphCoverage as GraphCoverage,
)
from flowcore.testing.coverage import (
    edge_coverage as edge_coverage,
)
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
from flowcore.testing.faults.table import FaultLine as FaultLine
from flowcore.testing.faults.table import FaultTable as FaultTable
from flowcore.testing.faults.trying import Over as Over
from flowcore.testing.faults.trying import try_faults as try_faults
from flowcore.testing.paths import (
    assert_path as assert_path,
)
from flowcore.testing.paths import (
    assert_state as assert_state,
)
from flowcore.testing.paths import (
    diff as diff,
)
from flowcore.testing.paths import (
    explain as explain,
)
from flowcore.testing.paths import (
    run_path as run_path,
)
from flowcore.testing.recording import RecordedStep as RecordedStep
from flowcore.testing.recording import Recording as Recording
from flowcore.testing.replaying import (
    Played as Played,
)
from flowcore.testing.replaying import (
    ReplayDiverged as ReplayDiverged,
)
from flowcore.testing.replaying import (
    play as play,
)
from flowcore.testing.replaying import (
    play_sync as play_sync,
)
from flowcore.testing.replaying import (
    replay as replay,
)
from flowcore.testing.scripted import InvalidModelStep as InvalidModelStep
from flowcore.testing.scripted import (
    ModelCall as ModelCall,
)
from flowcore.testing.scripted import ModelScriptError as ModelScriptError
from flowcore.testing.scripted import (
    ModelStep as ModelStep,
)
from flowcore.testing.scripted import (
    ScriptedModel as ScriptedModel,
)
from flowcore.testing.scripted import UnconsumedModelSteps as UnconsumedModelSteps
from flowcore.testing.scripted import UnexpectedModelCall as UnexpectedModelCall
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
from flowcore.testing.simulation import Simulation as Simulation
from flowcore.testing.simulation import simulate as simulate
from flowcore.testing.store_suite import StoreSuite as StoreSuite
from flowcore.testing.walks import journals as journals
from flowcore.testing.walks import same_walk as same_walk
from flowcore.testing.walks import walk_form as walk_form
from flowcore.testing.ways import Ways as Ways
from flowcore.testing.ways import every_way as every_way

__all__ = [
    "Closes",
    "Crash",
    "CrashingStore",
    "EdgeCoverage",
    "FaultLine",
    "FaultTable",
    "GraphCoverage",
    "InvalidModelStep",
    "Kills",
    "ManualClock",
    "ModelCall",
    "ModelScriptError",
    "ModelStep",
    "Over",
    "Played",
    "RecordedStep",
    "Recording",
    "ReplayDiverged",
    "ScriptedModel",
    "Simulation",
    "StoreSuite",
    "UnconsumedModelSteps",
    "UnexpectedModelCall",
    "assert_path",
    "assert_state",
    "assistant_message",
    "close_everywhere",
    "count_replies",
    "diff",
    "edge_coverage",
    "explain",
    "finish",
    "function_call",
    "journals",
    "kill_everywhere",
    "load_graph",
    "message",
    "play",
    "play_sync",
    "refusal",
    "replay",
    "run_path",
    "same_walk",
    "simulate",
    "try_faults",
    "walk_form",
    "write_test_case",
]
