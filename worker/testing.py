"""For tests of a contract, which users write: what a record is rejected for, judged as a worker judges it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from store.csv_reader import Dialect
from store.tables.deliveries import Delivery
from worker.contract import load_contract
from worker.judge.stages import Judge, judge_batch, judge_for
from worker.queue.message import Message, Opaque, RawRecord
from worker.settings import WorkerSettings


def faults(
    record: str | bytes, source: str, *, csv: Mapping[str, Any] | None = None, at: str | None = None
) -> list[tuple[str, str]]:
    """(field, rule) of each fault of a raw record; none where the contract and the mapping of its source accept it.

    `record`: text as it stands in its file, or bytes that do not decode. `csv`: the `columns` of its file, and what of
    its dialect is not the default. `at`: when it is judged, ISO 8601; now by itself.
    """
    judge = _judge(source)
    now = datetime.fromisoformat(at) if at else datetime.now(UTC)
    judged = judge_batch(_message(record, source, judge.fingerprint, csv), judge, None, now)
    return [(each.field or "", each.rule or each.reason) for bad in judged.bad for each in bad.faults]


def _judge(source: str) -> Judge:
    settings = WorkerSettings.load()
    return judge_for(load_contract(settings), settings.source(source), settings.max_future_skew)


def _message(record: str | bytes, source: str, fingerprint: str, csv: Mapping[str, Any] | None) -> Message:
    """A batch of this record alone."""
    given = dict(csv or {})
    columns = given.pop("columns", None)
    raw: RawRecord = record if isinstance(record, str) else Opaque(record, len(record), None)
    return Message(
        id="test",
        kind="file",
        delivery=Delivery.of("file", source, "test", "test", fingerprint),
        first=0,
        source=source,
        file="test",
        format="json" if columns is None else "csv",
        header=columns,
        dialect=Dialect(**given),
        records=[raw],
        lines=[1],
        fingerprint=fingerprint,
        letters=[],
        size=len(record),
    )
