"""Letters without a key whose line of a corrected file was loaded since: the same file again, as a later delivery.

The line alone says little: a daily file has the same name, and may be as long. So the record that the target holds from
that line must agree with the letter: in its key, where the payload has one; otherwise in every field that has no fault
and that both have, two at least, its time among them unless that is at fault. What cannot be read without the settings
of the source (a time in a format of its own, a number with a decimal comma) agrees with nothing, and a record that
another one has replaced in the target is not asked: then nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from store import database, timestamps
from store.database import install
from store.database.letters import dead_letters
from store.database.records import record_tables
from store.database.schema import RECORD_SHIFT, SHIFT, batches, deliveries
from store.dead_letters.raw import leaves
from store.dead_letters.raw.leaves import Payload
from store.dead_letters.raw.origins import Origins, origins_of, path_of
from store.dead_letters.raw.values import as_json, is_time, same
from store.tables import target as target_table
from store.tables.dead_letters import COLUMNS, DeadLetter, letter_of

AT_ONCE = 500
LEAST_AGREED = 2  # fields

Loaded = tuple[int, str, int, str, str, int]  # id, file, line, key, event time, delivery

_letter = dead_letters.c


def find(connection: Connection, chosen: Sequence[ColumnElement[bool]]) -> Iterator[tuple[str, Loaded]]:
    """(letter, the record of its line), of the letters that meet these conditions."""
    if connection.execute(_candidates(_letter.id).where(*chosen).limit(1)).first() is None:
        return  # the next one reads the target
    target = record_tables().target.c
    columns = (_letter.id, target.lineage_id, batches.c.file, target.lineage_line, target.key, target.ts,
               batches.c.delivery_seq)  # fmt: skip
    from_line = (target.lineage_line == _letter.line) & (target.lineage_id.op(">>")(SHIFT) == batches.c.seq)
    statement = _candidates(*columns).join(record_tables().target, from_line).where(*chosen)
    rows = iter(connection.execute(statement).all())
    while page := list(islice(rows, AT_ONCE)):
        yield from _agreeing(connection, page)


def _candidates(*columns: ColumnElement[Any]) -> Any:
    """Letters without a key whose file came again, as many records long, with the batches that hold their line now."""
    own, later, batch = deliveries.alias("own"), deliveries.alias("later"), batches.c
    return (
        select(*columns)
        .select_from(dead_letters)
        .join(own, own.c.seq == _letter.version.op(">>")(RECORD_SHIFT))
        .join(
            later,
            (later.c.file == own.c.file) & (later.c.source == own.c.source) & (later.c.seq > own.c.seq),
        )
        .join(batches, (batch.delivery_seq == later.c.seq) & (batch.kind == "file"))
        .where(
            _letter.record_key.is_(None),
            own.c.file == _letter.file,
            own.c.records == later.c.records,
            batch.first_line <= _letter.line,
            batch.last_line >= _letter.line,
        )
    )


def _agreeing(connection: Connection, found: Sequence[Any]) -> Iterator[tuple[str, Loaded]]:
    of_letters = database.member_of(connection, _letter.id, sorted({row[0] for row in found}))
    letters = [letter_of(row) for row in connection.execute(select(*COLUMNS).where(of_letters)).mappings()]
    by_id = {letter.id: (letter, leaves.of_letter(letter)) for letter in letters}
    origins = origins_of(connection, sorted({letter.group_id for letter in letters}))
    columns = install.contract_columns(connection)
    target = record_tables(columns).target
    for id, *record in found:
        letter, payload = by_id[id]
        held = select(target).where(target.c.source == letter.source, target.c.key == record[3])
        row = connection.execute(held).mappings().one()
        fields = {
            "key": row["key"],
            "ts": row["ts"],
            **target_table.fields_of(database.as_dict(row), columns),
        }
        if not row["deleted"] and agree(letter, payload, origins.get(letter.group_id, {}), fields):
            yield id, tuple(record)


def agree(letter: DeadLetter, payload: Payload, origins: Origins, held: dict[str, Any]) -> bool:
    """Whether a record of the target is certainly the one that a letter was to be, apart from what is wrong with it."""
    faulty = {each.get("field") for each in letter.errors}
    agreed = 0
    for field, value in held.items():
        path = path_of(origins, field)
        own = None if path is None or field in faulty else payload.value(path)
        if field == "ts" and field not in faulty:
            is_same = own is not None and is_time(own, timestamps.from_text(value))
        elif own is None:
            continue
        else:
            is_same = same(None if value is None else as_json(value), own)
        if field == "key":
            return is_same
        if not is_same:
            return False
        agreed += 1
    return agreed >= LEAST_AGREED
