"""The answer to a statement that somebody typed, which may only read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from sqlalchemy import Engine

from store import database
from store.api.target import Rows
from store.errors import UsageError
from store.tables.rows import Field

PIECE = 1000


@dataclass(frozen=True)
class Answer(Rows):
    """Rows as the database gives them: in SQLite times and JSON are text, and 0 and 1 false and true."""

    engine: Engine
    statement: str

    @contextmanager
    def answered(self) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
        """The names of the columns, of which two may be alike, and the rows; the next ones are read when needed."""
        with (
            database.reading(self.engine) as connection,
            database.ask(connection, self.statement, PIECE) as (names, pieces),
        ):
            yield names, chain.from_iterable(pieces)

    @contextmanager
    def _opened(self) -> Iterator[tuple[tuple[Field, ...], Iterator[list[dict[str, Any]]]]]:
        with self.answered() as (names, rows):
            if len(set(names)) != len(names):
                doubled = next(each for each in names if names.count(each) > 1)
                raise UsageError(
                    f"two columns of the answer are called {doubled!r}: name one of them with AS"
                )
            yield tuple((name, "any") for name in names), _pieces(names, rows)


def _pieces(names: Sequence[str], rows: Iterator[Sequence[Any]]) -> Iterator[list[dict[str, Any]]]:
    while some := list(islice(rows, PIECE)):
        yield [dict(zip(names, row, strict=True)) for row in some]
