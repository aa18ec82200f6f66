"""What Sluice overrides of RQ's jobs and queues: what is read from Redis is not trusted.

    SluiceJob        runs our functions alone, under our terms; unpacks no more than a message may hold; ignores
                     callbacks, webhooks, rate limits, dependencies, repeats
    SluiceQueue      JSON; quarantines what is no job; a job that waits does not expire; an id without its job is
                     lost aloud; no second load waits behind the first; a retry is due by Redis' clock

Written for the versions of RQ in `rq_internals.WRITTEN_FOR`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ResponseError
from rq import Queue
from rq.exceptions import InvalidJobOperation
from rq.job import Job, JobStatus
from rq.utils import now

from store.crash_points import reach
from store.text import printable
from worker.queue import lost
from worker.queue.names import ALLOWED, LOAD_STAGED, LOADER_QUEUE, PROCESS_BATCH, RECORDS_QUEUE
from worker.queue.packing import pack, unpack
from worker.queue.quarantine import ForbiddenFunction, NotAJob, is_job_id, set_aside
from worker.queue.serializer import JsonSerializer
from worker.queue.server.clock import server_time

DONE = "processed"  # in place of the records of a batch that was processed; its id

# Fields that none of our jobs has, or that nobody needs: they name functions and addresses, repeat a job, hold it
# back or move it, were written by another serializer, or are compressed.
NEVER_OURS = frozenset(
    b"success_callback_name failure_callback_name stopped_callback_name webhooks meta dependency_ids dependency_id "
    b"group_id rate_limit_key rate_limit_concurrency repeats_left repeat_intervals enqueue_at_front "
    b"enqueue_at_front_on_retry allow_dependency_failures ttl result exc_info success_callback_timeout "
    b"failure_callback_timeout stopped_callback_timeout".split()
)


MANY = 1000  # retries; from there on they are not counted, for a database that is away is no fault of the batch's


class Terms(NamedTuple):
    """What holds for every job of a queue, whatever its hash in Redis says."""

    timeout: int  # seconds
    result_ttl: int
    failure_ttl: int
    attempts: int  # retries, at most
    retry_intervals: list[int]


class SluiceJob(Job):
    """A job that runs our functions and nothing else, whatever was written to Redis."""

    # queue -> terms: those of the process; empty where it only looks. RQ makes jobs itself, and hands them nothing.
    terms: ClassVar[Mapping[str, Terms]] = {}
    _too_large: NotAJob | None = None
    _packed: bytes | None = None  # the data as Redis holds it, until somebody needs it

    @property
    def data(self) -> bytes:
        """As RQ's; unpacked where it is needed: a worker hands jobs on without reading them."""
        if (packed := self._still_packed) is not None:
            if self._too_large:
                raise self._too_large  # RQ asks again and again
            try:
                self.data = unpack(packed)
            except NotAJob as error:
                self._too_large = error
                raise
        found: bytes = Job.data.fget(self)  # type: ignore[attr-defined]
        return found

    @data.setter
    def data(self, value: bytes) -> None:
        self._packed = None
        Job.data.fset(self, value)  # type: ignore[attr-defined]

    @property
    def _still_packed(self) -> bytes | None:
        """The data as Redis holds it, where nobody has asked for it or changed it."""
        return self._packed if self._data == b"" else None

    @Job.func_name.getter  # type: ignore[attr-defined,untyped-decorator]
    def func_name(self) -> str:
        """As RQ's, in a form that can be logged: RQ does, whether or not it is run."""
        return printable(str(super().func_name))

    @property
    def func(self) -> Callable[..., Any] | None:
        name = self.func_name
        if name not in ALLOWED or self.instance:
            raise ForbiddenFunction(
                f"refused to run {name!r:.100}: only {', '.join(sorted(ALLOWED))} are run"
            )
        takes = 1 if name == PROCESS_BATCH else 0
        if not isinstance(self.args, list | tuple) or len(self.args) != takes or self.kwargs:
            raise ForbiddenFunction(f"refused to run {name}: it takes {takes} arguments, and no other")
        found: Callable[..., Any] | None = super().func
        return found

    def restore(self, raw_data: Any) -> None:
        """As RQ's, without what our jobs never have, and with our terms instead of those in Redis."""
        ours = {name: value for name, value in raw_data.items() if name not in NEVER_OURS}
        if b"data" not in ours:
            raise NotAJob("it has no data")
        packed, ours[b"data"] = ours[b"data"], b""
        super().restore(ours)
        self._packed = packed
        self.description = printable(self.description or "")  # RQ logs it
        self.number_of_retries = min(max(self.number_of_retries or 0, 0), MANY)
        self.belong_to(self.origin)

    def belong_to(self, queue: str) -> None:
        """Gives a job the queue that it was found on, and the terms of that queue, whatever its hash says."""
        self.origin = queue
        if terms := self.terms.get(queue):
            self.timeout, self.result_ttl, self.failure_ttl = terms[:3]
            self.retries_left = min(max(self.retries_left or 0, 0), terms.attempts)
            self.retry_intervals = terms.retry_intervals

    def _fetch_status(self) -> JobStatus:
        """As RQ's; a status that does not exist is told as no status at all, which RQ can take."""
        try:
            return super()._fetch_status()
        except ValueError as error:
            raise InvalidJobOperation(f"job {self.id} has no status that is known") from error

    def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[str, Any]:
        """As RQ's, compressed with half the effort: records shrink to a fifth either way."""
        packed = self._still_packed
        data = b"" if packed is not None else self.data
        self._packed, self._data = None, b""
        try:
            found: dict[str, Any] = super().to_dict(include_meta, include_result)
        finally:
            self._packed, self._data = packed, data
        return found | {"data": pack(data) if packed is None else packed}

    def forget_records(self) -> None:
        """Keeps of a processed batch its id alone: results outlive their batches, and would fill Redis."""
        if self.func_name == PROCESS_BATCH:
            self.data = JsonSerializer.dumps((PROCESS_BATCH, None, ({DONE: self.id},), {}))


def redis_now(redis: Redis) -> datetime:
    """The present by Redis' clock, in UTC."""
    return datetime.fromtimestamp(server_time(redis), UTC)


class SluiceQueue(Queue):
    """A queue of our jobs, as JSON."""

    job_class = SluiceJob

    def __init__(self, name: str = RECORDS_QUEUE, *args: Any, **kwargs: Any) -> None:
        kwargs |= {"serializer": JsonSerializer, "job_class": SluiceJob}
        super().__init__(name, *args, **kwargs)

    @classmethod
    def lmove(cls, connection: Redis, queue_key: str, timeout: int | None) -> Any:
        """As RQ's; but an id that no job can have is quarantined, where RQ's worker would die of it."""
        while (found := super().lmove(connection, queue_key, timeout)) and not is_job_id(found[1]):
            set_aside(connection, queue_key, found[1], "no job has such an id")
        return found

    @classmethod
    def _fetch_dequeued_job(  # type: ignore[override]  # what else it takes is handed on
        cls, connection: Redis, queue_key: str, job_id: str, **kwargs: Any
    ) -> Any:
        """As RQ's; what cannot be read as a job is quarantined, and an id without its job is lost aloud."""
        try:
            found: Any = super()._fetch_dequeued_job(connection, queue_key, job_id, **kwargs)
        except (ValueError, TypeError, LookupError, ResponseError) as error:
            if isinstance(error, ResponseError) and not str(error).startswith("WRONGTYPE"):
                raise
            why = str(error).partition("\n")[0][:200] or type(error).__name__
            set_aside(connection, queue_key, job_id.encode(), why)
            return None  # RQ takes the next
        if found is None:
            lost.note_popped(connection, queue_key, job_id)
        else:
            found[0].belong_to(found[1].name)
        return found

    def _persist_job(self, job: Job, pipeline: Pipeline, status: JobStatus = JobStatus.QUEUED) -> None:
        """As RQ's; but a job that is sent again does not expire with the finished one that had its id."""
        super()._persist_job(job, pipeline, status)
        pipeline.persist(job.key)

    def schedule_job(
        self, job: Job, datetime: datetime, pipeline: Pipeline | None = None, unique: bool = False
    ) -> Job:
        """As RQ's, which has just added the wait to this host's time; here it counts from Redis' time."""
        wait = datetime - now()
        return super().schedule_job(job, redis_now(self.connection) + wait, pipeline, unique)

    def move_dependents_to_ready(self, *_args: Any, **_kwargs: Any) -> dict[str, list[str]]:
        """None of our jobs has dependents: what Redis says of some is not read."""
        return {}

    def enqueue_call(self, func: Any, *args: Any, **kwargs: Any) -> Job:
        """As RQ's; but where a load already waits, another would find nothing left to do."""
        is_load = func == LOAD_STAGED or getattr(func, "__name__", "") == LOAD_STAGED.rpartition(".")[2]
        if is_load and self.name == LOADER_QUEUE and self.connection.llen(self.key) > 0:
            waiting = self.create_job(func)
            waiting.enqueued_at = now()
            return waiting
        reach("cron.ticked")
        return super().enqueue_call(func, *args, **kwargs)
