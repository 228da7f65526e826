"""What is called wrongly is told in one line, with the cure, and an exit code that says whose mistake it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from cli_process import Cli


def test_files_that_cant_be_used_say_why(cli: Cli):
    assert "flowcore: there's no file nope.py" in cli.run("run", "nope.py", code=2)
    cli.write("empty.py", "x = 1\n")
    assert "empty.py has no Graph and no Agent" in cli.run("run", "empty.py", code=2)
    cli.write("syntax.py", "x = 1\ndef f(:\n")
    assert "syntax.py:2: SyntaxError: " in cli.run("run", "syntax.py", code=2)
    cli.write("raises.py", "def f():\n    return {}['key']\n\nf()\n")
    assert "raises.py:2: KeyError: 'key'" in cli.run("run", "raises.py", code=2)
    two = "from flowcore import Agent\none = Agent(name='one')\nother = Agent(name='other')\n"
    cli.write("two.py", two)
    assert "choose one: two.py:one, two.py:other" in cli.run("run", "two.py", "x", code=2)
    assert "no graph called `third`" in cli.run("run", "two.py:third", "x", code=2)
    assert "stateDiagram-v2" in cli.run("graph", "two.py:other")
    assert "agent 'one' needs an INPUT" in cli.run("run", "two.py:one", code=2)


def test_runs_and_stores_that_arent_there_say_so(cli: Cli):
    assert "no runs yet" in cli.run("runs")
    assert "there's no store at .flowcore/runs.db" in cli.run("show", "r", code=2)
    cli.write("notes.db", "these are my notes, and no database at all " * 100)
    broken = cli.run("runs", "--store", "notes.db", code=1)
    assert "notes.db" in broken
    assert len(broken.splitlines()) == 1
    assert (cli.folder / "notes.db").read_text().startswith("these are my notes")
    assert "mysql" in cli.run("runs", "--store", "mysql://x/y", code=2)


def test_a_directory_is_no_file_and_no_store(cli: Cli):
    cli.file("clerk")
    (cli.folder / "there").mkdir()
    told = "there is a directory; give a Python file in it"
    assert told in cli.run("run", "there", "x", code=2)
    assert told in cli.run("graph", "there", code=2)
    for words in (("runs",), ("verify",), ("run", "clerk.py", "x")):
        told = cli.run(*words, "--store", "there", code=1)
        assert told.endswith("there: it is a directory; give the path of a file in it\n")
        assert len(told.splitlines()) == 1


@pytest.fixture
def read_only(cli: Cli) -> Iterator[str]:
    """A folder with a store, which can't be written to: not even by root where that may mount it."""
    folder = cli.folder / "sealed"
    folder.mkdir()
    mounted = os.geteuid() == 0
    if mounted and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False).returncode:
        pytest.skip("root may write everywhere, and here it may not mount")
    cli.run("run", cli.file("clerk"), "x", "--run-id", "r", "--quiet", "--store", "sealed/runs.db")
    if mounted:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    else:
        folder.chmod(0o555)
    yield "sealed"
    if mounted:
        subprocess.run(["umount", "-l", folder], check=True)
    else:
        folder.chmod(0o755)


def test_a_store_that_cant_be_written_to_says_why_it_cant_be_read_either(cli: Cli, read_only: str):
    for words in (("runs",), ("show", "r"), ("verify",), ("run", "clerk.py", "x")):
        assert "copy the file, with those whose names begin like it" in cli.run(
            *words, "--store", f"{read_only}/runs.db", code=1
        )
    told = cli.run("run", "clerk.py", "x", "--store", f"{read_only}/new.db", code=1)
    assert "its directory can't be written to by this user; give a path in another" in told


def test_what_a_run_is_given_is_looked_at_before_it_begins(cli: Cli):
    clerk, counter = cli.file("clerk"), cli.file("counter")
    assert "graph 'counter' needs an INPUT, its state's fields as a JSON object" in cli.run("run", counter, code=2)
    assert "a session id is a text of 1 to 512 characters" in cli.run("run", clerk, "x", "--session", "", code=2)
    assert "give a model's name" in cli.run("run", clerk, "x", "--model", "", code=2)
    assert not (cli.folder / ".flowcore").exists()


def test_a_test_case_is_written_only_where_it_may_be(cli: Cli):
    clerk = cli.file("clerk")
    cli.run("run", clerk, "x", "--run-id", "r", "--quiet")
    assert "it's a directory; name a file" in cli.run("test-case", "r", clerk, "--out", ".", "--overwrite", code=2)
    assert "it exists; give another name, or --overwrite" in cli.run("test-case", "r", clerk, "--out", clerk, code=2)
    told = cli.run("test-case", "r", clerk, "--out", f"{clerk}/test_r.py", code=2)
    assert "clerk.py/test_r.py can't be written (" in told


def test_an_error_has_a_traceback_only_where_its_asked_for(cli: Cli):
    plain = cli.run("run", "nope.py", code=2)
    assert plain == "flowcore: there's no file nope.py\n"
    process = cli.start("--debug", "run", "nope.py")
    debugged = process.communicate(timeout=30)[1]
    assert "Traceback" in debugged
    assert debugged.endswith(plain)
    assert process.returncode == 2


def test_a_graph_is_checked_with_places_and_drawn(cli: Cli):
    head = "from flowcore import Graph, State, Goto, START, END\nclass S(State):\n    n: int = 0\n"
    body = "async def a(state): ...\nasync def b(state): ...\nasync def c(state): ...\n"
    cli.write("broken.py", head + body + "graph = Graph('g', S, {START: a, a: {'x': END}, b: END, c: a})\n")
    out, err = cli.both("graph", "broken.py", code=1)
    assert out == ""
    assert "broken.py:5: error: graph 'g': node 'b' can't be reached from START" in err
    assert "broken.py:6: error: graph 'g': node 'c' can't be reached" in err
    assert len(err.splitlines()) == 2
    findings = json.loads(cli.both("graph", "broken.py", "--format", "json", code=1)[0])["findings"]
    assert [one["source"].rpartition(":")[2] for one in findings] == ["5", "6"]
    cli.write("fine.py", head + body + "graph = Graph('g', S, {START: a, a: {'x': END}})\n")
    out, err = cli.both("graph", "fine.py")
    assert "    a --> [*] : x" in out
    fingerprint = json.loads(cli.run("graph", "fine.py", "--format", "json"))["fingerprint"]
    assert err == f"graph g · fingerprint {fingerprint}\n"
    assert "    x -> END" in cli.run("graph", "fine.py", "--format", "text")


def test_a_new_run_under_an_old_id_is_refused(cli: Cli):
    clerk = cli.file("clerk")
    cli.run("run", clerk, "x", "--run-id", "r", "--quiet")
    assert "admitted before" in cli.run("run", clerk, "x", "--run-id", "r", code=2)


def test_listing_runs_imports_nothing_heavy(cli: Cli):
    code = (
        "import sys\nsys.argv = ['flowcore', 'runs']\nfrom flowcore.cli import main\n"
        "try:\n    main()\nexcept SystemExit: pass\n"
        "print([name for name in ('openai', 'networkx', 'flowcore.agents') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=cli.folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_without_its_extra_the_command_line_says_how_to_get_it(cli: Cli):
    code = (
        "import sys, importlib.util as u\nreal = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name in ('typer', 'rich') else real(name, *more)\n"
        "from flowcore.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=cli.folder, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "flowcore: the command line needs typer and rich: pip install 'flowcore[cli]'\n"


def test_the_help_tells_the_exit_codes_and_the_version_is_the_packages(cli: Cli):
    assert "130" in cli.run("run", "--help")
    assert "else pyproject.toml's [tool.flowcore] graphs." in cli.run("resume", "--help")
    assert "never_reaches B [from A] [without C]" in " ".join(cli.run("graph", "--help").split())
    assert cli.run("--version") == "flowcore 0.1.0\n"
