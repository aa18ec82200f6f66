"""What a file that came back changes in letters: one payload a letter, and why rows are refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection

from store.dead_letters.transfer.cells import Change, change_of, change_of_value, text_of
from store.dead_letters.transfer.export import HASH, ID, PREFIX, RAW, STORE, name_of, payload_hash, store_id
from store.dead_letters.transfer.fields import fields_of, names_of, object_of
from store.dead_letters.transfer.rows import Row, Rows, open_rows
from store.errors import InputError
from store.tables import dead_letters
from store.tables.dead_letters import DeadLetter
from store.text import shortened, storable_name

PAGE = 500
STORE_ID = re.compile("s[0-9a-f]{8}")
LETTER_ID = re.compile("[0-9a-f]{32}")


class Refusal(NamedTuple):
    """A row that is not taken."""

    line: int
    id: str
    why: str


@dataclass
class Column:
    """What is changed in one column."""

    name: str
    cells: int = 0
    before: str = ""  # of the first changed cell
    after: str = ""
    hints: Counter[str] = field(default_factory=Counter)  # what a spreadsheet may have done -> cells


@dataclass
class Fixes:
    """What a file changes."""

    file: str
    how: str = ""  # how the file is written, where that is not as it was exported
    rows: int = 0
    unchanged: int = 0
    payloads: dict[str, str] = field(default_factory=dict)  # letter -> its payload as it is sent
    refusals: list[Refusal] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "file": self.file,
            "read_as": self.how,
            "rows": self.rows,
            "changed": len(self.payloads),
            "unchanged": self.unchanged,
            "refused": [each._asdict() for each in self.refusals],
            "columns": [
                {
                    "column": each.name,
                    "cells": each.cells,
                    "before": each.before,
                    "after": each.after,
                    "hints": dict(each.hints),
                }
                for each in self.columns.values()
            ],
        }


def read_fixes(connection: Connection, path: Path) -> Fixes:
    """What a file changes. Raises InputError where it is no export of this store, or has an unknown column."""
    rows = open_rows(path)
    return _Reading(connection, rows).read()


class _Reading:
    """One file against the letters of the store."""

    def __init__(self, connection: Connection, rows: Rows) -> None:
        self._connection, self._rows = connection, rows
        self._store = store_id(connection)
        self._fixes = Fixes(rows.name, rows.how)
        self._lines: dict[str, list[int]] = {}  # id that stands there more than once -> lines
        self._known: set[str] = set()  # fields that some letter of the file has
        self._new: dict[str, int] = {}  # column that its letter does not have -> line

    def read(self) -> Fixes:
        self._find_repeated()
        rows = self._rows.read()
        while page := list(islice(rows, PAGE)):
            self._read_page(page)
        self._refuse_unknown_columns()
        fixes = self._fixes
        fixes.refusals.sort(key=lambda each: each.line)
        return fixes

    def _find_repeated(self) -> None:
        """Of a letter that stands there twice neither row is taken: which one is meant is not known."""
        seen: dict[str, int] = {}
        for row in self._rows.read():
            if (id := self._rows.text(row, ID)) in seen:
                self._lines.setdefault(id, [seen[id]]).append(row.line)
            seen.setdefault(id, row.line)

    def _read_page(self, page: Sequence[Row]) -> None:
        ids = [self._rows.text(row, ID) for row in page]
        whole = [id for id in ids if LETTER_ID.fullmatch(id)]
        found = dead_letters.select_letters(self._connection, status=None, ids=whole) if whole else []
        by_id = {letter.id: letter for letter in found}
        for row, id in zip(page, ids, strict=True):
            self._fixes.rows += 1
            try:
                self._take(row, id, by_id.get(id))
            except _OtherStore:
                raise
            except InputError as error:
                self._fixes.refusals.append(Refusal(row.line, shortened(id), str(error)))

    def _take(self, row: Row, id: str, letter: DeadLetter | None) -> None:
        """Raises InputError for a row that is refused."""
        if row.why:
            raise InputError(row.why)
        if not id:
            raise InputError(f"it has no {ID}")
        if not STORE_ID.fullmatch(store := self._rows.text(row, STORE)):
            raise InputError(f"{STORE} is not as it was written: have cells moved?")
        if store != self._store:
            raise _OtherStore(
                f"{self._rows.name}: line {row.line:,} is of another store ({store}; this one is "
                f"{self._store}; a store that was restored from a backup is another one too): export the letters again"
            )
        if letter is None:
            raise InputError("this store has no such letter")
        if self._rows.text(row, HASH) != payload_hash(letter):
            raise InputError(f"{HASH} is not that of its payload: were the columns sorted apart?")
        if others := [str(line) for line in self._lines.get(id, ()) if line != row.line]:
            raise InputError(f"the letter stands on line {', '.join(others[:5])} too")
        self._compare(row, letter)

    def _compare(self, row: Row, letter: DeadLetter) -> None:
        try:
            before = fields_of(letter)
            self._known.update(names_of(letter))
            why = ""
        except InputError as error:
            before, why = {}, str(error)
        changes = changes_of(self._rows, row, before, is_text=letter.format == "csv")
        if not changes:
            self._fixes.unchanged += 1
            return
        if why:
            raise InputError(f"{why}, so no field of it can be changed")
        if letter.status != "open":
            raise InputError(f"the letter is {letter.status} by now, not open")
        for column, each in changes.items():
            name = name_of(column)
            if name not in before and not column.startswith(RAW):
                self._new.setdefault(column, row.line)
            self._count(column, before.get(name), each)
        self._fixes.payloads[letter.id] = changed(before, changes)

    def _count(self, column: str, before: str | None, change: Change) -> None:
        name = name_of(column)
        found = self._fixes.columns.setdefault(name, Column(storable_name(name)))
        if not found.cells:
            found.before, found.after = (_shown(each) for each in (before, change.value))
        found.cells += 1
        if change.hint:
            found.hints[change.hint] += 1

    def _refuse_unknown_columns(self) -> None:
        for column, line in self._new.items():
            if column in self._known:
                continue
            near = get_close_matches(column, sorted(self._known), 1, 0.6)
            meant = f"did you mean {near[0]}? " if near else ""
            raise InputError(
                f"{self._rows.name}: line {line:,} has a value in the column {storable_name(column)!r}, and no letter "
                f"of the file has such a field: {meant}A new field is named {RAW}{storable_name(column)}"
            )


def changes_of(rows: Rows, row: Row, before: Mapping[str, str], *, is_text: bool) -> dict[str, Change]:
    """column -> what a row changes in a letter's fields. Raises InputError for what nobody can mean.

    `is_text`: the letter is a row of CSV.
    """
    for column in row.missing:
        if text_of(before.get(name_of(column))):
            raise InputError(f"the row ends before the column {storable_name(column)!r}")
    found, seen = {}, set()
    for column, value in row.values.items():
        if column.startswith(PREFIX):
            continue
        if (name := name_of(column)) in seen:
            raise InputError(f"two columns are the field {storable_name(name)!r}")
        seen.add(name)
        was = before.get(name)
        try:
            if rows.is_csv:
                change = change_of(value, was, is_text=is_text, has_comma=rows.has_comma)
            else:
                change = change_of_value(value, was, is_text=is_text)
        except InputError as error:
            raise InputError(f"{storable_name(column)}: {error}") from None
        if change:
            found[column] = change
    return found


def changed(before: Mapping[str, str], changes: Mapping[str, Change]) -> str:
    """The payload with these changes, as it is sent."""
    after = {**before, **{name_of(column): each.value or "" for column, each in changes.items()}}
    return object_of({name: value for name, value in after.items() if value})


class _OtherStore(InputError):
    """No row of the file is of this store."""


def _shown(value: str | None) -> str:
    """A value of JSON, short: text in quotes."""
    return "no value" if value is None else shortened(value)
