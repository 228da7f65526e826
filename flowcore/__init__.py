"""flowcore."""
