from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from graphs_loading import load_file

sys.path.append(str(Path(__file__).parent.parent / "stores"))
from stores_everywhere import THREE, Making


@pytest.fixture(params=THREE)
async def make_store(request: pytest.FixtureRequest) -> AsyncIterator[Making]:
    """A new empty store at each call, of each kind."""
    making = Making(request.param)
    yield making
    await making.end()


@pytest.fixture
def support(tmp_path: Path) -> Any:
    """``graphs/support.py`` with a shop of its own."""
    module = load_file("support")
    module.DATABASE = tmp_path / "shop" / "orders.db"
    return module
