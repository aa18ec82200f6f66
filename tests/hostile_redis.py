"""A stranger who may write to Redis, and writes anything into every key that RQ or we use."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from worker.queue import lost
from worker.queue.quarantine import SET_ASIDE_KEY
from worker.queue.upkeep.maintenance import LOCK_KEY, SEEN_KEY

QUEUES = ("records", "loader")
PER_QUEUE = {
    "rq:queue:{}": "list",
    "rq:queue:{}:intermediate": "list",
    "rq:wip:{}": "zset",
    "rq:scheduled:{}": "zset",
    "rq:finished:{}": "zset",
    "rq:failed:{}": "zset",
    "rq:deferred:{}": "zset",
    "rq:canceled:{}": "zset",
    "rq:ready:{}": "zset",
    "rq:workers:{}": "set",
    LOCK_KEY + "{}": "string",
    SEEN_KEY + "{}": "hash",
}
SHARED = {
    "rq:queues": "set",
    "rq:workers": "set",
    "rq:cron_schedulers": "zset",
    "rq:cron_jobs": "zset",
    "rq:cron_job:sluice-loader:jobs": "zset",
    "sluice:dlq": "zset",
    "sluice:dlq:letters": "hash",
    lost.KEY: "hash",
    SET_ASIDE_KEY: "list",
}
# Behind these are the ids of jobs, workers and executions.
FAMILIES = ("rq:job:", "rq:results:", "rq:executions:", "rq:execution:", "rq:worker:", "sluice:attempts:")
KEYS = {key.format(queue): kind for key, kind in PER_QUEUE.items() for queue in QUEUES} | SHARED

MEMBERS = [
    b"",
    b"\xff\xfe",
    b"a b\n\x1b[2J",
    b"0" * 32,
    b"0" * 32 + b":" + b"1" * 32,
    b"\xff:\xff",
    b"a:b:c",
    b"rq:queues",
    b"rq:worker:\xff",
    b"rq:worker:nobody",
    b"[1, 2",
    b"9" * 400,
]
SCORES = [float("-inf"), -1.0, 0.0, 1e9, 1e12, float("inf")]


class Stranger:
    """Writes at random, from a seed."""

    def __init__(self, redis: Redis, seed: int) -> None:
        self.redis = redis
        self.random = random.Random(seed)
        self.written: dict[str, int] = {}

    def write(self) -> None:
        """One thing: a member where it might belong, a key of another type, or a job that is none."""
        what = self.random.choice((self._add_member, self._add_member, self._replace, self._spoil_family))
        try:
            what()
        except RedisError:  # somebody else was there before: that is theirs to know
            self._note("refused")

    def _add_member(self) -> None:
        key, kind = self.random.choice(sorted(KEYS.items()))
        self._add(key, kind, self.random.choice(MEMBERS))
        self._note(f"member of {kind}")

    def _replace(self) -> None:
        """A key of another type; a queue only where nothing of ours is on it, for that would be a deletion."""
        key = self.random.choice(sorted(KEYS))
        if KEYS[key] == "list" and self.redis.exists(key):
            return
        self.redis.delete(key)
        self._add(key, self.random.choice(sorted(ADD)), self.random.choice(MEMBERS))
        self._note("another type")

    def _spoil_family(self) -> None:
        """A key beside those of jobs and workers, of any type; or one field of a worker."""
        prefix = self.random.choice(FAMILIES)
        name = self.random.choice(("0" * 32, "x", "\udcff", "a b"))
        key = prefix.encode() + name.encode(errors="surrogateescape")
        self._add(key, self.random.choice(sorted(ADD)), self.random.choice(MEMBERS))
        for worker in self.redis.scan_iter(match="rq:worker:*", count=100):
            if self.redis.type(worker) == b"hash":
                self.redis.hset(worker, "state", b"\xff")  # type: ignore[arg-type]
        self._note("family")

    def _add(self, key: Any, kind: str, member: bytes) -> None:
        ADD[kind](self.redis, key, member, self.random.choice(SCORES))

    def _note(self, what: str) -> None:
        self.written[what] = self.written.get(what, 0) + 1

    def rage(self, is_over: Callable[[], bool], pause: float) -> None:
        """Until it is over."""
        while not is_over():
            self.write()
            time.sleep(pause)


ADD: dict[str, Callable[[Any, Any, bytes, float], object]] = {
    "list": lambda redis, key, member, _: redis.rpush(key, member),
    "set": lambda redis, key, member, _: redis.sadd(key, member),
    "zset": lambda redis, key, member, score: redis.zadd(key, {member: score}),
    "hash": lambda redis, key, member, _: redis.hset(key, member, member),
    "stream": lambda redis, key, member, _: redis.xadd(key, {member: member}),
    "string": lambda redis, key, member, _: redis.set(key, member),
}
