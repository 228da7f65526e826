"""Ctrl-C, closed terminals, kills, and commands from other processes while a run moves."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest
from cli_process import PATIENCE, Cli, until


def running(cli: Cli, *, run: str = "r", script: str, slow: float) -> subprocess.Popen[str]:
    """A run of the clerk whose slow call has begun."""
    process = cli.start("run", cli.file("clerk"), "x", "--run-id", run, "--no-input", script=script, slow=slow)
    begun = f"{run}/run_tools.1/0:call_1_0"
    until(lambda: begun in cli.calls("start") or process.poll() is not None, "the slow call begins")
    assert process.poll() is None, process.communicate()
    return process


def ended(process: subprocess.Popen[str], code: int) -> str:
    """Everything that a process said, once it has ended with this code."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, out + err
    assert "Traceback" not in err, err
    return out + err


def test_ctrl_c_lets_the_node_finish_and_a_resume_goes_on(cli: Cli):
    process = running(cli, script="slow", slow=1.5)
    process.send_signal(signal.SIGINT)
    said = ended(process, 130)
    assert "stopping: 'run_tools' may finish" in said
    assert "stopped at 'call_model'; go on with: flowcore resume r clerk.py" in said
    assert len(cli.calls("end")) == 1
    assert "It took a while." in cli.run("resume", "r", "clerk.py", script="slow")
    assert len(cli.calls("start")) == 1


def test_a_second_ctrl_c_cancels_at_once(cli: Cli):
    process = running(cli, script="slow", slow=30)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "stopping: 'run_tools' may finish" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    before = time.monotonic()
    assert "cancelled at 'run_tools'" in ended(process, 130)
    assert time.monotonic() - before < 15  # and not the call's 30
    assert cli.show("r")["standing"] == "cancelled"
    assert "It took a while." in cli.run("resume", "r", "clerk.py", script="slow")
    assert cli.calls("start") == ["r/run_tools.1/0:call_1_0"] * 2


def test_a_cancel_doesnt_wait_for_a_thread_that_nobody_can_break_off(cli: Cli):
    process = running(cli, script="stubborn", slow=30)
    before = time.monotonic()
    cli.run("cancel", "r")
    ended(process, 130)
    assert time.monotonic() - before < 15
    assert cli.show("r")["standing"] == "cancelled"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_whose_terminal_or_system_ends_it_rests_at_its_place(cli: Cli, number: signal.Signals):
    process = running(cli, script="slow", slow=30)
    process.send_signal(number)
    ended(process, 130)
    shown = cli.show("r")
    assert (shown["standing"], shown["place"], shown["owner"]) == ("cancelled", "run_tools", None)
    assert "It took a while." in cli.run("resume", "r", "clerk.py", script="slow")


def test_a_killed_run_is_seen_as_gone_and_goes_on(cli: Cli):
    process = running(cli, script="slow", slow=30)
    assert re.search(rf"pid {process.pid}\b", cli.run("runs"))
    process.kill()
    process.communicate()
    assert re.search(r"running .* gone", cli.run("runs"))
    assert "its process is gone" in cli.run("show", "r")
    assert "It took a while." in cli.run("resume", "r", "clerk.py", script="slow")
    assert cli.calls("start") == ["r/run_tools.1/0:call_1_0"] * 2


def test_a_run_that_somebody_holds_isnt_resumed_and_who_holds_it_is_said(cli: Cli):
    process = running(cli, script="slow", slow=30)
    refused = cli.run("resume", "r", "clerk.py", code=1, script="slow")
    assert f"held by process {process.pid}" in refused
    assert len(cli.calls("start")) == 1


def test_a_cancel_from_another_process_is_obeyed_within_a_second(cli: Cli):
    took: list[float] = []
    for run in ("r1", "r2", "r3", "r4", "r5"):  # the machine may be busy: once is enough
        process = running(cli, run=run, script="slow", slow=30)
        before = time.monotonic()
        assert f"run {run} is cancelled at 'run_tools'" in cli.run("cancel", run)
        took.append(time.monotonic() - before)
        assert "cancelled at 'run_tools'" in ended(process, 130)
        assert cli.calls("end") == []
        assert "is cancelled already" in cli.run("cancel", run)
        if took[-1] < 1:
            return
    raise AssertionError(f"cancels took {took} s")


def test_a_stop_from_another_process_lets_the_node_finish(cli: Cli):
    process = running(cli, script="slow", slow=1.5)
    assert "run r is stopped at 'call_model'" in cli.run("stop", "r")
    ended(process, 130)
    assert len(cli.calls("end")) == 1


def test_an_approval_reaches_the_process_that_owns_the_run(cli: Cli):
    process = running(cli, script="approve-while-slow", slow=1.5)
    assert f"process {process.pid} holds the run and goes on by itself" in cli.run("approve", "r")
    said = ended(process, 0)
    assert "answer to call_1_1: true" in said
    assert "Done while you waited." in said
    assert sorted(cli.calls("end")) == ["r/run_tools.1/0:call_1_0", "r/run_tools.1/1:call_1_1"]


def test_a_run_without_an_owner_is_cancelled_here_or_told_so_later(cli: Cli):
    clerk = cli.file("clerk")
    for name in ("here", "later"):
        cli.run("run", clerk, "x", "--run-id", name, "--no-input", code=3, script="refund")
    assert "run here is cancelled at 'await_decision'" in cli.run("cancel", "here", clerk)
    assert cli.show("here")["standing"] == "cancelled"
    assert "waits in its inbox" in cli.run("cancel", "later")
    assert cli.show("later")["standing"] == "waiting"
    assert "cancelled at 'await_decision'" in cli.run("resume", "later", clerk, "--no-input", code=130)


def test_whoever_reads_the_output_may_leave(cli: Cli):
    process = running(cli, script="slow", slow=0.5)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(PATIENCE) == 0
    assert cli.show("r")["standing"] == "done"


class Terminal:
    """``flowcore`` at a terminal."""

    def __init__(self, cli: Cli, *words: str, **settings: object) -> None:
        self.pid, self.end = pty.fork()
        if self.pid == 0:
            os.chdir(cli.folder)
            os.environ.clear()
            os.execve(sys.executable, [sys.executable, "-m", "flowcore", *words], cli.env({**settings}))
        self.said = ""
        self.left = cli.forked
        self.left.add(self.pid)

    def until(self, text: str) -> None:
        """Read until this is said."""
        stop = time.monotonic() + PATIENCE
        while text not in self.said:
            assert time.monotonic() < stop, self.said
            if select.select([self.end], [], [], 0.1)[0]:
                self._read()

    def _read(self) -> bool:
        try:
            piece = os.read(self.end, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self.said += piece.decode(errors="replace")
        return bool(piece)

    def type(self, text: str) -> None:
        """Type this."""
        os.write(self.end, text.encode())

    def code(self) -> int:
        """The exit code, once everything is read."""
        while self._read():
            pass
        return self.hang_up()

    def hang_up(self) -> int:
        """Close the terminal; the exit code."""
        os.close(self.end)
        status = os.waitpid(self.pid, 0)[1]
        self.left.discard(self.pid)
        return os.waitstatus_to_exitcode(status)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_person_at_a_terminal_is_asked_and_the_run_goes_on(cli: Cli):
    terminal = Terminal(cli, "run", cli.file("clerk"), "x", "--run-id", "r", script="two")
    terminal.until("approve? y / n / why not: ")
    assert '"cents": 250' in terminal.said
    terminal.type("y\n")
    terminal.until("[call_1_1, run_tools]")
    terminal.type("too dear\n")
    terminal.until("Both are paid.")
    assert terminal.code() == 0
    assert "← refund: too dear" in terminal.said
    assert cli.calls("end") == ["r/run_tools.1/0:call_1_0"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_ctrl_c_at_a_question_leaves_the_run_waiting(cli: Cli):
    terminal = Terminal(cli, "run", cli.file("clerk"), "x", "--run-id", "r", script="refund")
    terminal.until("approve? y / n / why not: ")
    terminal.type("\x03")
    assert terminal.code() == 3
    assert "flowcore approve r call_1_1" in terminal.said
    assert cli.show("r")["standing"] == "waiting"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_terminal_that_closes_while_a_run_moves_makes_it_rest(cli: Cli):
    terminal = Terminal(cli, "run", cli.file("clerk"), "x", "--run-id", "r", script="slow", slow=30)
    until(lambda: cli.calls("start"), "the slow call begins")
    assert terminal.hang_up() == 130
    assert cli.show("r")["standing"] == "cancelled"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_an_answer_that_doesnt_fit_is_asked_for_again(cli: Cli):
    terminal = Terminal(cli, "run", cli.file("newcomer"), "ann@example.org")
    terminal.until("answer (JSON): ")
    assert 'team ("support" | "sales")' in terminal.said
    terminal.type('{"name": "Ann", "team": "kitchen"}\n')
    terminal.until("'kitchen' is not one of")
    terminal.type('{"name": "Ann", "team": "sales"}\n')
    assert terminal.code() == 0
    assert "Welcome, Ann." in terminal.said


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_question_whose_deadline_passes_is_no_longer_asked(cli: Cli):
    terminal = Terminal(cli, "run", cli.file("newcomer"), "ann@example.org", seconds=0.3)
    assert terminal.code() == 0
    assert "it's too late now" in terminal.said
    assert "Too late." in terminal.said
