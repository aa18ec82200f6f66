"""SQLite that only reads: a file opened as `mode=ro`; for what somebody typed an authorizer that allows SELECT."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, event

from store.database.backends.base import Asked, refused
from store.errors import UsageError

READING = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)


def only_read(engine: Engine, path: Path | None) -> None:
    """See `Backend.only_read`."""

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, _args: object, options: dict[str, Any]) -> Any:
        return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, **options) if path else None


@contextmanager
def ask(driver: sqlite3.Connection, statement: str, size: int) -> Iterator[Asked]:
    """See `Backend.ask`."""
    driver.set_authorizer(_only_reading)
    cursor = driver.cursor()
    try:
        with _translated():
            cursor.execute(statement)
        if cursor.description is None:
            raise UsageError(refused("it is empty"))
        yield [each[0] for each in cursor.description], _pieces(cursor, size)
    finally:
        cursor.close()
        driver.set_authorizer(None)


def _pieces(cursor: sqlite3.Cursor, size: int) -> Iterator[Sequence[Any]]:
    while True:
        with _translated():
            rows = cursor.fetchmany(size)
        if not rows:
            return
        yield rows


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise UsageError(refused(str(error), is_forbidden="not authorized" in str(error))) from error


def _only_reading(action: int, *_: object) -> int:
    """Of what a statement is made of: also no pragma, no other file, and no end of the transaction."""
    return sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY
