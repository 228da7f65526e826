"""Faults tried for real: processes that are killed at named points, stores that fail, two that write at once. What was
lost is counted."""
