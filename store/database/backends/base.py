"""What the store asks of a database beyond the SQL that all of them speak."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol

from sqlalchemy import Column, ColumnElement, Connection, Engine, Select, Table
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from store import timestamps
from store.settings import StoreSettings

# How a transaction begins; an execution option of its connection.
BEGIN = "sluice_begin"
# write: alone, or waiting for those before it; read: one view of the data; scratch: that, with temporary tables;
# judge: what is read is written later, see `reading_then_writing`; change: write, and tables are changed;
# batch: rows of its own, and then perhaps what batches share, see `take_turn`; turn: that alone;
# sums: leases and runs of loaders, see `take_sums`
Begin = Literal["write", "read", "scratch", "judge", "change", "batch", "turn", "sums"]

TOLERATED_SECONDS = 5.0  # less is no wrong clock

_host_is_ahead = 0.0  # seconds


def correct_host_clock(ahead: float) -> None:
    """Tells this process by how many seconds the host's clock is ahead of that of a server which others use too."""
    global _host_is_ahead  # noqa: PLW0603 - a process has one clock
    _host_is_ahead = ahead if abs(ahead) > TOLERATED_SECONDS else 0.0


def host_now() -> datetime:
    """The present by the host's clock, corrected: for a database that has no clock of its own."""
    return timestamps.now() - timedelta(seconds=_host_is_ahead)


Asked = tuple[list[str], Iterator[Sequence[Any]]]  # the names of its columns, its rows


def refused(reported: str, *, is_forbidden: bool = False) -> str:
    """What is said of a statement that somebody typed, and that the database does not take."""
    if is_forbidden:
        return f"the statement does more than read ({reported}): give one SELECT; nothing was changed"
    return f"the database does not take the statement: {reported}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a database says of itself and of the role that asks: for `worker doctor`, which decides what is wrong."""

    server: str  # product and version
    missing: tuple[str, ...]  # rights that the work needs and the role has not: `DELETE on target`
    may_change_tables: bool  # what migrations and new fields of the contract need
    settings: dict[str, str]  # what counts in a write transaction
    doubts: tuple[str, ...]  # settings that take away what is promised, each with what to do
    connections: tuple[int, int] | None  # in use, and how many there may be
    is_pooled: bool = False  # something stands between, as pgbouncer does, and hands out connections


class OneWriter:
    """What a database with one writer at a time has nothing to do for: see `Backend`."""

    commits_in_order = True
    may_be_divided = False

    def partitions(self, connection: Connection) -> int:
        """They are whole."""
        return 1

    def asks_for_nul(self, error: DBAPIError) -> bool:
        """Its texts may have every character."""
        return False

    def make_view(self, connection: Connection, name: str, rows: str) -> None:
        """It has nobody's rights."""
        connection.exec_driver_sql(f"DROP VIEW IF EXISTS {name}")
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {rows}")

    def rights(self, connection: Connection, views: Sequence[str]) -> list[str]:
        """Those of the file."""
        return []

    def take_turn(self, connection: Connection) -> None:
        """Whoever writes has it."""

    def take_sums(self, connection: Connection) -> None:
        """Whoever writes has them."""


class Backend(Protocol):
    """One database. Every function is called with connections, engines or URLs of this one alone."""

    longest_key: int | None  # bytes of a record's key that its indexes hold; None: any number
    # A window over rows that are sorted costs less than finding their neighbours afterwards.
    has_quick_windows: bool
    # What has a lower number than a batch that is there is there too, or will never be.
    commits_in_order: bool
    may_be_divided: bool  # staging and target into partitions, each with a loader of its own
    # The kind of a column, or `time` -> its type in views for people, where it is another.
    shown_as: Mapping[str, str]

    # --- the engine ---

    def open(self, url: URL, settings: StoreSettings, page_cache_mb: int) -> Engine:
        """An engine for this process alone, whose transactions begin as BEGIN says. Raises ConfigError."""

    def only_read(self, engine: Engine) -> None:
        """Lets no connection that this engine opens from now on write into the database."""

    def shown(self, url: URL) -> str:
        """The URL for people, without secrets."""

    def file(self, url: URL) -> Path | None:
        """The database's one file; None where it has none."""

    def dataset(self, connection: Connection, table: str) -> tuple[str, str]:
        """(namespace, name) of a table, as OpenLineage names it; without user or password."""

    def translate(self, where: str, reported: str, error: DBAPIError) -> Exception:
        """The error to raise for what the driver said; `error` itself where it is a mistake of ours."""

    def asks_for_nul(self, error: DBAPIError) -> bool:
        """Whether a value was not even sent for a U+0000 in it, which no text of this database has."""

    # --- first use ---

    def create(self, url: URL) -> None:
        """What is there before the first connection. Raises StoreUnavailable."""

    def check(self, connection: Connection) -> None:
        """Raises ConfigError where the store does not run on this server or database."""

    def number(self, connection: Connection) -> None:
        """Gives a database that has just got its tables what tells it from every other."""

    def generation(self, connection: Connection) -> int | None:
        """The number that tells this database from every other; None where it has none."""

    def partitions(self, connection: Connection) -> int:
        """How many partitions staging and target were made of; 1: they are whole."""

    def last_number(self, connection: Connection, column: Column[Any]) -> int:
        """The greatest number that a table has given to a row, be it deleted since; 0: none."""

    def number_after(self, connection: Connection, column: Column[Any], number: int) -> None:
        """The rows of a table get greater numbers than this one."""

    def decimal(self, number: float | Decimal, digits: str | None) -> float | Decimal:
        """A stored decimal, of any backend, as the column takes it; `digits` where the number is not exact."""

    def settle(self, engine: Engine) -> None:
        """After the transaction that made the tables."""

    def make_view(self, connection: Connection, name: str, rows: str) -> None:
        """Makes a view of what a SELECT gives, or makes it anew with more columns."""

    def rights(self, connection: Connection, views: Sequence[str]) -> list[str]:
        """Statements that give others the rights again that they have on these views, once they were dropped."""

    def why_not_widened(self, connection: Connection) -> str | None:
        """Why a column of integers cannot be made one of reals here, and what to do; None where it can."""

    def widen(self, connection: Connection, table: str, name: str, kind: str) -> None:
        """Gives the column (names are quoted) another type, with its values."""

    # --- transactions ---

    def unsynced(self, connection: Connection) -> AbstractContextManager[None]:
        """A transaction whose commit does not wait for the disk; the next one that does waits for both."""

    def reading_then_writing(
        self, connection: Connection
    ) -> AbstractContextManager[Callable[[], Connection]]:
        """A part that reads, and makes temporary tables; the function that is given begins the part that writes.

        The tables last for both parts, and no longer. What others write stands between the two: the reader relies
        only on what nobody else may change.
        """

    def take_turn(self, connection: Connection) -> None:
        """In a transaction of a batch: from here on it alone writes what batches share.

        That is letters with their groups and actions, deliveries and contracts. What others committed of it is seen.
        """

    def take_sums(self, connection: Connection) -> None:
        """In a loader's transaction, after its rows: from here on it alone writes what loaders share.

        That is the counters of batches, watermarks and runs. What others committed of it is seen.
        """

    def create_temporary(self, connection: Connection, table: Table) -> None:
        """Makes a temporary table, empty, for this transaction, or for both parts of `reading_then_writing`."""

    def checkpoint(self, connection: Connection) -> None:
        """What is to be done between two large transactions, if anything."""

    def keep_temporary(self, connection: Connection, megabytes: int) -> None:
        """Lets so much of this connection's temporary tables stay in memory; once there is one."""

    def now(self, connection: Connection) -> datetime:
        """The present by the database's clock, in UTC."""

    def facts(self, connection: Connection) -> Facts:
        """What it says of itself, in a write transaction."""

    # --- statements ---

    def insert(self, table: Table) -> Any:
        """An INSERT that can say ON CONFLICT."""

    def insert_whole(self, table: Table) -> Any:
        """An INSERT of many rows, after whose failure the transaction is rolled back in any case."""

    def insert_tuples(
        self, connection: Connection, table: Table, names: Sequence[str], rows: Iterable[tuple[Any, ...]]
    ) -> None:
        """Many rows, as quickly as it goes; values are of the types of their columns."""

    def stream(self, connection: Connection, statement: str, size: int) -> Iterator[Sequence[Any]]:
        """The rows of a SELECT as plain tuples, so many at once, in constant memory."""

    def ask(self, connection: Connection, statement: str, size: int) -> AbstractContextManager[Asked]:
        """What somebody typed: one statement that reads; the names of its columns, and its rows, so many at once.

        The database itself refuses all else. Raises UsageError.
        """

    def member_of(
        self, column: ColumnElement[Any], values: Sequence[str] | Sequence[int]
    ) -> ColumnElement[bool]:
        """`column` is one of `values`, however many, as one bound parameter."""

    def with_member_of(
        self, rows: Select[Any], column: ColumnElement[Any], values: Iterable[str]
    ) -> Select[Any]:
        """Rows whose `column`, a key, is one of many values, each looked up; they are chosen by nothing else."""

    def greatest(self, values: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
        """The greatest of two or more values of one row."""

    def least(self, values: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
        """The least of two or more values of one row."""

    def microseconds(self, stored: ColumnElement[Any]) -> ColumnElement[Any]:
        """A stored timestamp as microseconds since 1970, exactly."""

    def earlier(self, stamp: ColumnElement[Any], seconds: int) -> ColumnElement[str]:
        """A stored timestamp moved back by whole seconds, as stored text; null before the beginning of time."""
