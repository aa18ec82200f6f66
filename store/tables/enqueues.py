"""`enqueues`: what was sent, a row a file or replay; written when it is all on the queue."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import Connection, select

from store import database
from store.database.schema import enqueues


@dataclass(frozen=True, slots=True)
class Enqueue:
    """One file or replay that was sent: its receipt."""

    kind: Literal["file", "replay"]
    source: str
    file: str
    format: str
    records: int
    bytes: int
    batches: int
    sent_batches: int
    known_batches: int  # processed before or on their way already: not sent again
    seconds: float
    waited_seconds: float  # of those, while the queue was full
    finished_at: str


def record(connection: Connection, enqueue: Enqueue) -> int:
    """Keeps a receipt; its number."""
    statement = enqueues.insert().values(asdict(enqueue)).returning(enqueues.c.seq)
    return int(connection.execute(statement).scalar_one())


def recent(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """The latest receipts, newest first."""
    rows = connection.execute(select(enqueues).order_by(enqueues.c.seq.desc()).limit(limit)).mappings()
    return [database.as_dict(row) for row in rows]
