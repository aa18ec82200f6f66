"""SQLite: one file, one writer at a time, and no clock but the host's."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Select,
    Table,
    cast,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateTable, DropTable

from store import logs, trust
from store.database import generation, schema
from store.database.backends import advice, sqlite_facts, sqlite_reading
from store.database.backends.base import BEGIN, Asked, Begin, Facts, OneWriter, host_now
from store.errors import ForeignDatabase, StoreUnavailable
from store.settings import StoreSettings
from store.text import printable

log = logging.getLogger("sluice.store")

IMMEDIATELY = "BEGIN IMMEDIATE"
ALONE: tuple[Begin, ...] = ("write", "change", "batch", "turn", "sums")  # SQLite has one writer
LOCK_POLL_SECONDS = 0.001
# Keys come in no order: a larger page holds more of those that are looked up together.
PAGE_BYTES = 16_384
# SQLite's own checkpoint falls to whoever commits, every 4 MB; here the loader makes one after each chunk,
# when nobody waits for it, and a committing worker only where no loader runs.
LONGEST_WAL_BYTES = 128 << 20
RESTART_SECONDS = 0.1  # how long a long log may keep writers waiting for those who still read it
NOT_ANOTHERS = "SELECT count(*) = 0 OR sum(name = ?) FROM sqlite_master"
PARAMETERS = 999  # of one statement: any SQLite takes so many
SQLITE_THAT_DROPS_COLUMNS = (3, 35, 0)


class Sqlite(OneWriter):
    """See `Backend`."""

    longest_key = None
    has_quick_windows = False
    shown_as: ClassVar[dict[str, str]] = {}  # it has no types for times and JSON

    def open(self, url: URL, settings: StoreSettings, page_cache_mb: int) -> Engine:
        path = self.file(url)
        if path:
            trust.check_database(path)
        engine = create_engine(
            url, connect_args={"timeout": settings.busy_timeout_seconds}, pool_size=1, hide_parameters=True
        )
        pragmas = (
            f"PRAGMA page_size = {PAGE_BYTES}",  # of a new file
            f"PRAGMA synchronous = {settings.synchronous}",
            "PRAGMA foreign_keys = ON",
            f"PRAGMA cache_size = {-1024 * page_cache_mb}",
            "PRAGMA temp_store = FILE",  # what does not fit into its cache: memory stays bounded
            f"PRAGMA wal_autocheckpoint = {LONGEST_WAL_BYTES // 2 // PAGE_BYTES}",
            f"PRAGMA journal_size_limit = {LONGEST_WAL_BYTES}",
        )

        @event.listens_for(engine, "connect")
        def set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = None  # transactions are ours: BEGIN IMMEDIATE below
            try:
                for pragma in pragmas:
                    connection.execute(pragma)
                if connection.execute(NOT_ANOTHERS, (schema.VERSION_TABLE,)).fetchone()[0]:
                    connection.execute("PRAGMA journal_mode = WAL")  # this one is written into the file
            except BaseException:
                connection.close()  # SQLAlchemy 2.0 does not
                raise

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            if connection.get_execution_options().get(BEGIN) in ALONE:
                if path:
                    generation.check(path, connection.connection.driver_connection)
                take_write_lock(connection, settings.busy_timeout_seconds)
            else:
                connection.exec_driver_sql("BEGIN")

        return engine

    def only_read(self, engine: Engine) -> None:
        sqlite_reading.only_read(engine, self.file(engine.url))

    def shown(self, url: URL) -> str:
        return printable(f"{url.drivername}:///{url.database}")

    def file(self, url: URL) -> Path | None:
        return None if url.database in (None, "", ":memory:") else Path(str(url.database)).absolute()

    def dataset(self, connection: Connection, table: str) -> tuple[str, str]:
        return "sqlite", f"{Path(connection.engine.url.database or ':memory:').absolute()}/{table}"

    def translate(self, where: str, reported: str, error: DBAPIError) -> Exception:
        if "not a database" in reported:
            return ForeignDatabase(
                f"{where} is not a database of Sluice's: {reported}; point database_url elsewhere"
            )
        if reported.startswith(advice.SQLITE_MISTAKES):
            return error
        for word, what_to_do in advice.SQLITE:
            if word in reported.lower():
                return StoreUnavailable(f"{where}: {reported}: {what_to_do}")
        if error.connection_invalidated or isinstance(error.orig, sqlite3.OperationalError | OSError):
            return StoreUnavailable(f"{where}: {reported}: it is retried")
        return error

    def create(self, url: URL) -> None:
        """The file and its folder, readable by their owner alone."""
        path = self.file(url)
        if path is None:
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600))
        except OSError as error:
            raise StoreUnavailable(
                f"the database {path} cannot be written ({error.strerror}): check its folder, or set database_url"
            ) from error

    def check(self, connection: Connection) -> None:
        """Every SQLite that Python has will do."""

    def number(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        # Of several that make a database at once, the others come when it is made.
        if not driver.execute("PRAGMA user_version").fetchone()[0]:
            generation.begin(driver)

    def generation(self, connection: Connection) -> int | None:
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())

    def last_number(self, connection: Connection, column: Column[Any]) -> int:
        asked = "SELECT max(seq) FROM sqlite_sequence WHERE name = ?"
        given = connection.exec_driver_sql(asked, (column.table.name,)).scalar()
        return max(given or 0, connection.execute(select(func.max(column))).scalar() or 0)

    def number_after(self, connection: Connection, column: Column[Any], number: int) -> None:
        """Of a table that counts for itself: others go on behind their last row."""
        name = column.table.name
        if number and column.table.dialect_options["sqlite"]["autoincrement"]:
            connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
            connection.exec_driver_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, number))

    def decimal(self, number: float | Decimal, digits: str | None) -> float | Decimal:
        return float(number)

    def settle(self, engine: Engine) -> None:
        if self.file(engine.url):
            with engine.connect() as connection:
                driver: Any = connection.connection.driver_connection
                driver.execute(
                    "PRAGMA wal_checkpoint(TRUNCATE)"
                )  # the generation is read from the file itself

    def why_not_widened(self, connection: Connection) -> str | None:
        found: str = connection.exec_driver_sql("SELECT sqlite_version()").scalar_one()
        if tuple(map(int, found.split("."))) < SQLITE_THAT_DROPS_COLUMNS:
            return "which this SQLite cannot change: use SQLite 3.35 or newer"
        return None

    def widen(self, connection: Connection, table: str, name: str, kind: str) -> None:
        for statement in (
            f"ALTER TABLE {table} ADD COLUMN _widened {kind}",  # no field begins with an underscore
            f"UPDATE {table} SET _widened = {name} WHERE {name} IS NOT NULL",  # noqa: S608 - a quoted name
            f"ALTER TABLE {table} DROP COLUMN {name}",
            f"ALTER TABLE {table} RENAME COLUMN _widened TO {name}",
        ):
            connection.exec_driver_sql(statement)

    @contextmanager
    def unsynced(self, connection: Connection) -> Iterator[None]:
        driver: Any = connection.connection.driver_connection
        (level,) = driver.execute("PRAGMA synchronous").fetchone()
        driver.execute("PRAGMA synchronous = NORMAL")
        try:
            with connection.begin():
                yield
        finally:
            driver.execute(f"PRAGMA synchronous = {int(level)}")

    @contextmanager
    def reading_then_writing(self, connection: Connection) -> Iterator[Callable[[], Connection]]:
        """Two transactions: whoever has read cannot become the writer."""
        with ExitStack() as transactions:

            def begin(kind: Begin) -> Connection:
                transactions.close()
                on = connection.execution_options(**{BEGIN: kind})
                transactions.enter_context(on.begin())
                return on

            begin("scratch")
            yield lambda: begin("write")

    def create_temporary(self, connection: Connection, table: Table) -> None:
        """The connection may have one of earlier, with other columns."""
        connection.execute(DropTable(table, if_exists=True))
        connection.execute(CreateTable(table))

    def checkpoint(self, connection: Connection) -> None:
        """Moves what is committed from the write-ahead log into the file.

        Writers may go on meanwhile, unless the log has grown long: then they wait a moment for it to begin anew,
        which it does where nobody reads what is in it.
        """
        try:
            with _busy_timeout(connection, RESTART_SECONDS) as driver:
                _busy, pages, _moved = driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if pages * PAGE_BYTES > LONGEST_WAL_BYTES:
                    driver.execute("PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.Error as error:
            # What was committed stands, in the log; if the file is damaged, the next transaction raises.
            message = "SQLite's log is not moved into the database file for now: %s"
            log.info(message, error, extra=logs.event("checkpoint_deferred"))

    def keep_temporary(self, connection: Connection, megabytes: int) -> None:
        connection.exec_driver_sql(f"PRAGMA temp.cache_size = {-1024 * megabytes}")

    def facts(self, connection: Connection) -> Facts:
        return sqlite_facts.facts(connection, self.file(connection.engine.url))

    def now(self, connection: Connection) -> datetime:
        """By this host's clock, as all who use the file are on one host; see `correct_host_clock`."""
        return host_now()

    def insert(self, table: Table) -> Any:
        return sqlite.insert(table)

    def insert_whole(self, table: Table) -> Any:
        """Unlike an upsert, and what may fail alone, this needs no copy of each page it changes."""
        return sqlite.insert(table).prefix_with("OR ROLLBACK")

    def insert_tuples(
        self, connection: Connection, table: Table, names: Sequence[str], rows: Iterable[tuple[Any, ...]]
    ) -> None:
        """Many rows a statement, which saves a third of the time: 0.7 of 2.1 µs for a row of 8 columns.

        Of rows that `zip` makes none lasts: another 0.4 µs.
        """
        quote = connection.dialect.identifier_preparer.quote
        into = f"INSERT INTO {quote(table.name)} ({', '.join(map(quote, names))}) VALUES "  # noqa: S608
        row, size = f"({', '.join('?' * len(names))})", max(1, PARAMETERS // len(names))
        values = chain.from_iterable(rows)
        many = list(iter(lambda: tuple(islice(values, size * len(names))), ()))
        rest = iter(many.pop() if many and len(many[-1]) < size * len(names) else ())
        if many:
            connection.exec_driver_sql(into + ", ".join([row] * size), many)
        if single := list(iter(lambda: tuple(islice(rest, len(names))), ())):
            connection.exec_driver_sql(into + row, single)

    def stream(self, connection: Connection, statement: str, size: int) -> Iterator[Sequence[Any]]:
        cursor = connection.connection.cursor()
        cursor.execute(statement)
        while rows := cursor.fetchmany(size):
            yield rows

    def ask(self, connection: Connection, statement: str, size: int) -> AbstractContextManager[Asked]:
        driver: Any = connection.connection.driver_connection
        return sqlite_reading.ask(driver, statement, size)

    def member_of(
        self, column: ColumnElement[Any], values: Sequence[str] | Sequence[int]
    ) -> ColumnElement[bool]:
        each = func.json_each(orjson.dumps(list(values)).decode()).table_valued("value")
        return column.in_(select(each.c.value))

    def with_member_of(
        self, rows: Select[Any], column: ColumnElement[Any], values: Iterable[str]
    ) -> Select[Any]:
        each = func.json_each(orjson.dumps(sorted(set(values))).decode()).table_valued("value")
        return rows.select_from(each).where(column == each.c.value)

    def greatest(self, values: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
        return func.max(*values)

    def least(self, values: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
        return func.min(*values)

    def microseconds(self, stored: ColumnElement[Any]) -> ColumnElement[Any]:
        seconds = cast(func.strftime("%s", func.substr(stored, 1, 19)), BigInteger)
        return seconds * 1_000_000 + cast(func.substr(stored, 21, 6), BigInteger)

    def earlier(self, stamp: ColumnElement[Any], seconds: int) -> ColumnElement[str]:
        moved = func.strftime("%Y-%m-%dT%H:%M:%S", func.substr(stamp, 1, 19), f"-{seconds} seconds")
        return moved.concat(func.substr(stamp, 20))  # the fraction stays, to the microsecond


def take_write_lock(connection: Connection, seconds: float) -> None:
    """Begins a transaction with the write lock, for which it waits this long.

    SQLite's own waiting sleeps up to a tenth of a second at a time, longer than a batch takes to be written.
    """
    deadline = time.monotonic() + seconds
    with _busy_timeout(connection, 0) as driver:
        while time.monotonic() < deadline:
            try:
                driver.execute(IMMEDIATELY)
            except sqlite3.Error as error:
                if "locked" not in str(error):
                    break  # the last try raises it again
                time.sleep(LOCK_POLL_SECONDS)
            else:
                return
        connection.exec_driver_sql(IMMEDIATELY)  # the last try, over SQLAlchemy, which wraps what is wrong


@contextmanager
def _busy_timeout(connection: Connection, seconds: float) -> Iterator[Any]:
    """SQLite's own connection, which waits so long for a lock until this ends."""
    driver: Any = connection.connection.driver_connection
    (milliseconds,) = driver.execute("PRAGMA busy_timeout").fetchone()
    driver.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
    try:
        yield driver
    finally:
        driver.execute(f"PRAGMA busy_timeout = {int(milliseconds)}")


BACKEND = Sqlite()
