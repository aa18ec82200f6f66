"""The process that does the jobs of a worker, and what its ends mean."""
