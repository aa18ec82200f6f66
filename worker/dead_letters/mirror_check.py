"""Whether the Redis DLQ holds the open letters, and their envelopes say what the table says; and its repair.

Table and Redis cannot be read at one moment, and workers go on meanwhile. So what looks wrong is looked at again, after
pauses, and only what stays wrong while nobody touches the letter is a violation. What the table says is to be
published or removed yet is waiting, and no violation for the first minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple

import orjson
from redis import Redis
from sqlalchemy import Engine

from store import database, timestamps
from store.checks import outbox
from store.checks.outbox import Standing
from store.tables import dead_letters
from store.tables.dead_letters import DeadLetter
from store.text import printable
from worker.dead_letters import mirror
from worker.queue.client import translated

# Before a second, third and fourth look; longer than it takes to note what was published.
PAUSES = (0.2, 0.8, 2.5)
# Before one more look at what waits for long: a loader, which comes every five seconds, may just be on its way to it.
PAUSE_FOR_OVERDUE = 10.0
IDS_AT_ONCE = 500
ENVELOPES_AT_ONCE = 100  # they come with the ids, and each may have 16 Ki characters
NOT_THERE = (None, None)

Wrong = Literal["missing", "other", "strange", "overdue"]
SENTENCES: dict[Wrong, str] = {
    "missing": "letter {} is open, but not on the DLQ",
    "other": "the envelope of letter {} on the DLQ says something else than the table",
    "strange": "{} is on the DLQ, but no open letter",
    "overdue": "letter {} waits for more than a minute to be published or removed: no worker or loader does it",
}


class Suspect(NamedTuple):
    """What looks wrong with a letter, and how the letter stood then: equal ones in two looks confirm each other."""

    wrong: Wrong
    standing: Standing | None  # None: the table does not know it


@dataclass(frozen=True)
class Agreement:
    """What the table and the DLQ disagree about."""

    suspects: dict[str, Suspect] = field(default_factory=dict)
    waiting: int = 0  # letters that are to be published or removed yet

    def sentences(self) -> list[str]:
        return [
            SENTENCES[suspect.wrong].format(printable(id)) for id, suspect in sorted(self.suspects.items())
        ]

    def ids(self, *wrongs: Wrong) -> list[str]:
        return sorted(id for id, suspect in self.suspects.items() if suspect.wrong in wrongs)


def confirmed(redis: Redis, engine: Engine, sleep: Callable[[float], None] = time.sleep) -> Agreement:
    """What is wrong, and stays so in several looks. Raises QueueUnavailable, ResponseError."""
    suspects = look(redis, engine)
    for pause in (*PAUSES, PAUSE_FOR_OVERDUE):
        if not suspects:
            break
        if pause == PAUSE_FOR_OVERDUE and all(each.wrong != "overdue" for each in suspects.values()):
            break
        sleep(pause)
        again = look_again(redis, engine, list(suspects))
        suspects = {id: suspect for id, suspect in suspects.items() if again.get(id) == suspect}
    with database.reading(engine) as connection:
        return Agreement(suspects, outbox.waiting(connection))


def look(redis: Redis, engine: Engine) -> dict[str, Suspect]:
    """One look at all letters: what may be wrong, by id. The table is one snapshot, and is read before Redis."""
    suspects: dict[str, Suspect] = {}
    long_ago = outbox.long_ago()
    with database.reading(engine) as connection:
        for page in outbox.open_letters(connection, mirror.ENVELOPE_PAYLOAD + 1):
            suspects |= _judged(redis, page, long_ago)
        for leaving in outbox.to_be_removed(connection):
            suspects |= _overdue(leaving, long_ago)
        for some in _pieces(_all_ids(redis)):
            standings = outbox.standings(connection, some)
            for id in some:
                standing = standings.get(id)
                if standing is None or not (standing.is_open or standing.waits):
                    suspects[id] = Suspect("strange", standing)
    return suspects


def look_again(redis: Redis, engine: Engine, ids: Sequence[str]) -> dict[str, Suspect]:
    """As `look`, at these letters alone."""
    suspects: dict[str, Suspect] = {}
    long_ago = outbox.long_ago()
    for some in _pieces(ids):
        with database.reading(engine) as connection:
            standings = outbox.standings(connection, some)
            for page in outbox.open_letters(connection, mirror.ENVELOPE_PAYLOAD + 1, some):
                suspects |= _judged(redis, page, long_ago)
        suspects |= _overdue({id: each for id, each in standings.items() if not each.is_open}, long_ago)
        others = [
            id for id in some if id not in standings or not (standings[id].is_open or standings[id].waits)
        ]
        held = _held(redis, others)
        suspects |= {id: Suspect("strange", standings.get(id)) for id in others if held[id] != NOT_THERE}
    return suspects


def _judged(redis: Redis, page: Sequence[tuple[DeadLetter, Standing]], long_ago: str) -> dict[str, Suspect]:
    """What may be wrong with open letters."""
    suspects: dict[str, Suspect] = {}
    held = _held(redis, [letter.id for letter, standing in page if not standing.waits])
    for letter, standing in page:
        if standing.waits:
            if standing.waits_too_long(long_ago):
                suspects[letter.id] = Suspect("overdue", standing)
            continue
        score, envelope = held[letter.id]
        if score is None or envelope is None:
            suspects[letter.id] = Suspect("missing", standing)
        elif not _says(letter, score, envelope):
            suspects[letter.id] = Suspect("other", standing)
    return suspects


def _overdue(leaving: dict[str, Standing], long_ago: str) -> dict[str, Suspect]:
    return {
        id: Suspect("overdue", standing)
        for id, standing in leaving.items()
        if standing.waits_too_long(long_ago)
    }


def _says(letter: DeadLetter, score: float, envelope: bytes) -> bool:
    """Whether the DLQ says what the table says of a letter."""
    new = mirror.published(letter)
    if score != timestamps.from_text(new.first_seen_at).timestamp():
        return False
    if envelope == new.envelope:
        return True
    try:
        return bool(orjson.loads(envelope) == orjson.loads(new.envelope))
    except orjson.JSONDecodeError:  # somebody else wrote it
        return False


def _held(redis: Redis, ids: Sequence[str]) -> dict[str, tuple[float | None, bytes | None]]:
    """id -> (its time in the index, its envelope) on the DLQ, each None where it is not there."""
    if not ids:
        return {}
    members = [mirror.member(id) for id in ids]
    with translated(), redis.pipeline(transaction=True) as pipeline:
        pipeline.zmscore(mirror.INDEX_KEY, members)  # type: ignore[arg-type]
        pipeline.hmget(mirror.LETTERS_KEY, members)
        scores, envelopes = pipeline.execute()
    return dict(zip(ids, zip(scores, envelopes, strict=True), strict=True))


def _all_ids(redis: Redis) -> Iterator[str]:
    """The ids in the index, and those that have an envelope: both should be the same. Page by page, some twice."""
    with translated():
        for member, _ in redis.zscan_iter(mirror.INDEX_KEY, count=IDS_AT_ONCE):
            yield member.decode(errors="surrogateescape")
        for member, _ in redis.hscan_iter(mirror.LETTERS_KEY, count=ENVELOPES_AT_ONCE):
            yield member.decode(errors="surrogateescape")


def _pieces(ids: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while some := list(islice(rest, IDS_AT_ONCE)):
        yield some


def repair(redis: Redis, engine: Engine, sleep: Callable[[float], None] = time.sleep) -> int:
    """Makes the DLQ equal the open letters; how many it had to write or remove.

    What is on the DLQ and looks strange is removed while nobody can write the table, and only if no open letter has
    that id; so no letter is lost that a worker has just published.
    """
    found = confirmed(redis, engine, sleep)
    for some in _pieces(found.ids("strange")):
        with database.transaction(engine) as connection:
            standings = outbox.standings(connection, some)
            gone = [id for id in some if not (id in standings and standings[id].is_open)]
            if gone:
                mirror.remove(redis, gone)
                dead_letters.record_removed(connection, [id for id in gone if id in standings])
    with database.transaction(engine) as connection:
        outbox.publish_again(connection, found.ids("missing", "other"))
    mirror.flush_outbox(redis, engine)
    return len(found.suspects)
