"""The target's rows, for programs: dictionaries, a frame of another library, or a file."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine

from store import database
from store.api import forms
from store.tables import rows
from store.tables.rows import Choice, Field


class Rows(ABC):
    """Rows with names and kinds; each reading is one transaction, and sees one state of the data."""

    @abstractmethod
    def _opened(self) -> AbstractContextManager[tuple[tuple[Field, ...], Iterator[list[dict[str, Any]]]]]:
        """A context with the names and kinds of the rows, and the rows in pieces."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self._opened() as (_, pieces):
            for piece in pieces:
                yield from piece

    def pandas(self) -> Any:
        """A DataFrame, in types that have a value for what is missing: an integer stays one."""
        return self._all(forms.to_pandas)

    def polars(self) -> Any:
        """A Polars DataFrame."""
        return self._all(forms.to_polars)

    def arrow(self) -> Any:
        """A PyArrow Table."""
        return self._all(forms.to_arrow)

    def csv(self, to: str | Path | IO[str] | None = None) -> int:
        """Writes them as CSV to a file, by default standard output; how many. No cell is a formula."""
        return self._write(forms.write_csv, to)

    def ndjson(self, to: str | Path | IO[str] | None = None) -> int:
        """Writes them as JSON, one a line; how many."""
        return self._write(forms.write_ndjson, to)

    def parquet(self, to: str | Path) -> int:
        """Writes them as a Parquet file; how many."""
        with self._opened() as (fields, pieces), forms.replacing(Path(to), "wb") as file:
            return forms.write_parquet(fields, pieces, file)

    def _all(self, form: Any) -> Any:
        forms.need(form)
        with self._opened() as (fields, pieces):
            return form(fields, [row for piece in pieces for row in piece])

    def _write(self, write: Any, to: str | Path | IO[str] | None) -> int:
        with self._opened() as (fields, pieces):
            if isinstance(to, str | Path):
                with forms.replacing(Path(to), "w") as file:
                    return int(write(fields, pieces, file))
            return int(write(fields, pieces, to or sys.stdout))


@dataclass(frozen=True)
class Target(Rows):
    """Rows of the target, by source and key: source, key, ts, the contract's fields, and `extra`, those beyond it."""

    engine: Engine
    choice: Choice

    @contextmanager
    def _opened(self) -> Iterator[tuple[tuple[Field, ...], Iterator[list[dict[str, Any]]]]]:
        with database.reading(self.engine) as connection:
            yield self._fields(connection), self._read(connection)

    def _fields(self, connection: Connection) -> tuple[Field, ...]:
        return rows.fields_of(connection, self.choice)

    def _read(self, connection: Connection) -> Iterator[list[dict[str, Any]]]:
        return rows.read(connection, self.choice)
