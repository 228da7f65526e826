"""Sessions: conversations kept elsewhere than in the run's store. One backend a file; each imports what it needs."""
