"""What differs between databases, asked of the backend of a connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, Table

from store.database import backends
from store.database.backends.base import Asked, Backend


def as_dict(row: RowMapping) -> dict[str, Any]:
    """A row by column name; SQLAlchemy's own names are a kind of text that JSON does not take."""
    return {str(name): value for name, value in row.items()}


def backend_of(connection: Connection) -> Backend:
    """The backend that this connection leads to."""
    return backends.of(connection.dialect.name)


def now(connection: Connection) -> datetime:
    """The present by the database's clock, in UTC: what lies in the database is judged by no other."""
    return backend_of(connection).now(connection)


def insert(connection: Connection, table: Table) -> Any:
    """An INSERT that can say ON CONFLICT, in this database's dialect."""
    return backend_of(connection).insert(table)


def insert_whole(connection: Connection, table: Table) -> Any:
    """An INSERT of many rows, after whose failure the transaction is rolled back in any case."""
    return backend_of(connection).insert_whole(table)


def member_of(
    connection: Connection, column: ColumnElement[Any], values: Sequence[str] | Sequence[int]
) -> ColumnElement[bool]:
    """`column` is one of `values`, however many, as one bound parameter."""
    return backend_of(connection).member_of(column, values)


def with_member_of(
    connection: Connection, rows: Select[Any], column: ColumnElement[Any], values: Iterable[str]
) -> Select[Any]:
    """Rows whose `column`, a key, is one of many values: each is looked up, in the order of the index.

    On SQLite a quarter of the price of `member_of`: 0.4 µs for a value that is not there. Other conditions may make
    SQLite begin with them, and read all values for each row: leave them out.
    """
    return backend_of(connection).with_member_of(rows, column, values)


def greatest(connection: Connection, values: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    """The greatest of two or more values of one row."""
    return backend_of(connection).greatest(values)


def least(connection: Connection, values: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    """The least of two or more values of one row."""
    return backend_of(connection).least(values)


def microseconds(connection: Connection, stored: ColumnElement[Any]) -> ColumnElement[Any]:
    """A stored timestamp as microseconds since 1970, exactly."""
    return backend_of(connection).microseconds(stored)


def earlier(connection: Connection, stamp: ColumnElement[Any], seconds: int) -> ColumnElement[str]:
    """A stored timestamp moved back by whole seconds, as stored text; null before the beginning of time."""
    return backend_of(connection).earlier(stamp, seconds)


def insert_tuples(
    connection: Connection, table: Table, names: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    """Many rows, as quickly as it goes; a third of the price of dictionaries per row."""
    backend_of(connection).insert_tuples(connection, table, names, rows)


def stream(connection: Connection, statement: str, size: int) -> Iterator[Sequence[Any]]:
    """The rows of a SELECT as plain tuples, so many at once: SQLAlchemy's rows cost four times as much."""
    return backend_of(connection).stream(connection, statement, size)


def ask(connection: Connection, statement: str, size: int) -> AbstractContextManager[Asked]:
    """What somebody typed: one statement that may only read; its columns and its rows. Raises UsageError."""
    return backend_of(connection).ask(connection, statement, size)


def keep_temporary(connection: Connection, megabytes: int) -> None:
    """Lets so much of this connection's temporary tables stay in memory; once there is one."""
    backend_of(connection).keep_temporary(connection, megabytes)


def take_turn(connection: Connection) -> None:
    """In a transaction of a batch: from here on it alone writes what batches share. See `Backend`."""
    backend_of(connection).take_turn(connection)


def take_sums(connection: Connection) -> None:
    """In a loader's transaction: from here on it alone writes what loaders share. See `Backend`."""
    backend_of(connection).take_sums(connection)


def create_temporary(connection: Connection, table: Table) -> None:
    """Makes a temporary table, empty, for this transaction, or for both parts of `reading_then_writing`."""
    backend_of(connection).create_temporary(connection, table)


def checkpoint(connection: Connection) -> None:
    """What is to be done between two large transactions, if anything."""
    backend_of(connection).checkpoint(connection)
