"""The faces: ``Runner`` and ``Agent.run``. Views on one machine: they start it, read what it hands on, and shape the
result."""
