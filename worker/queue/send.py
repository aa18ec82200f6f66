"""Batches -> the queue: not faster than workers take them, and each only once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from store import database
from store.crash_points import reach
from store.tables import batches
from worker.queue.client import Broker
from worker.queue.identity import halves
from worker.queue.message import Message
from worker.queue.names import RECORDS_QUEUE
from worker.queue.outage import make_patient

GROUP_BATCHES = 8
GROUP_BYTES = 2 << 20
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.02, 0.5
NOTICE_AFTER_SECONDS = 5.0
NOTICE_EVERY_SECONDS = 30.0
# Workers need memory in Redis to take a batch: if it were full, nothing could drain it.
MAX_FULLNESS = 0.8

Notice = Callable[[str], None]


@dataclass
class Sent:
    """What became of the batches handed to `send_all`."""

    ids: list[str] = field(default_factory=list)  # of all batches, in their order
    records: int = 0
    sent_batches: int = 0  # put on the queue, whole or the parts of them that were missing
    known_batches: int = 0  # processed before, or on the queue already, with all their parts: not sent again
    waited_seconds: float = 0.0  # for room in the queue or in Redis

    @property
    def batches(self) -> int:
        """All of them, sent or known."""
        return len(self.ids)

    @classmethod
    def total(cls, several: Iterable[Sent]) -> Sent:
        """The sum of several."""
        total = cls()
        for sent in several:
            total.ids += sent.ids
            total.records += sent.records
            total.sent_batches += sent.sent_batches
            total.known_batches += sent.known_batches
            total.waited_seconds += sent.waited_seconds
        return total


def send_all(
    messages: Iterable[Message],
    broker: Broker,
    engine: Engine,
    max_pending: int,
    on_sent: Callable[[Sent], None],
    notice: Notice,
    while_waiting: Callable[[], None] = lambda: None,
) -> Sent:
    """Sends messages in groups, each group in one transaction. While Redis is unreachable, it waits.

    `while_waiting` is called again and again while there is no room; what it raises ends the sending.
    """
    result = Sent()
    make_patient(broker.redis, notice).tend = broker.tend
    notice_full = seldom(notice)
    for group in grouped(messages, min(GROUP_BATCHES, max_pending)):
        reach("send.begun")
        missing = unsent(engine, broker, group)
        reach("send.known")
        # A file that is named twice makes the same batches twice, and RQ refuses them in one transaction.
        new = list({part.message.id: part.message for part in missing}.values())
        if new:
            result.waited_seconds += wait_for_room(broker, max_pending - len(new), notice, while_waiting)
            result.waited_seconds += wait_for_memory(broker, notice_full, while_waiting)
            broker.send(new)
            reach("send.sent")
        result.ids += [message.id for message in group]
        result.records += sum(len(message.records) for message in group)
        sent = len({part.of for part in missing})
        result.sent_batches += sent
        result.known_batches += len(group) - sent
        on_sent(result)
    return result


class Part(NamedTuple):
    """A batch to send, or a part of one that was split."""

    of: str  # the id of the whole batch
    message: Message


def unsent(engine: Engine, broker: Broker, messages: Sequence[Message]) -> list[Part]:
    """What is neither processed nor on its way: of a batch that was split, those of its parts."""
    with database.reading(engine) as connection:
        parts = _unprocessed(connection, [Part(message.id, message) for message in messages])
    on_their_way = broker.on_their_way([part.message.id for part in parts])
    return [part for part in parts if part.message.id not in on_their_way]


def _unprocessed(connection: Connection, parts: list[Part]) -> list[Part]:
    found: list[Part] = []
    while parts:
        ids = [part.message.id for part in parts]
        known = batches.known(connection, ids)
        split = batches.split(connection, list(known)) if known else {}
        found += [part for part in parts if part.message.id not in known]
        cut = [part for part in parts if part.message.id in split]
        parts = [Part(of, half) for of, message in cut for half in halves(message)]
    return found


def grouped(messages: Iterable[Message], most: int) -> Iterator[list[Message]]:
    """Messages in groups of up to `most` messages or 2 MiB: fewer round trips, and small transactions."""
    group: list[Message] = []
    size = 0
    for message in messages:
        group.append(message)
        size += message.size
        if len(group) >= most or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def wait_for_room(
    broker: Broker, room: int, notice: Notice, while_waiting: Callable[[], None] = lambda: None
) -> float:
    """Waits until at most `room` batches are queued; returns the seconds it waited."""
    started = time.monotonic()
    pause = FIRST_WAIT_SECONDS
    noticed = False
    while (waiting := broker.waiting()) > max(room, 0):
        while_waiting()
        waited = time.monotonic() - started
        if not noticed and waited > NOTICE_AFTER_SECONDS:
            noticed = True
            if not broker.workers(RECORDS_QUEUE):
                notice(
                    f"{waiting} batches wait and no worker is running: start one with `worker up` or `rq worker`; "
                    "sending continues as soon as there is room"
                )
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_WAIT_SECONDS)
    return time.monotonic() - started


def wait_for_memory(
    broker: Broker, notice: Notice, while_waiting: Callable[[], None] = lambda: None
) -> float:
    """Waits until Redis has free memory; returns the seconds it waited."""
    started = time.monotonic()
    pause = FIRST_WAIT_SECONDS
    while (full := broker.fullness()) > MAX_FULLNESS:
        while_waiting()
        notice(
            f"Redis uses {full:.0%} of its maxmemory: let workers process what is queued, or raise the limit; "
            f"sending continues below {MAX_FULLNESS:.0%}"
        )
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_WAIT_SECONDS)
    return time.monotonic() - started


def seldom(notice: Notice, seconds: float = NOTICE_EVERY_SECONDS) -> Notice:
    """A notice that is given at most once in so many seconds."""
    silent_until = 0.0

    def give(text: str) -> None:
        nonlocal silent_until
        if time.monotonic() >= silent_until:
            silent_until = time.monotonic() + seconds
            notice(text)

    return give
