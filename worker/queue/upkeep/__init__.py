"""Keeping the queue in order: abandoned batches, and keys that are not as they must be."""
