"""What every store promises, as tests that any store can run: the conformance kit.

A store of your own runs it in your tests, with pytest and nothing else (hypothesis, if it's installed, adds random
histories that are compared with a model)::

    from flowcore.testing import StoreSuite

    class TestMyStore(StoreSuite):
        def make(self, folder):
            return MyStore(folder / "runs.db")

Say what it can't do: ``processes = False`` (nobody else reaches it), ``keeps_bytes = False`` (it keeps objects); see
``Cases`` for the rest. A single case is left out by ``test_its_name = None``. The promises: ``flowcore.stores.base``.
"""

from __future__ import annotations

from flowcore.testing.store_suite.deleting import Deleting
from flowcore.testing.store_suite.forks import Forks
from flowcore.testing.store_suite.histories import Histories
from flowcore.testing.store_suite.index import Index
from flowcore.testing.store_suite.journals import Journals
from flowcore.testing.store_suite.leases import Leases
from flowcore.testing.store_suite.letters import Letters
from flowcore.testing.store_suite.operating import Operating
from flowcore.testing.store_suite.sessions import Sessions

__all__ = ["StoreSuite"]


class StoreSuite(Leases, Journals, Letters, Index, Operating, Sessions, Forks, Deleting, Histories):
    """All of it: subclass it as ``Test…``, and say how your store is made."""
