"""One batch into the store."""
