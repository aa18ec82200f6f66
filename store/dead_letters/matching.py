"""The SQL of a filter, and letters and groups by the first digits of their ids."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, false, func, select

from store import database, timestamps
from store.database.letters import dead_letters as letters_table
from store.database.schema import POSITION_BITS, batches, deliveries, lineage_events
from store.dead_letters import groups, superseded
from store.dead_letters.filters import Filter
from store.errors import UsageError
from store.tables import dead_letters

FEW = 20_000  # letters that are looked up one by one


def conditions(connection: Connection, which: Filter) -> list[ColumnElement[bool]]:
    """What the letters must meet. Raises UsageError: see `Filter.conditions`."""
    matching = dead_letters.conditions(
        connection,
        status=which.status,
        ids=[letter_id(connection, each) for each in which.ids],
        groups=[group_id(connection, each) for each in which.groups],
        reasons=which.reasons,
        source=which.source,
    )
    if which.fields or which.rules or which.shapes:
        faulty = groups.ids_with(connection, which.fields, which.rules, which.shapes)
        matching.append(database.member_of(connection, letters_table.c.group_id, faulty))
    if which.file:
        matching += [letters_table.c.file == which.file, *_seen_with(connection, which.file)]
    if which.delivery is not None:
        matching.append(_rejected_in(connection, which.delivery))
    if which.since:
        matching += _seen_since(connection, moment("--since", which.since))
    if which.until:
        until = moment("--until", which.until)  # first, too: an index has that
        matching += [letters_table.c.last_seen_at < until, letters_table.c.first_seen_at < until]
    if which.superseded:
        matching.append(
            database.member_of(connection, letters_table.c.id, sorted(superseded.find(connection, matching)))
        )
    return matching


def _rejected_in(connection: Connection, delivery: int) -> ColumnElement[bool]:
    """Letters of records that were rejected in this delivery, be it once among others."""
    if connection.execute(select(deliveries.c.seq).where(deliveries.c.seq == delivery)).scalar() is None:
        raise UsageError(
            f"--delivery {delivery}: there is no such delivery: `store account` lists the latest"
        )
    return letters_table.c.id.in_(_rejected(connection, batches.c.delivery_seq == delivery))


def _rejected(connection: Connection, of: ColumnElement[bool]) -> Select[Any]:
    """The letters that these batches rejected."""
    event, seq = lineage_events.c, batches.c.seq
    first, last = connection.execute(select(func.min(seq), func.max(seq)).where(of)).one()
    # Ids have the number of the batch in front: no other index is needed.
    bounds = (
        event.id >= ((first or 0) << POSITION_BITS + 1),
        event.id < ((last or 0) + 1 << POSITION_BITS + 1),
    )
    joined = select(event.dead_letter_id).join(batches, seq == event.batch_seq)
    return joined.where(*bounds, of, event.step == "reject")


def _seen_with(connection: Connection, file: str) -> list[ColumnElement[bool]]:
    """When the batches of a file were processed, and so its letters first seen: an index has that."""
    at = batches.c.processed_at
    first, last = connection.execute(select(func.min(at), func.max(at)).where(batches.c.file == file)).one()
    if first is None:
        return [false()]
    return [letters_table.c.first_seen_at >= first, letters_table.c.first_seen_at <= last]


def _seen_since(connection: Connection, at: str) -> list[ColumnElement[bool]]:
    """Letters seen then or later; where that is a small part of all, by what was rejected since."""
    seen = letters_table.c.last_seen_at >= at
    if not are_few(connection, at):
        return [seen]
    return [seen, letters_table.c.id.in_(_rejected(connection, batches.c.processed_at >= at))]


def are_few(connection: Connection, since: str) -> bool:
    """Whether so few were rejected since then that they are looked up one by one."""
    rejected = select(func.sum(batches.c.rejected)).where(batches.c.processed_at >= since)
    return (connection.execute(rejected).scalar() or 0) <= FEW


def moment(option: str, text: str) -> str:
    """A time as it is stored. Raises UsageError."""
    try:
        return timestamps.to_text(timestamps.from_iso(text))
    except ValueError as error:
        raise UsageError(
            f"{option} {text!r} is not an ISO 8601 time: write it like 2025-01-15T12:00:00Z"
        ) from error


def groups_of(connection: Connection, which: Filter) -> list[dict[str, Any]]:
    """The groups that a filter chooses, whatever states their letters are in."""
    ids = [group_id(connection, each) for each in which.groups]
    found = groups.select_groups(connection, status=None, source=which.source, reasons=which.reasons, ids=ids)
    return [
        each for each in found if groups.has_fault(each["faults"], which.fields, which.rules, which.shapes)
    ]


def letter_id(connection: Connection, prefix: str) -> str:
    """The id that begins so. Raises UsageError where none or several do."""
    return _the_one(dead_letters.ids_that_begin(connection, prefix), prefix, "--id", "dead letter", "list")


def group_id(connection: Connection, prefix: str) -> str:
    """The id of the group that begins so. Raises UsageError where none or several do."""
    found = groups.ids_that_begin(connection, prefix)
    return _the_one(found, prefix, "--group", "group of dead letters", "--json")


def _the_one(found: list[str], prefix: str, option: str, noun: str, command: str) -> str:
    if not found:
        raise UsageError(
            f"{option} {prefix!r}: no {noun} has such an id: `store letters {command}` shows them"
        )
    if len(found) > 1:
        raise UsageError(f"several ids begin with {option} {prefix!r} ({', '.join(found)}): give more digits")
    return found[0]
