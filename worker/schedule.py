"""The periodic loader, for `rq cron worker.schedule`.

RQ's cron makes its queues itself, and they would pickle. It is given ours: JSON, and no second load
waiting behind the first. It also ends with a traceback when Redis is away for a moment; ours waits.
"""

from __future__ import annotations

import contextlib

from rq import cron, cron_scheduler_registry
from rq.exceptions import SchedulerNotFound, StopRequested

from worker.jobs import load_staged, reconcile_sources
from worker.queue.client import LOADER_QUEUE, SluiceQueue
from worker.queue.outage import make_patient
from worker.settings import WorkerSettings


def start_patiently(scheduler: cron.CronScheduler) -> None:
    """RQ's `start` over a connection that waits for Redis, until the process is asked to stop."""
    patience = make_patient(scheduler.connection)
    stop = scheduler._request_stop

    def give_up_and_stop(number: int, frame: object) -> None:
        if not patience.give_up:  # a second signal would break off the goodbye that the first began
            patience.give_up = True
            stop(number, frame)  # type: ignore[no-untyped-call]

    scheduler._request_stop = give_up_and_stop  # type: ignore[method-assign]
    # Schedulers that were killed are still listed; nothing else of RQ's takes them off.
    cron_scheduler_registry.cleanup(scheduler.connection)
    # Asked to stop while Redis is away, it cannot say goodbye; nor where Redis has forgotten it.
    with contextlib.suppress(StopRequested, SchedulerNotFound):
        rqs_start(scheduler)


# RQ makes queue and scheduler itself, and has made the scheduler when it imports this; a reload keeps ours.
rqs_start = getattr(cron.CronScheduler.start, "of_rq", cron.CronScheduler.start)
start_patiently.of_rq = rqs_start  # type: ignore[attr-defined]
cron.CronScheduler.start = start_patiently  # type: ignore[method-assign]
cron.Queue = SluiceQueue  # type: ignore[attr-defined]

settings = WorkerSettings.load()
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
