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
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from shapes import SHAPES, Shape

from store.csv_reader import Dialect
from store.tables.deliveries import Delivery
from worker.batch.receive import StagedRows
from worker.contract import Contract, load_contract
from worker.judge.stages import Judge, judge_batch, judge_for
from worker.queue.message import Message
from worker.settings import SourceSettings, WorkerSettings

BATCH = 20_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def batch_of(shape: Shape) -> Message:
    """A message of 20,000 records of a shape, a hundredth of them invalid."""
    chance = random.Random(1)
    header = shape.header if shape.format == "csv" else None
    texts = [shape.text(shape.make(chance, number)) for number in range(BATCH)]
    texts[::100] = ["{"] * len(texts[::100])
    delivery = Delivery("d", "file", "s", "f", None, "x")
    size = sum(map(len, texts))
    return Message(
        "ab" * 16, "file", delivery, 0, "s", "f", shape.format, header, Dialect(), list(texts),
        range(1, BATCH + 1), "x", [], size,
    )  # fmt: skip


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
            elif fields := shape.source().get("fields"):
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
        judge = judge_for(contract, SourceSettings(**shape.source()), timedelta(hours=1))
        message = batch_of(shape)
        quick = cpu(partial(judged_rows, message, judge), asked.rounds)
        if asked.only_quick:
            print(f"{name:24}{quick:8.2f}")
            continue
        slow = careful_judge(judge)
        careful = cpu(partial(judged_rows, message, slow), max(1, asked.rounds // 3))
        model = cpu(partial(model_alone, message, contract, shape), asked.rounds)
        print(f"{name:24}{quick:8.2f}{careful:9.2f}{model:8.2f}{quick / model:13.2f}")


def careful_judge(judge: Judge) -> Judge:
    return replace(judge, quick=None)


if __name__ == "__main__":
    main()
