"""The names of our queues and job functions, in Redis and in jobs; imports nothing, so that it costs nothing."""

from __future__ import annotations

RECORDS_QUEUE = "records"
LOADER_QUEUE = "loader"

PROCESS_BATCH = "worker.jobs.process_batch"
LOAD_STAGED = "worker.jobs.load_staged"
RECONCILE = "worker.jobs.reconcile_sources"
ALLOWED = frozenset({PROCESS_BATCH, LOAD_STAGED, RECONCILE})
