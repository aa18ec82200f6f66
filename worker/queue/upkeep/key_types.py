"""The types of the keys that RQ and we use, and what happens to a key of another type.

Whoever may write to Redis may put a text where RQ has a list; RQ would die of it, and again at each start. Such a
key is renamed, so that nothing is dropped, and the right one is made by whoever writes to it next.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from itertools import chain

from redis import Redis
from redis.exceptions import WatchError
from rq.defaults import RQ_KEY_PREFIX

from store.logs import event
from store.text import printable
from worker.queue.quarantine import SET_ASIDE_KEY

RENAMED = "sluice:set-aside:"  # what a key of another type is renamed to, with its name behind it
AT_ONCE = 500

# In this order: the first that matches counts. What is only looked for or overwritten may be of any type.
TYPES = [
    (re.compile(pattern.replace("rq:", re.escape(RQ_KEY_PREFIX) + ":", 1).encode(), re.DOTALL), kind.encode())
    for pattern, kind in (
        (r"rq:queue:(?!.*:first_seen:).+", "list"),
        (r"rq:job:.+:(?:dependents|dependencies)", "set"),
        (r"rq:job:.+", "hash"),
        (r"rq:execution:.+", "hash"),
        (r"rq:worker:.+:executions", "set"),
        (r"rq:worker:.+", "hash"),
        (r"rq:cron_scheduler:.+", "hash"),
        (r"rq:results:.+", "stream"),
        (r"rq:(?:wip|finished|failed|scheduled|deferred|canceled|ready|executions):.+", "zset"),
        (r"rq:cron_job:.+:jobs", "zset"),
        (r"rq:(?:cron_schedulers|cron_jobs)", "zset"),
        (r"rq:(?:workers|queues)", "set"),
        (r"rq:workers:.+", "set"),
        (r"sluice:dlq", "zset"),
        (r"sluice:dlq:letters", "hash"),
        (r"sluice:lost", "hash"),
        (r"sluice:held", "hash"),
        (r"sluice:missed", "hash"),
        (r"sluice:sweep", "string"),
        (r"sluice:generation", "string"),
        (r"sluice:intermediate:.+", "hash"),
        (r"sluice:attempts:.+", "string"),
        (re.escape(SET_ASIDE_KEY), "list"),
    )
]

log = logging.getLogger("sluice.queue")


def expected_type(key: bytes) -> bytes | None:
    """The type that this key must have; None where it is not one of ours and RQ's, or may be of any."""
    return next((kind for pattern, kind in TYPES if pattern.fullmatch(key)), None)


def set_misfits_aside(redis: Redis) -> int:
    """Renames every key that has another type than it must; how many. It goes through all keys: only after an error."""
    moved = 0
    for key in chain(_misfits_among(redis, [SET_ASIDE_KEY.encode()]), misfits(redis)):
        name = RENAMED.encode() + key + f":{time.time_ns()}".encode()
        if not _rename(redis, key, name):
            continue
        moved += 1
        log.error(
            "the key %.200r has another type than it must: renamed to %.200r",
            key,
            name,
            extra=event("key_renamed", key=printable(repr(key))[:200]),
        )
        if key != SET_ASIDE_KEY.encode():
            redis.rpush(SET_ASIDE_KEY, name)
    return moved


def _rename(redis: Redis, key: bytes, name: bytes) -> bool:
    """Renames a key that still has another type than it must; a right one may be there by now, with jobs in it."""
    with redis.pipeline(transaction=True) as pipeline:
        try:
            pipeline.watch(key)  # type: ignore[no-untyped-call]
            if pipeline.type(key) in (b"none", expected_type(key)):  # another was first, or it has expired
                return False
            pipeline.multi()
            pipeline.rename(key, name)
            pipeline.execute()
        except WatchError:  # it was changed or renamed just now: who still meets it looks again
            return False
    return True


def misfits(redis: Redis) -> Iterator[bytes]:
    """The keys that have another type than they must."""
    for prefix in (f"{RQ_KEY_PREFIX}:*", "sluice:*"):
        found: list[bytes] = []
        for key in redis.scan_iter(match=prefix, count=AT_ONCE):
            if expected_type(key):
                found.append(key)
            if len(found) >= AT_ONCE:
                yield from _misfits_among(redis, found)
                found = []
        yield from _misfits_among(redis, found)


def _misfits_among(redis: Redis, keys: list[bytes]) -> list[bytes]:
    with redis.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.type(key)
        types = pipeline.execute()
    return [key for key, kind in zip(keys, types, strict=True) if kind not in (b"none", expected_type(key))]
