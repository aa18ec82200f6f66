"""The shapes of records that people have: what makes records of each, and the settings that Sluice reads them by.

`bench.py` measures MEASURED from file to target, each beside the loop of `loop.py` for the same shape; `judge.py`
measures all of them without queue and database.
"""

from __future__ import annotations

import csv
import io
import random
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

import orjson

START = datetime(2025, 1, 1, tzinfo=UTC)
STATUSES = ("open", "paid", "shipped")

Raw = dict[str, Any]
Maker = Callable[[random.Random, int], Raw]


def event(chance: random.Random, number: int) -> Raw:
    return {
        "key": f"k{chance.randrange(16**8):08x}{number % 256:02x}",
        "name": f"sensor-{number % 1000}",
        "value": round(chance.random() * 1000, 3),
        "ts": moment(number),
    }


def event_with_version(chance: random.Random, number: int) -> Raw:
    return event(chance, number) | {"version": number}


def event_and_more(chance: random.Random, number: int) -> Raw:
    return event(chance, number) | {"unit": "mm", "station": number % 90, "tags": ["a", "b"]}


def earthquake(chance: random.Random, number: int) -> Raw:
    return {
        "type": "Feature",
        "id": f"ci{chance.randrange(16**8):08x}{number % 256:02x}",
        "properties": {
            "mag": round(chance.random() * 9, 2), "place": f"{number % 300} km N of X", "tz": None,
            "time": int(START.timestamp()) * 1000 + number * 1000 + chance.randrange(1000), "status": "reviewed",
            "sig": number % 70,
        },
        "geometry": {"type": "Point", "coordinates": [-117.4, 35.8, round(chance.random() * 30, 2)]},
    }  # fmt: skip


def order(chance: random.Random, number: int) -> Raw:
    return {
        "key": f"{chance.randrange(16**8):08x}{number % 256:02x}",
        "amount": chance.randrange(10**6) / 100,
        "currency": "EUR",
        "status": STATUSES[chance.randrange(3)],
        "day": moment(number * 60)[:10],
        "count": 1 + number % 9,
        "ts": moment(number),
    }


def moment(number: int) -> str:
    return (START + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Shape:
    """Records of one kind."""

    make: Maker
    number: str  # the path of a number, which an invalid record has no number at
    model: str = "worker.contract:Event"
    format: Literal["json", "csv"] = "json"
    settings: str = ""  # of its source, as sluice.toml has them

    @property
    def suffix(self) -> str:
        """Of its files."""
        return ".csv" if self.format == "csv" else ".ndjson"

    @cached_property
    def header(self) -> list[str]:
        """The names of a CSV file's columns."""
        return list(self.make(random.Random(0), 0))

    def spoil(self, record: Raw) -> None:
        """Makes a record invalid."""
        *path, name = self.number.split(".")
        for step in path:
            record = record[step]
        record[name] = "oops"

    def text(self, record: Raw) -> str:
        """A record as a line of a file, without its end."""
        if self.format != "csv":
            return orjson.dumps(record).decode()
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(record.values())
        return line.getvalue()

    def source(self) -> dict[str, Any]:
        """The settings of its source, as SourceSettings takes them."""
        return tomllib.loads(self.settings)

    def config(self) -> str:
        """A sluice.toml for it."""
        return f'[worker]\ncontract = "{self.model}"\n\n[sources.default]\n{self.settings}'


MAPPING = """
fields.key = "id"
fields.name = "properties.place"
fields.value = "properties.mag"
fields.ts = "properties.time"
ts_unit = "ms"
"""
IGNORE = 'extra = "ignore"\n'
ORDER, CHECKED_ORDER = "orders:Order", "orders:CheckedOrder"

MEASURED = {
    "plain": Shape(event, "value"),
    "csv": Shape(event, "value", format="csv"),
    "mapped": Shape(earthquake, "properties.mag", settings=MAPPING + IGNORE),
    "own contract": Shape(order, "amount", ORDER),
}
SHAPES = MEASURED | {
    "plain, sequence": Shape(event_with_version, "value", settings=f'sequence = "version"\n{IGNORE}'),
    "plain, more fields": Shape(event_and_more, "value"),
    "mapped, more fields": Shape(earthquake, "properties.mag", settings=MAPPING),
    "own contract, csv": Shape(order, "amount", ORDER, "csv"),
    "own contract, crossed": Shape(order, "amount", CHECKED_ORDER),
}
