"""The periodic jobs: what `rq cron worker.schedule` imports, and nothing else does but RQ for `worker up`.

To import it is all that RQ does with it. So this module, and it alone, reads the settings and changes RQ
when it is imported.
"""

from __future__ import annotations

from rq import cron

from store import logs
from worker.jobs import load_staged, reconcile_sources
from worker.queue.names import LOADER_QUEUE
from worker.queue.rq_internals import harden_cron
from worker.settings import WorkerSettings

harden_cron()

settings = WorkerSettings.load()
logs.use_by_default(settings.log_format)
cron.register(
    load_staged,
    queue_name=LOADER_QUEUE,
    interval=settings.load_every_seconds,
    job_timeout=settings.load_timeout_seconds,
    result_ttl=settings.result_ttl_seconds,
    failure_ttl=settings.result_ttl_seconds,  # the next tick is the retry
    name="sluice-loader",
)
cron.register(
    reconcile_sources,
    queue_name=LOADER_QUEUE,
    interval=settings.reconcile_every_seconds,
    job_timeout=settings.job_timeout_seconds,
    result_ttl=settings.result_ttl_seconds,
    failure_ttl=settings.result_ttl_seconds,
    name="sluice-reconcile",
)
