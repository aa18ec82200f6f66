"""Whether the columns of a CSV file are those of its source: if not, no row can be a record."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import jmespath

from producer.files.open import RecordFile
from store.csv_reader import csv_reader
from store.errors import InputError
from worker.contract import IDENTITY, Contract
from worker.judge.adapt import roots
from worker.settings import SourceSettings

_DELIMITERS = ",;\t|:"
_SHOWN_COLUMNS = 20
_SHOWN_CHARACTERS = 60
_LINES = 50  # among which a better header is sought


@dataclass(frozen=True)
class Needed:
    """For each required field, the columns of which one must be there; none for a field that needs no column."""

    source: str
    columns: Mapping[str, frozenset[str]]

    @classmethod
    def of(
        cls, name: str, source: SourceSettings, contract: Contract, shares: Mapping[str, float] | None = None
    ) -> Needed:
        """`shares` are those of the stages, where they are not all on. What a function reads is not known."""
        shares = shares or {}
        if source.adapter:
            return cls(name, {})
        is_validated = shares.get("validate", 1.0) == 1.0
        fields = [contract.inputs[given] for given in contract.required]
        found = {
            field: _columns(field, source, contract, is_always_adapted=shares.get("adapt", 1.0) == 1.0)
            for field in fields
            if is_validated or field in IDENTITY
        }
        return cls(name, {field: columns for field, columns in found.items() if columns})

    def lacking(self, names: Iterable[str]) -> list[str]:
        """The fields that these columns do not give."""
        there = set(names)
        return [field for field, columns in self.columns.items() if not columns & there]

    def check(self, file: RecordFile) -> list[str]:
        """The fields that no column of a CSV file gives. Raises InputError if none is given."""
        names = file.columns or []
        lacking = self.lacking(names) if names else []
        if lacking and len(lacking) == len(self.columns):
            raise InputError(
                f"{file.name}: the header has no column for any field that the contract requires "
                f"({', '.join(self.wanted(field) for field in lacking)}); its columns are {_listed(names)}. "
                f"{self._advice(file, names)}; nothing of it was sent"
            )
        return lacking

    def wanted(self, field: str) -> str:
        """A field, and the columns that could give it where they have other names."""
        columns = self.columns[field]
        return field if columns == {field} else f"{field} from {' or '.join(map(repr, sorted(columns)))}"

    def _advice(self, file: RecordFile, names: list[str]) -> str:
        """What to change, by the likeliest cause."""
        better = max(self._better_headers(file), default=None)
        if better:
            _, line, _, delimiter = better
            steps = []
            if -line > max(_first_line(file.head), skipped := file.dialect.skip_rows) or -line <= skipped:
                steps.append(f"set skip_rows = {-line - 1}, or remove the lines before it,")
            if delimiter != file.dialect.delimiter:
                steps.append(f"set delimiter = {_toml(delimiter)} under [sources.{self.source}]")
            return f"Line {-line} has such columns: {' and '.join(steps).rstrip(',')}"
        near = list(self.near(names))
        if near:
            meant = ", ".join(f"{name!r} for {field}" for field, name in near)
            mapping = "; ".join(f"fields.{field} = {_toml(_path(name))}" for field, name in near)
            return (
                f"The nearest are {meant}: rename them, or map them under [sources.{self.source}]: {mapping}"
            )
        return f"The first row must name the columns: add it, or map its names under [sources.{self.source}]"

    def near(self, names: list[str], fields: Iterable[str] | None = None) -> Iterator[tuple[str, str]]:
        """(field, the column that was probably meant) of the fields that have one."""
        by_letters = {_letters(name): name for name in reversed(names)}
        for field in self.columns if fields is None else fields:
            wanted = [_letters(column) for column in sorted(self.columns[field])]
            found = next((each for each in wanted if each in by_letters), None) or next(
                (near for each in wanted for near in get_close_matches(each, by_letters, 1, 0.75)), None
            )
            if found:
                yield field, by_letters[found]

    def _better_headers(self, file: RecordFile) -> Iterator[tuple[int, int, int, str]]:
        """(fields that it would give, minus its line, preference, delimiter) of each row that gives some as a header.

        The greatest is the best: of equal ones the first line, with the delimiter that is in use.
        """
        quotechar = file.dialect.quotechar
        delimiters = file.dialect.delimiter + _DELIMITERS.replace(file.dialect.delimiter, "").replace(
            quotechar, ""
        )
        for number, line in enumerate(file.head.decode("utf-8", "replace").split("\n")[:_LINES], 1):
            for preference, delimiter in enumerate(reversed(delimiters)):
                given = len(self.columns) - len(self.lacking(_cells(line, delimiter, quotechar)))
                if given:
                    yield given, -number, preference, delimiter


def _columns(
    field: str, source: SourceSettings, contract: Contract, *, is_always_adapted: bool
) -> frozenset[str]:
    """The columns that can give a field; none where it needs no column."""
    own = next(given for given, each in contract.inputs.items() if each == field)
    names = {field, own}
    if names & (source.constants.keys() | source.defaults.keys()):
        return frozenset()
    expression = next((source.fields[name] for name in names if name in source.fields), None)
    if expression is None:
        return frozenset({own})
    read = frozenset(roots(jmespath.compile(expression).parsed))
    return read if is_always_adapted or not read else read | {own}


def _cells(line: str, delimiter: str, quotechar: str) -> list[str]:
    try:
        rows = csv_reader([line.rstrip("\r")], delimiter=delimiter, quotechar=quotechar)
        return [cell.strip() for cell in next(rows, [])]
    except csv.Error:
        return []  # this line is no header with this delimiter


def _first_line(head: bytes) -> int:
    return head[: len(head) - len(head.lstrip())].count(b"\n") + 1


def _letters(name: str) -> str:
    """A name without what people write differently."""
    return "".join(filter(str.isalnum, name.casefold()))


def _path(name: str) -> str:
    """A column's name as a JMESPath expression."""
    return name if name.isidentifier() and name.isascii() else f'"{name}"'


def _toml(text: str) -> str:
    quote = "'" if '"' in text or "\\" in text else '"'
    return '"\\t"' if text == "\t" else f"{quote}{text}{quote}"


def _listed(names: list[str]) -> str:
    shown = [repr(name[:_SHOWN_CHARACTERS]) for name in names[:_SHOWN_COLUMNS]]
    return ", ".join(shown) + (
        f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
    )
