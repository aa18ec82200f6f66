"""`dead_letters`: rejected payloads, one row for each distinct one per source, with its reasons.

Their states change in `store.dead_letters.states` alone.

The table is the truth; the Redis DLQ mirrors its open rows. `published_at` tells whether the mirror has
this one, so what a crash left undone is found here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import orjson
from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, select, update

from store import database
from store.database.letters import OPEN, PARKED, UNPUBLISHED, UNREMOVED, dead_letters, letter_groups
from store.payload import Encoding, to_bytes


class DeadLetter(NamedTuple):
    """A rejection kept. To make a frozen dataclass of so many fields takes 20 µs, ten times as long."""

    id: str
    source: str
    status: Literal["open", "replaying", "parked", "resolved", "discarded"]
    reason: str  # the primary one of its first rejection
    errors: list[dict[str, str]]  # all of them: reason, field, rule, message, shape of the value
    group_id: str
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
    action_seq: int | None  # the action that sends it back
    occurrences: int
    replays: int
    first_seen_at: str
    last_seen_at: str
    resolved_at: str | None

    @property
    def raw(self) -> bytes:
        """The payload's bytes."""
        return to_bytes(self.payload, self.encoding)


class Sendable(Protocol):
    """What is needed of a letter to send it back, however much of it was read."""

    @property
    def id(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def payload(self) -> str: ...
    @property
    def encoding(self) -> Encoding: ...
    @property
    def size(self) -> int: ...
    @property
    def payload_digest(self) -> str | None: ...
    @property
    def format(self) -> Literal["json", "csv"]: ...
    @property
    def header(self) -> dict[str, Any] | None: ...
    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def event_id(self) -> int: ...
    @property
    def raw(self) -> bytes: ...


class Rejected(NamedTuple):
    """One rejection to keep; the columns of `dead_letters` that a batch decides."""

    id: str
    source: str
    reason: str
    errors: str
    group_id: str
    fingerprint: str  # of the contract and mapping; the group has it
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


COLUMNS = [dead_letters.c[name] for name in DeadLetter._fields]
AFTER_ALL_DIGITS = "g"  # ids are hex digits
ERRORS, HEADER = map(DeadLetter._fields.index, ("errors", "header"))


def versions(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
    """id -> the version that the record of this letter has when it is sent back unedited."""
    condition = database.member_of(connection, dead_letters.c.id, ids)
    rows = connection.execute(select(dead_letters.c.id, dead_letters.c.version).where(condition))
    return {id: version for id, version in rows}


def select_letters(
    connection: Connection,
    *,
    status: str | None = "open",
    ids: Sequence[str] = (),
    groups: Sequence[str] = (),
    reasons: Sequence[str] = (),
    source: str | None = None,
    limit: int | None = None,
) -> list[DeadLetter]:
    """Letters that match all that is given, in the order they were first seen."""
    matching = conditions(connection, status=status, ids=ids, groups=groups, reasons=reasons, source=source)
    return select_matching(connection, matching, limit)


def select_matching(
    connection: Connection, matching: Sequence[ColumnElement[bool]], limit: int | None = None
) -> list[DeadLetter]:
    """Letters that meet these conditions, in the order they were first seen."""
    statement = select(*COLUMNS).where(*matching).order_by(dead_letters.c.first_seen_at, dead_letters.c.id)
    return [letter_of(row) for row in connection.execute(statement.limit(limit)).mappings()]


def count(connection: Connection, matching: Sequence[ColumnElement[bool]]) -> int:
    """How many letters meet these conditions."""
    return connection.execute(select(func.count()).select_from(dead_letters).where(*matching)).scalar_one()


def conditions(
    connection: Connection,
    *,
    status: str | None = None,
    ids: Sequence[str] = (),
    groups: Sequence[str] = (),
    reasons: Sequence[str] = (),
    source: str | None = None,
) -> list[ColumnElement[bool]]:
    """What letters must meet that match all that is given."""
    matching: list[ColumnElement[bool]] = []
    if status:
        matching.append(dead_letters.c.status == status)
    if ids:
        matching.append(database.member_of(connection, dead_letters.c.id, ids))
    if groups:
        matching.append(database.member_of(connection, dead_letters.c.group_id, groups))
    if reasons:
        matching.append(database.member_of(connection, dead_letters.c.reason, reasons))
    if source:
        matching.append(dead_letters.c.source == source)
    return matching


def begins(id: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """Whether an id begins so. The range as well: for LIKE, SQLite reads every id, 0.1 s of a million."""
    digits = prefix.lower()
    return and_(id >= digits, id < digits + AFTER_ALL_DIGITS, id.startswith(digits, autoescape=True))


def ids_that_begin(connection: Connection, prefix: str, limit: int = 10) -> list[str]:
    """Ids of letters by their first digits, as tables show them."""
    id = dead_letters.c.id
    statement = select(id).where(begins(id, prefix)).order_by(id)
    return list(connection.execute(statement.limit(limit)).scalars())


def letter_of(row: Any) -> DeadLetter:
    """A letter from a row with these `COLUMNS`."""
    return letter_of_values([row[name] for name in DeadLetter._fields])


def letter_of_values(values: Sequence[Any]) -> DeadLetter:
    """A letter from the values of these `COLUMNS`, in their order: without names, it takes half as long."""
    row = list(values)
    row[ERRORS] = orjson.loads(row[ERRORS])
    row[HEADER] = orjson.loads(row[HEADER]) if row[HEADER] else None
    return DeadLetter._make(row)


def heads(connection: Connection, source: str, characters: int) -> tuple[set[str], bool]:
    """How the payloads of a source's open and parked letters begin; and whether some of them are no text."""
    group = letter_groups.c
    groups = select(group.id).where(group.source == source, group.open + group.parked > 0)
    columns = (func.substr(dead_letters.c.payload, 1, characters), dead_letters.c.encoding)
    statement = select(*columns).where(
        dead_letters.c.group_id.in_(groups), dead_letters.c.status.in_((OPEN, PARKED))
    )
    rows = connection.execute(statement.distinct()).all()
    return {head for head, encoding in rows if encoding == "utf-8"}, any(row[1] != "utf-8" for row in rows)


def unpublished(connection: Connection, limit: int, characters: int = -1) -> list[DeadLetter]:
    """Open letters that the Redis DLQ does not have yet; of their payloads no more than so many characters."""
    columns: list[ColumnElement[Any]] = [*COLUMNS]
    if characters >= 0:  # a payload may be a megabyte long, and a page has hundreds
        position = COLUMNS.index(dead_letters.c.payload)
        columns[position] = func.substr(dead_letters.c.payload, 1, characters).label("payload")
    rows = connection.execute(select(*columns).where(UNPUBLISHED).limit(limit)).mappings()
    return [letter_of(row) for row in rows]


def unremoved(connection: Connection, limit: int) -> list[str]:
    """Ids of letters that are not open and that the Redis DLQ may still have."""
    return list(connection.execute(select(dead_letters.c.id).where(UNREMOVED).limit(limit)).scalars().all())


def record_published(connection: Connection, ids: Sequence[str], events: Sequence[int], at: str) -> None:
    """The Redis DLQ has these letters since `at`, each as its `reject` entry among `events` left it.

    One that was rejected again meanwhile stays to be published; one that is not open any more is to be removed.
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


def oldest_open(connection: Connection, source: str | None = None) -> str | None:
    """When the open letter that has waited longest was first seen; None where none is open."""
    first = select(dead_letters.c.first_seen_at).where(dead_letters.c.status == "open")
    if source:
        first = first.where(dead_letters.c.source == source)
    return connection.execute(first.order_by(dead_letters.c.first_seen_at).limit(1)).scalar()
