from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "cli"))
from cli_process import programs

__all__ = ["programs"]
