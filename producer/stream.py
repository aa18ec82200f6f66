"""Records of a program to the queue: `send`, and `asend` for what comes asynchronously.

A generator is read as the queue has room, a batch at a time. Under one name the same records are the same delivery:
sent again, whole or after an interruption, they have no second effect.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from producer import frames
from producer.feed import Feed
from producer.files.batches import Block, Payload
from producer.resources import Resources, record, registered, send_batches
from producer.settings import ProducerSettings
from store.errors import InputError, SluiceError, UsageError
from store.logs import event
from store.tables.deliveries import Delivery
from store.text import shown_path
from worker.encoding import Record, encoded
from worker.queue import wait as waiting
from worker.queue.message import Message, Opaque

BLOCK_RECORDS = 1000
UNNAMED = "records"  # what lineage calls the file of a stream without a name

log = logging.getLogger("sluice.producer")


def _notice(message: str) -> None:
    log.warning("%s", message, extra=event("sending"))


@dataclass(frozen=True)
class Outcome:
    """What became of the records that were sent."""

    received: int
    staged: int
    rejected: int
    skipped: int
    inserted: int
    updated: int
    duplicates: int
    superseded: int
    reasons: dict[str, int]  # of those rejected


@dataclass(frozen=True)
class SendReceipt:
    """What was sent as one delivery."""

    delivery: str  # its id
    source: str
    name: str | None
    records: int
    batches: int
    sent_batches: int
    known_batches: int  # processed before, or on their way already: not sent again
    seconds: float
    waited_seconds: float  # of those, while the queue was full
    outcome: Outcome | None  # with `wait`


class Cancelled(Exception):
    """Whoever awaits `asend` was cancelled."""


def send(
    records: Iterable[Record] | object,
    *,
    name: str | None = None,
    source: str = "default",
    wait: bool = False,
    batch_records: int | None = None,
    max_pending_batches: int | None = None,
) -> SendReceipt:
    """Sends records: an iterable of dictionaries, or of text or bytes of one JSON object each; or a frame.

    Raises InputError for what is no such record, and what the iterable itself raises: the whole batches before it are
    on the queue, and the same records sent again under the same name are the same delivery. With `wait`, returns when
    all of it is loaded; raises NoWorker where nobody is there to do that.
    """
    options = {"batch_records": batch_records, "max_pending_batches": max_pending_batches}
    with Resources.open(**options) as resources:
        return send_with(resources, rows_of(records), name=name, source=source, wait=wait)


async def asend(
    records: AsyncIterable[Record] | Iterable[Record],
    *,
    name: str | None = None,
    source: str = "default",
    wait: bool = False,
    batch_records: int | None = None,
    max_pending_batches: int | None = None,
) -> SendReceipt:
    """As `send`, for what comes asynchronously. The loop goes on meanwhile: a thread sends.

    Cancelled, it sends no more; what is on the queue stays there.
    """
    options = {"batch_records": batch_records, "max_pending_batches": max_pending_batches}
    cancelled = threading.Event()

    def check() -> None:
        if cancelled.is_set():
            raise Cancelled

    if isinstance(records, AsyncIterable):
        given: Iterable[Record] = _bridged(aiter(records), asyncio.get_running_loop(), check)
    else:
        given = rows_of(records)

    def work() -> SendReceipt:
        with Resources.open(**options) as resources:
            return send_with(resources, given, name=name, source=source, wait=wait, check=check)

    sending = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.gather(sending, return_exceptions=True)
        raise


def _bridged(
    records: AsyncIterator[Record], loop: asyncio.AbstractEventLoop, check: Callable[[], None]
) -> Iterator[Record]:
    """What an asynchronous iterator gives, for another thread: read when that asks for more."""

    async def take() -> list[Record]:
        taken: list[Record] = []
        async for each in records:
            taken.append(each)
            if len(taken) == BLOCK_RECORDS:
                break
        return taken

    while True:
        check()
        future = asyncio.run_coroutine_threadsafe(take(), loop)
        while True:
            try:
                taken = future.result(timeout=0.5)
                break
            except TimeoutError:
                if future.done():
                    raise
                try:
                    check()
                except Cancelled:
                    future.cancel()
                    raise
        if not taken:
            return
        yield from taken


def rows_of(records: Iterable[Record] | object) -> Iterable[Record]:
    """The records of what a program hands over. Raises UsageError for what is not several records."""
    if frames.is_frame(records):
        return frames.rows(records)
    if isinstance(records, str | bytes | dict):
        raise UsageError(
            f"records is one {type(records).__name__}: give an iterable of records, like a list with it; a file is "
            "sent by `producer enqueue`"
        )
    if not isinstance(records, Iterable):
        raise UsageError(f"records is a {type(records).__name__}: give an iterable of records")
    return records


def send_with(
    resources: Resources,
    records: Iterable[Record],
    *,
    name: str | None,
    source: str,
    wait: bool,
    check: Callable[[], None] = lambda: None,
) -> SendReceipt:
    """Sends records over these resources; `check` ends it by what it raises."""
    started = time.monotonic()
    if wait:
        waiting.need_workers(resources.broker)
    worker = resources.worker
    feed = Feed(source, worker.source(source), resources.contract, resources.settings)
    file = UNNAMED if name is None else shown_path(name)
    delivery = registered(lambda again: feed.stream(file, name, again=again), resources.engine, _notice)
    size, faults = _Size(), list[Exception]()
    blocks = _blocks(records, resources.settings, size)
    messages = _until_fault(_messages(feed, blocks, delivery, check), faults)
    sent = send_batches(messages, resources, _notice, while_waiting=check)
    receipt = record(
        sent,
        resources.engine,
        delivery,
        format="json",
        bytes=size.bytes,
        seconds=time.monotonic() - started,
        error=_reported(faults[0]) if faults else None,
    )
    for fault in faults:
        raise fault
    outcome = _outcome(sent.ids, resources, check) if wait else None
    return SendReceipt(
        delivery.id,
        source,
        name,
        receipt.records,
        receipt.batches,
        receipt.sent_batches,
        receipt.known_batches,
        receipt.seconds,
        receipt.waited_seconds,
        outcome,
    )


def _messages(
    feed: Feed, blocks: Iterator[Block], delivery: Delivery, check: Callable[[], None]
) -> Iterator[Message]:
    for batch in feed.batches(blocks, delivery):
        check()
        yield feed.message(batch, delivery)


def _until_fault(messages: Iterator[Message], faults: list[Exception]) -> Iterator[Message]:
    """The whole batches before an error of whoever gives the records, which goes to `faults`: they are sent.

    What stands before it in an unfinished batch is not: sent again, the same records are cut into the same batches.
    """
    try:
        yield from messages
    except Exception as error:
        faults.append(error)


def _reported(fault: Exception) -> str:
    """An error as the receipt keeps it; the words of one that is not ours may be a record's values."""
    return str(fault) if isinstance(fault, SluiceError) else f"the records ended with {type(fault).__name__}"


@dataclass
class _Size:
    bytes: int = 0


def _blocks(records: Iterable[Record], settings: ProducerSettings, size: _Size) -> Iterator[Block]:
    """Records as their bytes; the line of each is its number, from 1."""
    numbered, limit = enumerate(records, 1), settings.max_record_bytes
    while some := list(islice(numbered, min(BLOCK_RECORDS, settings.batch_records))):
        payloads: list[Payload] = []
        for number, each in some:
            payload = encoded(each, number)
            if not payload.strip():
                raise InputError(f"record {number:,} is empty: leave it out, or give what it should be")
            size.bytes += len(payload)
            payloads.append(Opaque.head_of(payload) if len(payload) > limit else payload)
        yield Block(payloads, range(some[0][0], some[-1][0] + 1))


def _outcome(ids: list[str], resources: Resources, check: Callable[[], None]) -> Outcome:
    def look(_: Any) -> None:
        check()

    waiting.wait_until_loaded(ids, resources.broker, resources.engine, look)
    counts = waiting.summary(ids, resources.engine)
    return Outcome(**{each: counts[each] for each in Outcome.__dataclass_fields__})
