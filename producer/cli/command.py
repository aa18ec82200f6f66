"""What `enqueue` and `replay` share: settings, queue and database; sending; waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine

from producer.settings import ProducerSettings
from store import database
from store.cli.render.progress import Bar
from store.database import install
from store.settings import StoreSettings
from store.tables import deliveries
from store.tables.deliveries import Delivery, Receipt
from store.terminal import warn
from worker.contract import Contract, load_contract
from worker.queue import client, send
from worker.queue import wait as waiting
from worker.queue.client import Broker
from worker.queue.message import Message
from worker.queue.send import Sent
from worker.settings import WorkerSettings


@dataclass(frozen=True)
class Resources:
    """Settings, contract, queue and database, all of them tried."""

    settings: ProducerSettings
    worker: WorkerSettings
    contract: Contract
    broker: Broker
    engine: Engine

    @classmethod
    def open(cls, **overrides: Any) -> Resources:
        """Raises UsageError or Unavailable before anything is sent."""
        store, worker = StoreSettings.load(), WorkerSettings.load()
        settings = ProducerSettings.load(**overrides)
        contract = load_contract(worker)
        engine = install.prepare(store)
        broker = Broker(client.connect(worker, store.home), worker, store.home)
        return cls(settings, worker, contract, broker, engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.dispose()
        self.broker.redis.close()


def send_batches(
    messages: Iterable[Message], resources: Resources, on_sent: Callable[[Sent], None] = lambda _: None
) -> Sent:
    """Sends messages, with warnings on standard error."""
    return send.send_all(
        messages,
        resources.broker,
        resources.engine,
        resources.settings.max_pending_batches,
        on_sent=on_sent,
        notice=warn,
    )


def record(
    sent: Sent,
    engine: Engine,
    delivery: Delivery,
    *,
    format: str,
    bytes: int,
    seconds: float,
    error: str | None = None,
) -> Receipt:
    """Writes what was sent of a delivery to the store; `store runs --detail` shows it."""
    receipt = Receipt(
        format=format,
        records=sent.records,
        bytes=bytes,
        batches=sent.batches,
        sent_batches=sent.sent_batches,
        known_batches=sent.known_batches,
        seconds=round(seconds, 3),
        waited_seconds=round(sent.waited_seconds, 3),
        error=error,
    )
    with database.transaction(engine) as connection:
        deliveries.finish(connection, delivery.id, receipt)
    return receipt


def batch_counts(sent: Sent) -> dict[str, int]:
    """The batches that were sent or known, for `--json`."""
    return {
        "batches": sent.batches,
        "sent_batches": sent.sent_batches,
        "known_batches": sent.known_batches,
    }


def wait_for_outcome(ids: list[str], resources: Resources) -> dict[str, Any]:
    """Waits until these batches are loaded, with a bar on a terminal; the outcomes of their records."""
    with Bar("waiting", len(ids), unit="batches") as bar:
        waiting.wait_until_loaded(
            ids,
            resources.broker,
            resources.engine,
            lambda so_far: bar.update(so_far.processed, so_far.processed),
        )
    return waiting.summary(ids, resources.engine)
