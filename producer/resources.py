"""What sending needs: settings, contract, queue and database; a delivery registered, its batches sent, its receipt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine

from producer.settings import ProducerSettings
from store import database
from store.database import install
from store.settings import StoreSettings
from store.tables import deliveries, flags
from store.tables.deliveries import Delivery, Receipt
from worker.contract import Contract, load_contract
from worker.queue import client, send
from worker.queue.client import Broker
from worker.queue.message import Message
from worker.queue.send import Notice, Sent
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
        try:
            broker = Broker(client.connect(worker, store.home), worker, store.home)
        except BaseException:
            engine.dispose()
            raise
        return cls(settings, worker, contract, broker, engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.dispose()
        self.broker.redis.close()

    def stage_shares(self) -> dict[str, float]:
        """The share of records of each stage, as it is now."""
        with database.reading(self.engine) as connection:
            return self.worker.stages.shares() | flags.overrides(connection)


def registered(
    make: Callable[[int], Delivery], engine: Engine, notice: Notice, *, again: bool = False
) -> Delivery:
    """A delivery with its number in the store, `make(n)` being the n-th time that its content is sent anew on purpose.

    Gives notice where a later one of its content wins.
    """
    delivery = make(0)
    with database.transaction(engine, "turn") as connection:
        if delivery.content is not None:
            times = deliveries.times_again(
                connection, delivery.source, delivery.content, delivery.fingerprint
            )
            if times is not None:
                delivery = make(times + again)
        number = deliveries.begin(connection, delivery)
        later = deliveries.later_under_another(connection, delivery)
    if later:
        notice(
            f"{delivery.file} was sent before, as delivery {number}, and under another contract or mapping later, "
            f"as delivery {later}, whose records win: to make this one the latest, send it with --again"
        )
    return delivery


def send_batches(
    messages: Iterable[Message],
    resources: Resources,
    notice: Notice,
    on_sent: Callable[[Sent], None] = lambda _: None,
    while_waiting: Callable[[], None] = lambda: None,
) -> Sent:
    """Sends messages, not faster than the queue has room."""
    return send.send_all(
        messages,
        resources.broker,
        resources.engine,
        resources.settings.max_pending_batches,
        on_sent=on_sent,
        notice=notice,
        while_waiting=while_waiting,
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
    with database.transaction(engine, "turn") as connection:
        deliveries.finish(connection, delivery.id, receipt)
    return receipt
