"""Redis: the connection, the queues, the retry policy; the only place that knows RQ's enqueue.

Jobs are JSON on every side, never pickle, and a job can name no function but ours.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ConnectionError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from rq import Queue, Retry
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry
from rq.utils import now

from store.crash_points import reach
from store.errors import QueueUnavailable, SluiceError
from store.text import printable
from worker.queue import private_server
from worker.queue.message import Message
from worker.queue.quarantine import NotAJob, is_job_id, set_aside
from worker.settings import WorkerSettings

RECORDS_QUEUE = "records"
LOADER_QUEUE = "loader"
PROCESS_BATCH = "worker.jobs.process_batch"
LOAD_STAGED = "worker.jobs.load_staged"
RECONCILE = "worker.jobs.reconcile_sources"
ALLOWED = frozenset({PROCESS_BATCH, LOAD_STAGED, RECONCILE})

CONNECT_SECONDS = 5.0
# More than it takes to find a record that kills its workers; the last interval is repeated.
ATTEMPTS = 12


class JsonSerializer:
    """RQ's serializer: JSON, compatible with RQ's own JSONSerializer, and quicker."""

    @staticmethod
    def dumps(*args: Any, **_: Any) -> bytes:
        return orjson.dumps(args[0])

    @staticmethod
    def loads(data: bytes, *_: Any, **__: Any) -> Any:
        return orjson.loads(data)


COMPRESSION_LEVEL = 1
DONE = "processed"  # in place of the records of a batch that was processed; its id

NEVER_OURS = frozenset({b"meta", b"webhooks", b"dependency_ids", b"dependency_id", b"group_id"})


class ForbiddenFunction(SluiceError):
    """A job names a function that is not one of ours: it fails without being run."""


class SluiceJob(Job):
    """A job that runs our functions and nothing else, whatever was written to Redis."""

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
        found: Callable[..., Any] | None = super().func
        return found

    def restore(self, raw_data: Any) -> None:
        """As RQ's, without what our jobs never have and another serializer might have written."""
        ours = {name: value for name, value in raw_data.items() if name not in NEVER_OURS}
        if b"data" not in ours:
            raise NotAJob("it has no data")
        super().restore(ours)
        self.description = printable(self.description or "")  # RQ logs it

    def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[str, Any]:
        """As RQ's, compressed with half the effort: records shrink to a fifth either way."""
        data, self._data = self.data, b""
        try:
            found: dict[str, Any] = super().to_dict(include_meta, include_result)
        finally:
            self._data = data
        return found | {"data": zlib.compress(data, COMPRESSION_LEVEL)}

    def forget_records(self) -> None:
        """Keeps of a processed batch its id alone: results outlive their batches, and would fill Redis."""
        if self.func_name == PROCESS_BATCH:
            self.data = JsonSerializer.dumps((PROCESS_BATCH, None, ({DONE: self.id},), {}))

    # Callbacks and webhooks name functions and addresses too; none of our jobs has any.
    def execute_success_callback(self, *_: Any, **__: Any) -> None: ...
    def execute_failure_callback(self, *_: Any, **__: Any) -> None: ...
    def execute_stopped_callback(self, *_: Any, **__: Any) -> None: ...
    def send_webhooks(self, *_: Any, **__: Any) -> None: ...


class SluiceQueue(Queue):
    """A queue of our jobs, as JSON."""

    job_class = SluiceJob

    def __init__(self, name: str = RECORDS_QUEUE, *args: Any, **kwargs: Any) -> None:
        kwargs |= {"serializer": JsonSerializer, "job_class": SluiceJob}
        super().__init__(name, *args, **kwargs)

    @classmethod
    def lmove(cls, connection: Redis, queue_key: str, timeout: int | None) -> Any:
        """As RQ's; but an id that no job can have is set aside, where RQ's worker would die of it."""
        while (found := super().lmove(connection, queue_key, timeout)) and not is_job_id(found[1]):
            set_aside(connection, queue_key, found[1], "no job has such an id")
        return found

    @classmethod
    def lpop(cls, queue_keys: Any, timeout: int | None, connection: Redis | None = None) -> Any:
        """The same, for a Redis older than 6.2."""
        while (found := super().lpop(queue_keys, timeout, connection)) and not is_job_id(found[1]):
            if connection is not None:
                set_aside(connection, str(found[0]), found[1], "no job has such an id")
        return found

    @classmethod
    def dequeue_any(  # type: ignore[override]  # what else it takes is handed on
        cls, queues: Any, timeout: int | None, connection: Redis, **kwargs: Any
    ) -> Any:
        """As RQ's; but what cannot be read as a job is set aside, where RQ's worker would die of it."""
        while True:
            try:
                return super().dequeue_any(queues, timeout, connection, **kwargs)
            except (ValueError, TypeError, LookupError, ResponseError) as error:
                job_id, queue = getattr(error, "job_id", None), getattr(error, "queue", None)
                system = isinstance(error, ResponseError) and not str(error).startswith("WRONGTYPE")
                if job_id is None or queue is None or system:
                    raise
                set_aside(connection, queue.key, job_id.encode(), _brief(error))

    def enqueue_call(self, func: Any, *args: Any, **kwargs: Any) -> Job:
        """As RQ's; but where a load already waits, another would find nothing left to do."""
        is_load = func == LOAD_STAGED or getattr(func, "__name__", "") == LOAD_STAGED.rpartition(".")[2]
        if is_load and self.name == LOADER_QUEUE and self.connection.llen(self.key) > 0:
            waiting = self.create_job(func)
            waiting.enqueued_at = now()
            return waiting
        reach("cron.ticked")
        return super().enqueue_call(func, *args, **kwargs)


def redis_url(settings: WorkerSettings, home: Any) -> str:
    """Where the queue is: as configured, or the private server's socket, whether or not it runs."""
    return settings.redis_url or private_server.url(home)


def connect(settings: WorkerSettings, home: Any) -> Redis:
    """A connection that answers; starts the private server where none is configured.

    Raises QueueUnavailable, without the password, where nothing answers.
    """
    url = settings.redis_url or private_server.ensure_running(home)
    with translated(url):
        client = Redis.from_url(url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=30.0)
        client.exists(f"rq:queue:{RECORDS_QUEUE}")  # more than a ping: whether this user may do anything here
    return client


@contextmanager
def translated(url: str = "") -> Iterator[None]:
    """Turns Redis' system errors into QueueUnavailable with what to do about them."""
    try:
        yield
    except OutOfMemoryError as error:
        raise QueueUnavailable(
            "Redis is full: let workers drain it or raise its maxmemory, then send again"
        ) from error
    except NoPermissionError as error:
        raise QueueUnavailable(
            f"Redis{place(url)} does not let the user of REDIS_URL do what is needed ({_brief(error)}): "
            "give it the rights that docs/operations.md lists"
        ) from error
    except (AuthenticationError, AuthorizationError) as error:
        raise QueueUnavailable(
            f"Redis{place(url)} refused the login: check the user and password in REDIS_URL"
        ) from error
    except (ConnectionError, OSError, RedisError) as error:
        if (
            isinstance(error, ResponseError)
            and not isinstance(error, ReadOnlyError)
            and "LOADING" not in str(error)
        ):
            raise
        raise QueueUnavailable(
            f"Redis{place(url)} cannot be reached ({_brief(error)}): start it, or correct REDIS_URL; "
            "unset REDIS_URL for a private one"
        ) from error
    except ValueError as error:
        raise QueueUnavailable(
            "REDIS_URL is no URL like redis://host:6379/0, rediss:// or unix:///path"
        ) from error


def place(url: str) -> str:
    """` at host:port` of a URL, with neither user nor password."""
    rest, _, options = url.partition("://")[2].partition("?")
    # Options may hold a password too; and one with a `?` in it would look like the beginning of options.
    rest = "" if "@" in options else rest.rpartition("@")[2]
    return f" at {rest}" if rest else ""


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


@dataclass(frozen=True)
class Broker:
    """The queues, over one connection."""

    redis: Redis
    settings: WorkerSettings

    def queue(self, name: str = RECORDS_QUEUE) -> SluiceQueue:
        """The queue of that name."""
        return SluiceQueue(name, connection=self.redis)

    def send(self, messages: Sequence[Message]) -> None:
        """Puts batches on the queue, all in one transaction."""
        queue = self.queue()
        settings = self.settings
        retry = Retry(max=ATTEMPTS, interval=list(settings.retry_intervals_seconds))
        jobs = [
            Queue.prepare_data(
                PROCESS_BATCH,
                args=(message.to_wire(),),
                timeout=settings.job_timeout_seconds,
                result_ttl=settings.result_ttl_seconds,
                failure_ttl=settings.failure_ttl_seconds,
                # RQ's own description would hold the records, and it is logged.
                description=f"{len(message.records)} records of {message.source}",
                job_id=message.id,
                retry=retry,
            )
            for message in messages
        ]
        with translated(), self.redis.pipeline(transaction=True) as pipeline:
            queue.enqueue_many(jobs, pipeline=pipeline)
            # RQ leaves it there, and whoever waits for the batch would take it for failed again.
            pipeline.zrem(FailedJobRegistry(queue=queue).key, *(message.id for message in messages))
            pipeline.execute()

    def ask_for_load(self) -> None:
        """Wakes the loader; where a load waits already, that is enough."""
        settings = self.settings
        with translated():
            self.queue(LOADER_QUEUE).enqueue_call(
                LOAD_STAGED,
                timeout=settings.load_timeout_seconds,
                result_ttl=settings.result_ttl_seconds,
                failure_ttl=settings.result_ttl_seconds,
            )

    def waiting(self, name: str = RECORDS_QUEUE) -> int:
        """Batches, or a queue's jobs, that no worker has taken yet."""
        with translated():
            return int(self.redis.llen(self.queue(name).key))

    def fullness(self) -> float:
        """The part of Redis' maxmemory that is in use; 0 where there is no limit, or it may not be asked."""
        try:
            with translated():
                memory = self.redis.info("memory")
        except (ResponseError, QueueUnavailable):
            return 0.0
        limit = int(memory.get("maxmemory", 0))
        return int(memory["used_memory"]) / limit if limit else 0.0

    def on_their_way(self, ids: Sequence[str]) -> set[str]:
        """Those of the batch ids that are queued, being worked on, or waiting for another attempt."""
        with translated(), self.redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.hget(SluiceJob.key_for(id), "status")
            found = pipeline.execute()
        alive = {JobStatus.QUEUED, JobStatus.STARTED, JobStatus.SCHEDULED}
        return {id for id, status in zip(ids, found, strict=True) if status and status.decode() in alive}

    def failed(self, ids: Sequence[str]) -> set[str]:
        """Those of the batch ids whose job has failed for good."""
        registry = FailedJobRegistry(queue=self.queue())
        with translated(), self.redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.zscore(registry.key, id)
            return {id for id, score in zip(ids, pipeline.execute(), strict=True) if score is not None}

    def failed_count(self, name: str = RECORDS_QUEUE) -> int:
        """How many jobs of a queue have failed for good."""
        with translated():
            return int(self.redis.zcard(FailedJobRegistry(queue=self.queue(name)).key))

    def workers(self, queue: str) -> int:
        """How many live workers listen on a queue."""
        with translated():
            keys = self.redis.smembers(f"rq:workers:{queue}")
            return sum(bool(self.redis.exists(key)) for key in keys)
