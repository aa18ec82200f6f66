"""Measures what a rejected record costs, and an accepted one where letters wait for it: CPU microseconds, no Redis.

python benchmarks/letters/rejected.py                                  # this tree alone
python benchmarks/letters/rejected.py --against ../before --turns 9    # and another one, in turns, in the same run
python benchmarks/letters/rejected.py arrivals                         # accepted records beside open letters

A batch has 20,000 records. One turn is a process of its own with a new database, which judges and stores four
batches; the best of them counts. Trees take turns, and the best turn of each counts: other programs on the machine
only make it worse.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
BATCH = 20_000
BATCHES = 4  # of a turn
GROUPS = (2, 20)
LETTERS = (0, 10, 100, 1_000, 2_500, 20_000, 100_000)  # open, of the source of the accepted records
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def faulty(group: int) -> str:
    """A value that is no number; each of twenty has a shape of its own."""
    return "x" + ("-", ".")[group % 2] * (group // 2)


def records(number: int, groups: int, wrong: bool) -> list[str]:
    """A batch of records that no other batch has."""
    return [
        json.dumps(
            {
                "key": f"k{number}-{each}",
                "name": "pump",
                "value": faulty(each % groups) if wrong else 1.5,
                "ts": "2025-01-15T08:00:00Z",
            }
        )
        for each in range(BATCH)
    ]


class Store:
    """A new database, and what a worker does to it with a batch; of any tree since there are deliveries."""

    def __init__(self, home: Path) -> None:
        from store.database import install
        from store.settings import StoreSettings
        from worker.contract import load_contract
        from worker.judge.stages import judge_for
        from worker.settings import SourceSettings, WorkerSettings

        self.engine = install.prepare(StoreSettings(home=home, synchronous="NORMAL"))
        contract = load_contract(WorkerSettings())
        install.add_contract_columns(self.engine, contract.columns)
        self.judge = judge_for(contract, SourceSettings(), timedelta(hours=1))
        self.batches = 0

    def message(self, texts: list[str]) -> Any:
        from store.csv_reader import Dialect
        from store.tables.deliveries import Delivery
        from worker.queue.message import Message

        self.batches += 1
        id = f"{self.batches:032x}"
        delivery = Delivery(id, "file", "s", "f", id, "x")
        return Message(
            id, "file", delivery, 0, "s", "f", "json", None, Dialect(), list(texts), range(1, len(texts) + 1), "x", [],
            sum(map(len, texts)),
        )  # fmt: skip

    def receive(self, texts: list[str]) -> float:
        """Judges and stores a batch; processor microseconds a record."""
        from worker.batch import receive
        from worker.judge.stages import judge_batch

        message = self.message(texts)
        gc.collect()
        started = time.process_time()
        view = receive.look(self.engine, message, timedelta(hours=1))
        judged = judge_batch(message, self.judge, view.watermark, NOW)
        waiting = getattr(view, "letters_waiting", None)
        more = () if waiting is None else (waiting,)
        assert receive.store(self.engine, message, self.judge, receive.Verdict(judged, None, 0.0, *more))
        return (time.process_time() - started) / len(texts) * 1e6


def rejecting(groups: int) -> float:
    """Microseconds for a record of a batch that is rejected as a whole."""
    with tempfile.TemporaryDirectory() as home:
        store = Store(Path(home))
        return min(store.receive(records(each, groups, True)) for each in range(BATCHES))


def accepting() -> Iterator[tuple[int, float, float]]:
    """(open letters, microseconds for an accepted record, of which to find letters), in turns over one database."""
    from worker.batch import arrivals

    spent = 0.0

    def timed(name: str) -> None:
        inner = getattr(arrivals, name)

        def outer(*given: Any) -> Any:
            nonlocal spent
            started = time.process_time()
            try:
                return inner(*given)
            finally:
                spent += time.process_time() - started

        setattr(arrivals, name, outer)

    timed("hashed")
    timed("close")
    with tempfile.TemporaryDirectory() as home:
        store = Store(Path(home))
        there = 0
        for letters in LETTERS:
            while there < letters:
                more = min(BATCH, letters - there)
                store.receive(records(1000 + store.batches, 20, True)[:more])
                there += more
            found = []
            for _ in range(BATCHES):
                spent = 0.0
                whole = store.receive(records(store.batches, 20, False))
                found.append((whole, spent / BATCH * 1e6))
            yield letters, *(min(each) for each in zip(*found, strict=True))


def turn(tree: Path, groups: int) -> float:
    """`rejecting` in a process of its own, with the code of a tree."""
    command = [sys.executable, __file__, "child", "--groups", str(groups)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    with tempfile.TemporaryDirectory() as empty:  # without a configuration
        done = subprocess.run(
            command,
            env={**environment, "PYTHONPATH": str(tree)},
            cwd=empty,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
    return float(done.stdout)


def compare(other: Path | None, turns: int) -> None:
    trees = [ROOT] if other is None else [ROOT, other.resolve()]
    for groups in GROUPS:
        found = [[turn(tree, groups) for tree in trees] for _ in range(turns)]
        here = min(each[0] for each in found)
        line = f"{groups:>2} groups: {here:6.2f} µs a rejected record"
        if other is not None:
            ratios = sorted(each[0] / each[1] for each in found)
            there = min(each[1] for each in found)
            line += (
                f"; {there:6.2f} in the other tree: {here / there:.3f} times as much"
                f" (the turns: {ratios[0]:.2f} to {ratios[-1]:.2f}, median {statistics.median(ratios):.2f})"
            )
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default="rejected", choices=["rejected", "arrivals", "child"])
    parser.add_argument("--against", type=Path, help="the root of another checkout")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--groups", type=int, default=2)
    given = parser.parse_args()
    if given.what == "child":
        print(rejecting(given.groups))
    elif given.what == "arrivals":
        for letters, whole, finding in accepting():
            print(
                f"{letters:>7,} open letters: {whole:6.2f} µs an accepted record, {finding:.3f} of it to find letters"
            )
    else:
        compare(given.against, given.turns)


if __name__ == "__main__":
    main()
