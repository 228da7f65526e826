from __future__ import annotations

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parent.parent / room) for room in ("stores",)]
