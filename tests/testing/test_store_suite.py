"""The conformance kit in a third party's hands: a right store passes, and each wrong one is told what is wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

THEIRS = """
import pytest
from flowcore.testing import StoreSuite
from testing_ledger import {names}

{classes}
"""
CLASS = """
class Test{name}(StoreSuite):
    examples = {examples}

    def make(self, folder):
        return {name}(folder)
"""
WRONG = {
    "LosesALetter": "a letter that was taken is not in the inbox",
    "LetsTwoOwnersIn": "more than one owner, or none, got the run",
    "GivesFactsOutOfOrder": "a journal is read whole and in order",
    "AcceptsAStaleClaim": "a stale claim was accepted",
    "ForgetsAnIndexRow": "the index lost a run, or lists one twice",
}


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    shutil.copy(Path(__file__).parent / "testing_ledger.py", pytester.path)
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\nfilterwarnings = ["error"]\n')
    return pytester


def theirs(project: pytest.Pytester, examples: int, *names: str) -> None:
    classes = "".join(CLASS.format(name=name, examples=examples) for name in names)
    project.makepyfile(test_theirs=THEIRS.format(names=", ".join(names), classes=classes))


def test_a_third_partys_store_passes_without_any_plugin(project: pytest.Pytester) -> None:
    theirs(project, 5, "Ledger")
    ran = project.runpytest_subprocess("-q", "-p", "no:asyncio", "-p", "no:anyio", "-p", "no:cacheprovider")
    counts = ran.parseoutcomes()
    assert set(counts) == {"passed"}, ran.stdout.str()
    assert counts["passed"] > 80


def test_each_wrong_store_fails_with_a_message_that_tells_why(project: pytest.Pytester) -> None:
    theirs(project, 0, *WRONG)
    ran = project.runpytest_subprocess("-q", "-p", "no:asyncio", "-p", "no:cacheprovider", "--tb=short")
    out = ran.stdout.str()
    for name, told in WRONG.items():
        failures = re.findall(rf"^_+ Test{name}\.(test_\w+).*?\n(.*?)(?=^_{{5}}|^=====)", out, re.M | re.S)
        assert any(told in text for _, text in failures), f"{name}: {failures}"


def test_a_random_history_finds_what_no_case_was_written_for(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_theirs="""
        from flowcore.stores import MemoryStore
        from flowcore.testing import StoreSuite

        class Forgetful(MemoryStore):
            async def session_pop(self, session):
                await super().session_pop(session)
                return await super().session_pop(session)

        class TestForgetful(StoreSuite):
            processes = keeps_bytes = False

            def make(self, folder):
                return Forgetful()
        """
    )
    ran = project.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-k", "random_histories")
    ran.assert_outcomes(failed=1)
    assert "state.pop(" in ran.stdout.str()


def test_a_store_that_nobody_makes_is_named(project: pytest.Pytester) -> None:
    project.makepyfile("from flowcore.testing import StoreSuite\n\nclass TestMine(StoreSuite):\n    pass\n")
    ran = project.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-k", "admitted_once")
    assert "TestMine.make(self, folder): return a new store" in ran.stdout.str()
