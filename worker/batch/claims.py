"""What a replay says of the dead letters it carries, held against the store: the queue is not trusted with them.

A letter that is accepted is resolved. So a message from a stranger must not be able to name a letter and carry
another payload: that letter would be closed, and its record would not be loaded.
"""

from __future__ import annotations

import orjson
from sqlalchemy import Connection, Engine

from store import database
from store.errors import ForgedMessage
from store.tables import dead_letters, deliveries
from store.tables.dead_letters import DeadLetter
from worker.batch.receive import csv_header
from worker.judge.undecoded import record_of
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
    if deliveries.number(connection, message.delivery.id) is None:
        return "its delivery was never begun here"
    ids = [letter.id for letter in message.letters]
    if len(set(ids)) != len(ids):
        return "it names a letter twice"
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


def _is_unchanged(stored: DeadLetter, record: RawRecord, expected: tuple[str, str, object]) -> bool:
    """Whether an unedited letter is sent back as it is stored."""
    same = (stored.source, stored.format, stored.header) == expected
    return same and stored.payload_digest is None and record_of(stored) == record
