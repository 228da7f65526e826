"""The tools that flowcore is tested with, for your own tests."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES: dict[str, tuple[str, ...]] = {
    "flowcore.testing.cases": ("load_graph", "write_test_case"),
    "flowcore.testing.clock": ("ManualClock",),
    "flowcore.testing.closing": ("Closes", "close_everywhere"),
    "flowcore.testing.coverage": ("EdgeCoverage", "GraphCoverage", "edge_coverage"),
    "flowcore.testing.crash": ("Crash", "CrashingStore", "Kills", "finish", "kill_everywhere"),
    "flowcore.testing.faults.table": ("FaultLine", "FaultTable"),
    "flowcore.testing.faults.trying": ("Over", "try_faults"),
    "flowcore.testing.paths": ("assert_path", "assert_state", "diff", "explain", "run_path"),
    "flowcore.testing.recording": ("RecordedStep", "Recording"),
    "flowcore.testing.replaying": ("Played", "ReplayDiverged", "play", "play_sync", "replay"),
    "flowcore.testing.scripted": (
        "InvalidModelStep",
        "ModelCall",
        "ModelScriptError",
        "ModelStep",
        "ScriptedModel",
        "UnconsumedModelSteps",
        "UnexpectedModelCall",
        "assistant_message",
        "count_replies",
        "function_call",
        "message",
        "refusal",
    ),
    "flowcore.testing.simulation": ("Simulation", "simulate"),
    "flowcore.testing.store_suite": ("StoreSuite",),
    "flowcore.testing.walks": ("journals", "same_walk", "walk_form"),
    "flowcore.testing.ways": ("Ways", "every_way"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'flowcore.testing' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
