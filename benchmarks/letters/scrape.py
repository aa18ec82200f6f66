"""A scrape of all metrics, over a store of 1,000,000 letters and 10,000 batches, and a Redis with 10,000 batches.

PYTHONPATH=benchmarks python -m letters.scrape
PYTHONPATH=benchmarks python -m letters.scrape --letters 100000 --rows 1000000
PYTHONPATH=benchmarks python -m letters.scrape --home FOLDER     # one that `letters.screens` has filled

The rows are written directly: see `filling`. No answer is taken from the cache.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import machine
from letters.asking import Took, timed
from letters.filling import build, load
from redis import Redis

from store.database import install
from store.settings import StoreSettings
from worker.metrics.collector import Collector, read_all
from worker.queue.client import Broker
from worker.queue.server import private_server
from worker.settings import WorkerSettings

SCRAPES = 100
QUEUED = 10_000


@contextmanager
def queued(store: StoreSettings, worker: WorkerSettings) -> Iterator[None]:
    """A Redis with batches on the queue; it ends with its last user."""
    with Redis.from_url(private_server.ensure_running(store.home)) as redis:
        queue = Broker(redis, worker).queue().key
        redis.delete(queue)
        redis.rpush(queue, *(f"{each:032x}" for each in range(QUEUED)))
    try:
        yield
    finally:
        private_server.stop(store.home)


def scraped(store: StoreSettings, worker: WorkerSettings) -> Took:
    """Each scrape reads anew: the clock of the collector runs ahead."""
    clock = count(0, 1000)
    collector = Collector(partial(read_all, store, worker), lambda: float(next(clock)))
    took = timed(collector.exposed, SCRAPES)
    assert b'part="queue"} 1.0' in collector.exposed()[0]
    return took


def main() -> None:
    """Fills a store, unless one is given, and a queue, and scrapes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--letters", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--home", type=Path, help="the state directory of a store that is filled already")
    options = parser.parse_args()
    print(machine.in_words(machine.describe()))
    with ExitStack() as stack:
        home = options.home or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store, worker = StoreSettings(home=home, database_url=None), WorkerSettings(redis_url=None)
        if not options.home:
            engine = install.prepare(store)
            build(engine, options.letters, 300)
            load(engine, options.rows)
            engine.dispose()
        with queued(store, worker):
            print(Took.HEADER + f"   ms, of {SCRAPES} scrapes\n" + scraped(store, worker).in_words)


if __name__ == "__main__":
    main()
