"""The engine's graphs, which use everything the engine has, are walked here too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "engine"))
