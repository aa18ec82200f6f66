"""Letters as the rows of a file, for spreadsheets and scripts: what stands in each, and who they are.

A column is one of the letter's own, `letter.id`, or a field of the payload under its own name. The union of the
fields is found in a first pass over the table, the rows are written in a second one: memory does not grow.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, select

from store import database, hashing
from store.database.letters import dead_letters
from store.database.schema import deliveries
from store.dead_letters.transfer.cells import is_unshown, marked, safe_json, text_of
from store.dead_letters.transfer.fields import as_json, fields_of, names_of
from store.errors import InputError, UsageError
from store.tables.dead_letters import COLUMNS, DeadLetter, letter_of

PREFIX, RAW = "letter.", "raw."
ID, HASH, STORE, NOTE = "letter.id", "letter.hash", "letter.store", "letter.note"
OWN = (
    ID, HASH, STORE, "letter.source", "letter.reason", "letter.field", "letter.rule", "letter.message",
    "letter.file", "letter.line", NOTE,
)  # fmt: skip
MOST_COLUMNS = 16_384  # of a spreadsheet
ORDER = (dead_letters.c.first_seen_at, dead_letters.c.file, dead_letters.c.line, dead_letters.c.id)


class Written(NamedTuple):
    """What was exported."""

    letters: int
    without_fields: int  # of these; their column `letter.note` says why


def store_id(connection: Connection) -> str:
    """Which store this is: ids and hashes of letters alone are equal in two stores that got the same file."""
    if (generation := database.backend_of(connection).generation(connection)) is not None:
        return f"s{generation:08x}"
    first = select(deliveries.c.id, deliveries.c.started_at).order_by(deliveries.c.seq).limit(1)
    return "s" + hashing.hexdigest(repr(connection.execute(first).first()).encode())[:8]


def payload_hash(letter: DeadLetter) -> str:
    """The hash of a letter's payload."""
    return hashing.hexdigest(letter.raw)[:16]


def column_of(name: str) -> str:
    """The column of a field: its own name, or behind `raw.` where that would be one of ours, or cannot be shown."""
    if is_unshown(name):
        return RAW + as_json(name)
    return RAW + name if not name or name.startswith((PREFIX, RAW)) else name


def name_of(column: str) -> str:
    """The inverse of `column_of`."""
    if not column.startswith(RAW):
        return column
    name = column.removeprefix(RAW)
    if name.startswith('"'):
        try:
            found = json.loads(name)
        except ValueError:
            return name
        return found if isinstance(found, str) else name
    return name


def letters(connection: Connection, matching: Sequence[ColumnElement[bool]]) -> Iterator[DeadLetter]:
    """Letters that meet these conditions, streamed, in the order they were first seen."""
    statement = select(*COLUMNS).where(*matching).order_by(*ORDER).execution_options(yield_per=500)
    return map(letter_of, connection.execute(statement).mappings())


def columns(connection: Connection, matching: Sequence[ColumnElement[bool]]) -> list[str]:
    """The names of all fields of these letters, in the order they are first met. Raises UsageError for too many."""
    found: dict[str, None] = {}
    for letter in letters(connection, matching):
        try:
            found |= dict.fromkeys(names_of(letter))
        except InputError:  # its row says so
            continue
        if len(found) > MOST_COLUMNS - len(OWN):
            raise UsageError(
                f"these letters have more than {MOST_COLUMNS:,} fields, and no spreadsheet has so many columns: "
                "choose fewer letters, or give --format ndjson"
            )
    return list(found)


def own_values(letter: DeadLetter, store: str) -> dict[str, Any]:
    """What is said of a letter beside its fields; of several faults, each in its order."""
    return {
        ID: letter.id,
        HASH: payload_hash(letter),
        STORE: store,
        "letter.source": letter.source,
        "letter.reason": letter.reason,
        "letter.field": "; ".join(each["field"] for each in letter.errors),
        "letter.rule": "; ".join(each["rule"] for each in letter.errors),
        "letter.message": "; ".join(each["message"] for each in letter.errors),
        "letter.file": letter.file,
        "letter.line": letter.line,
    }


def header_of(names: Sequence[str]) -> list[str]:
    """The first row of a CSV file."""
    return [*OWN, *(marked(column_of(name)) for name in names)]


def cells_of(own: Mapping[str, Any], fields: Mapping[str, str], note: str, names: Sequence[str]) -> list[str]:
    """The row of one letter."""
    cells = [*map(str, own.values()), note, *(text_of(fields.get(name)) for name in names)]
    return list(map(marked, cells))


def line_of(own: Mapping[str, Any], fields: Mapping[str, str]) -> str:
    """One letter as a line of NDJSON."""
    values = {name: as_json(value) if isinstance(value, str) else str(value) for name, value in own.items()}
    # A payload may go over several lines; line ends stand between its values alone.
    values |= {column_of(name): _one_line(value) for name, value in fields.items()}
    return "{" + ",".join(f"{as_json(name)}:{value}" for name, value in values.items()) + "}\n"


def write_csv(connection: Connection, matching: Sequence[ColumnElement[bool]], out: IO[str]) -> Written:
    """Letters as CSV, with a byte order mark: without it spreadsheets read UTF-8 as something else."""
    names, store = columns(connection, matching), store_id(connection)
    out.write("\ufeff")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header_of(names))
    number = without = 0
    for letter in letters(connection, matching):
        fields, note = _fields(letter)
        writer.writerow(cells_of(own_values(letter, store), fields, note, names))
        number, without = number + 1, without + bool(note)
    return Written(number, without)


def write_ndjson(connection: Connection, matching: Sequence[ColumnElement[bool]], out: IO[str]) -> Written:
    """Letters as JSON, one a line, with the values as their payloads write them."""
    store, number, without = store_id(connection), 0, 0
    for letter in letters(connection, matching):
        fields, note = _fields(letter)
        own = own_values(letter, store) | ({NOTE: note} if note else {})
        out.write(line_of(own, fields))
        number, without = number + 1, without + bool(note)
    return Written(number, without)


def _one_line(value: str) -> str:
    return safe_json(value).replace("\n", " ").replace("\r", " ")


def _fields(letter: DeadLetter) -> tuple[dict[str, str], str]:
    """The fields of a letter; or none, and why."""
    try:
        return fields_of(letter), ""
    except InputError as error:
        return {}, f"no fields: {error}"
