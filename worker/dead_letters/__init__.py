"""Dead letters in Redis, and back onto the queue."""
