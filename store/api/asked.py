"""The answer to a statement that somebody typed, which may only read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from store import database
from store.api.target import Rows
from store.errors import UsageError
from store.tables.rows import Field

PIECE = 1000


@dataclass(frozen=True)
class Answer(Rows):
    """Rows as the database gives them: times are text, and SQLite has 0 and 1 for false and true."""

    engine: Engine
    statement: str

    @contextmanager
    def _opened(self) -> Iterator[tuple[tuple[Field, ...], Iterator[list[dict[str, Any]]]]]:
        with (
            database.reading(self.engine) as connection,
            database.ask(connection, self.statement, PIECE) as (names, pieces),
        ):
            if len(set(names)) != len(names):
                doubled = next(each for each in names if names.count(each) > 1)
                raise UsageError(
                    f"two columns of the answer are called {doubled!r}: name one of them with AS"
                )
            found = ([dict(zip(names, row, strict=True)) for row in piece] for piece in pieces)
            yield tuple((name, "any") for name in names), found
