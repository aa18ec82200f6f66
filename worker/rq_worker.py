"""The hardened RQ worker, and the names RQ_CONFIG looks for.

    export RQ_CONFIG=worker.rq_worker RQ_WORKER_CLASS=worker.rq_worker.SluiceWorker
    rq worker            # records
    rq worker loader     # the loader's queue

A plain `rq worker` with these two variables speaks JSON, runs our functions alone, retries with backoff
without a scheduler of its own, and finds abandoned jobs within seconds instead of ten minutes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from redis import Redis
from rq import Queue, Worker
from rq.defaults import (
    DEFAULT_JOB_MONITORING_INTERVAL,
    DEFAULT_MAINTENANCE_TASK_INTERVAL,
    DEFAULT_WORKER_TTL,
)
from rq.exceptions import NoSuchJobError, StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.utils import now
from rq.worker_registration import clean_worker_registry, register

from store.crash_points import reach
from store.errors import SluiceError, UsageError
from store.settings import StoreSettings
from store.text import printable_lines
from worker import jobs
from worker.queue import client, maintenance
from worker.queue.client import RECORDS_QUEUE, JsonSerializer, SluiceJob, SluiceQueue
from worker.queue.outage import make_patient
from worker.queue.work_horse import WorkHorse
from worker.settings import WorkerSettings

MAINTENANCE_SECONDS = 2
DEQUEUE_SECONDS = 2
WORKER_TTL_SECONDS = 30
BEATS_UNTIL_ABANDONED = 4  # heartbeats a worker may miss before its batch is another's
GRACE_SECONDS = 8.0
PUBSUB_PAUSE_SECONDS = 2.0


class SluiceWorker(Worker):
    """RQ's worker, with a horse that lasts, our job class, JSON, and quick recovery."""

    job_class = SluiceJob
    queue_class = SluiceQueue
    log_result_lifespan = False

    def __init__(self, queues: Any, *args: Any, **kwargs: Any) -> None:
        given = [queues] if isinstance(queues, str | Queue) else list(queues)
        names = [queue if isinstance(queue, str) else queue.name for queue in given]
        if len(names) > 1:
            # With several queues RQ gives up LMOVE, and a job popped by a dying worker is lost (rq/rq#1716).
            refuse(UsageError(f"one queue a worker, not {', '.join(names)}: start a worker for each"))
        try:
            jobs.workplace()
        except SluiceError as error:
            refuse(error)
        kwargs |= {"job_class": SluiceJob, "queue_class": SluiceQueue, "serializer": JsonSerializer}
        kwargs.pop("default_worker_ttl", None)
        self._abandoned_after = jobs.workplace().worker.abandoned_after_seconds
        beat = max(1, self._abandoned_after // BEATS_UNTIL_ABANDONED)
        ours = (
            ("worker_ttl", DEFAULT_WORKER_TTL, WORKER_TTL_SECONDS),
            ("maintenance_interval", DEFAULT_MAINTENANCE_TASK_INTERVAL, MAINTENANCE_SECONDS),
            ("job_monitoring_interval", DEFAULT_JOB_MONITORING_INTERVAL, beat),
        )
        for name, default_of_rq, default in ours:
            if kwargs.get(name, default_of_rq) == default_of_rq:
                kwargs[name] = default
        super().__init__(names, *args, **kwargs)
        self.log.addFilter(printable_errors)
        self._horse: WorkHorse | None = None

    @property
    def dequeue_timeout(self) -> int:
        return DEQUEUE_SECONDS

    def get_heartbeat_ttl(self, job: Job) -> int:
        return self._abandoned_after

    # --- one horse for many jobs, where RQ forks one for each ---

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Gives the job to the horse, a new one where there is none."""
        reach("job.popped")
        execution = self.execution.id if self.execution else ""
        if self._horse and self._horse.is_spent:
            self._horse.dismiss()
            self._horse = None
        if self._horse:
            try:
                self._horse.give(job.id, execution)
            except OSError:  # it died between two jobs
                self._horse.dismiss()
                self._horse = None
        if not self._horse:
            self._horse = WorkHorse(self._do_job, self._become_horse)
            self._horse.give(job.id, execution)
        self._horse_pid = self._horse.pid
        reach("job.given")

    def _become_horse(self) -> None:
        self._is_horse = True
        self._patience.is_silent = True  # the worker beats while the horse works, and says what it meets
        limit = jobs.workplace().worker.memory_limit_mb
        if limit:
            resource.setrlimit(resource.RLIMIT_AS, (limit << 20, limit << 20))
        self.setup_work_horse_signals()  # type: ignore[no-untyped-call]

    def _do_job(self, job_id: str, execution_id: str) -> None:
        """In the horse: RQ's own way of performing a job, with all of its bookkeeping."""
        try:
            job = SluiceJob.fetch(job_id, connection=self.connection, serializer=JsonSerializer)
        except NoSuchJobError:
            return
        self.execution = Execution(execution_id, job_id, self.connection, worker_name=self.name)
        self.perform_job(job, self.queues[0])
        reach("job.acknowledged")

    def handle_job_success(self, job: Job, queue: Queue, started_job_registry: Any) -> None:
        if isinstance(job, SluiceJob):
            job.forget_records()  # saved in the same transaction as the success
        super().handle_job_success(job, queue, started_job_registry)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Waits for the end of the job, or of the horse: (its process id, its exit status, its usage)."""
        if self._horse is None:
            return None, None, None
        if self._horse.wait():
            return self._horse.pid, os.EX_OK, None
        pid, self._horse = self._horse.pid, None
        with contextlib.suppress(ChildProcessError):
            return os.wait4(pid, 0)
        return None, None, None

    def teardown(self) -> None:
        if self._horse and not self.is_horse:
            self._horse.dismiss()
        with contextlib.suppress(
            StopRequested
        ):  # Redis is away, and no goodbye possible; its key there expires
            super().teardown()  # type: ignore[no-untyped-call]

    # --- recovery ---

    def run_maintenance_tasks(self) -> None:
        for queue in self.queues:
            ours = SluiceQueue(queue.name, connection=self.connection)
            maintenance.maintain(self.connection, ours, self._abandoned_after)
            clean_worker_registry(queue)
        if not self.connection.hexists(self.key, "birth"):  # Redis came back without what it knew
            self.connection.hset(self.key, mapping=self.serialize())
        register(self)
        self.last_cleaned_at = now()  # type: ignore[assignment]

    # --- a Redis that is away, and the end ---

    def _set_connection(self, connection: Redis) -> Redis:
        connection = super()._set_connection(connection)
        self._patience = make_patient(connection)
        return connection

    def _pubsub_exception_handler(self, exc: Exception, pubsub: Any, pubsub_thread: Any) -> None:
        """RQ lets its command thread die of a timeout; ours waits for Redis like everything else."""
        time.sleep(PUBSUB_PAUSE_SECONDS)

    def handle_warm_shutdown_request(self) -> None:
        """The batch in hand may finish; a horse that takes longer is killed, and the batch is another's."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self._patience.give_up = True
        timer = threading.Timer(GRACE_SECONDS, self._end_horse)
        timer.daemon = True
        timer.start()

    def set_shutdown_requested_date(self) -> None:
        """A note for onlookers, made by the signal's handler: there, Redis' absence must not end the work."""
        with contextlib.suppress(StopRequested):
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]

    def _end_horse(self) -> None:
        if self._horse:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._horse.pid, signal.SIGKILL)


def printable_errors(record: logging.LogRecord) -> bool:
    """A log filter: the error of a failed job may hold text of a record, and a terminal would obey it."""
    if record.levelno >= logging.ERROR:
        record.msg, record.args = printable_lines(record.getMessage()), ()
    return True


def refuse(error: SluiceError) -> NoReturn:
    """Ends the process with one line; RQ's own command would print a traceback."""
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code)


def _configured_url() -> str:
    """REDIS_URL for RQ. As RQ's configuration (RQ_CONFIG names it) this module starts a private server."""
    try:
        settings, home = WorkerSettings.load(), StoreSettings.load().home
        if os.environ.get("RQ_CONFIG") == __name__:
            client.connect(settings, home).close()  # where nothing answers, RQ would end with a traceback
        return client.redis_url(settings, home)
    except SluiceError as error:
        if os.environ.get("RQ_CONFIG") == __name__:
            refuse(error)
        raise


# RQ reads these; it has no other way to be told.
REDIS_URL: str = _configured_url()
QUEUES: Sequence[str] = [RECORDS_QUEUE]
