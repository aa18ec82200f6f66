"""The queue: what is on it, and how it is reached, sent to and maintained."""
