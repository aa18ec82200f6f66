"""The periodic loader, for `rq cron worker.schedule`.

RQ's cron makes its queues itself, and they would pickle. It is given ours: JSON, and no second load
waiting behind the first.
"""

from __future__ import annotations

from rq import cron

from worker.broker import LOADER_QUEUE, SluiceQueue
from worker.jobs import load_staged
from worker.settings import WorkerSettings

cron.Queue = SluiceQueue  # type: ignore[attr-defined]

settings = WorkerSettings.load()
cron.register(
    load_staged,
    queue_name=LOADER_QUEUE,
    interval=settings.load_every_seconds,
    job_timeout=int(settings.load_run_seconds) + settings.job_timeout_seconds,
    result_ttl=settings.result_ttl_seconds,
    failure_ttl=settings.result_ttl_seconds,  # the next tick is the retry
    name="sluice-loader",
)
