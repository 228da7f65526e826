"""The engine: ``drive`` is the one loop; ``start`` and ``resume`` give a ``Run``."""
