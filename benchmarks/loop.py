"""The script one would have written instead, for each shape of records: validate each, upsert in transactions of 5,000.

It does the same typed work: the same contract validates, the same columns are filled, and of a key the newest wins.
It has no queue, no dead letters, no lineage, and forgets what it rejects.
"""

from __future__ import annotations

import csv
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import orjson
from orders import Order

from worker.contract import Event

BATCH = 5000

Rows = Iterator[tuple[Any, ...]]


class Cost(NamedTuple):
    """What reading a file into a table took."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Loop:
    """One shape's loop: the columns of its table, and the rows that it reads from a file."""

    columns: dict[str, str]  # name -> type, without key and ts
    rows: Callable[[TextIO], Rows]

    @property
    def create(self) -> str:
        typed = "".join(f"{name} {kind}, " for name, kind in self.columns.items())
        return f"CREATE TABLE target (key TEXT PRIMARY KEY, {typed}ts TEXT)"

    @property
    def upsert(self) -> str:
        names = [*self.columns, "ts"]
        marks = ", ".join("?" * (len(names) + 1))
        changed = ", ".join(f"{name} = excluded.{name}" for name in names)
        return (
            f"INSERT INTO target VALUES ({marks}) ON CONFLICT (key) DO UPDATE SET {changed} "  # noqa: S608
            "WHERE excluded.ts > target.ts"
        )


def bare_loop(file: Path, database: Path, shape: str = "plain") -> Cost:
    """Reads a file of a shape into a new table."""
    loop = LOOPS[shape]
    with closing(sqlite3.connect(database)) as connection, file.open(newline="") as lines:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(loop.create)
        started, cpu_started = time.perf_counter(), time.process_time()
        rows = loop.rows(lines)
        while batch := list(islice(rows, BATCH)):
            with connection:
                connection.executemany(loop.upsert, batch)
        return Cost(time.perf_counter() - started, time.process_time() - cpu_started)


def plain(lines: TextIO) -> Rows:
    for line in lines:
        try:
            event = Event.model_validate_json(line)
        except ValueError:
            continue
        yield event.key, event.name, event.value, event.ts.isoformat()


def csv_rows(lines: TextIO) -> Rows:
    reader = csv.reader(lines)
    header = next(reader)
    for cells in reader:
        try:
            event = Event.model_validate(dict(zip(header, cells, strict=True)))
        except ValueError:
            continue
        yield event.key, event.name, event.value, event.ts.isoformat()


def mapped(lines: TextIO) -> Rows:
    for line in lines:
        try:
            raw = orjson.loads(line)
            properties = raw["properties"]
            event = Event(
                key=raw["id"], name=properties["place"], value=properties["mag"], ts=properties["time"]
            )
        except (ValueError, LookupError, TypeError):
            continue
        yield event.key, event.name, event.value, event.ts.isoformat()


def orders(lines: TextIO) -> Rows:
    for line in lines:
        try:
            order = Order.model_validate_json(line)
        except ValueError:
            continue
        yield (
            order.key, float(order.amount), order.currency, order.status.value, order.day.isoformat(), order.count,
            order.note, order.ts.isoformat(),
        )  # fmt: skip


EVENT_COLUMNS = {"name": "TEXT", "value": "REAL"}
ORDER_COLUMNS = {
    "amount": "REAL", "currency": "TEXT", "status": "TEXT", "day": "TEXT", "count": "INTEGER", "note": "TEXT",
}  # fmt: skip
LOOPS = {
    "plain": Loop(EVENT_COLUMNS, plain),
    "csv": Loop(EVENT_COLUMNS, csv_rows),
    "mapped": Loop(EVENT_COLUMNS, mapped),
    "own contract": Loop(ORDER_COLUMNS, orders),
}
