"""What a scrape of a plant says, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from store.errors import QueueUnavailable
from store.settings import StoreSettings
from worker.metrics import collector
from worker.metrics.collector import Collector, read_all

from ..plant import Plant

Series = dict[str, float]
Scrape = Callable[[], Series]


def parsed(text: str) -> Series:
    """`name{label="value"}` -> value."""
    return {
        sample.name + shown(sample.labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def shown(labels: dict[str, str]) -> str:
    return "{" + ",".join(f"{name}={value}" for name, value in sorted(labels.items())) + "}" if labels else ""


class Network:
    """Between the metrics and Redis."""

    is_torn = False


@pytest.fixture
def network(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network()

    @contextmanager
    def visited(*_: object) -> Iterator[tuple[Redis, str]]:
        if found.is_torn:
            raise QueueUnavailable("it was unplugged")
        yield plant.redis, "here"

    monkeypatch.setattr(collector, "visited", visited)
    return found


@pytest.fixture
def collecting(plant: Plant, network: Network) -> Collector:
    """Reads anew at each scrape."""
    assert plant.engine  # the database is made
    ticks = iter(range(0, 1_000_000, 100))
    return Collector(partial(read_all, StoreSettings.load(), plant.settings), lambda: float(next(ticks)))


@pytest.fixture
def scrape(collecting: Collector) -> Scrape:
    return lambda: parsed(collecting.exposed()[0].decode())
