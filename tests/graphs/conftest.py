from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from graphs_loading import load_file


@pytest.fixture
def support(tmp_path: Path) -> Any:
    """``graphs/support.py`` with a shop of its own."""
    module = load_file("support")
    module.DATABASE = tmp_path / "shop" / "orders.db"
    return module
