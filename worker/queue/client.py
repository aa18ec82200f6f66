"""Redis: the connection, the queues, the retry policy; the only module that knows RQ's enqueue."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry as Tries
from rq import Queue, Retry
from rq.registry import FailedJobRegistry
from rq.suspension import is_suspended
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from store.addresses import shown_url, without_secrets
from store.errors import QueueUnavailable
from store.logs import event
from store.text import printable
from worker.queue import lost
from worker.queue.message import Message
from worker.queue.names import LOAD_STAGED, LOADER_QUEUE, PROCESS_BATCH, RECORDS_QUEUE
from worker.queue.outage import make_patient, state_of, wait_until_ready
from worker.queue.quarantine import is_worker_key
from worker.queue.rq_jobs import SluiceJob, SluiceQueue, Terms
from worker.queue.server import private_server
from worker.queue.server.clock import server_time
from worker.queue.server.connection import open_client, refuse_cluster, watched
from worker.settings import WorkerSettings

log = logging.getLogger("sluice.queue")

CONNECT_SECONDS = 5.0
HELD_KEY = "sluice:held"  # a hash: batch -> why it waits, and waiting alone does not help
HELD_SECONDS = 86400
# More than it takes to find a record that kills its workers; the last interval is repeated.
ATTEMPTS = 12


def redis_url(settings: WorkerSettings, home: Any) -> str:
    """Where the queue is: as configured, or the private server's socket, whether or not it runs."""
    return settings.redis_url or private_server.url(home)


def connect(settings: WorkerSettings, home: Any, *, patient: bool = False) -> Redis:
    """A connection that answers; starts the private server where none is configured.

    Raises QueueUnavailable, without the password, where nothing answers, unless it is `patient`; one that answers
    that it is not ready is waited for.
    """
    url = settings.redis_url or private_server.ensure_running(home)
    with translated(url), unknown_options_refused(url):
        client = open_client(url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=30.0)
        (make_patient if patient else wait_until_ready)(client)
        refuse_cluster(client)
        client.exists(
            SluiceQueue.redis_queue_namespace_prefix + RECORDS_QUEUE
        )  # more than a ping: whether this user may do anything here
        if watched(url):
            make_patient(client)  # now that a master has answered, the next one is waited for
    return client


def connect_once(settings: WorkerSettings, home: Any) -> Redis:
    """As `connect`, for who only asks: each command is tried once, also where Redis is not ready."""
    url = settings.redis_url or private_server.ensure_running(home)
    with translated(url), unknown_options_refused(url):
        once = {"retry": Tries(NoBackoff(), 0), "socket_timeout": CONNECT_SECONDS}
        client = open_client(url, socket_connect_timeout=CONNECT_SECONDS, **once)
        client.ping()
    return client


@contextmanager
def unknown_options_refused(url: str) -> Iterator[None]:
    """redis-py hands a URL's options to functions, which raise TypeError, with a traceback, for a wrong name."""
    try:
        yield
    except TypeError:
        raise QueueUnavailable(
            f"REDIS_URL{at_address(url)} has an option after its `?` that redis-py does not know: correct it"
        ) from None


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
            f"Redis{at_address(url)} does not let the user of REDIS_URL do what is needed ({_brief(error)}): "
            "give it the rights that docs/operations.md lists"
        ) from error
    except (AuthenticationError, AuthorizationError) as error:
        raise QueueUnavailable(
            f"Redis{at_address(url)} refused the login: check the user and password in REDIS_URL"
        ) from error
    except (OSError, RedisError) as error:
        if isinstance(error, ResponseError) and not state_of(error):
            raise
        raise QueueUnavailable(
            f"Redis{at_address(url)} cannot be reached ({_brief(error)}): start it, or correct REDIS_URL; "
            "unset REDIS_URL for a private one"
        ) from error
    except ValueError as error:
        raise QueueUnavailable(
            "REDIS_URL is no URL like redis://host:6379/0, rediss://, unix:///path, or "
            "redis+sentinel://host1,host2:26379/name-of-the-master/0"
        ) from error


def terms(settings: WorkerSettings) -> dict[str, Terms]:
    """What holds for the jobs of each queue."""
    intervals = list(settings.retry_intervals_seconds)
    job, load = settings.job_timeout_seconds, settings.load_timeout_seconds
    result_ttl, failure_ttl = settings.result_ttl_seconds, settings.failure_ttl_seconds
    return {
        RECORDS_QUEUE: Terms(job, result_ttl, failure_ttl, ATTEMPTS, intervals),
        LOADER_QUEUE: Terms(load, result_ttl, result_ttl, 0, intervals),
    }


def at_address(url: str) -> str:
    """` at host:port/0` of a URL: see `shown_url`."""
    shown = shown_url(url).partition("://")[2]
    return f" at {shown}" if shown else ""


def _brief(error: Exception) -> str:
    reported = without_secrets(str(error))
    return printable(reported.splitlines()[0][:200]) if reported else type(error).__name__


@dataclass(frozen=True)
class Broker:
    """The queues, over one connection."""

    redis: Redis
    settings: WorkerSettings
    home: Path | None = None  # of the private server, if that is used

    def tend(self) -> str | None:
        """Starts the private server again if it was killed; why there is none if it was stopped."""
        if self.home is None or self.settings.redis_url:
            return None
        try:
            return private_server.tend(self.home)
        except QueueUnavailable as error:  # the next try may
            log.warning("%s", error, extra=event("server_not_started"))
            return None

    def queue(self, name: str = RECORDS_QUEUE) -> SluiceQueue:
        """The queue of that name."""
        return SluiceQueue(name, connection=self.redis)

    def send(self, messages: Sequence[Message]) -> None:
        """Puts batches on the queue, all in one transaction."""
        queue = self.queue()
        timeout, result_ttl, failure_ttl, attempts, intervals = terms(self.settings)[RECORDS_QUEUE]
        retry = Retry(max=attempts, interval=intervals)
        jobs = [
            Queue.prepare_data(
                PROCESS_BATCH,
                args=(message.to_wire(),),
                timeout=timeout,
                result_ttl=result_ttl,
                failure_ttl=failure_ttl,
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
            pipeline.hdel(lost.KEY, *(message.id for message in messages))
            pipeline.execute()

    def ask_for_load(self) -> None:
        """Wakes the loader; where a load waits already, that is enough."""
        timeout, result_ttl, failure_ttl, _, _ = terms(self.settings)[LOADER_QUEUE]
        with translated():
            self.queue(LOADER_QUEUE).enqueue_call(
                LOAD_STAGED, timeout=timeout, result_ttl=result_ttl, failure_ttl=failure_ttl
            )

    def waiting(self, name: str = RECORDS_QUEUE) -> int:
        """Batches, or a queue's jobs, that no worker has taken yet."""
        with translated():
            return int(self.redis.llen(self.queue(name).key))

    def is_unfinished(self) -> bool:
        """Whether any batch is queued, taken, being processed, or waits for another attempt."""
        queue = self.queue()
        with translated(), self.redis.pipeline(transaction=False) as pipeline:
            pipeline.llen(queue.key)
            pipeline.llen(queue.intermediate_queue_key)
            pipeline.zcard(queue.scheduled_job_registry.key)
            pipeline.zcard(queue.started_job_registry.key)
            return any(pipeline.execute())

    def hold(self, id: str, why: str) -> None:
        """Notes why a batch goes back to the queue, where no waiting alone helps."""
        with translated(), self.redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(HELD_KEY, id, why)
            pipeline.expire(HELD_KEY, HELD_SECONDS)
            pipeline.execute()

    def held_count(self) -> int:
        """How many batches wait for a repair, with a note of which."""
        with translated():
            waiting = self.redis.zrange(self.queue().scheduled_job_registry.key, 0, -1)
            notes: Any = self.redis.hkeys(HELD_KEY)
            return len(set(notes).intersection(waiting))

    def try_held_again(self) -> None:
        """Forgets these notes, and lets their batches be tried now: what no attempt notes again is not held."""
        scheduled = self.queue().scheduled_job_registry.key
        with translated():
            noted: Any = self.redis.hkeys(HELD_KEY)
            if noted:
                self.redis.zadd(scheduled, dict.fromkeys(noted, 0.0), xx=True)
                self.redis.delete(HELD_KEY)

    def next(self) -> str | None:
        """The batch that is taken next."""
        with translated():
            found = self.redis.lindex(self.queue().key, 0)
        return found.decode(errors="replace") if isinstance(found, bytes) else None

    def is_suspended(self) -> bool:
        """Whether somebody has told all workers to take nothing."""
        with translated():
            return bool(is_suspended(self.redis))

    def held(self) -> dict[str, str]:
        """batch -> why it is held, where nothing else is left on the queue; else empty."""
        queue = self.queue()
        with translated(), self.redis.pipeline(transaction=False) as pipeline:
            pipeline.llen(queue.key)
            pipeline.llen(queue.intermediate_queue_key)
            pipeline.zcard(queue.started_job_registry.key)
            pipeline.zrange(queue.scheduled_job_registry.key, 0, -1)
            pipeline.hgetall(HELD_KEY)
            *busy, waiting, notes = pipeline.execute()
        if any(busy) or not all(id in notes for id in waiting):
            return {}
        return {id.decode(errors="replace"): notes[id].decode(errors="replace") for id in waiting}

    def seconds_to_retry(self) -> float:
        """How long until the first retry is due; infinite where none waits."""
        with translated():
            first = self.redis.zrange(self.queue().scheduled_job_registry.key, 0, 0, withscores=True)
        return float(first[0][1]) - server_time(self.redis) if first else float("inf")

    def fullness(self) -> float:
        """The part of Redis' maxmemory that is in use; 0 where there is no limit, or it may not be asked."""
        try:
            with translated():
                memory = self.redis.info("memory")
        except (ResponseError, QueueUnavailable) as error:
            log.info(
                "how full Redis is cannot be asked (%s): it is taken for empty",
                error,
                extra=event("memory_unknown"),
            )
            return 0.0
        limit = int(memory.get("maxmemory", 0))
        return int(memory["used_memory"]) / limit if limit else 0.0

    def on_their_way(self, ids: Sequence[str]) -> set[str]:
        """Those of the batch ids that are queued, being worked on, or waiting for another attempt.

        A list or registry must have them, and a job be there: its status in Redis may be anybody's.
        """
        with translated(), self.redis.pipeline(transaction=False) as pipeline:
            for id in ids:
                pipeline.exists(SluiceJob.key_for(id))
            there = [id for id, exists in zip(ids, pipeline.execute(), strict=True) if exists]
        return self._listed(there) if there else set()

    def _listed(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are in a list or registry of jobs that are not done."""
        queue = self.queue()
        with translated(), self.redis.pipeline(transaction=True) as pipeline:
            pipeline.zrange(queue.started_job_registry.key, 0, -1)
            for id in ids:
                pipeline.lpos(queue.key, id)
                pipeline.lpos(queue.intermediate_queue_key, id)
                pipeline.zscore(queue.scheduled_job_registry.key, id)
            started, *found = pipeline.execute()
        at_work = {member.partition(b":")[0].decode(errors="replace") for member in started}
        by_id = zip(ids, found[0::3], found[1::3], found[2::3], strict=True)
        return {id for id, *where in by_id if id in at_work or any(each is not None for each in where)}

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
            keys: Any = self.redis.smembers(WORKERS_BY_QUEUE_KEY % queue)
            return sum(bool(self.redis.exists(key)) for key in keys if is_worker_key(key))
