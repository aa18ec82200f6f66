"""Batches -> the queue: not faster than workers take them, and none that is known already."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Engine

from store import database
from store.crash_points import reach
from store.tables import batches
from worker.queue.client import RECORDS_QUEUE, Broker
from worker.queue.message import Message
from worker.queue.outage import make_patient

GROUP_BATCHES = 8
GROUP_BYTES = 2 << 20
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.02, 0.5
SAY_SO_AFTER_SECONDS = 5.0
SAY_SO_EVERY_SECONDS = 30.0
# A full Redis denies workers even the taking of a batch: what would drain it must always have room.
FULL_ENOUGH = 0.8

Notice = Callable[[str], None]


@dataclass
class Sent:
    """What became of the batches handed to `send_all`."""

    ids: list[str] = field(default_factory=list)
    records: int = 0
    sent: int = 0  # batches put on the queue
    known: int = 0  # batches processed before, or on their way already: not sent again
    waited_seconds: float = 0.0


def send_all(
    messages: Iterable[Message],
    broker: Broker,
    engine: Engine,
    max_pending: int,
    on_sent: Callable[[Sent], None],
    notice: Notice,
) -> Sent:
    """Sends messages in groups, each group at once or not at all. A Redis that goes away is waited for."""
    result = Sent()
    make_patient(broker.redis, notice)
    say_full = seldom(notice)
    for group in grouped(messages, min(GROUP_BATCHES, max_pending)):
        ids = [message.id for message in group]
        reach("send.begun")
        with database.reading(engine) as connection:
            known = batches.known(connection, ids)
        known |= broker.on_their_way([id for id in ids if id not in known])
        reach("send.known")
        new = [message for message in group if message.id not in known]
        if new:
            result.waited_seconds += wait_for_room(broker, max_pending - len(new), notice)
            result.waited_seconds += wait_for_memory(broker, say_full)
            broker.send(new)
            reach("send.sent")
        result.ids += ids
        result.records += sum(len(message.records) for message in group)
        result.sent += len(new)
        result.known += len(group) - len(new)
        on_sent(result)
    return result


def grouped(messages: Iterable[Message], most: int) -> Iterator[list[Message]]:
    """Messages in groups that are cheap to send at once and still small."""
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


def wait_for_room(broker: Broker, room: int, notice: Notice) -> float:
    """Waits until at most `room` batches are queued; the seconds it took."""
    started = time.monotonic()
    pause = FIRST_WAIT_SECONDS
    said = False
    while (waiting := broker.waiting()) > max(room, 0):
        waited = time.monotonic() - started
        if not said and waited > SAY_SO_AFTER_SECONDS:
            said = True
            if not broker.workers(RECORDS_QUEUE):
                notice(
                    f"{waiting} batches wait and no worker is running: start one with `worker up` or `rq worker`; "
                    "sending goes on as soon as there is room"
                )
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_WAIT_SECONDS)
    return time.monotonic() - started


def wait_for_memory(broker: Broker, notice: Notice) -> float:
    """Waits until Redis has memory to spare; the seconds it took."""
    started = time.monotonic()
    pause = FIRST_WAIT_SECONDS
    while (full := broker.fullness()) > FULL_ENOUGH:
        notice(
            f"Redis is full to {full:.0%} of its maxmemory: let workers drain it or raise the limit; "
            f"sending goes on below {FULL_ENOUGH:.0%}"
        )
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_WAIT_SECONDS)
    return time.monotonic() - started


def seldom(notice: Notice, seconds: float = SAY_SO_EVERY_SECONDS) -> Notice:
    """A notice that is given once in so many seconds, however often there is cause."""
    silent_until = 0.0

    def give(text: str) -> None:
        nonlocal silent_until
        if time.monotonic() >= silent_until:
            silent_until = time.monotonic() + seconds
            notice(text)

    return give
