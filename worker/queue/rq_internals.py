"""What Sluice overrides of RQ's workers and cron, written for the versions in WRITTEN_FOR and tried with them.

    HardenedWorker   one job process for many jobs; waits for Redis; a stop that ends
    harden_cron      our queue and the same patience for RQ's cron
    steady_now       what both take for the present, where the host's clock may be set back or forward meanwhile

Jobs and queues are in `rq_jobs.py`. RQ documents how to name classes of one's own, not what those may
override: most methods in both files are its private parts, and change between its minor versions. Before
WRITTEN_FOR grows: read RQ's change list, and run `make bounds`. tests/unit/queue/test_rq_internals.py fails where RQ
no longer has what is overridden here.
"""

from __future__ import annotations

import os
import re
import resource
import threading
import time
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

import rq
from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue, Worker, cron, cron_scheduler_registry, logutils
from rq.exceptions import DeserializationError, NoSuchJobError, SchedulerNotFound, StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.worker import base, worker_classes
from rq.worker_registration import register

from store import logs
from store.crash_points import reach
from store.errors import SluiceError, UsageError
from store.logs import event
from worker.queue.outage import Patience, make_patient
from worker.queue.process.endings import death
from worker.queue.process.job_process import JobProcess
from worker.queue.rq_jobs import SluiceJob, SluiceQueue
from worker.queue.serializer import JsonSerializer

WRITTEN_FOR = ((3, 0), (3, 1))  # from, and below
REDIS_WITH_LMOVE = (6, 2, 0)

DEQUEUE_SECONDS = 2
GRACE_SECONDS = 8.0
PUBSUB_PAUSE_SECONDS = 2.0


def check_rq(version: str) -> None:
    """Raises UsageError for an RQ that this module was not written for."""
    first, below = WRITTEN_FOR
    if not first <= tuple(map(int, re.findall(r"\d+", version)[:2])) < below:
        wanted = f"rq>={first[0]}.{first[1]},<{below[0]}.{below[1]}"
        raise UsageError(f"RQ {version} is installed, and Sluice needs another: pip install '{wanted}'")


def check_redis(version: tuple[int, ...]) -> None:
    """Raises UsageError for a Redis with which RQ loses the job of a worker that dies."""
    if version < REDIS_WITH_LMOVE:
        raise UsageError(
            f"Redis {'.'.join(map(str, version))} is too old, or does not let the user of REDIS_URL ask for INFO: "
            "Redis 6.2 or newer is needed, or any Valkey"
        )


# --- the clock ---

_BEGAN = datetime.now(UTC) - timedelta(seconds=time.monotonic())


def steady_now() -> datetime:
    """The time at the start of this process and what has passed since; nobody can set it.

    RQ asks the host's clock whether maintenance or a periodic job is due, and for how long a job runs: set back by an
    hour, nothing is due for an hour; set forward, the job at hand is killed.
    """
    return _BEGAN + timedelta(seconds=time.monotonic())


def use_steady_clock() -> None:
    """Lets RQ's workers and cron, in this process, ask `steady_now`."""
    for module in (base, worker_classes, cron):
        module.now = steady_now  # type: ignore[attr-defined]


# --- commands that a signal broke off ---


def forget_broken_off(connection: Redis) -> None:
    """Closes the idle connections: a signal's exception (a stop, a job whose time is over) may have ended a command
    between question and answer, and the next command on its connection would take that answer for its own."""
    connection.connection_pool.disconnect(inuse_connections=False)


# --- the worker ---


class HardenedWorker(Worker):
    """RQ's worker with one job process for many jobs, where RQ forks one for each, and with patience."""

    job_class = SluiceJob
    queue_class = SluiceQueue
    log_result_lifespan = False
    abandoned_after_seconds = 12
    memory_limit_mb: int | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        check_rq(rq.__version__)
        use_steady_clock()
        self._job_process: JobProcess | None = None
        self._failure = ""  # in the job process: how the job at hand failed
        self.how_the_job_ended = ""  # in the worker: see `endings.py`
        kwargs["exception_handlers"] = [self._note_failure, *(kwargs.get("exception_handlers") or ())]
        super().__init__(*args, **kwargs)
        check_redis(self.get_redis_server_version())  # type: ignore[no-untyped-call]

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """As RQ's, which sets up its handlers here; its colours are escape codes, and none is written."""
        logutils.colorizer.notty = True
        logs.guard()
        super().bootstrap(*args, **kwargs)
        logs.guard()

    @property
    def dequeue_timeout(self) -> int:
        return DEQUEUE_SECONDS

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return self.abandoned_after_seconds

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Gives the job to the job process, a new one where there is none."""
        reach("job.popped")
        self.how_the_job_ended = ""
        execution = next(iter(self.executions))
        if self._job_process and self._job_process.is_spent:
            self._job_process.dismiss()
            self._job_process = None
        if self._job_process:
            try:
                self._job_process.give(job.id, execution)
            except OSError as error:
                self.log.warning(
                    "the job process died between two jobs (%s): a new one is forked",
                    error,
                    extra=event("job_process_died"),
                )
                self._job_process.dismiss()
                self._job_process = None
        if not self._job_process:
            self._job_process = JobProcess(self._do_job, self._become_job_process)
            self._job_process.give(job.id, execution)
        self._horse_pid = self._job_process.pid
        reach("job.given")

    def _become_job_process(self) -> None:
        self._is_horse = True
        self._patience.is_silent = (
            True  # the worker beats while the job process works, and says what it meets
        )
        self.executions.clear()
        if self.memory_limit_mb:
            limit = self.memory_limit_mb << 20
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        self.setup_work_horse_signals()  # type: ignore[no-untyped-call]

    def _do_job(self, job_id: str, execution_id: str) -> str:
        """In the job process: RQ's own way of performing a job, with all of its bookkeeping; how it failed."""
        self._failure = ""
        try:
            job: Any = SluiceJob.fetch(job_id, connection=self.connection, serializer=JsonSerializer)
        except NoSuchJobError:
            self.log.warning(
                "job %s was deleted before it began", job_id, extra=event("job_deleted", job=job_id)
            )
            return ""
        except (ValueError, TypeError, LookupError, ResponseError) as error:
            self.log.error(
                "job %s can be read no more (%s): maintenance decides what becomes of it",
                job_id,
                error,
                extra=event("job_unreadable", job=job_id),
            )
            return ""
        job.belong_to(self.queues[0].name)
        execution = Execution(execution_id, job_id, self.connection, worker_name=self.name)
        self.perform_job(job, self.queues[0], execution)
        reach("job.acknowledged")
        return self._failure

    def _note_failure(self, _job: Job, kind: type, error: BaseException, trace: Any) -> None:
        """An exception handler of RQ's, which has logged it. Errors of ours, and jobs that are no jobs, explain
        themselves; any other is a programming error."""
        if not isinstance(error, SluiceError | DeserializationError):
            where = traceback.extract_tb(trace)[-1]
            self._failure = f"{kind.__name__} at {where.filename}:{where.lineno}"

    def handle_job_success(self, job: Job, *args: Any, **kwargs: Any) -> None:
        if isinstance(job, SluiceJob):
            job.forget_records()  # saved in the same transaction as the success
        super().handle_job_success(job, *args, **kwargs)

    def handle_job_failure(self, job: Job, *args: Any, **kwargs: Any) -> None:
        forget_broken_off(self.connection)
        super().handle_job_failure(job, *args, **kwargs)

    def wait_for_horse(self) -> tuple[int | None, int | None, Any]:
        """Waits for the end of the job, or of the job process: (its process id, its exit status, its usage)."""
        if self._job_process is None:
            return None, None, None
        if (failure := self._job_process.wait()) is not None:
            self.how_the_job_ended = failure
            return self._job_process.pid, os.EX_OK, None
        process, self._job_process = self._job_process, None
        is_wanted = self._stopped_job_id is not None  # by one of RQ's commands
        status, usage = process.reap()
        self.how_the_job_ended = "" if is_wanted else death(status)
        return process.pid, status, usage

    def teardown(self) -> None:
        if self._job_process and not self.is_horse:
            self._job_process.dismiss()
        forget_broken_off(self.connection)
        try:
            super().teardown()  # type: ignore[no-untyped-call]
        except StopRequested:
            self.log.warning(
                "Redis is away: this worker leaves without a goodbye, and its key there expires",
                extra=event("goodbye_missed"),
            )

    # --- maintenance ---

    def maintain(self, queue: SluiceQueue) -> None:
        """What is done for a queue every `maintenance_interval` seconds."""
        raise NotImplementedError

    def run_maintenance_tasks(self) -> None:
        for queue in self.queues:
            self.maintain(SluiceQueue(queue.name, connection=self.connection))
        # RQ restores what a Redis that came back has forgotten of a worker, but only of one that works.
        if not self.connection.hexists(self.key, "birth"):
            self.connection.hset(self.key, mapping=self.serialize())
        register(self)
        self.last_cleaned_at = steady_now()  # type: ignore[assignment]

    # --- a Redis that is away, and the end ---

    def _set_connection(self, connection: Redis) -> Redis:
        connection = super()._set_connection(connection)
        self._patience: Patience = make_patient(connection)
        return connection

    def _set_ip_address(self, connection: Redis) -> None:
        """As RQ's, for a note: redis-py cannot read the answer where a socket's path has a blank or a line end."""
        try:
            super()._set_ip_address(connection)
        except (ValueError, LookupError):
            self.ip_address = "unknown"

    def _pubsub_exception_handler(self, exc: Exception, pubsub: Any, pubsub_thread: Any) -> None:
        """RQ ends its thread for commands on any error but a lost connection; ours tries again."""
        if not self._patience.give_up:
            self.log.warning(
                "commands cannot be received (%s): tried again", exc, extra=event("commands_not_received")
            )
        time.sleep(PUBSUB_PAUSE_SECONDS)

    def handle_warm_shutdown_request(self) -> None:
        """The current batch may finish; a job process that takes longer is killed, and another worker takes it."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        self._patience.give_up = True
        timer = threading.Timer(GRACE_SECONDS, self._end_job_process)
        timer.daemon = True
        timer.start()

    def set_shutdown_requested_date(self) -> None:
        """A note for onlookers, made by the signal's handler: there, Redis' absence must not end the work."""
        try:
            super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]
        except StopRequested:
            self.log.warning(
                "Redis is away: it is not told that this worker stops", extra=event("goodbye_missed")
            )

    def _end_job_process(self) -> None:
        if process := self._job_process:
            self.log.warning(
                "the batch at hand takes longer than %.0f s and is killed",
                GRACE_SECONDS,
                extra=event("job_killed", grace_seconds=GRACE_SECONDS),
            )
            process.kill()


# --- the cron ---

_start_of_rq = cron.CronScheduler.start


def harden_cron() -> None:
    """Gives RQ's cron our queue and our patience, in this process: it has no option for either.

    Its own queues pickle, and it ends with a traceback when Redis is away for a moment.
    """
    use_steady_clock()
    cron.Queue = SluiceQueue  # type: ignore[attr-defined]
    cron.CronScheduler.start = _start_patiently  # type: ignore[method-assign]


def _start_patiently(scheduler: cron.CronScheduler) -> None:
    """RQ's `start` over a connection that waits for Redis, until the process is asked to stop."""
    logutils.colorizer.notty = True
    logs.guard()
    patience = make_patient(scheduler.connection)
    stop = scheduler._request_stop

    def give_up_and_stop(number: int, frame: object) -> None:
        if not patience.give_up:  # a second signal would break off the goodbye that the first began
            patience.give_up = True
            stop(number, frame)  # type: ignore[no-untyped-call]

    scheduler._request_stop = give_up_and_stop  # type: ignore[method-assign]
    goodbye = scheduler.register_death

    def say_goodbye(*args: Any) -> None:
        forget_broken_off(scheduler.connection)
        goodbye(*args)

    scheduler.register_death = say_goodbye  # type: ignore[assignment, method-assign]
    # Schedulers that were killed are still listed; nothing else of RQ's takes them off.
    cron_scheduler_registry.cleanup(scheduler.connection)
    try:
        _start_of_rq(scheduler)  # type: ignore[no-untyped-call]
    except (StopRequested, SchedulerNotFound) as error:
        scheduler.log.warning(
            "this cron leaves without a goodbye: Redis is away or has forgotten it (%s)",
            error,
            extra=event("goodbye_missed"),
        )
