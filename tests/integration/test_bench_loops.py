"""The loops that Sluice is measured beside: each does the same typed work for its shape of records."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from store.csv_reader import Dialect
from store.tables.deliveries import Delivery
from worker.contract import load_contract
from worker.judge.stages import judge_batch, judge_for
from worker.queue.message import Message
from worker.settings import SourceSettings, WorkerSettings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
COUNT = 1000


def accepted(lines: list[str], shape: Any) -> dict[str, tuple[Any, ...]]:
    """key -> what Sluice stores of the newest record: the contract's columns and the time."""
    contract = load_contract(WorkerSettings.model_construct(contract=shape.model, extra=None))
    judge = judge_for(contract, SourceSettings(**shape.source()), timedelta(hours=1))
    header = lines.pop(0).split(",") if shape.format == "csv" else None
    delivery = Delivery("d", "file", "s", "f", None, "x")
    message = Message(
        "ab" * 16, "file", delivery, 0, "s", "f", shape.format, header, Dialect(), list(lines),
        range(1, len(lines) + 1), "x", [], 1,
    )  # fmt: skip
    judged = judge_batch(message, judge, None, NOW)
    assert judged.bad
    newest: dict[str, tuple[Any, ...]] = {}
    for each in judged.valid:
        record = each.record
        held = newest.get(record.key)
        if held is None or record.ts > held[-1]:
            newest[record.key] = (*record.values, record.ts)
    return newest


@pytest.mark.parametrize("name", ["plain", "csv", "mapped", "own contract"])
def test_the_loop_of_a_shape_keeps_what_sluice_keeps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import generate
    import loop
    import shapes

    shape = shapes.MEASURED[name]
    file = generate.write(tmp_path / f"records{shape.suffix}", COUNT, shape=shape)
    cost = loop.bare_loop(file, tmp_path / "loop.db", name)
    with closing(sqlite3.connect(tmp_path / "loop.db")) as connection:
        rows = connection.execute("SELECT * FROM target").fetchall()
    found = {
        key: (*values, datetime.fromisoformat(ts).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
        for key, *values, ts in rows
    }
    assert found == accepted(file.read_text().splitlines(), shape)
    assert COUNT * 0.9 < len(found) < COUNT
    assert cost.seconds > 0
