"""The store of a run that was given none."""

from __future__ import annotations

from flowcore.stores.memory import MemoryStore


class PrivateStore(MemoryStore):
    """One run's own memory, which dies with the handles on it: nobody else goes on with what it holds."""
