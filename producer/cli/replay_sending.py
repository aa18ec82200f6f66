"""The letters of a replay onto the queue: under a lease, the first of them ahead, not faster than its terms say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from sqlalchemy import Engine

from producer.cli.command import Resources, record, send_batches
from store import database
from store.cli.render.progress import Bar
from store.dead_letters import actions, sending
from store.dead_letters.actions import Action
from store.dead_letters.terms import Terms
from store.errors import SluiceError
from store.tables.deliveries import Delivery
from worker.dead_letters import mirror
from worker.dead_letters.replay import Cut, Sending
from worker.queue.message import Message
from worker.queue.names import RECORDS_QUEUE
from worker.queue.send import Sent

MOST_RECORDS = 5_000  # in a batch: memory stays flat, and a stop takes effect soon
AHEAD_SECONDS = 30.0  # for the outcomes of the first letters
POLL_SECONDS = 0.05
BEAT_SECONDS = sending.LEASE_SECONDS / 4


@dataclass
class Pace:
    """Not more than so many letters a second."""

    rate: float | None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _due: float = field(default=0.0, init=False)

    def wait(self, letters: int) -> None:
        """Waits until it is time for so many more."""
        if self.rate is None:
            return
        now = self.clock()
        if self._due > now:
            self.sleep(self._due - now)
        self._due = max(self._due, now) + letters / self.rate


@dataclass
class Tally:
    """What was sent of one delivery: the letters of one source."""

    delivery: Delivery
    sent: Sent = field(default_factory=Sent)
    formats: set[str] = field(default_factory=set)
    bytes: int = 0
    seconds: float = 0.0


@dataclass
class Sender:
    """Sends messages, and notes what each delivery amounts to."""

    resources: Resources
    pace: Pace
    bar: Bar
    total: Sent = field(default_factory=Sent)
    tallies: dict[str, Tally] = field(default_factory=dict)

    def send(self, messages: Iterator[Message]) -> None:
        """Sends the messages of each delivery, which stand together, and writes its receipt."""
        for id, of_source in groupby(messages, key=lambda message: message.delivery.id):
            started = time.monotonic()
            sent = [self._send(each) for each in self._portions(self._noted(of_source))]
            tally = self.tallies[id]
            tally.sent = Sent.total([tally.sent, *sent])
            tally.seconds += time.monotonic() - started
            record(
                tally.sent,
                self.resources.engine,
                tally.delivery,
                format=", ".join(sorted(tally.formats)),
                bytes=tally.bytes,
                seconds=tally.seconds,
            )

    def _noted(self, messages: Iterator[Message]) -> Iterator[Message]:
        for message in messages:
            tally = self.tallies.setdefault(message.delivery.id, Tally(message.delivery))
            tally.formats.add(message.format)
            tally.bytes += message.size
            yield message

    def _portions(self, messages: Iterator[Message]) -> Iterator[Iterable[Message]]:
        """What is sent at once: all of it; or, at a rate, a message at its time."""
        if self.pace.rate is None:
            yield messages
            return
        for message in messages:
            self.pace.wait(len(message.records))
            yield [message]

    def _send(self, messages: Iterable[Message]) -> Sent:
        before = self.total.records
        sent = send_batches(messages, self.resources, partial(self._advance, before))
        self.total = Sent.total([self.total, sent])
        return sent

    def _advance(self, before: int, so_far: Sent) -> None:
        self.bar.update(before + so_far.records, before + so_far.records)


@contextmanager
def under_lease(engine: Engine, action: int, holder: str) -> Iterator[None]:
    """Keeps the lease of an action while its letters are sent; it is taken before."""
    ended = threading.Event()
    beats = threading.Thread(target=_beat, args=(engine, action, holder, ended), daemon=True)
    beats.start()
    is_sent = False
    try:
        yield
        is_sent = True
    finally:
        ended.set()
        beats.join()
        with database.transaction(engine) as connection:
            sending.release(connection, action, holder, is_sent=is_sent)


def _beat(engine: Engine, action: int, holder: str, ended: threading.Event) -> None:
    """Extends the lease while the queue is full, or Redis away: then no batch is registered that would do it."""
    while not ended.wait(BEAT_SECONDS):
        try:
            with database.transaction(engine) as connection:
                sending.hold(connection, action, holder)
        except (
            SluiceError
        ):  # the database is away: the next beat tries again; or the lease is lost: sending finds out
            continue


def send(action: Action, holder: str, resources: Resources) -> tuple[Sent, Sending]:
    """Sends the letters of an action that no batch is registered for."""
    settings, terms = resources.settings, Terms.of(action)
    most = min(settings.batch_records, MOST_RECORDS, max(1, int(terms.rate or MOST_RECORDS)))
    cut = Cut(most, settings.batch_bytes)
    going = Sending(resources.engine, action, resources.contract, resources.worker, cut, [], holder)
    with mirror.tolerated():
        mirror.flush_outbox(resources.broker.redis, resources.engine)
    with Bar("replaying", action.letters, unit="letters") as bar:
        sender = Sender(resources, Pace(terms.rate), bar)
        sender.send(going.messages(terms.stop_after))
        if sender.total.ids:
            _wait_for_first(action, resources)
        sender.send(going.messages())
    return sender.total, going


def _wait_for_first(action: Action, resources: Resources) -> None:
    """Lets the workers, if there are some, say what becomes of the first letters before the others follow."""
    until = time.monotonic() + AHEAD_SECONDS
    while resources.broker.workers(RECORDS_QUEUE) and time.monotonic() < until:
        with database.reading(resources.engine) as connection:
            if not sending.count_unsent(connection, action.seq):
                return
            if not sending.registered_batches(connection, action.seq):
                return
        time.sleep(POLL_SECONDS)


def stopped_itself(action: Action, engine: Engine) -> str | None:
    """Why an action has stopped itself; None where it has not."""
    with database.reading(engine) as connection:
        return Terms.of(actions.find(connection, action.seq)).why_stopped
