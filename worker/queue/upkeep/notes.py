"""What a worker notes of itself in its own key of Redis, which ends with its heartbeats: its version and contract."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import RedisError
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from store.text import printable
from worker.queue.quarantine import WORKER_PREFIX, is_worker_key

VERSION, FINGERPRINTS = "sluice_version", "sluice_fingerprints"
BIRTH = b"birth"  # of RQ's fields, one that is written only with all others
NO_END = -1  # what Redis says of the time to live of a key that has none
LEFT_SECONDS = 60
LONGEST = 60  # characters of a text that anybody may have written


@cache
def our_version() -> str:
    """Of the Sluice that runs here."""
    return version("sluice")


@dataclass(frozen=True, slots=True)
class Note:
    """A live worker, as it describes itself."""

    name: str
    queue: str
    host: str
    rq: str
    sluice: str | None  # None: it is no worker of ours, or one from before there were notes
    fingerprints: dict[str, str]  # source -> of its contract and mapping; "": of a source without an entry
    is_complete: bool = True  # False: Redis forgot it, and it has written its state alone since


def fields(fingerprints: Mapping[str, str]) -> dict[Any, Any]:
    """The fields of a worker's key."""
    return {VERSION: our_version(), FINGERPRINTS: orjson.dumps(dict(fingerprints)).decode()}


def renew(redis: Redis, worker: str | None, fingerprints: Mapping[str, str]) -> None:
    """Writes them again, where a job process has read its contract again; a worker that is gone stays gone."""
    key = f"{WORKER_PREFIX}{worker}"
    with suppress(RedisError):  # it is a note: the batch at hand does not wait for it
        if worker and redis.exists(key):
            redis.hset(key, mapping=fields(fingerprints))
            if redis.ttl(key) == NO_END:  # it ended in between
                redis.expire(key, LEFT_SECONDS)


def of_workers(redis: Redis, queue: str) -> list[Note]:
    """Of all live workers of a queue."""
    keys: Any = redis.smembers(WORKERS_BY_QUEUE_KEY % queue)
    ours = sorted(key for key in keys if is_worker_key(key))
    with redis.pipeline(transaction=False) as pipeline:
        for key in ours:
            pipeline.hgetall(key)
        return [
            _note(key, queue, found) for key, found in zip(ours, pipeline.execute(), strict=True) if found
        ]


def _note(key: bytes, queue: str, found: Mapping[bytes, bytes]) -> Note:
    def text(name: str) -> str:
        return printable(found.get(name.encode(), b"").decode(errors="replace"))[:LONGEST]

    name = printable(key.decode().removeprefix(WORKER_PREFIX))[:LONGEST]
    ours, is_complete = text(VERSION) or None, BIRTH in found
    return Note(name, queue, text("hostname"), text("version"), ours, _fingerprints(found), is_complete)


def _fingerprints(found: Mapping[bytes, bytes]) -> dict[str, str]:
    with suppress(orjson.JSONDecodeError):  # anybody's: then it is none of ours
        read = orjson.loads(found.get(FINGERPRINTS.encode(), b"{}"))
        if isinstance(read, dict):
            return {name: value for name, value in read.items() if isinstance(value, str)}
    return {}
