"""The Redis DLQ: a mirror of the open dead letters, for consumers and alerts. The table is the truth.

`sluice:dlq` is a sorted set of letter ids by the time they were first seen (seconds since 1970);
`sluice:dlq:letters` a hash of id -> envelope (JSON). Writing is idempotent: a letter is keyed by its id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine

from store import database, timestamps
from store.checks.conservation import Law
from store.crash_points import reach
from store.errors import QueueUnavailable
from store.logs import event
from store.settings import StoreSettings
from store.tables import dead_letters
from store.tables.dead_letters import DeadLetter, Rejected
from worker.queue import same_store
from worker.queue.client import connect, translated
from worker.queue.server import private_server
from worker.settings import WorkerSettings

INDEX_KEY = "sluice:dlq"
LETTERS_KEY = "sluice:dlq:letters"
ENVELOPE_PAYLOAD = 16 * 1024  # characters; the table has all of it
ENVELOPE_FIELDS = [
    name for name in DeadLetter._fields if name not in ("status", "action_seq", "resolved_at", "event_id")
]
PAGE = 500
PAGE_OF_IDS = 5_000

log = logging.getLogger("sluice.queue")


class Published(NamedTuple):
    """A letter as the DLQ gets it."""

    id: str
    event_id: int  # the `reject` entry that it tells of
    first_seen_at: str
    envelope: bytes  # JSON


def published(letter: DeadLetter) -> Published:
    """A letter that was read from the table."""
    body = {name: getattr(letter, name) for name in ENVELOPE_FIELDS}
    return Published(letter.id, letter.event_id, letter.first_seen_at, envelope(body))


def published_new(row: Rejected) -> Published:
    """A letter that was just added to the table, without reading it back."""
    body = {name: getattr(row, name, None) for name in ENVELOPE_FIELDS}
    body["errors"] = orjson.Fragment(row.errors)
    body["header"] = orjson.Fragment(row.header) if row.header else None
    body |= {"occurrences": 1, "replays": 0, "first_seen_at": row.seen_at, "last_seen_at": row.seen_at}
    return Published(row.id, row.event_id, row.seen_at, envelope(body))


def envelope(body: dict[str, Any]) -> bytes:
    """A letter as consumers get it: reasons, origin, and its payload up to 16 Ki characters."""
    payload = body["payload"]
    body["payload_complete"] = len(payload) <= ENVELOPE_PAYLOAD and body["payload_digest"] is None
    body["payload"] = payload[:ENVELOPE_PAYLOAD]
    return orjson.dumps(body)


@contextmanager
def tolerated() -> Iterator[None]:
    """A mirror that is broken is said, and stops neither a batch nor a load: the table has every letter."""
    try:
        yield
    except (RedisError, QueueUnavailable) as error:
        log.error(
            "the Redis DLQ is not up to date (%s): the table has every letter, and the next batch or load tries again; "
            "`store check --repair` makes both equal",
            error,
            extra=event("dlq_behind"),
        )


def publish(redis: Redis, letters: Sequence[Published]) -> None:
    """Writes letters to the DLQ; those already there are written over."""
    score = lru_cache(lambda seen_at: timestamps.from_text(seen_at).timestamp())
    with translated(), redis.pipeline(transaction=True) as pipeline:
        pipeline.zadd(INDEX_KEY, {letter.id: score(letter.first_seen_at) for letter in letters})
        pipeline.hset(LETTERS_KEY, mapping={letter.id: letter.envelope for letter in letters})
        pipeline.execute()


def remove(redis: Redis, ids: Sequence[str]) -> None:
    """Takes letters off the DLQ; those not there are no error."""
    with translated(), redis.pipeline(transaction=True) as pipeline:
        members = [member(id) for id in ids]
        pipeline.zrem(INDEX_KEY, *members)
        pipeline.hdel(LETTERS_KEY, *members)
        pipeline.execute()


def member(id: str) -> bytes:
    """An id as it is in Redis: what is not UTF-8 in one that is not ours was escaped by `ids`."""
    return id.encode(errors="surrogateescape")


def ids(redis: Redis) -> set[str]:
    """Ids of the letters on the DLQ; what is not UTF-8 in one is escaped, as `remove` takes it."""
    with translated():
        members: list[bytes] = redis.zrange(INDEX_KEY, 0, -1)  # type: ignore[assignment]
        return {id.decode(errors="surrogateescape") for id in members}


def count(redis: Redis) -> int:
    """How many letters are on the DLQ."""
    with translated():
        return int(redis.zcard(INDEX_KEY))


def publish_new(redis: Redis, engine: Engine, rejected: Sequence[Rejected]) -> None:
    """Publishes letters that a batch has just added: what it has in hand need not be found in the outbox."""
    if not rejected:
        return
    reach("outbox.found")
    for start in range(0, len(rejected), PAGE):
        publish(redis, [published_new(row) for row in rejected[start : start + PAGE]])
    reach("outbox.published")
    _record(engine, rejected)


def flush_outbox(redis: Redis, engine: Engine) -> int:
    """Brings the DLQ up to date with the table: what a commit, or a crash after one, left to do; how many.

    First Redis, then the mark: a crash in between does the same again, to no effect.
    """
    done = 0
    while True:
        with database.reading(engine) as connection:
            # One more than is sent tells that there is more.
            letters = dead_letters.unpublished(connection, PAGE, ENVELOPE_PAYLOAD + 1)
            new = [published(letter) for letter in letters]
            gone = dead_letters.unremoved(connection, PAGE_OF_IDS)
        if not new and not gone:
            return done
        reach("outbox.found")
        if new:
            publish(redis, new)
        if gone:
            remove(redis, gone)
        reach("outbox.published")
        _record(engine, new, gone)
        done += len(new) + len(gone)


def refresh() -> None:
    """For `store letters`: brings the DLQ up to date where Redis runs; else the next batch or load does it."""
    store, settings = StoreSettings.load(), WorkerSettings.load()
    if settings.redis_url is None and not private_server.is_running(store.home):
        return
    engine = database.existing(store)
    try:
        with tolerated():
            flush_outbox(connect(settings, store.home), engine)
    finally:
        engine.dispose()


def _record(engine: Engine, new: Sequence[Published | Rejected], gone: Sequence[str] = ()) -> None:
    """Notes that the DLQ has these letters, and those no more."""
    # A mark that a power cut takes back is made again, after the letter has been published again.
    with database.transaction(engine, "turn", lasting=False) as connection:
        if new:
            events = [letter.event_id for letter in new]
            dead_letters.record_published(
                connection, [letter.id for letter in new], events, timestamps.now_text()
            )
        if gone:
            dead_letters.record_removed(connection, gone)
    reach("outbox.marked")


def drift(redis: Redis, engine: Engine) -> tuple[set[str], set[str]]:
    """(open letters the DLQ lacks, ids on the DLQ that are no open letter)."""
    with database.reading(engine) as connection:
        opened = dead_letters.open_ids(connection)
    mirrored = ids(redis)
    return opened - mirrored, mirrored - opened


def check(repairing: bool) -> Law:
    """For `store check`: the DLQ against the table; with `repairing` it is made equal first."""
    from worker.dead_letters import mirror_check

    says = "the Redis DLQ holds the open dead letters, and nothing else"
    store, settings = StoreSettings.load(), WorkerSettings.load()
    if settings.redis_url is None and not private_server.is_running(store.home):
        return Law(says, [], unchecked="the private Redis is not running")
    engine = database.existing(store)
    try:
        with connect(settings, store.home) as redis:
            if repairing:
                mirror_check.repair(redis, engine)
                same_store.note(redis, store)
            found = mirror_check.confirmed(redis, engine)
    except QueueUnavailable as error:
        return Law(says, [], unchecked=str(error))
    except ResponseError as error:
        return Law(
            says, [f"the DLQ cannot be read ({error}): a worker renames keys of another type, then --repair"]
        )
    finally:
        engine.dispose()
    violations = found.sentences()
    if violations:
        violations.append("`store check --repair` makes the DLQ equal the table")
    waits = f"{found.waiting:,} letters wait to be published or removed: workers and loader do that"
    return Law(says, violations, waiting=waits if found.waiting else None)
