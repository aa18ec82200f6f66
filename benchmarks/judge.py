"""Measures what judging costs: CPU microseconds a record for each shape of records, one process, the best of several.

python benchmarks/judge.py
python benchmarks/judge.py --shapes csv mapped --rounds 9

`quick` is the way of a batch from its message to the columns of its staged rows; `careful` is the same with every
record judged one by one; `model` is the contract's model alone on the same text. The ratios hold on a busy machine.
"""

from __future__ import annotations

import argparse
import csv
import gc
import io
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator, model_validator

from store.tables.deliveries import Delivery
from worker.batch.receive import StagedRows
from worker.contract import Contract, Record, load_contract
from worker.judge.stages import Judge, judge_batch, judge_for
from worker.queue.message import Message
from worker.settings import SourceSettings, WorkerSettings

BATCH = 20_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    """Where an order stands."""

    OPEN = "open"
    PAID = "paid"
    SHIPPED = "shipped"


class Order(Record):
    """A contract as people write them: exact amounts, an enumeration, a date, constraints, a validator."""

    amount: Decimal = Field(ge=0, max_digits=12, decimal_places=2)
    currency: str = Field(min_length=3, max_length=3)
    status: Status
    day: date
    count: int = Field(ge=1)
    note: str | None = None

    @field_validator("currency")
    @classmethod
    def upper(cls, value: str) -> str:
        return value.upper()


class CheckedOrder(Order):
    """One whose fields are checked against each other."""

    @model_validator(mode="after")
    def paid_in_full(self) -> CheckedOrder:
        if self.status is Status.SHIPPED and self.amount < 0:
            raise ValueError("nothing is shipped for nothing")
        return self


Maker = Callable[[random.Random, int], dict[str, Any]]


def moment(number: int) -> str:
    return (datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ")


def event(chance: random.Random, number: int) -> dict[str, Any]:
    return {
        "key": f"k{chance.randrange(16**8):08x}{number % 256:02x}",
        "name": f"sensor-{number % 1000}",
        "value": round(chance.random() * 1000, 3),
        "ts": moment(number),
    }


def event_and_more(chance: random.Random, number: int) -> dict[str, Any]:
    return event(chance, number) | {"unit": "mm", "station": number % 90, "tags": ["a", "b"]}


def earthquake(chance: random.Random, number: int) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": f"ci{number:08}",
        "properties": {
            "mag": round(chance.random() * 9, 2), "place": f"{number % 300} km N of X", "tz": None,
            "time": 1_735_689_600_000 + number * 1000 + chance.randrange(1000), "status": "reviewed",
            "sig": number % 70,
        },
        "geometry": {"type": "Point", "coordinates": [-117.4, 35.8, round(chance.random() * 30, 2)]},
    }  # fmt: skip


def order(chance: random.Random, number: int) -> dict[str, Any]:
    return {
        "key": f"{chance.randrange(16**12):012x}",
        "amount": chance.randrange(10**6) / 100,
        "currency": "EUR",
        "status": chance.choice(list(Status)).value,
        "day": moment(number * 60)[:10],
        "count": 1 + number % 9,
        "ts": moment(number),
    }


MAPPED = {"key": "id", "name": "properties.place", "value": "properties.mag", "ts": "properties.time"}


@dataclass(frozen=True)
class Shape:
    """Records of one kind, and what they are judged by."""

    make: Maker
    model: str = "worker.contract:Event"
    format: str = "json"
    source: dict[str, Any] = field(default_factory=dict)


SHAPES = {
    "plain": Shape(event),
    "plain, sequence": Shape(
        lambda chance, n: event(chance, n) | {"version": n}, source={"sequence": "version", "extra": "ignore"}
    ),
    "plain, more fields": Shape(event_and_more),
    "csv": Shape(event, format="csv"),
    "mapped": Shape(earthquake, source={"fields": MAPPED, "ts_unit": "ms", "extra": "ignore"}),
    "mapped, more fields": Shape(earthquake, source={"fields": MAPPED, "ts_unit": "ms"}),
    "own contract": Shape(order, "__main__:Order"),
    "own contract, csv": Shape(order, "__main__:Order", "csv"),
    "own contract, crossed": Shape(order, "__main__:CheckedOrder"),
}


def batch_of(shape: Shape) -> Message:
    """A message of 20,000 records of a shape, a hundredth of them invalid."""
    chance = random.Random(1)
    made = [shape.make(chance, number) for number in range(BATCH)]
    header = list(made[0]) if shape.format == "csv" else None
    texts = [row_of(each) if header else json.dumps(each, separators=(",", ":")) for each in made]
    texts[::100] = ["{"] * len(texts[::100])
    delivery = Delivery("d", "file", "s", "f", None, "x")
    size = sum(map(len, texts))
    return Message(
        "ab" * 16, "file", delivery, 0, "s", "f", shape.format, header, ",", list(texts), range(1, BATCH + 1), "x",
        [], size,
    )  # fmt: skip


def row_of(record: dict[str, Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(record.values())
    return out.getvalue().rstrip("\r\n")


def cpu(do: Callable[[], object], rounds: int) -> float:
    """Microseconds a record, of the best round."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        started = time.process_time()
        do()
        best = min(best, time.process_time() - started)
    return best / BATCH * 1e6


def judged_rows(message: Message, judge: Judge) -> None:
    judged = judge_batch(message, judge, None, NOW)
    assert len(judged.valid) == BATCH - BATCH // 100, judged.bad[:3]
    StagedRows.of(message, judge, judged.valid)


def model_alone(message: Message, contract: Contract, shape: Shape) -> None:
    """What the loop that one would write does before it writes."""
    read = contract.model.model_validate_json
    for record in message.records:
        try:
            if shape.format == "csv":
                row = next(csv.reader([str(record)]))
                contract.model.model_validate(dict(zip(message.header or [], row, strict=True)))
            elif fields := shape.source.get("fields"):
                contract.model.model_validate(flat(json.loads(str(record)), fields))
            else:
                read(str(record))
        except ValueError:
            continue


def flat(raw: dict[str, Any], fields: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, path in fields.items():
        value: Any = raw
        for part in path.split("."):
            value = value[part]
        found[name] = value
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="the best of so many")
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), help=", ".join(SHAPES))
    parser.add_argument("--only-quick", action="store_true", help="measure nothing beside it")
    asked = parser.parse_args()
    gc.set_threshold(200_000, 20, 50)  # as a worker has it
    print(f"{'CPU µs a record':24}{'quick':>8}{'careful':>9}{'model':>8}{'quick/model':>13}")
    for name in asked.shapes:
        shape = SHAPES[name]
        contract = load_contract(WorkerSettings.model_construct(contract=shape.model, extra=None))
        judge = judge_for(contract, SourceSettings(**shape.source), timedelta(hours=1))
        message = batch_of(shape)
        quick = cpu(lambda m=message, j=judge: judged_rows(m, j), asked.rounds)
        if asked.only_quick:
            print(f"{name:24}{quick:8.2f}")
            continue
        slow = careful_judge(judge)
        careful = cpu(lambda m=message, j=slow: judged_rows(m, j), max(1, asked.rounds // 3))
        model = cpu(lambda m=message, c=contract, s=shape: model_alone(m, c, s), asked.rounds)
        print(f"{name:24}{quick:8.2f}{careful:9.2f}{model:8.2f}{quick / model:13.2f}")


def careful_judge(judge: Judge) -> Judge:
    return replace(judge, quick=None)


if __name__ == "__main__":
    main()
