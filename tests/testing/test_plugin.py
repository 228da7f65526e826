"""The pytest plugin: fixtures and the coverage of edges; nothing happens where neither is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

GRAPH = """
from flowcore import END, START, Goto, Graph, State

class S(State):
    n: int = 0

async def judge(state):
    return Goto("low" if state.n < 3 else "high")

judged = Graph("judged", S, {START: judge, judge: {"low": END, "high": END}})
"""

TEST = """
import asyncio
from flowcore import start
from mygraph import judged

def test_low():
    async def walk():
        return await (await start(judged))
    assert asyncio.run(walk()).standing == "done"
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with a graph and a test that takes one of its two edges."""
    pytester.makepyprojecttoml(
        "[tool.pytest.ini_options]\n"
        'asyncio_mode = "auto"\nasyncio_default_fixture_loop_scope = "function"\npythonpath = ["."]\n'
        'filterwarnings = ["error"]\n'
    )
    pytester.makepyfile(mygraph=GRAPH)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_subprocess(*arguments)


def test_the_uncovered_edges_are_printed_at_the_end(project: pytest.Pytester) -> None:
    project.makepyfile(TEST)
    result = run(project, "--flowcore-coverage")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["*edges that no test has taken*", "judged: 1 of 2 edges (50 %)", "*judge --high--> END", "all graphs: 50 %"]
    )


def test_too_few_edges_fail_the_session(project: pytest.Pytester) -> None:
    project.makepyfile(TEST)
    result = run(project, "--flowcore-coverage-fail-under=60")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAIL: 50.00 % of the edges were taken, wanted are 60 %"])
    assert run(project, "--flowcore-coverage-fail-under=50").ret == 0


def test_what_parallel_processes_took_is_counted_together(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_one=TEST, test_other=TEST.replace("start(judged)", "start(judged, {'n': 5})").replace("_low", "_high")
    )
    result = run(project, "--flowcore-coverage-fail-under=100", "-n2", "--dist=loadfile")
    result.assert_outcomes(passed=2)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["judged: 2 of 2 edges (100 %)", "all graphs: 100 %"])


def test_graphs_of_the_project_count_even_if_no_test_runs_them(project: pytest.Pytester) -> None:
    project.makepyfile(TEST)
    project.mkdir("graphs").joinpath("other.py").write_text(GRAPH.replace("judge", "other"))
    result = run(project, "--flowcore-coverage", "-o", "flowcore_graphs=graphs/*.py mygraph.py")
    result.stdout.fnmatch_lines(["judged: 1 of 2 edges (50 %)", "otherd: 0 of 2 edges (0 %)", "all graphs: 25 %"])


def test_without_the_option_nothing_is_counted_or_printed(project: pytest.Pytester) -> None:
    project.makepyfile(TEST)
    result = run(project)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*edges*")


def test_the_fixtures_give_stores_a_clock_and_models(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from flowcore import Agent, Runner, load, start
        from mygraph import judged

        async def test_stores(flowcore_store, flowcore_sqlite_store, tmp_path):
            for store in (flowcore_store, flowcore_sqlite_store):
                await (await start(judged, store=store, run_id="r"))
                assert (await load("r", judged, store=store)).standing == "done"
            assert (tmp_path / "flowcore.db").exists()

        def test_a_sync_test_may_have_them_too(flowcore_store, flowcore_sqlite_store): ...

        async def test_clock(manual_clock):
            run = await start(judged, clock=manual_clock)
            await run
            assert run.facts[-1].at == manual_clock.now

        async def test_model(scripted_model):
            models = scripted_model("one", "two"), scripted_model(["one", "two"]), scripted_model(lambda call: "one")
            for model in models:
                assert (await Runner.run(Agent("a", model=model), "hi")).final_output == "one"
        """
    )
    run(project).assert_outcomes(passed=4)


def test_a_projects_own_fixtures_of_these_names_go_first(project: pytest.Pytester) -> None:
    project.makeconftest("import pytest\n@pytest.fixture\ndef manual_clock():\n    return 'mine'\n")
    project.makepyfile("def test_mine(manual_clock):\n    assert manual_clock == 'mine'\n")
    run(project).assert_outcomes(passed=1)


def test_the_plugin_is_light_and_brings_nothing_that_isnt_used(project: pytest.Pytester) -> None:
    code = (
        "import pytest, sys, time; before = set(sys.modules); start = time.process_time();"
        "import flowcore.testing.plugin; took = time.process_time() - start;"
        "print(took, *sorted(set(sys.modules) - before))"
    )
    least = 1.0
    for _ in range(3):
        took, *brought = subprocess.check_output([sys.executable, "-c", code], text=True).split()
        least = min(least, float(took))
        assert set(brought) == {"flowcore", "flowcore.sdk_paths", "flowcore.testing", "flowcore.testing.plugin"}
    assert least < 0.030, f"{least * 1000:.0f} ms"


def test_a_project_that_doesnt_use_it_never_imports_the_engine(project: pytest.Pytester) -> None:
    project.makepyfile(
        "import sys\ndef test_nothing():\n    assert not {'flowcore.engine', 'pydantic', 'openai'} & set(sys.modules)\n"
    )
    run(project).assert_outcomes(passed=1)
