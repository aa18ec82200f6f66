"""Batches that arrive when a test says, and the store's commands over them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from store import database, hashing, timestamps
from store.cli import app
from store.database import schema
from store.database.schema import staged_id
from store.tables import deliveries, staging, watermarks
from tests.integration.store.conftest import Ledger, a_delivery

HOUR = timedelta(hours=1)
NOON = "2025-01-15T12:00:00.000000Z"


def at(clock: str, day: str = "2025-01-15") -> str:
    """`12:05` of a day, as stored text."""
    return f"{day}T{clock}:00.000000Z"


def ago(**span: float) -> str:
    return timestamps.to_text(datetime.now(UTC) - timedelta(**span))


class Timeline:
    """A store to which batches come at given times."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.engine = ledger.engine
        self._batches = 0

    def arrive(
        self, times: Sequence[str], *, processed_at: str | None = None, source: str = "shop", **counters: Any
    ) -> None:
        """One batch of records with these event times, each of a key of its own, staged."""
        self._batches += 1
        with database.transaction(self.engine) as connection:
            before = watermarks.stored(connection).get(source)
            values = {
                "id": f"{source}-{self._batches}", "kind": "file", "source": source, "file": "a.json", "first_line": 1,
                "last_line": 1, "first_record": 0, "fingerprint": "f", "received": len(times), "staged": len(times),
                "delivery_seq": deliveries.begin(connection, a_delivery(source=source)), "rejected": 0, "skipped": 0,
                "late": 0, "stale": 0, "reasons": "{}", "seconds": "{}",
                "stages_run": "[]", "watermark_before": before, "processed_at": processed_at or timestamps.now_text(),
            } | counters  # fmt: skip
            statement = schema.batches.insert().values(values).returning(schema.batches.c.seq)
            number = connection.execute(statement).scalar_one()
            rows = [self._row(source, number, position, ts) for position, ts in enumerate(times)]
            staging.add(connection, staging.PLAIN_COLUMNS, rows)

    def _row(self, source: str, number: int, position: int, ts: str) -> tuple[Any, ...]:
        key = f"{source}-{number}-{position}"
        return staged_id(number, position), source, key, ts, hashing.digest(key.encode()), 1

    def load(self) -> int:
        return self.ledger.load()

    def arrive_and_load(self, *times: str, **options: Any) -> None:
        self.arrive(times, **options)
        self.load()

    def stored(self) -> dict[str, str]:
        with database.reading(self.engine) as connection:
            return watermarks.stored(connection)


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ended]


def commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `store` in this process, as its entry point does."""

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["store", *arguments])
        capsys.readouterr()
        try:
            app.main()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code
        return Ended(code or 0, *capsys.readouterr())

    return run
