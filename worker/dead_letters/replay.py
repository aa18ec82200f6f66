"""Dead letters -> messages: sent back through the queue by an action, unchanged or edited.

action --(its letters, in their order)--> batches, each registered with the action --> queue
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Engine

from store import database
from store.csv_reader import Dialect
from store.dead_letters import actions, payloads, sending
from store.dead_letters.actions import Action
from store.dead_letters.edits import Edit, json_body
from store.dead_letters.payloads import OwnPayloads
from store.errors import InputError
from store.tables import batches, deliveries
from store.tables.dead_letters import Sendable
from store.tables.deliveries import Delivery
from worker.contract import Contract
from worker.judge.faults import Rejection
from worker.judge.parse import is_undecoded, parse_csv, record_of
from worker.queue.client import Broker
from worker.queue.identity import identified
from worker.queue.message import Letter, Message, RawRecord
from worker.settings import WorkerSettings

PAGE = 2_000
MOST_NAMED = 20
PLAIN = Dialect()


class Replayable(NamedTuple):
    """A letter as it is sent back."""

    position: int  # in its action
    letter: Sendable
    record: RawRecord
    format: str
    header: dict[str, Any] | None
    dialect: Dialect
    edited: bool


class Cut(NamedTuple):
    """How large a batch may be."""

    records: int
    bytes: int


def prepared(letter: Sendable, edit: Edit, position: int = 0) -> Replayable:
    """A letter as it is sent back. Raises InputError where it cannot be."""
    if isinstance(edit, OwnPayloads):
        payload = edit.payload_of(letter.id)
        return Replayable(position, letter, payload, "json", None, dialect_of(letter), edited=True)
    if edit.payload is not None:
        return Replayable(position, letter, edit.payload, "json", None, PLAIN, edited=True)
    if letter.payload_digest:
        raise InputError(
            "only its payload's first 4 KiB are stored: raise max_record_bytes and send the file again"
        )
    if edit.is_empty:
        record = record_of(letter)
        return Replayable(
            position, letter, record, letter.format, letter.header, dialect_of(letter), edited=False
        )
    try:
        text = edit.apply(body_of(letter)).decode()
    except InputError as error:
        raise InputError(
            f"{error}, so no field can be changed: give the whole payload with --payload"
        ) from error
    # What is not edited is written as in its file: `1.234` may be a number with thousands.
    return Replayable(position, letter, text, "json", None, dialect_of(letter), edited=True)


def dialect_of(letter: Sendable) -> Dialect:
    """How the file of a CSV row is written."""
    return _dialect(orjson.dumps(letter.header)) if letter.header else PLAIN


@lru_cache(maxsize=256)  # to check one takes 45 µs, and a file's letters all have the same
def _dialect(header: bytes) -> Dialect:
    return Dialect.from_wire(orjson.loads(header))


def body_of(letter: Sendable) -> dict[str, Any]:
    """The fields of a letter's payload. Raises InputError where they cannot be read."""
    if is_undecoded(letter):
        raise InputError("its payload does not decode")
    try:
        text = letter.raw.decode()
        if letter.format == "csv" and letter.header:
            return parse_csv(text, letter.header["columns"], dialect_of(letter))
    except (UnicodeDecodeError, Rejection) as error:
        raise InputError("its payload cannot be read") from error
    return json_body(text)


def batches_of(ready: Iterable[Replayable], cut: Cut) -> Iterator[list[Replayable]]:
    """Letters, in their order, as batches: each of one source, format, header and file."""
    group: list[Replayable] = []
    size = 0
    for each in ready:
        length = len(each.record)
        is_full = len(group) >= cut.records or size + length > cut.bytes
        if group and (is_full or not _goes_with(each, group[0])):
            yield group
            group, size = [], 0
        group.append(each)
        size += length
    if group:
        yield group


def _goes_with(one: Replayable, other: Replayable) -> bool:
    """Whether one batch may hold both."""
    return (
        one.letter.file == other.letter.file
        and one.letter.source == other.letter.source
        and one.format == other.format
        and one.header == other.header
        and (one.dialect is other.dialect or one.dialect == other.dialect)
    )


def delivery_of(token: str, source: str, fingerprint: str) -> Delivery:
    """The letters of a source that an action sends back."""
    return Delivery.of("replay", source, "dead_letters", token, fingerprint)


def message_of(group: Sequence[Replayable], delivery: Delivery) -> Message:
    """A batch of letters."""
    first = group[0]
    records = [each.record for each in group]
    message = Message(
        id="",
        kind="replay",
        delivery=delivery,
        first=first.position,
        source=delivery.source,
        file=first.letter.file,
        format="csv" if first.format == "csv" else "json",
        header=first.header["columns"] if first.header else None,
        dialect=first.dialect,
        records=records,
        lines=[each.letter.line for each in group],
        fingerprint=delivery.fingerprint,
        letters=[Letter(each.letter.id, each.letter.event_id, each.edited) for each in group],
        size=sum(map(len, records)),
    )
    return identified(message)


@dataclass
class Sending:
    """The letters of one action on their way to the queue."""

    engine: Engine
    action: Action
    contract: Contract
    settings: WorkerSettings
    cut: Cut
    refused: list[tuple[Sendable, str]]  # the first that cannot be sent, and why; they are open again
    holder: str | None = None  # of the action's lease
    refusals: int = 0  # how many cannot be sent
    make_room: Callable[[int], None] = lambda _: None  # waits until so many letters may be sent

    def messages(self, most: int | None = None) -> Iterator[Message]:
        """Its letters, or the next so many, as batches, each registered before it is given out.

        Raises SluiceError where the lease is lost.
        """
        letters = islice(self._ready(min(most or PAGE, PAGE)), most)
        for chosen in batches_of(letters, self.cut):
            self.make_room(len(chosen))
            source = chosen[0].letter.source
            fingerprint = self.contract.fingerprint(self.settings.source(source))
            delivery = delivery_of(self.action.token, source, fingerprint)
            if message := self._registered(chosen, delivery):
                yield message

    def _registered(self, group: Sequence[Replayable], delivery: Delivery) -> Message | None:
        """The batch of these letters, without those that are not to be sent any more; None where none is left."""
        message = message_of(group, delivery)
        with database.transaction(self.engine) as connection:
            if self.holder:
                sending.hold(connection, self.action.seq, self.holder)
            ids = [each.letter.id for each in group]
            if not sending.register(connection, self.action.seq, message.id, ids):  # it was stopped meanwhile
                held = sending.still_unsent(connection, self.action.seq, ids)
                if not held:
                    return None
                message = message_of([each for each in group if each.letter.id in held], delivery)
                sending.register(connection, self.action.seq, message.id, sorted(held))
            deliveries.begin(connection, delivery)
        return message

    def _ready(self, page_size: int) -> Iterator[Replayable]:
        edit = payloads.edit_of(self.engine, self.action)
        after = -1
        while True:
            with database.reading(self.engine) as connection:
                page = sending.unsent(connection, self.action.seq, after, page_size)
            if not page:
                return
            after = page[-1][0]
            refused: list[str] = []
            for position, letter in page:
                try:
                    yield prepared(letter, edit, position)
                except InputError as error:
                    self.refusals += 1
                    if len(self.refused) < MOST_NAMED:
                        self.refused.append((letter, str(error)))
                    refused.append(letter.id)
            if refused:
                with database.transaction(self.engine) as connection:
                    actions.give_back(connection, self.action.seq, refused, "refused")


def lost_batches(engine: Engine, broker: Broker, action: int) -> set[str]:
    """Batches of an action that are neither processed nor on their way."""
    with database.reading(engine) as connection:
        ids = sending.registered_batches(connection, action)
        unknown = set(ids) - batches.known(connection, ids)
    return unknown - broker.on_their_way(sorted(unknown))


def forget_lost_batches(engine: Engine, broker: Broker, action: int) -> None:
    """Batches of an action that Redis has lost: their letters are as those that were never sent."""
    lost = lost_batches(engine, broker, action)
    if not lost:
        return
    with database.transaction(engine) as connection:  # one may have been processed meanwhile
        lost -= batches.known(connection, sorted(lost))
        sending.forget_batches(connection, action, sorted(lost))
