"""What a replay says of the dead letters it carries, held against the store: the queue is not trusted with them.

A letter that is accepted is resolved. So a message from a stranger must not be able to name a letter and carry
another payload: that letter would be closed, and its record would not be loaded. The action that sends letters back
registers the id of each batch before it is sent, and an id is that of its content: edited payloads included.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from sqlalchemy import Connection, Engine

from store import database
from store.dead_letters import actions
from store.dead_letters.actions import Registration
from store.errors import ForgedMessage
from store.tables import dead_letters, deliveries
from store.tables.dead_letters import DeadLetter
from worker.batch.rejections import csv_header
from worker.judge.parse import record_of
from worker.queue.identity import halves
from worker.queue.message import Message, RawRecord


def check(engine: Engine, message: Message) -> None:
    """Raises ForgedMessage for a replay that the store knows nothing of, or other letters than it says."""
    if message.kind != "replay":
        return
    with database.reading(engine) as connection:
        why = _objection(connection, message)
    if why:
        raise ForgedMessage(
            f"replay {message.id} of source {message.source!r:.70} is refused and quarantined, and nothing of it is "
            f"stored: {why}; its letters stay as they are: replay them again"
        )


def _objection(connection: Connection, message: Message) -> str | None:
    """Why the store does not know this replay; None where it does."""
    ids = [letter.id for letter in message.letters]
    action = actions.number_of(connection, str(message.delivery.content))
    if action is None or deliveries.number(connection, message.delivery.id) is None:
        return "its action or delivery was never begun here"
    if len(set(ids)) != len(ids):
        return "it names a letter twice"
    known = actions.registrations(connection, action, ids)
    held = {id: each for id, each in known.items() if each.is_held}
    if not (_is_registered(message, held) or _was_cut(message, known)):
        return f"its letters are not, or not any more, in this batch of action {action}"
    return _objection_to_letters(connection, message)


def _objection_to_letters(connection: Connection, message: Message) -> str | None:
    ids = [letter.id for letter in message.letters]
    found = {each.id: each for each in dead_letters.select_letters(connection, status=None, ids=ids)}
    header = csv_header(message)
    expected = (message.source, message.format, orjson.loads(header) if header else None)
    for letter, record in zip(message.letters, message.records, strict=True):
        stored = found.get(letter.id)
        if stored is None or stored.source != message.source:
            return f"{message.source!r:.70} has no letter {letter.id!r:.70}"
        if not letter.edited and not _is_unchanged(stored, record, expected):
            return f"letter {letter.id} has another payload"
    return None


def _is_registered(message: Message, known: dict[str, Registration]) -> bool:
    """Whether this is the batch that was registered for each of its letters."""
    ids = [letter.id for letter in message.letters]
    return all(id in known and known[id].batch == message.id for id in ids)


def _was_cut(message: Message, known: dict[str, Registration]) -> bool:
    """Whether its letters are sent in parts of this batch, which may be done while the note of the cut is missing."""
    return len(message.letters) > 1 and all(
        _is_registered(part, known) or _was_cut(part, known) for part in halves(message)
    )


def register_parts(engine: Engine, parts: Sequence[Message]) -> None:
    """The parts of a batch that is cut are batches of the same action; before they are sent."""
    with database.transaction(engine) as connection:
        for part in parts:
            action = actions.number_of(connection, str(part.delivery.content))
            if action is not None:
                actions.register(connection, action, part.id, [letter.id for letter in part.letters])


def _is_unchanged(stored: DeadLetter, record: RawRecord, expected: tuple[str, str, object]) -> bool:
    """Whether an unedited letter is sent back as it is stored."""
    same = (stored.source, stored.format, stored.header) == expected
    return same and stored.payload_digest is None and record_of(stored) == record
