"""The engine's graphs, which use everything the engine has, and the gallery's are walked here too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parent.parent / room) for room in ("engine", "graphs")]
