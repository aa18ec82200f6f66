"""The Redis DLQ: a mirror of the open dead letters, for consumers and alerts. The table is the truth.

`sluice:dlq` is a sorted set of letter ids by the time they were first seen (seconds since 1970);
`sluice:dlq:letters` a hash of id -> envelope (JSON). Writing is idempotent: a letter is keyed by its id.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from redis import Redis
from sqlalchemy import Engine

from store import database, dead_letters, timestamps
from store.accounting import Law
from store.crash_points import reach
from store.dead_letters import DeadLetter
from store.errors import QueueUnavailable
from store.settings import StoreSettings
from worker import embedded_redis
from worker.broker import connect, translated
from worker.settings import WorkerSettings

INDEX_KEY = "sluice:dlq"
LETTERS_KEY = "sluice:dlq:letters"
ENVELOPE_PAYLOAD = 16 * 1024  # characters; the table has all of it
ENVELOPE_FIELDS = [
    name for name in DeadLetter.__dataclass_fields__ if name not in ("status", "resolved_at", "event_id")
]
PAGE = 500


def envelope(letter: DeadLetter) -> bytes:
    """A letter as consumers get it: reasons, origin, and its payload up to 16 Ki characters."""
    body = {name: getattr(letter, name) for name in ENVELOPE_FIELDS}
    body["payload"] = letter.payload[:ENVELOPE_PAYLOAD]
    body["payload_complete"] = len(letter.payload) <= ENVELOPE_PAYLOAD and letter.payload_digest is None
    return orjson.dumps(body)


def publish(redis: Redis, letters: Sequence[DeadLetter]) -> None:
    """Writes letters to the DLQ; those already there are written over."""
    with translated(), redis.pipeline(transaction=True) as pipeline:
        seen = {letter.id: timestamps.from_text(letter.first_seen_at).timestamp() for letter in letters}
        pipeline.zadd(INDEX_KEY, seen)
        pipeline.hset(LETTERS_KEY, mapping={letter.id: envelope(letter) for letter in letters})
        pipeline.execute()


def remove(redis: Redis, ids: Sequence[str]) -> None:
    """Takes letters off the DLQ; those not there are no error."""
    with translated(), redis.pipeline(transaction=True) as pipeline:
        pipeline.zrem(INDEX_KEY, *ids)
        pipeline.hdel(LETTERS_KEY, *ids)
        pipeline.execute()


def ids(redis: Redis) -> set[str]:
    """Ids of the letters on the DLQ."""
    with translated():
        members: list[bytes] = redis.zrange(INDEX_KEY, 0, -1)  # type: ignore[assignment]
        return {id.decode() for id in members}


def count(redis: Redis) -> int:
    """How many letters are on the DLQ."""
    with translated():
        return int(redis.zcard(INDEX_KEY))


def flush_outbox(redis: Redis, engine: Engine) -> int:
    """Brings the DLQ up to date with the table: what a commit, or a crash after one, left to do; how many.

    First Redis, then the mark: a crash in between does the same again, to no effect.
    """
    done = 0
    while True:
        with database.reading(engine) as connection:
            new = dead_letters.unpublished(connection, PAGE)
            gone = dead_letters.unremoved(connection, PAGE)
        if not new and not gone:
            return done
        reach("outbox.found")
        if new:
            publish(redis, new)
        if gone:
            remove(redis, gone)
        reach("outbox.published")
        # A mark that a power cut takes back is made again, after the letter has been published again.
        with database.transaction(engine, lasting=False) as connection:
            dead_letters.mark_published(connection, [letter.id for letter in new], timestamps.now_text())
            dead_letters.mark_published(connection, gone, None)
        reach("outbox.marked")
        done += len(new) + len(gone)


def drift(redis: Redis, engine: Engine) -> tuple[set[str], set[str]]:
    """(open letters the DLQ lacks, ids on the DLQ that are no open letter)."""
    with database.reading(engine) as connection:
        opened = dead_letters.open_ids(connection)
    mirrored = ids(redis)
    return opened - mirrored, mirrored - opened


def check(repairing: bool) -> Law:
    """For `store check`: the DLQ against the table; with `repairing` it is made equal first."""
    says = "the Redis DLQ holds the open dead letters, and nothing else"
    store, settings = StoreSettings.load(), WorkerSettings.load()
    if settings.redis_url is None and not embedded_redis.is_running(store.home):
        return Law(says, [], unchecked="the private Redis is not running")
    try:
        redis = connect(settings, store.home)
    except QueueUnavailable as error:
        return Law(says, [], unchecked=str(error))
    engine = database.existing(store)
    if repairing:
        repair(redis, engine)
    lacking, strange = drift(redis, engine)
    engine.dispose()
    redis.close()
    found = [f"letter {id} is open, but not on the DLQ" for id in sorted(lacking)]
    found += [f"{id} is on the DLQ, but no open letter" for id in sorted(strange)]
    if found:
        found.append("`store check --repair` makes the DLQ equal the table")
    return Law(says, found)


def repair(redis: Redis, engine: Engine) -> int:
    """Makes the DLQ equal the open letters; how many it had to write or remove."""
    lacking, strange = drift(redis, engine)
    if strange:
        remove(redis, sorted(strange))
    with database.transaction(engine) as connection:
        dead_letters.mark_published(connection, sorted(lacking), None)
    flush_outbox(redis, engine)
    return len(lacking) + len(strange)
