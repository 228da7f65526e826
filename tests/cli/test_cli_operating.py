"""What operators do on the command line: go on with what processes left behind, and remove what is old."""

from __future__ import annotations

import json
import signal
import sqlite3

import pytest
from cli_process import Cli, until


@pytest.fixture
def left(cli: Cli) -> Cli:
    """A project in which nothing has happened yet; `die` leaves a run behind."""
    cli.file("mortal")
    cli.write("pyproject.toml", '[tool.flowcore]\ngraphs = ["*.py"]\n')
    return cli


def die(cli: Cli, run: str, how: str = "done", file: str = "mortal.py") -> None:
    """Begin a run whose process is killed at its node."""
    cli.write("kill", "")
    cli.run("run", file, how, "--run-id", run, "--quiet", code=-signal.SIGKILL)
    (cli.folder / "kill").unlink()


def test_every_abandoned_run_is_gone_on_with_and_it_is_said_what_came_of_each(left: Cli):
    cli = left
    for run, how in (("fine", "done"), ("asks", "ask"), ("fails", "fail")):
        die(cli, run, how)
    text = (cli.folder / "mortal.py").read_text()
    cli.write("other.py", text.replace('"mortal"', '"other"'))
    die(cli, "lost", file="other.py")
    (cli.folder / "other.py").unlink()
    assert cli.show("fine")["standing"] == "running"

    out, err = cli.both("resume", "--all-abandoned", code=1)
    assert out.startswith("going on with 4 abandoned runs\n")
    assert "fine · mortal · done\n" in out
    assert "asks · mortal · waiting at 'ask' for:" in out
    assert "  flowcore answer asks sure VALUE" in out
    assert "fails · mortal · failed at 'work': ValueError: not today" in err
    assert "  flowcore resume fails" in err
    assert "lost · other · left alone: run lost needs graph 'other', which isn't here" in err
    assert out.rstrip().splitlines()[-1].count(" · ") == 3

    assert "going on with 1 abandoned run\n" in cli.run("resume", "--all-abandoned", code=1)
    assert [cli.show(run)["standing"] for run in ("fine", "asks", "fails")] == ["done", "waiting", "failed"]
    assert cli.show("lost")["standing"] == "running"


def test_as_many_as_are_asked_for_are_gone_on_with_the_oldest_first(left: Cli):
    cli = left
    assert "no store at" in cli.run("resume", "--all-abandoned", code=2)
    for run in ("one", "two", "three"):
        die(cli, run)
    out = cli.run("resume", "--all-abandoned", "mortal.py", "--limit", "2")
    assert "2 done\nmore are abandoned: flowcore resume --all-abandoned mortal.py\n" in out
    assert cli.show("three")["standing"] == "running"
    told = cli.json("resume", "--all-abandoned")
    assert ([run["run"] for run in told["runs"]], told["more"]) == (["three"], False)
    assert told["runs"][0]["output"] == "done"
    assert cli.run("resume", "--all-abandoned") == "no run is abandoned\n"
    assert "how many runs" in cli.run("resume", "--all-abandoned", "--limit", "0", code=2)
    assert "there's no file one" in cli.run("resume", "one", "--all-abandoned", code=2)
    assert "name no RUN" in cli.run("resume", "one", "mortal.py", "--all-abandoned", code=2)
    assert "name a RUN" in cli.run("resume", code=2)


def test_ctrl_c_stops_all_that_were_gone_on_with(left: Cli):
    cli = left
    die(cli, "one", "slow")
    die(cli, "two", "slow")
    going = cli.start("resume", "--all-abandoned")
    working = cli.folder / "working"
    until(lambda: working.exists() and len(working.read_text()) == 2, "both work")
    going.send_signal(signal.SIGINT)
    assert going.stderr is not None
    assert "stopping: the nodes of 2 runs may finish, then the runs rest" in going.stderr.readline()
    cli.write("go", "")
    out, _ = going.communicate()
    assert going.returncode == 130
    assert "2 stopped" in out
    assert [cli.show(run)["standing"] for run in ("one", "two")] == ["stopped", "stopped"]


def test_old_runs_are_pruned_and_first_it_is_shown_which(left: Cli):
    cli = left
    assert "deleted 0 runs" in cli.run("prune", "--older-than", "0s")
    for run, how, code in (("a", "done", 0), ("b", "done", 0), ("c", "fail", 1), ("d", "ask", 3)):
        cli.run("run", "mortal.py", how, "--run-id", run, "--no-input", code=code)
    assert cli.run("prune", "--older-than", "30d") == "deleted 0 runs (done, unchanged for 30 d)\n"
    shown = cli.run("prune", "--older-than", "0s", "--dry-run", "--status", "failed", "--status", "done")
    assert shown == "a\nb\nc\n3 runs (failed or done, unchanged for 0 ms) would be deleted; nothing was\n"
    assert cli.json("prune", "--older-than", "0s") == {"runs": ["a", "b"], "deleted": True}
    assert {row["run"] for row in cli.json("runs")["runs"]} == {"c", "d"}
    for wrong in ("30", "d", "-1d", "1 year"):
        assert "give a number and a unit, e.g. 30d" in cli.run("prune", "--older-than", wrong, code=2)


def test_a_run_is_deleted_by_the_beginning_of_its_id_unless_it_is_held(left: Cli):
    cli = left
    cli.run("run", "mortal.py", "done", "--run-id", "alpha", "--quiet")
    cli.run("run", "mortal.py", "done", "--run-id", "beta", "--quiet")
    assert "deleted run alpha" in cli.run("delete", "al")
    assert [row["run"] for row in cli.json("runs")["runs"]] == ["beta"]
    assert "no run's id begins with 'al'" in cli.run("delete", "al", code=2)
    working = cli.start("run", "mortal.py", "slow", "--run-id", "held", "--quiet")
    until((cli.folder / "working").exists, "it works")
    assert "which is alive; wait until it rests, or stop it" in cli.run("delete", "held", code=1)
    assert json.loads(cli.both("prune", "--older-than", "0s", "--status", "running", "--json")[0])["runs"] == []
    cli.write("go", "")
    assert working.wait(30) == 0


def test_one_command_fires_timers_and_deadlines_of_runs_that_no_process_has(cli: Cli):
    cli.file("timed")
    again = ("resume", "--all-due", "timed.py")
    cli.write("ago", "4")
    asleep = cli.start("run", "timed.py", "--run-id", "r", "--quiet")
    until(lambda: "retry" in cli.run("show", "r", "--facts", code=None), "it sleeps")
    asleep.kill()  # in the day before its second attempt
    asleep.wait()
    cli.write("ago", "3")
    assert "r · timed · waiting at 'nap' for 2 d to pass\n1 waiting\n" in cli.run(*again)
    cli.write("ago", "1")
    assert "r · timed · waiting at 'ask' for: decision sure\n" in cli.run(*again, code=3)
    cli.write("ago", "0")
    assert "1 done\n" in cli.run(*again)
    assert cli.run(*again) == "no run is due\n"
    assert cli.run("show", "r", "timed.py", "--json").count("late") >= 1
    assert "give one of the two" in cli.run("resume", "--all-due", "--all-abandoned", code=2)


def test_an_answered_run_is_gone_on_with_when_it_is_due(left: Cli):
    cli = left
    cli.run("run", "mortal.py", "ask", "--run-id", "r", "--no-input", code=3)
    assert cli.run("resume", "--all-due") == "no run is due\n"
    cli.run("answer", "r", "sure", "true")
    assert "r · mortal · done\n1 done\n" in cli.run("resume", "--all-due")


def test_a_store_is_verified_and_what_is_damaged_can_be_given_up(left: Cli):
    cli = left
    assert "there's no store at" in cli.run("verify", code=2)
    assert "in memory, where there's nothing to verify" in cli.run("verify", "--store", ":memory:", code=2)
    for run in ("a", "b", "c"):
        cli.run("run", "mortal.py", "done", "--run-id", run, "--store", "runs.db", "--quiet")
    there = ("--store", "runs.db")
    assert cli.run("verify", *there) == "3 runs, 9 facts, 0 sessions read: nothing is damaged\n"
    assert cli.json("verify", *there)["sound"] is True

    connection = sqlite3.connect(cli.folder / "runs.db", isolation_level=None)
    connection.execute("UPDATE fact SET node = 'x' WHERE run = 'b' AND seq = 1")
    connection.execute("UPDATE run SET label = 'x' WHERE id = 'c'")
    connection.close()
    out = cli.run("verify", *there, code=1)
    assert "run b is damaged: run 'b' in store file " in out
    assert ": fact 1: its checksum doesn't fit; the store is damaged\n  put the store back from a copy" in out
    assert "\n  flowcore delete b --store runs.db\n" in out
    assert "read: 2 damages\n" in out
    assert "more: --after ra\n" in cli.run("verify", *there, "--limit", "1")
    told = cli.json("verify", *there, "--after", "ra", code=1)
    assert ([one["name"] for one in told["damages"]], told["runs"], told["after"]) == (["b", "c"], 2, None)
    for run in ("b", "c"):
        assert f"deleted run {run}" in cli.run("delete", run, *there)
    assert cli.json("verify", *there)["sound"] is True
