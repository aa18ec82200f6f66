"""A scrape of all metrics, over a store of 1,000,000 letters and 10,000 batches, and a Redis with 10,000 batches.

PYTHONPATH=benchmarks python -m letters.scrape
PYTHONPATH=benchmarks python -m letters.scrape --letters 100000 --batches 1000

The rows are written directly: see `questions`. No answer is taken from the cache.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import tempfile
import time
from functools import partial
from itertools import count
from pathlib import Path

from letters.questions import build
from redis import Redis
from sqlalchemy import Engine, text

from store import database
from store.database import install
from store.settings import StoreSettings
from worker.metrics.collector import Collector, read_all
from worker.queue.client import Broker
from worker.queue.server import private_server
from worker.settings import WorkerSettings

SCRAPES = 100
QUEUED = 10_000
RUNS = 10_000
# As wide as those of a worker.
SECONDS = '{"parse": 0.0123, "adapt": 0.0045, "validate": 0.0234, "freshness": 0.0012, "write": 0.0456}'


def fill(engine: Engine, number: int) -> None:
    """So many more batches of 1,000 records, all loaded, of 20 sources; and runs."""
    with database.transaction(engine) as connection:
        connection.execute(
            text(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :number) "
                "INSERT INTO batches (id, kind, delivery_seq, source, file, first_record, first_line, last_line, "
                "fingerprint, received, staged, rejected, skipped, inserted, late, stale, reasons, seconds, "
                "processed_at) "
                "SELECT printf('b%031x', i), 'file', 1, 'shop-' || (i % 20), 'orders-' || i || '.ndjson', 0, 1, 1000, "
                "'0123456789abcdef', 1000, 1000, 0, 0, 1000, 0, 0, '{}', :seconds, '2025-01-15T12:00:00.000000Z' FROM n"
            ),
            {"number": number, "seconds": SECONDS},
        )
        connection.execute(
            text(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :number) "
                "INSERT INTO run_log (status, holder, started_at, finished_at, chunks, inserted, updated, duplicates, "
                "superseded, seconds) SELECT 'succeeded', 'host', '2025-01-15T12:00:00.000000Z', "
                "'2025-01-15T12:00:00.000000Z', 1, 0, 0, 0, 0, 1.0 FROM n"
            ),
            {"number": RUNS},
        )


def main() -> None:
    """Fills a store and a queue, and scrapes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--letters", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=10_000)
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}"
    )
    with tempfile.TemporaryDirectory() as folder:
        store, worker = StoreSettings(home=Path(folder), database_url=None), WorkerSettings(redis_url=None)
        engine = install.prepare(store)
        build(engine, options.letters, 300)
        fill(engine, options.batches)
        engine.dispose()
        with Redis.from_url(private_server.ensure_running(store.home)) as redis:
            redis.rpush(Broker(redis, worker).queue().key, *(f"{each:032x}" for each in range(QUEUED)))
        try:
            measure(store, worker, options)
        finally:
            private_server.stop(store.home)


def measure(store: StoreSettings, worker: WorkerSettings, options: argparse.Namespace) -> None:
    """Each scrape reads anew: the clock of the collector runs ahead."""
    clock = count(0, 1000)
    collector = Collector(partial(read_all, store, worker), lambda: float(next(clock)))
    took, size = [], 0
    for _ in range(SCRAPES):
        started, used = time.perf_counter(), time.process_time()
        answer, _ = collector.exposed()
        took.append((time.perf_counter() - started, time.process_time() - used))
        size = len(answer)
    assert b'part="queue"} 1.0' in answer
    seconds, cpu = (sorted(each) for each in zip(*took, strict=True))
    print(
        f"{options.letters:,} letters, {options.batches:,} batches, {RUNS:,} runs, {QUEUED:,} queued: "
        f"{size / 1000:.0f} kB, "
        f"median {seconds[SCRAPES // 2] * 1000:.0f} ms, p95 {seconds[SCRAPES * 95 // 100] * 1000:.0f} ms, "
        f"CPU {cpu[SCRAPES // 2] * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
