"""The hardened RQ worker with our settings, and what RQ reads where RQ_CONFIG names this module.

    export RQ_CONFIG=worker.rq_worker RQ_WORKER_CLASS=worker.rq_worker.SluiceWorker
    rq worker            # records
    rq worker loader     # the loader's queue

A plain `rq worker` with these two variables speaks JSON, runs our functions alone, retries with backoff
without a scheduler of its own, and finds abandoned jobs within seconds instead of ten minutes.
"""

from __future__ import annotations

import time
from typing import Any, NoReturn

import click
from rq import Queue
from rq.defaults import (
    DEFAULT_JOB_MONITORING_INTERVAL,
    DEFAULT_MAINTENANCE_TASK_INTERVAL,
    DEFAULT_WORKER_TTL,
)
from rq.job import Job

from store import logs, terminal
from store.errors import SluiceError, UsageError
from store.logs import event
from store.settings import StoreSettings
from worker.batch import poison
from worker.queue import client, same_store
from worker.queue.names import RECORDS_QUEUE
from worker.queue.process.endings import DEATH, Endings, WorkerStuck
from worker.queue.rq_internals import HardenedWorker
from worker.queue.rq_jobs import SluiceJob, SluiceQueue
from worker.queue.serializer import JsonSerializer
from worker.queue.server.connection import watched
from worker.queue.upkeep import maintenance, notes
from worker.settings import WorkerSettings
from worker.workplace import workplace

MAINTENANCE_SECONDS = 2
WORKER_TTL_SECONDS = 30
BEATS_UNTIL_ABANDONED = 4  # heartbeats a worker may miss before another worker takes its batch


class SluiceWorker(HardenedWorker):
    """The hardened worker with the settings of this process, or an end with one line that says why not."""

    def __init__(self, queues: Any, *args: Any, **kwargs: Any) -> None:
        given = [queues] if isinstance(queues, str | Queue) else list(queues)
        names = [queue if isinstance(queue, str) else queue.name for queue in given]
        if len(names) > 1:
            # With several queues RQ gives up LMOVE, and a job popped by a dying worker is lost (rq/rq#1716).
            refuse(UsageError(f"one queue a worker, not {', '.join(names)}: start a worker for each"))
        try:
            settings = workplace().worker
            logs.use_by_default(settings.log_format)
            kwargs |= {"job_class": SluiceJob, "queue_class": SluiceQueue, "serializer": JsonSerializer}
            kwargs.pop("default_worker_ttl", None)
            ours = (
                ("worker_ttl", DEFAULT_WORKER_TTL, WORKER_TTL_SECONDS),
                ("maintenance_interval", DEFAULT_MAINTENANCE_TASK_INTERVAL, MAINTENANCE_SECONDS),
                (
                    "job_monitoring_interval",
                    DEFAULT_JOB_MONITORING_INTERVAL,
                    max(1, settings.abandoned_after_seconds // BEATS_UNTIL_ABANDONED),
                ),
            )
            for name, default_of_rq, default in ours:
                if kwargs.get(name, default_of_rq) == default_of_rq:
                    kwargs[name] = default
            super().__init__(names, *args, **kwargs)
            same_store.note(self.connection, workplace().store)
        except SluiceError as error:
            refuse(error)
        self.abandoned_after_seconds = settings.abandoned_after_seconds
        self.memory_limit_mb = settings.memory_limit_mb
        self._endings = Endings()

    def serialize(self) -> dict[str, Any]:
        """As RQ's: the fields of this worker's key, at its start and after Redis has forgotten it; with our notes."""
        described: dict[str, Any] = super().serialize()
        return described | notes.fields(workplace().judges.fingerprints())

    def maintain(self, queue: SluiceQueue) -> None:
        maintenance.maintain(self.connection, queue, self.abandoned_after_seconds)

    def work(self, burst: bool = False, *args: Any, **limits: Any) -> bool:
        """As RQ's; but its loop ends at an error that it did not expect as if all were well: here the exit code is 1.

        RQ has logged the error. A loop without a limit that nobody asked to stop has no other end.
        """
        worked: bool = super().work(burst, *args, **limits)
        has_a_limit = burst or limits.get("max_jobs") or limits.get("max_idle_time")
        if not has_a_limit and not self._patience.give_up:
            raise SystemExit(1)
        return worked

    def execute_job(self, job: Job, queue: Queue) -> None:
        """As RQ's; ends the worker where every job ends the same way at once."""
        began = time.monotonic()
        super().execute_job(job, queue)
        way = self.how_the_job_ended
        if way.startswith(DEATH) and poison.is_under_suspicion(self.connection, job.id):
            way = ""  # records may kill the process that judges them: their batch is cut until they are found
        try:
            self._endings.note(job.id, way, time.monotonic() - began)
        except WorkerStuck as error:
            self.log.error("Worker %s: %s", self.name, error, extra=event("worker_stuck", worker=self.name))
            refuse(error)


def refuse(error: SluiceError) -> NoReturn:
    """Ends the process with one line; RQ's own command would print a traceback."""
    terminal.fail(str(error))
    raise SystemExit(error.exit_code)


def _servers_for_rq() -> tuple[str | None, dict[str, Any] | None]:
    """REDIS_URL and SENTINEL of RQ, of which one is None, of a server that answers.

    Starts the private one, or ends the process with one line.
    """
    try:
        settings, home = WorkerSettings.load(), StoreSettings.load().home
        client.connect(settings, home).close()
        url = client.redis_url(settings, home)
        sentinels = watched(url)
        return (None, sentinels.for_rq()) if sentinels else (url, None)
    except SluiceError as error:
        refuse(error)


def _is_configuration_of_rq() -> bool:
    """Whether an `rq` command is running that was given this module as RQ_CONFIG, or by `--config`."""
    command = click.get_current_context(silent=True)
    return command is not None and command.params.get("config") == __name__


# RQ reads the constants of the module that RQ_CONFIG names, when it has imported it, and has no other way to
# be told where Redis is. So as RQ's configuration, and then alone, this module reads the settings and starts the
# private server when it is imported; without a server RQ would end with a traceback.
if _is_configuration_of_rq():
    REDIS_URL, SENTINEL = _servers_for_rq()
    QUEUES = [RECORDS_QUEUE]
