"""One answer for all who scrape within some seconds, and one reading at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from store.errors import SluiceError
from store.logs import event
from store.reports import metrics
from store.reports.exposition import exposed
from store.reports.metrics import Say, Values, failed, joined, store_values
from store.settings import StoreSettings
from worker.metrics import queue
from worker.metrics.visit import visited
from worker.settings import WorkerSettings

log = logging.getLogger("sluice.metrics")

METRICS = (*metrics.METRICS, *queue.METRICS)
CACHE_SECONDS = 5.0


def read_all(store: StoreSettings, worker: WorkerSettings, say: Say) -> Values:
    """All metrics. What cannot be read takes nothing away from the rest."""
    try:
        with visited(worker, store.home) as (redis, _):
            of_queue = queue.queue_values(redis, worker, store)
    except SluiceError as error:
        of_queue = failed(say, error, "queue")
    return joined(store_values(store, say), of_queue)


@dataclass
class Collector:
    """What was read last, while it is young enough."""

    read: Callable[[Say], Values]
    clock: Callable[[], float] = time.monotonic
    _values: Values = field(default_factory=dict, init=False)
    _problems: list[str] = field(default_factory=list, init=False)
    _at: float | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def exposed(self, accept: str = "") -> tuple[bytes, str]:
        """The text for a header Accept, and its content type. Raises ConfigError without prometheus-client."""
        with self._lock:  # who asks meanwhile waits for the same answer
            if self._at is None or self.clock() - self._at >= CACHE_SECONDS:
                problems: list[str] = []
                self._values = self.read(problems.append)
                for problem in problems:
                    if problem not in self._problems:  # once, not at each scrape
                        log.warning("%s", problem, extra=event("metrics_incomplete"))
                self._problems = problems
                self._at = self.clock()
            values = self._values
        return exposed(METRICS, values, accept)
