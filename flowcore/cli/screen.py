"""The screen: lines to stdout and stderr, and text that streams in pieces. A terminal that is gone ends nothing."""

from __future__ import annotations

import os
import sys

from rich.console import Console, RenderableType
from rich.text import Text

from flowcore.cli.words import clean

WIDE = 200
"""Columns where the output isn't a terminal, so that tables aren't cut."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read our output has left; the run goes on (rich would exit)."""
        self.quiet = True


class Screen:
    """``say`` is for people, ``result`` is what the command was asked for, ``tell`` goes to stderr.

    ``live``: whether ``say`` prints at all. ``talks``: a person sits at both ends.
    """

    def __init__(self, *, live: bool = True) -> None:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # a terminal without UTF-8 shows "?", and nothing fails
        self.live = live
        wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE
        self._out = _Console(highlight=False, markup=False, emoji=False, width=wide)
        self._err = _Console(highlight=False, markup=False, emoji=False, stderr=True)
        self._gone: set[Console] = set()
        self._within = False

    @property
    def talks(self) -> bool:
        """Whether both input and output are a terminal."""
        return sys.stdin.isatty() and sys.stdout.isatty()

    @property
    def exact(self) -> bool:
        """Whether the result is for a program, which gets it to the letter."""
        return not self.live and not sys.stdout.isatty()

    def say(self, line: str | Text = "", style: str = "") -> None:
        """A line for people."""
        if self.live:
            self._line(self._out, line, style)

    def stream(self, piece: str, style: str = "") -> None:
        """A piece of a text; the next line begins on a line of its own."""
        if self.live and piece:
            text = clean(piece)
            self._put(self._out, Text(text, style=style), end="")
            self._within = not text.endswith("\n")

    def prompt(self, text: str) -> None:
        """Text after which a person types."""
        self._break()
        self._put(self._out, Text(text), end="")

    def fresh_line(self) -> None:
        """What is streamed next begins on a line of its own."""
        self._break()

    def result(self, what: str | RenderableType) -> None:
        """What was asked for."""
        self._break()
        if isinstance(what, str):
            self._write(f"{what}\n")
        else:
            self._put(self._out, what)

    def tell(self, line: str | Text, style: str = "") -> None:
        """A line to stderr."""
        self._line(self._err, line, style)

    def close(self) -> None:
        """Nothing more is printed: the terminal is gone."""
        for console in (self._out, self._err):
            self._lose(console)

    def _line(self, console: Console, line: str | Text, style: str) -> None:
        self._break()
        self._put(console, Text(line, style=style) if isinstance(line, str) else line)

    def _break(self) -> None:
        if self._within:
            self._within = False
            self._put(self._out, Text(""))

    def _put(self, console: Console, what: RenderableType, end: str = "\n") -> None:
        if console in self._gone:
            return
        try:
            console.print(what, end=end, soft_wrap=isinstance(what, Text))
            console.file.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            self._lose(console)

    def _write(self, text: str) -> None:
        """Text to stdout as it is: no tab is spread and no line is folded."""
        if self._out in self._gone:
            return
        try:
            self._out.file.write(text)
            self._out.file.flush()
        except (OSError, ValueError):
            self._lose(self._out)

    def _lose(self, console: Console) -> None:
        """Print nothing there any more, and let what waits in buffers go nowhere."""
        if console in self._gone:
            return
        self._gone.add(console)
        console.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2 if console is self._err else 1)
        finally:
            os.close(nowhere)
