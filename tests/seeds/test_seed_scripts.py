"""Programs as users of the OpenAI Agents SDK write them run here once ``agents`` is replaced by ``flowcore``."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from cli_process import Forks
from seeds_server import ModelServer, laid_by

HERE = Path(__file__).parent
SCRIPTS = sorted((HERE / "scripts").glob("*.py"))
DIFFERENT = sorted((HERE / "differences").glob("*.py"))


def with_other_import(source: str) -> str:
    """The whole change: the package's name where it's imported."""
    return re.sub(r"^(\s*(?:from|import) )agents\b", r"\1flowcore", source, flags=re.MULTILINE)


def environment(url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    return {**kept, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "test", "PYTHONIOENCODING": "utf-8"}


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.stem)
def test_a_users_program_runs_after_the_import_change(file: Path, tmp_path: Path, programs: Forks) -> None:
    run(file, tmp_path, programs)


@pytest.mark.parametrize("file", DIFFERENT, ids=lambda file: file.stem)
def test_what_is_different_from_the_sdk_is_as_the_readme_says(file: Path, tmp_path: Path, programs: Forks) -> None:
    """``# there>`` in such a program: what it printed with openai-agents 0.24.0 and the import as it stands."""
    run(file, tmp_path, programs)


def run(file: Path, tmp_path: Path, programs: Forks) -> None:
    """The program prints what it says, on a model that answers as it says."""
    source = file.read_text(encoding="utf-8")
    laid = laid_by(source)
    assert laid.prints, f"{file.name} says nowhere what it prints"
    (tmp_path / "work").mkdir()
    program = tmp_path / "work" / file.name
    program.write_text(with_other_import(source), encoding="utf-8")
    with ModelServer(laid.replies) as server:
        typed = "".join(f"{line}\n" for line in re.findall(r"^# typed> (.*)$", source, re.MULTILINE))
        code, out, err = programs((), program.parent, environment(server.url), program, typed)
    assert code == 0, err
    assert [line.rstrip() for line in out.splitlines()] == laid.prints
    assert not server.unsaid
    assert err == ""
