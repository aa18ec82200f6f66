"""Traces lineage: from a key, a line or any entry, back to file and line and forward to the target.

The id of a staged record is made of the number of its batch and its position there, so the number of an entry
gives its batch. Only the key must be searched for, once through the loaded records of its source. A `replay`
event and the event of its outcome have the same number without the last bit; its parent is the `reject` event.
A letter that was closed because its payload came again has the number of the record that was accepted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    column,
    or_,
    select,
    table,
    union_all,
)

from store import database
from store.database.letters import letter_events
from store.database.records import record_tables
from store.database.schema import POSITION_BITS, SHIFT, batches, lineage_events, past_lineage, record_lineage
from store.errors import UsageError
from store.tables import batches as inbox
from store.tables import dead_letters
from store.tables.lineage import ENTRY_COLUMNS, Entry, number_of
from store.text import encodable, shown_path

VIEW = table("lineage", *(column(name) for name in (*ENTRY_COLUMNS, "number")))
EVENTS = ("reject", "skip", "replay")
ORDER = {"replay": 0, "reject": 1, "skip": 1, "stage": 1, "load": 2}
MAX_NUMBER = 1 << 62
AT_ONCE = 500

Entries = dict[str, Entry]


def of_key(connection: Connection, key: str, source: str | None = None) -> list[Entry]:
    """Every entry of a record key, oldest first, with all their ancestors and descendants, whatever their key."""
    # Naming the sources lets the lookup use the primary key, which begins with them.
    sources = [source] if source else inbox.sources(connection)
    return _family(connection, _entries(connection, VIEW.c.key == key, VIEW.c.source.in_(sources)))


def of_line(connection: Connection, file: str, line: int) -> list[Entry]:
    """What became of one line of one file, given by its name or as that is shown."""
    inside = and_(batches.c.first_line <= line, batches.c.last_line >= line)
    names = {shown_path(file), encodable(file)}
    condition = and_(batches.c.file.in_(names), or_(inside, batches.c.kind == "replay"))
    held = dict(connection.execute(select(batches.c.seq, batches.c.source).where(condition)).all())
    first = batches.c.seq * (1 << (POSITION_BITS + 1))
    near = and_(lineage_events.c.id >= first, lineage_events.c.id < first + (1 << (POSITION_BITS + 1)))
    events = select(lineage_events.c.id).join(batches, near).where(condition, lineage_events.c.line == line)
    batch = _batch_among(connection, list(held))
    found = _events(connection, connection.execute(events).scalars().all())
    found += _records_where(
        connection, set(held.values()), lambda rows: and_(rows.c.line == line, batch(rows))
    )
    return _family(connection, [*found, *_beaten(connection, found)])


def of_id(connection: Connection, id: str) -> list[Entry]:
    """Every entry connected with an entry (`stage-…`, `load-…`, `event-…`) or a dead letter (its first digits).

    Empty for an unknown id. Raises UsageError for text that is not an id, or that several letters begin with.
    """
    step, _, digits = id.partition("-")
    if step not in ("stage", "load", "event"):
        return _family(connection, _of_letter(connection, id))
    if not (digits.isascii() and digits.isdigit()) or int(digits) >= MAX_NUMBER:
        raise UsageError(
            f"--id {id!r} is not the id of an entry: write it like {step}-1048576, as --json shows it"
        )
    number = int(digits)
    if step == "event":
        return _family(connection, _events(connection, [number]))
    sources = connection.execute(select(batches.c.source).where(batches.c.seq == number >> POSITION_BITS))
    found = _records_where(connection, set(sources.scalars()), lambda rows: rows.c.id == number)
    if step == "load" and not any(entry.step == "load" for entry in found):
        return []
    return _family(connection, [*found, *_beaten(connection, found)])


def _of_letter(connection: Connection, prefix: str) -> list[Entry]:
    ids = dead_letters.ids_that_begin(connection, prefix) if prefix else []
    if len(ids) > 1:
        raise UsageError(f"several ids begin with --id {prefix!r} ({', '.join(ids)}): give more digits")
    numbers = select(lineage_events.c.id).where(lineage_events.c.dead_letter_id.in_(ids))
    return _events(connection, connection.execute(numbers).scalars().all())


def _entries(connection: Connection, *conditions: ColumnElement[bool]) -> list[Entry]:
    statement = select(*(VIEW.c[name] for name in ENTRY_COLUMNS)).where(*conditions)
    return [Entry(*row) for row in connection.execute(statement)]


def _numbered(
    connection: Connection, numbers: Sequence[int], *conditions: ColumnElement[bool]
) -> list[Entry]:
    # SQLite looks a list of values up in each part of a view, but compares a subquery with all rows of the view.
    chunks = [numbers[start : start + AT_ONCE] for start in range(0, len(numbers), AT_ONCE)]
    return [
        entry for chunk in chunks for entry in _entries(connection, *conditions, VIEW.c.number.in_(chunk))
    ]


def _events(connection: Connection, numbers: Sequence[int]) -> list[Entry]:
    return _numbered(connection, numbers, VIEW.c.step.in_(EVENTS))


def _records(connection: Connection, found: Iterable[tuple[str, str, int]]) -> list[Entry]:
    """`stage` and `load` of these (source, key, id)."""
    ids: dict[tuple[str, str], list[int]] = defaultdict(list)
    for source, key, id in found:
        ids[source, key].append(id)
    return [
        entry
        for (source, key), numbers in ids.items()
        for entry in _numbered(
            connection,
            numbers,
            VIEW.c.step.in_(("stage", "load")),
            VIEW.c.source == source,
            VIEW.c.key == key,
        )
    ]


def _records_where(
    connection: Connection, sources: set[str], condition: Callable[[Table], ColumnElement[bool]]
) -> list[Entry]:
    """`stage` and `load` of records whose key is unknown: reads every record of these sources."""
    if not sources:
        return []
    statements = [
        select(rows.c.source, rows.c.key, rows.c.id).where(rows.c.source.in_(sources), condition(rows))
        for rows in (record_lineage, record_tables().staging)
    ]
    return _records(connection, connection.execute(union_all(*statements)).all())


def _batch_among(connection: Connection, numbers: list[int]) -> Callable[[Table], ColumnElement[bool]]:
    return lambda rows: database.member_of(connection, rows.c.id.op(">>")(SHIFT), numbers)


def _family(connection: Connection, entries: list[Entry]) -> list[Entry]:
    """The entries with all their ancestors and descendants, oldest first."""
    known: Entries = {}
    new = entries
    while new:
        known |= {entry.id: entry for entry in new}
        found = [*_linked(connection, new), *_winners(connection, new, known)]
        found += _replayed(connection, found or new, known)
        found += _arrived(connection, new, known)
        new = [entry for entry in found if entry.id not in known]
    by_time = sorted(known.values(), key=lambda entry: (entry.at, _staged_number(entry), ORDER[entry.step]))
    return _after_parents(by_time, known)


def _after_parents(entries: Iterable[Entry], known: Entries) -> list[Entry]:
    """The entries, each after its parent, even where a clock was set back."""
    ordered: Entries = {}
    for entry in entries:
        chain: Entries = {}
        above: Entry | None = entry
        # A chain that is a circle was made by hand.
        while above and above.id not in ordered and above.id not in chain:
            chain[above.id] = above
            above = known.get(above.parent_id) if above.parent_id else None
        ordered |= dict(reversed(chain.items()))
    return list(ordered.values())


def _staged_number(entry: Entry) -> int:
    return entry.number >> 1 if entry.step in EVENTS else entry.number


def _linked(connection: Connection, entries: Iterable[Entry]) -> list[Entry]:
    """The events before and after these entries, through every replay."""
    seeds = {entry.number for entry in entries if entry.step in ("reject", "replay")}
    seeds |= {
        number_of(above) for entry in entries if (above := entry.parent_id) and above.startswith("event-")
    }
    if not seeds:
        return []
    events = lineage_events
    names = ("id", "step", "parent_id", "dead_letter_id")
    first = select(*(events.c[name] for name in names)).where(
        database.member_of(connection, events.c.id, sorted(seeds))
    )
    family = first.cte("family", recursive=True)
    outcome = and_(family.c.step == "replay", events.c.id == family.c.id + 1)
    replays = and_(
        family.c.step == "reject",
        events.c.step == "replay",
        events.c.dead_letter_id == family.c.dead_letter_id,
    )
    link = or_(events.c.id == family.c.parent_id, outcome, replays)
    family = family.union(select(*(events.c[name] for name in names)).join_from(family, events, link))
    return _events(connection, connection.execute(select(family.c.id)).scalars().all())


def _arrived(connection: Connection, entries: Iterable[Entry], known: Entries) -> list[Entry]:
    """Between the rejections of a payload and the record that was accepted with it later."""
    closed = letter_events.c
    rejects = [entry.number for entry in entries if entry.step == "reject"]
    staged = [entry.number for entry in entries if entry.step == "stage"]
    arrived = closed.verb == "arrive"
    letters = select(closed.letter_id).where(
        arrived, database.member_of(connection, closed.record_id, staged)
    )
    before = select(lineage_events.c.id).where(lineage_events.c.dead_letter_id.in_(letters))
    found = _events(connection, connection.execute(before).scalars().all())
    after = (
        select(closed.record_id, lineage_events.c.source)
        .join(lineage_events, lineage_events.c.dead_letter_id == closed.letter_id)
        .where(arrived, database.member_of(connection, lineage_events.c.id, rejects))
    )
    rows = [row for row in connection.execute(after) if f"stage-{row.record_id}" not in known]
    numbers = [row.record_id for row in rows]
    return found + _records_where(
        connection,
        {row.source for row in rows},
        lambda each: database.member_of(connection, each.c.id, numbers),
    )


def _winners(connection: Connection, entries: Iterable[Entry], known: Entries) -> list[Entry]:
    """The records that duplicates repeat, and those that superseded or replaced the others."""
    return _records(
        connection,
        {
            (entry.source, entry.key, number_of(entry.beaten_by))
            for entry in entries
            if entry.beaten_by and entry.key is not None and entry.beaten_by not in known
        },
    )


def _beaten(connection: Connection, entries: Iterable[Entry]) -> list[Entry]:
    """The duplicates of loaded records, and the records that they superseded or replaced."""
    past = past_lineage
    found: list[tuple[str, str, int]] = []
    for entry in entries:
        if entry.step == "stage":
            same = (past.c.source == entry.source, past.c.key == entry.key)
            rows = select(past.c.source, past.c.key, past.c.id).where(*same, past.c.beaten_by == entry.number)
            found += [(row[0], row[1], row[2]) for row in connection.execute(rows)]
    return _records(connection, found)


def _replayed(connection: Connection, entries: Iterable[Entry], known: Entries) -> list[Entry]:
    """The staged records of replayed letters, where their key is not among the entries."""
    followed = {entry.parent_id for entry in (*known.values(), *entries)}
    replays = [entry for entry in entries if entry.step == "replay" and entry.id not in followed]
    numbers = [entry.number for entry in replays]

    def is_next(rows: Any) -> ColumnElement[bool]:
        return database.member_of(connection, rows.c.parent_id, numbers)

    return _records_where(connection, {entry.source for entry in replays}, is_next)
