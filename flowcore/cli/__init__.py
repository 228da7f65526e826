"""The command line: ``flowcore``. It needs the extra ``cli``; without it, ``main`` says how to install it."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]

NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command line and exit with its code (see ``flowcore --help``)."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        what = " and ".join(missing)
        print(f"flowcore: the command line needs {what}: pip install 'flowcore[cli]'", file=sys.stderr)
        sys.exit(2)
    from flowcore.cli.app import enter  # what is missing is told before anything imports it

    enter()
