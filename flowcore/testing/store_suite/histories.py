"""Random histories of a store, compared with a model."""

from __future__ import annotations

import pytest

from flowcore.testing.store_suite.cases import Cases


class Histories(Cases):
    """Random histories of a store, compared with a model."""

    def test_random_histories_of_two_handles_are_as_a_model_has_them(self) -> None:
        if not self.examples:
            pytest.skip("examples = 0")
        pytest.importorskip("hypothesis")
        from flowcore.testing.store_suite.model import try_histories

        try_histories(self)
