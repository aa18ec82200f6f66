"""One record on an idle system: from being sent to its row in staging, and to its row in the target."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pipeline import Site

POLL_SECONDS = 0.0005
DEADLINE_SECONDS = 30.0


def measure(times: int, **settings: str | float) -> dict[str, tuple[float, float]]:
    """place -> (median, 99th percentile) in milliseconds, of records sent one at a time."""
    with Site("", **settings) as site, site.working(2):
        taken = list(_each(site, times))
    return {
        place: (statistics.median(found), statistics.quantiles(found, n=100, method="inclusive")[98])
        for place, found in zip(("staging", "target"), zip(*taken, strict=True), strict=True)
    }


def _each(site: Site, times: int) -> Iterator[tuple[float, float]]:
    from producer.feed import Feed
    from producer.settings import ProducerSettings
    from worker.contract import load_contract
    from worker.queue.client import Broker
    from worker.settings import WorkerSettings

    settings = WorkerSettings.load()
    feed = Feed("default", settings.source("default"), load_contract(settings), ProducerSettings.load())
    broker = Broker(site.redis(), settings)
    file = Path(site.home, "one.ndjson")
    with closing(sqlite3.connect(site.database)) as connection:
        for number in range(times):
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_736_899_200 + number))
            file.write_text(f'{{"key":"k{number}","name":"one","value":{number},"ts":"{moment}"}}\n')
            with feed.open(str(file)) as opened:
                [message] = feed.messages(opened, feed.delivery(opened))
            sent = time.perf_counter()
            broker.send([message])
            staged = _until(connection, "staging", number, sent)
            yield staged, _until(connection, "target", number, sent)
            time.sleep(0.05)  # idle again


def _until(connection: sqlite3.Connection, place: str, number: int, sent: float) -> float:
    """Milliseconds until the record is there; one that is in the target has been in staging."""
    there = f"SELECT 1 FROM {place} WHERE key = ? UNION ALL SELECT 1 FROM target WHERE key = ?"  # noqa: S608
    while time.perf_counter() - sent < DEADLINE_SECONDS:
        if connection.execute(there, (f"k{number}", f"k{number}")).fetchone():
            return (time.perf_counter() - sent) * 1000
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"record {number} is not in {place} after {DEADLINE_SECONDS:.0f} s")
