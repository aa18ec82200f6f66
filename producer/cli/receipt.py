"""What sending one file, or the letters of one source, did; kept beside what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import Engine

from store import database, timestamps
from store.tables import enqueues
from worker.queue.send import Sent


@dataclass(frozen=True)
class Receipt:
    """What was sent of one source."""

    file: str
    source: str
    format: str
    records: int
    batches: int
    sent_batches: int
    known_batches: int  # processed before, or on their way already
    bytes: int
    seconds: float
    waited_seconds: float  # of those, while the queue was full
    ids: list[str]

    @classmethod
    def of(cls, sent: Sent, *, file: str, source: str, format: str, bytes: int, seconds: float) -> Receipt:
        return cls(
            file=file,
            source=source,
            format=format,
            records=sent.records,
            batches=len(sent.ids),
            sent_batches=sent.sent,
            known_batches=sent.known,
            bytes=bytes,
            seconds=round(seconds, 3),
            waited_seconds=round(sent.waited_seconds, 3),
            ids=sent.ids,
        )

    @property
    def facts(self) -> dict[str, Any]:
        """All but the ids, of which there may be many."""
        return {name: value for name, value in asdict(self).items() if name != "ids"}


def keep(engine: Engine, receipt: Receipt, kind: Literal["file", "replay"]) -> None:
    """Into the store; `store runs --detail` shows it."""
    row = enqueues.Enqueue(kind=kind, finished_at=timestamps.now_text(), **receipt.facts)
    with database.transaction(engine) as connection:
        enqueues.record(connection, row)
