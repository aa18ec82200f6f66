"""What `worker up` says of itself: when all of its workers take work, and at its end what came of it."""

from __future__ import annotations

import socket
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq.worker_registration import REDIS_WORKER_KEYS
from sqlalchemy import Connection

from store.checks import conservation
from store.dead_letters import groups
from store.tables import load_runs
from store.terminal import counted
from worker.queue.quarantine import is_worker_key

AT_WORK = (
    b"idle",
    b"busy",
)  # of RQ's states; it has others while a worker starts, and while all are suspended


def take_work(redis: Redis, processes: Collection[int]) -> bool:
    """Whether each of these processes of this host is a worker that waits for a job, or has one."""
    try:
        keys: Any = redis.smembers(REDIS_WORKER_KEYS)
        with redis.pipeline(transaction=False) as pipeline:
            for key in filter(is_worker_key, keys):
                pipeline.hmget(key, "hostname", "pid", "state")
            rows = pipeline.execute()
    except RedisError:  # it is away, or a key is of another type: they do not work now
        return False
    here = socket.gethostname().encode()
    at_work = {pid for host, pid, state in rows if host == here and state in AT_WORK}
    return {str(process).encode() for process in processes} <= at_work


@dataclass(frozen=True)
class Totals:
    """What a store has counted so far."""

    received: int
    staged: int
    rejected: int
    skipped: int
    loaded: int  # with an outcome in the target
    letters: int  # those that are pruned too

    @classmethod
    def of(cls, connection: Connection) -> Totals:
        counts = conservation.totals(connection)
        return cls(
            received=counts["received"],
            staged=counts["staged"],
            rejected=counts["rejected"],
            skipped=counts["skipped"],
            loaded=sum(load_runs.totals(connection).values()),
            letters=groups.count_all(connection),
        )

    def since(self, before: Totals) -> Totals:
        """What was added."""
        return Totals(**{name: number - getattr(before, name) for name, number in asdict(self).items()})


def summed_up(done: Totals, seconds: float) -> str:
    """For people: the records, and where they went."""
    skipped = f", {done.skipped:,} skipped" if done.skipped else ""
    return (
        f"stopped after {_duration(seconds)}: {counted(done.received, 'record')} received, {done.staged:,} staged, "
        f"{done.rejected:,} rejected{skipped}; {done.loaded:,} loaded; {counted(done.letters, 'letter')} opened"
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
