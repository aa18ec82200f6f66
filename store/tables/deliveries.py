"""`deliveries`: one sending of a file, a stream or a replay; their numbers are the order of versions of one time.

The same content under the same contract and mapping is the same delivery, however often and in whatever cuts
it is sent. It is registered before its first batch is sent, and its receipt is written when all is on the queue.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, func, select, update

from store import database, hashing, timestamps
from store.database.schema import batches, deliveries


@dataclass(frozen=True, slots=True)
class Delivery:
    """What identifies a delivery."""

    id: str  # 32 hex digits
    kind: Literal["file", "stream", "replay"]
    source: str
    file: str
    content: str | None  # hash of the bytes and how they are read; None: not known beforehand
    fingerprint: str  # of the contract and mapping
    again: int = 0  # how often the same content was sent anew, on purpose, before

    @classmethod
    def of(
        cls,
        kind: Literal["file", "stream", "replay"],
        source: str,
        file: str,
        content: str,
        fingerprint: str,
        again: int = 0,
    ) -> Delivery:
        """The delivery with this content."""
        id = hashing.hexdigest(orjson.dumps([kind, source, content, fingerprint, again]))
        return cls(id, kind, source, file, content, fingerprint, again)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What sending a delivery to its end did."""

    format: str
    records: int
    bytes: int
    batches: int
    sent_batches: int
    known_batches: int  # processed before or on their way already: not sent again
    seconds: float
    waited_seconds: float  # of those, while the queue was full
    error: str | None = None  # why not all of it could be read


def begin(connection: Connection, delivery: Delivery) -> int:
    """The delivery's number; a new one where it is not known yet."""
    found = number(connection, delivery.id)
    if found is not None:
        return found
    values = {**asdict(delivery), "started_at": timestamps.now_text()}
    statement = database.insert(connection, deliveries).values(values)
    connection.execute(statement.on_conflict_do_nothing(index_elements=["id"]))
    seq = select(deliveries.c.seq).where(deliveries.c.id == delivery.id)
    return int(connection.execute(seq).scalar_one())


def number(connection: Connection, id: str) -> int | None:
    """A delivery's number; None where it is not known."""
    return connection.execute(select(deliveries.c.seq).where(deliveries.c.id == id)).scalar()


def finish(connection: Connection, id: str, receipt: Receipt) -> None:
    """Keeps the receipt of a delivery that was sent to its end, or as far as it could be.

    That of a part does not replace that of more.
    """
    values = {**asdict(receipt), "finished_at": timestamps.now_text()}
    statement = update(deliveries).where(deliveries.c.id == id)
    if receipt.error:
        less = func.coalesce(deliveries.c.records, 0) <= receipt.records
        statement = statement.where(less)
    connection.execute(statement.values(values))


def receipt(connection: Connection, id: str) -> Receipt | None:
    """The receipt of a delivery; None where there is none yet."""
    columns = [deliveries.c[each.name] for each in fields(Receipt)]
    row = connection.execute(select(*columns).where(deliveries.c.id == id)).one_or_none()
    return None if row is None or row.records is None else Receipt(*row)


def processed(connection: Connection, id: str) -> Receipt | None:
    """The receipt of a delivery that was read to its end, and all of whose records were received; else None."""
    found = receipt(connection, id)
    if found is None or found.error:
        return None
    of_it = (batches.c.delivery_seq == number(connection, id), batches.c.kind == "file")
    received = connection.execute(
        select(func.coalesce(func.sum(batches.c.received), 0)).where(*of_it)
    ).scalar()
    return found if received == found.records else None


def times_again(connection: Connection, source: str, content: str, fingerprint: str) -> int | None:
    """The greatest `again` of this content under this contract and mapping; None where it is new."""
    same = (
        deliveries.c.source == source,
        deliveries.c.content == content,
        deliveries.c.fingerprint == fingerprint,
    )
    return connection.execute(select(func.max(deliveries.c.again)).where(*same)).scalar()


def later_under_another(connection: Connection, delivery: Delivery) -> int | None:
    """The number of a later delivery of the same content under another contract or mapping, where there is one.

    Its records win over those of this one, which does not become later by being sent again.
    """
    own = number(connection, delivery.id)
    if own is None or delivery.content is None:
        return None
    same = (deliveries.c.source == delivery.source, deliveries.c.content == delivery.content)
    later = select(func.max(deliveries.c.seq)).where(*same, deliveries.c.seq > own)
    return connection.execute(later.where(deliveries.c.fingerprint != delivery.fingerprint)).scalar()


def recent(connection: Connection, limit: int, before: int | None = None) -> list[dict[str, Any]]:
    """The latest deliveries, or those before one, newest first."""
    statement = select(deliveries).order_by(deliveries.c.seq.desc()).limit(limit)
    if before is not None:
        statement = statement.where(deliveries.c.seq < before)
    return [database.as_dict(row) for row in connection.execute(statement).mappings()]
