"""The letters of a replay onto the queue: under a lease, the first of them ahead, not faster than its terms say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import Engine

from producer.replays.lead import Lead, NobodyJudges
from producer.resources import Resources, send_batches
from store import database
from store.dead_letters import sending
from store.dead_letters.actions import Action
from store.dead_letters.sending import Totals
from store.dead_letters.terms import Terms
from store.errors import SluiceError
from store.tables import deliveries
from store.tables.deliveries import Delivery, Receipt
from worker.dead_letters import mirror
from worker.dead_letters.replay import Cut, Sending
from worker.queue.message import Message
from worker.queue.names import RECORDS_QUEUE
from worker.queue.send import GROUP_BATCHES, Notice, Sent

FULL_RECORDS = 2_500  # sent at once: memory stays flat
MOST_RECORDS = 5_000  # in a batch: memory stays flat, and a stop takes effect soon
AHEAD_SECONDS = 30.0  # for the outcomes of the first letters
POLL_SECONDS = 0.05
BEAT_SECONDS = sending.LEASE_SECONDS / 4


class Reporting(NamedTuple):
    """To whom a replay speaks while it goes on."""

    notice: Notice
    progress: Callable[[int], None] = lambda _: None  # letters sent so far


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
    former: Receipt | None = None  # of another command, that was interrupted
    sent: Sent = field(default_factory=Sent)
    formats: set[str] = field(default_factory=set)
    bytes: int = 0
    seconds: float = 0.0


@dataclass
class Sender:
    """Sends messages, and notes what each delivery amounts to."""

    action: Action
    resources: Resources
    pace: Pace
    reporting: Reporting
    lead: Lead | None = None  # over the outcomes that are known
    is_resumed: bool = False  # another command has sent some of it
    total: Sent = field(default_factory=Sent)
    tallies: dict[str, Tally] = field(default_factory=dict)

    def send(self, messages: Iterator[Message]) -> None:
        """Sends the messages of each delivery, which stand together, and writes its receipt."""
        for id, of_source in groupby(messages, key=lambda message: message.delivery.id):
            started = time.monotonic()
            sent: list[Sent] = []
            try:
                for portion in self._portions(self._noted(of_source)):
                    sent.append(self._send(portion))
            except NobodyJudges:
                self._add(self.tallies[id], sent, started)
                raise
            self._add(self.tallies[id], sent, started)

    def _add(self, tally: Tally, sent: list[Sent], started: float) -> None:
        tally.sent = Sent.total([tally.sent, *sent])
        tally.seconds += time.monotonic() - started
        self._record(tally)

    def _record(self, tally: Tally) -> None:
        """Writes the receipt: with what other commands, that were interrupted, have sent of the delivery."""
        former, so_far = tally.former, Totals(tally.sent.records, tally.sent.batches)
        with database.transaction(self.resources.engine) as connection:
            if self.is_resumed:
                so_far = sending.totals(connection, self.action.seq, tally.delivery.source)
            known = tally.sent.known_batches + (former.known_batches if former else 0)
            receipt = Receipt(
                format=", ".join(sorted(tally.formats)),
                records=so_far.letters,
                bytes=tally.bytes + (former.bytes if former else 0),
                batches=so_far.batches,
                sent_batches=max(0, so_far.batches - known),
                known_batches=known,
                seconds=round(tally.seconds + (former.seconds if former else 0), 3),
                waited_seconds=round(tally.sent.waited_seconds + (former.waited_seconds if former else 0), 3),
            )
            deliveries.finish(connection, tally.delivery.id, receipt)

    def _noted(self, messages: Iterator[Message]) -> Iterator[Message]:
        for message in messages:
            if message.delivery.id not in self.tallies:
                with database.reading(self.resources.engine) as connection:
                    former = deliveries.receipt(connection, message.delivery.id)
                self.tallies[message.delivery.id] = Tally(message.delivery, former)
            tally = self.tallies[message.delivery.id]
            tally.formats.add(message.format)
            tally.bytes += message.size
            yield message

    def _portions(self, messages: Iterator[Message]) -> Iterator[Iterable[Message]]:
        """What is sent at once: a full batch, or several small ones; at a rate or with a lead, one at its time."""
        is_timed = self.pace.rate is not None or self.lead is not None
        portion: list[Message] = []
        for message in messages:
            if self.lead:
                self.lead.add(message)
            self.pace.wait(len(message.records))
            portion.append(message)
            if (
                is_timed
                or sum(len(each.records) for each in portion) >= FULL_RECORDS
                or len(portion) == GROUP_BATCHES
            ):
                yield portion
                portion = []
        if portion:
            yield portion

    def _send(self, messages: Iterable[Message]) -> Sent:
        before = self.total.records
        sent = send_batches(messages, self.resources, self.reporting.notice, partial(self._advance, before))
        self.total = Sent.total([self.total, sent])
        return sent

    def _advance(self, before: int, so_far: Sent) -> None:
        self.reporting.progress(before + so_far.records)


@dataclass
class Held:
    """The lease of an action."""

    is_sent: bool = True  # whether nothing is left to send, unless an error ends it


@contextmanager
def under_lease(engine: Engine, action: int, holder: str) -> Iterator[Held]:
    """Keeps the lease of an action while its letters are sent; it is taken before."""
    ended = threading.Event()
    beats = threading.Thread(target=_beat, args=(engine, action, holder, ended), daemon=True)
    beats.start()
    lease, is_whole = Held(), False
    try:
        yield lease
        is_whole = lease.is_sent
    finally:
        ended.set()
        beats.join()
        with database.transaction(engine) as connection:
            sending.release(connection, action, holder, is_sent=is_whole)


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


class Done(NamedTuple):
    """What this command did, beside what others had done before."""

    before: int  # letters that were sent before
    sent: Sent
    going: Sending
    paused: str | None  # why not all is sent


def send(action: Action, holder: str, resources: Resources, reporting: Reporting) -> Done:
    """Sends the letters of an action that no batch is registered for."""
    settings, terms = resources.settings, Terms.of(action)
    most = min(settings.batch_records, MOST_RECORDS, max(1, int(terms.rate or MOST_RECORDS)))
    if terms.ahead:
        most = min(most, max(1, terms.ahead // 2))  # workers have one while the next is on its way
    cut = Cut(most, settings.batch_bytes)
    going = Sending(resources.engine, action, resources.contract, resources.worker, cut, [], holder)
    with database.reading(resources.engine) as connection:
        before = sending.totals(connection, action.seq).letters
    with mirror.tolerated():
        mirror.flush_outbox(resources.broker.redis, resources.engine)
    lead = Lead.of(action, resources, terms.ahead, reporting.notice) if terms.ahead else None
    if lead:
        going.make_room = lead.make_room
    sender = Sender(action, resources, Pace(terms.rate), reporting, lead, is_resumed=before > 0)
    try:
        if lead:
            lead.wait_for_outcomes()
        sender.send(going.messages(terms.stop_after))
        if lead:
            lead.wait_for_outcomes()
        elif sender.total.ids:
            _wait_for_first(action, resources)
        sender.send(going.messages())
    except NobodyJudges as paused:
        return Done(before, sender.total, going, str(paused))
    return Done(before, sender.total, going, None)


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
