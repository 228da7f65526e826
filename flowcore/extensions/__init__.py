"""What extends the core and isn't needed by it."""
