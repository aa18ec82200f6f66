"""`dead_letters`: rejected payloads, one row for each distinct one per source, with its reasons.

    rejected --> open --(replay accepted)--> resolved --(rejected again, in a later record)--> open

The table is the truth; the Redis DLQ mirrors its open rows. `published_at` tells whether the mirror has
this one, so what a crash left undone is found here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, not_, or_, select, update

from store import database
from store.database.schema import UNPUBLISHED, UNREMOVED, dead_letters
from store.payload import Encoding, to_bytes


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejection kept."""

    id: str
    source: str
    status: Literal["open", "resolved"]
    reason: str  # the primary one
    errors: list[dict[str, str]]  # all of them: reason, field, message
    payload: str  # as received, in `encoding`; its first 4 KiB where it was too large to keep
    encoding: Encoding
    size: int  # bytes of the whole record
    payload_digest: str | None  # BLAKE2b-128 of the whole record where only its head is kept
    format: Literal["json", "csv"]
    header: dict[str, Any] | None  # CSV: `columns`, and the dialect
    record_key: str | None
    file: str
    line: int
    event_id: int
    occurrences: int
    replays: int
    first_seen_at: str
    last_seen_at: str
    resolved_at: str | None

    @property
    def raw(self) -> bytes:
        """The payload's bytes."""
        return to_bytes(self.payload, self.encoding)


class Rejected(NamedTuple):
    """One rejection to keep; the columns of `dead_letters` that a batch decides."""

    id: str
    source: str
    reason: str
    errors: str
    payload: str
    encoding: str
    size: int
    payload_digest: str | None
    format: str
    header: str | None
    content: str
    record_key: str | None
    file: str
    line: int
    batch_seq: int
    version: int  # of deliveries and their records: see store.load.chunk
    event_id: int
    seen_at: str


# Rejected once more; what the mirror has is out of date.
AGAIN = (
    update(dead_letters)
    .where(dead_letters.c.id == bindparam("letter"))
    .values(occurrences=dead_letters.c.occurrences + 1, published_at=None)
)
# From a file, and not sent back: its latest version counts, and reopens a resolved letter. One that is not later was
# resolved with the others: the same delivery in other batches changes nothing.
IS_LATER = dead_letters.c.version < bindparam("seen_version")
AGAIN_FROM_FILE = AGAIN.values(
    version=case((IS_LATER, bindparam("seen_version")), else_=dead_letters.c.version),
    status=case((IS_LATER, "open"), else_=dead_letters.c.status),
    resolved_at=case((IS_LATER, None), else_=dead_letters.c.resolved_at),
    published_at=case(
        (or_(IS_LATER, dead_letters.c.status == "open"), None), else_=dead_letters.c.published_at
    ),
)

COLUMNS = [dead_letters.c[name] for name in DeadLetter.__dataclass_fields__]


def keep(connection: Connection, rejected: Sequence[Rejected]) -> list[Rejected]:
    """Adds rejections; the same payload again raises `occurrences`, and reopens a resolved letter if it is a later one.

    Returns those that were seen for the first time, and once: what the table holds of them.

    The known ones are told apart first: for an upsert SQLite would keep a copy of every page it touches, row
    by row, and rejecting would cost several times what it does.
    """
    new: dict[str, Rejected] = {}
    again: list[Rejected] = []
    known = _known(connection, [row.id for row in rejected])
    for row in rejected:
        if row.id in known or row.id in new:
            again.append(row)
        else:
            new[row.id] = row
    names = [name for name in Rejected._fields if name != "seen_at"]
    columns = [*names, "first_seen_at", "last_seen_at", "status", "occurrences", "replays"]
    rows = [(*row, row.seen_at, "open", 1, 0) for row in new.values()]
    database.insert_tuples(connection, dead_letters, columns, rows)
    if again:
        connection.execute(AGAIN_FROM_FILE, [_as_again(row) | {"seen_version": row.version} for row in again])
    repeated = {row.id for row in again}
    return [row for row in new.values() if row.id not in repeated]


def _known(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the ids that have a letter."""
    if not ids:
        return set()
    condition = database.member_of(connection, dead_letters.c.id, ids)
    return set(connection.execute(select(dead_letters.c.id).where(condition)).scalars())


def versions(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """id -> the version that the record of this letter has when it is sent back unedited."""
    condition = database.member_of(connection, dead_letters.c.id, ids)
    rows = connection.execute(select(dead_letters.c.id, dead_letters.c.version).where(condition))
    return {id: version for id, version in rows}


def replayed(connection: Connection, ids: Iterable[str]) -> None:
    """Counts one more replay of each of these letters."""
    condition = database.member_of(connection, dead_letters.c.id, list(ids))
    connection.execute(update(dead_letters).where(condition).values(replays=dead_letters.c.replays + 1))


def reject_again(connection: Connection, rows: Sequence[Rejected]) -> None:
    """Replays of these letters were rejected: they stay open, with what is wrong now."""
    if rows:
        connection.execute(AGAIN, [_as_again(row) for row in rows])


def _as_again(row: Rejected) -> dict[str, Any]:
    """What another rejection of a letter changes in it."""
    return {
        "letter": row.id,
        "reason": row.reason,
        "errors": row.errors,
        "batch_seq": row.batch_seq,
        "event_id": row.event_id,
        "last_seen_at": row.seen_at,
    }


def resolve(connection: Connection, ids: Iterable[str], at: str) -> None:
    """Closes letters whose replay was accepted."""
    condition = database.member_of(connection, dead_letters.c.id, list(ids))
    connection.execute(update(dead_letters).where(condition).values(status="resolved", resolved_at=at))


def select_letters(
    connection: Connection,
    *,
    status: str | None = "open",
    ids: Sequence[str] = (),
    reasons: Sequence[str] = (),
    source: str | None = None,
    limit: int | None = None,
) -> list[DeadLetter]:
    """Letters that match all that is given, in the order they were first seen."""
    matching = _matching(connection, status, ids, reasons, source)
    statement = select(*COLUMNS).where(*matching).order_by(dead_letters.c.first_seen_at, dead_letters.c.id)
    return [letter_of(row) for row in connection.execute(statement.limit(limit)).mappings()]


def count(
    connection: Connection,
    *,
    status: str | None = "open",
    reasons: Sequence[str] = (),
    source: str | None = None,
) -> int:
    """How many letters match all that is given."""
    matching = _matching(connection, status, (), reasons, source)
    return connection.execute(select(func.count()).select_from(dead_letters).where(*matching)).scalar_one()


def _matching(
    connection: Connection,
    status: str | None,
    ids: Sequence[str],
    reasons: Sequence[str],
    source: str | None,
) -> list[ColumnElement[bool]]:
    matching: list[ColumnElement[bool]] = []
    if status:
        matching.append(dead_letters.c.status == status)
    if ids:
        matching.append(database.member_of(connection, dead_letters.c.id, ids))
    if reasons:
        matching.append(database.member_of(connection, dead_letters.c.reason, reasons))
    if source:
        matching.append(dead_letters.c.source == source)
    return matching


def ids_that_begin(connection: Connection, prefix: str, limit: int = 10) -> list[str]:
    """Ids of letters by their first digits, as tables show them."""
    condition = dead_letters.c.id.startswith(prefix, autoescape=True)
    statement = select(dead_letters.c.id).where(condition).order_by(dead_letters.c.id)
    return list(connection.execute(statement.limit(limit)).scalars())


def letter_of(row: Any) -> DeadLetter:
    values = dict(row)
    values["errors"] = orjson.loads(row["errors"])
    values["header"] = orjson.loads(row["header"]) if row["header"] else None
    return DeadLetter(**values)


def unpublished(connection: Connection, limit: int, characters: int = -1) -> list[DeadLetter]:
    """Open letters that the Redis DLQ does not have yet; of their payloads no more than so many characters."""
    columns: list[ColumnElement[Any]] = [*COLUMNS]
    if characters >= 0:  # a payload may be a megabyte long, and a page has hundreds
        position = COLUMNS.index(dead_letters.c.payload)
        columns[position] = func.substr(dead_letters.c.payload, 1, characters).label("payload")
    rows = connection.execute(select(*columns).where(UNPUBLISHED).limit(limit)).mappings()
    return [letter_of(row) for row in rows]


def unremoved(connection: Connection, limit: int) -> list[str]:
    """Ids of resolved letters that the Redis DLQ still has."""
    return list(connection.execute(select(dead_letters.c.id).where(UNREMOVED).limit(limit)).scalars())


def record_published(connection: Connection, ids: Sequence[str], events: Sequence[int], at: str) -> None:
    """The Redis DLQ has these letters since `at`, each as its `reject` entry among `events` left it.

    One that was rejected again meanwhile stays to be published; one that was resolved is to be removed.
    """
    moved_on = and_(
        dead_letters.c.status == "open", not_(database.member_of(connection, dead_letters.c.event_id, events))
    )
    condition = database.member_of(connection, dead_letters.c.id, ids)
    connection.execute(
        update(dead_letters).where(condition).values(published_at=case((moved_on, None), else_=at))
    )


def record_removed(connection: Connection, ids: Sequence[str]) -> None:
    """The Redis DLQ has these letters no more; those that are open are to be published."""
    condition = database.member_of(connection, dead_letters.c.id, ids)
    connection.execute(update(dead_letters).where(condition).values(published_at=None))


def open_ids(connection: Connection) -> set[str]:
    """Ids of all open letters."""
    return set(connection.execute(select(dead_letters.c.id).where(dead_letters.c.status == "open")).scalars())


def count_open(connection: Connection) -> int:
    """How many letters are open."""
    statement = select(func.count()).select_from(dead_letters).where(dead_letters.c.status == "open")
    return connection.execute(statement).scalar_one()


def counts_by_reason(connection: Connection) -> dict[str, int]:
    """reason -> open letters."""
    statement = select(dead_letters.c.reason, func.count()).where(dead_letters.c.status == "open")
    rows = connection.execute(statement.group_by(dead_letters.c.reason).order_by(func.count().desc()))
    return {reason: number for reason, number in rows}


def counts_by_source(connection: Connection) -> dict[str, int]:
    """source -> open letters."""
    statement = select(dead_letters.c.source, func.count()).where(dead_letters.c.status == "open")
    return {
        source: number for source, number in connection.execute(statement.group_by(dead_letters.c.source))
    }
