"""The conformance kit in a third party's hands: a right store passes, and each wrong one is told what is wrong."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

THEIRS = """
from flowcore.testing import StoreSuite
from testing_ledger import {names}

{classes}

class TestUnmade(StoreSuite):
    pass
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
    "Unmade": "TestUnmade.make(self, folder): return a new store",
}


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    shutil.copy(Path(__file__).parent / "testing_ledger.py", pytester.path)
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\nfilterwarnings = ["error"]\n')
    return pytester


def run(project: pytest.Pytester, *words: str) -> pytest.RunResult:
    """Their tests, by pytest without plugins for event loops."""
    return project.runpytest_subprocess("-q", "-p", "no:asyncio", "-p", "no:anyio", "-p", "no:cacheprovider", *words)


def theirs(project: pytest.Pytester, examples: int, *names: str) -> None:
    classes = "".join(CLASS.format(name=name, examples=examples) for name in names)
    project.makepyfile(test_theirs=THEIRS.format(names=", ".join(names), classes=classes))


def test_a_third_partys_store_passes_without_any_plugin(project: pytest.Pytester) -> None:
    theirs(project, 5, "Ledger")
    ran = run(project, "-k", "Ledger")
    counts = ran.parseoutcomes()
    assert set(counts) == {"passed", "deselected"}, ran.stdout.str()
    assert counts["passed"] >= 80


def test_each_wrong_store_fails_with_a_message_that_tells_why(project: pytest.Pytester) -> None:
    theirs(project, 0, *(name for name in WRONG if name != "Unmade"))
    ran = run(project, "--tb=short", "-k", "order or latest_first or at_once or old_epoch or read_from")
    out = ran.stdout.str()
    for name, told in WRONG.items():
        failures = re.findall(rf"^_+ Test{name}\.(test_\w+).*?\n(.*?)(?=^_{{5}}|^=====)", out, re.M | re.S)
        assert any(told in text for _, text in failures), f"{name}: {failures}"
