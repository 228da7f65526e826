"""The demo loop, in a process of its own: through pipes, and through a terminal."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMO = Path(__file__).parent / "faces_demo.py"
PATIENCE = 30
LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to see that a process reads")


@pytest.fixture
def talk(programs, tmp_path):
    """What the loop shows when it's told these lines, and then the end of its input."""

    def told(*lines, more=()):
        code, out, err = programs(more, tmp_path, os.environ, DEMO, "".join(f"{one}\n" for one in lines))
        assert (code, err) == (0, "")
        return out

    return told


def test_a_conversation_is_shown_as_it_comes_and_kept(talk):
    assert talk("hello", "again", "exit", "never read") == (
        " > \n[Agent updated: Clerk]\nhello was line 1\n"
        " > \n[Agent updated: Clerk]\nagain was line 2\n"
        " > ended\n"
    )  # fmt: skip


def test_calls_and_their_outputs_are_shown(talk):
    assert talk("add", "quit") == (
        " > \n[Agent updated: Clerk]\n\n[tool called: add]\n\n[tool output: 3]\nit gave 3\n > ended\n"
    )


def test_after_a_handoff_the_next_line_is_the_other_agents(talk):
    assert talk("billing", "thanks", " EXIT ") == (
        " > \n[Agent updated: Clerk]\n\n[Agent updated: Billing]\nbilling heard None\n"
        " > \n[Agent updated: Billing]\nbilling heard thanks\n"
        " > ended\n"
    )


def test_without_a_stream_the_answer_is_shown_when_it_is_there(talk):
    assert talk("hello", "add", "exit", more=["whole"]) == " > hello was line 1\n > it gave 3\n > ended\n"


def test_an_empty_line_asks_again_and_the_end_of_the_input_ends_it(talk):
    assert talk("", "  ", more=["whole"]) == " >  >  > \nended\n"


@pytest.mark.parametrize("more", [[], ["whole"]])
@pytest.mark.parametrize(("said", "told"), [("y", "deleted 7"), ("no", "Tool execution was not approved.")])
def test_a_call_that_needs_approval_is_asked_about(talk, more, said, told):
    shown = talk("delete", said, "exit", more=more)
    assert '[Clerk wants to call delete({"row": "7"})] approve? [y/N]' in shown
    assert f"it gave {told}\n" in shown
    assert shown.count("[Agent updated: Clerk]") == (0 if more else 1)


@pytest.mark.parametrize("more", [[], ["whole"]])
def test_a_failed_answer_is_shown_and_its_line_forgotten(talk, more):
    shown = talk("loop", "hello", "exit", more=more)
    assert "[ModelBehaviorError: Tool nothing not found in agent Clerk]" in shown
    assert "hello was line 1\n" in shown


class Terminal:
    """The loop in a terminal of its own."""

    def __init__(self, *more):
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, str(DEMO), *more], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            close_fds=True, preexec_fn=_own_terminal,
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def until(self, text):
        """Read until this is shown."""
        while text not in self.shown:
            ready, _, _ = select.select([self.ours], [], [], PATIENCE)
            assert ready, f"waited in vain for {text!r}; there is {self.shown!r}"
            try:
                self.shown += os.read(self.ours, 4096).decode()
            except OSError:  # how Linux tells that the other side is closed
                raise AssertionError(f"it ended before {text!r}; there is {self.shown!r}") from None

    def waits(self):
        """Wait until the process sleeps: what was shown was a question, and it reads. A signal that comes just before
        that is heard by nobody until the next key."""
        end = time.monotonic() + PATIENCE
        while Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < end, "it never read"
            time.sleep(0.001)

    def type(self, keys):
        os.write(self.ours, keys.encode())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        os.close(self.ours)


def _own_terminal():
    """Make stdin the process' controlling terminal, so that Ctrl-C is a signal to it."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


CTRL_C, CTRL_D = "\x03", "\x04"


@LINUX
@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
def test_ctrl_c_and_ctrl_d_end_it_at_the_prompt(key):
    with Terminal() as terminal:
        terminal.until(" > ")
        terminal.type("hello\n")
        terminal.until("hello was line 1")
        terminal.until("\n > ")
        terminal.waits()
        terminal.type(key)
        terminal.until("ended")
        assert terminal.process.wait(PATIENCE) == 0
        assert "Traceback" not in terminal.shown


@pytest.mark.parametrize("more", [[], ["whole"]])
def test_ctrl_c_ends_it_while_the_model_is_asked(more):
    with Terminal(*more) as terminal:
        terminal.until(" > ")
        terminal.type("add\n")
        terminal.until("it gave 3")
        terminal.until("\n > ")
        terminal.type("wait\n")
        terminal.until("(asked)")
        terminal.type(CTRL_C)
        terminal.until("ended")
        assert terminal.process.wait(PATIENCE) == 0
        assert "Traceback" not in terminal.shown


@LINUX
@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
@pytest.mark.parametrize("more", [[], ["whole"]])
def test_a_question_about_a_call_may_be_left_too(key, more):
    with Terminal(*more) as terminal:
        terminal.until(" > ")
        terminal.type("delete\n")
        terminal.until("approve? [y/N] ")
        terminal.waits()
        terminal.type(key)
        terminal.until("ended")
        assert terminal.process.wait(PATIENCE) == 0
        assert "Traceback" not in terminal.shown
