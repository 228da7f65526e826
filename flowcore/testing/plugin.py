"""The pytest plugin: fixtures, and ``--flowcore-coverage``. It imports nothing until one of them is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flowcore.stores.memory import MemoryStore
    from flowcore.stores.sqlite import SqliteStore
    from flowcore.testing.clock import ManualClock
    from flowcore.testing.coverage import EdgeCoverage
    from flowcore.testing.scripted import ScriptedModel

pytest.register_assert_rewrite("flowcore.testing.store_suite")  # its cases tell the values, as tests do

COVERAGE: pytest.StashKey[EdgeCoverage] = pytest.StashKey()
TOLD = "flowcore_coverage"
"""Where a process of pytest-xdist leaves what it counted."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("flowcore", "flowcore: graphs and agents")
    group.addoption(
        "--flowcore-coverage", action="store_true", help="print which declared edges of graphs no test has taken"
    )
    group.addoption(
        "--flowcore-coverage-fail-under", type=float, default=None, metavar="PCT",
        help="fail when fewer of the declared edges were taken, in percent (implies --flowcore-coverage)",
    )  # fmt: skip
    parser.addini(
        "flowcore_graphs", "files whose graphs --flowcore-coverage counts even if no test runs them", type="args"
    )


def pytest_configure(config: pytest.Config) -> None:
    if not _asked(config):
        return
    from flowcore.testing import coverage  # brings the engine

    collected = config.stash[COVERAGE] = coverage.EdgeCoverage()
    coverage.begin(collected)


def pytest_unconfigure(config: pytest.Config) -> None:
    if COVERAGE in config.stash:
        from flowcore.testing import coverage

        coverage.end(config.stash[COVERAGE])
        del config.stash[COVERAGE]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if COVERAGE not in config.stash:
        return
    if hasattr(config, "workeroutput"):  # one of pytest-xdist's processes
        config.workeroutput[TOLD] = config.stash[COVERAGE].told()
        return
    _add_graphs(config, config.stash[COVERAGE])
    if _too_little(config) and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of pytest-xdist's processes ended; one that died told nothing."""
    if COVERAGE in node.config.stash:
        node.config.stash[COVERAGE].hear(getattr(node, "workeroutput", {}).get(TOLD, []))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if COVERAGE not in config.stash:
        return
    terminalreporter.section("edges that no test has taken")
    terminalreporter.write_line(config.stash[COVERAGE].report())
    if _too_little(config):
        least = config.getoption("flowcore_coverage_fail_under")
        reached = config.stash[COVERAGE].percent
        terminalreporter.write_line(f"FAIL: {reached:.2f} % of the edges were taken, wanted are {least:g} %", red=True)


def _asked(config: pytest.Config) -> bool:
    return bool(config.getoption("flowcore_coverage") or config.getoption("flowcore_coverage_fail_under") is not None)


def _too_little(config: pytest.Config) -> bool:
    least = config.getoption("flowcore_coverage_fail_under")
    return least is not None and config.stash[COVERAGE].percent < least


def _add_graphs(config: pytest.Config, coverage: EdgeCoverage) -> None:
    """Count the graphs in that the project names, whether or not a test ran them."""
    for pattern in config.getini("flowcore_graphs"):
        from flowcore.testing.cases import graphs_in

        for file in sorted(config.rootpath.glob(pattern)):
            for graph in graphs_in(file):
                coverage.add(graph)


# --- fixtures ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def flowcore_store() -> MemoryStore:
    """A new store in memory that keeps bytes, as a file would."""
    from flowcore.stores.memory import MemoryStore

    return MemoryStore(keep_bytes=True)


@pytest.fixture
def flowcore_sqlite_store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A new store in a file, ``tmp_path / "flowcore.db"``."""
    from flowcore.faces.sync import run_sync
    from flowcore.stores.sqlite import SqliteStore

    store = SqliteStore(tmp_path / "flowcore.db")
    yield store
    run_sync(store.close(), "flowcore_sqlite_store", "await store.close()")


@pytest.fixture
def manual_clock() -> ManualClock:
    """A clock that only moves when it's moved, or when somebody waits."""
    from flowcore.testing.clock import ManualClock

    return ManualClock()


@pytest.fixture
def scripted_model() -> Callable[..., ScriptedModel]:
    """Makes models that follow a script: ``scripted_model(["hello", ...])``, or ``scripted_model("hello", ...)``."""
    from flowcore.testing.scripted import ScriptedModel

    def make(*steps: Any, **more: Any) -> ScriptedModel:
        one = steps[0] if len(steps) == 1 and (callable(steps[0]) or isinstance(steps[0], list)) else list(steps)
        return ScriptedModel(one, **more)

    return make
