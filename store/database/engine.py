"""The engine, the one transaction helper, and all that differs between databases."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, ProgrammingError
from sqlalchemy.pool import NullPool

from store import trust
from store.addresses import shown_url, without_secrets
from store.database import generation, schema
from store.database.dialect import is_sqlite
from store.errors import ConfigError, ForeignDatabase, StoreUnavailable
from store.settings import StoreSettings
from store.text import printable

log = logging.getLogger("sluice.store")

BEGIN = "sluice_begin"
IMMEDIATELY = "BEGIN IMMEDIATE"
LOCK_POLL_SECONDS = 0.001
# Keys come in no order: a larger page holds more of those that are looked up together.
PAGE_BYTES = 16_384
# SQLite's own checkpoint falls to whoever commits, every 4 MB; here the loader makes one after each chunk,
# when nobody waits for it, and a committing worker only where no loader runs.
LONGEST_WAL_BYTES = 128 << 20
RESTART_SECONDS = 0.1  # how long a long log may keep writers waiting for those who still read it
NOT_ANOTHERS = "SELECT count(*) = 0 OR sum(name = ?) FROM sqlite_master"

# What the database says, and what its user can do about it.
ADVICE = (
    ("locked", "another process holds the write lock for longer than busy_timeout_seconds: it is retried"),
    ("full", "the disk is full: free some space, then retry"),
    ("readonly", "it is read-only: check the file's and the folder's permissions"),
    ("read-only", "it is read-only: check the file's and the folder's permissions"),
    ("unable to open", "check that its folder exists and can be written to, or set database_url"),
    ("no such table", "it was replaced while in use: restore the file, or run `store init` for an empty one"),
    ("disk i/o", "the disk failed: check it, restore from a backup if `PRAGMA integrity_check` complains"),
    ("malformed", "the file is damaged: stop the workers, restore a backup, send the files again"),
)

# SQLite calls these operational too, and no waiting mends them.
OUR_MISTAKES = (
    "no such column",
    "no such function",
    "near ",
    "table ",
    "incomplete input",
    "row value misused",
)


def open_engine(settings: StoreSettings, *, page_cache_mb: int = 16) -> Engine:
    """An engine for this process alone: engines do not survive a fork. Nothing is opened yet."""
    url = url_of(settings)
    if settings.database_url is None:
        trust.check_folder(settings.home.absolute())
    path = sqlite_file(url)
    if path:
        trust.check_database(path)
    if url.get_backend_name() != "sqlite":
        try:
            return create_engine(url, poolclass=NullPool, hide_parameters=True)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"database_url names {url.get_backend_name()}, whose driver {error.name!r} is not installed: "
                "install it, or use sqlite:////data/sluice.db"
            ) from error
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
        for pragma in pragmas:
            connection.execute(pragma)
        if connection.execute(NOT_ANOTHERS, (schema.VERSION_TABLE,)).fetchone()[0]:
            connection.execute("PRAGMA journal_mode = WAL")  # this one is written into the file

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        statement = connection.get_execution_options().get(BEGIN, "BEGIN")
        if statement == IMMEDIATELY:
            if path:
                generation.check(path, connection.connection.driver_connection)
            take_write_lock(connection, settings.busy_timeout_seconds)
        else:
            connection.exec_driver_sql(statement)

    return engine


def take_write_lock(connection: Connection, seconds: float) -> None:
    """Begins a transaction with SQLite's write lock, for which it waits this long.

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


def existing(settings: StoreSettings, *, page_cache_mb: int = 16) -> Engine:
    """An engine over a database that is there already.

    A file deleted under a running worker must not come back empty. Raises StoreUnavailable.
    """
    engine = open_engine(settings, page_cache_mb=page_cache_mb)
    path = sqlite_file(engine.url)
    if path and not path.exists():
        raise StoreUnavailable(f"{path} is gone: restore it, or run `store init` to begin with an empty one")
    return engine


def file_of(engine: Engine) -> tuple[int, int] | None:
    """(device, inode) of SQLite's file; None where there is no file."""
    path = sqlite_file(engine.url)
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:  # who compares it with what it was says what is wrong
        return None
    return found.st_dev, found.st_ino


def url_of(settings: StoreSettings) -> URL:
    """Where the database is, defaults applied; of parts, for a path may contain every character."""
    if settings.database_url is None:
        return URL.create("sqlite", database=str(settings.database_file))
    return parse_url(settings.database_url)


SQLITE_URL = re.compile(r"(sqlite(?:\+\w+)?)://(?:/([^?]*))?(\?.*)?", re.DOTALL)
# Nothing that writes URLs writes letters and digits so: the `%` is one of the file's name.
NEEDLESS_ESCAPE = re.compile(r"(?i)%(3\d|[46][1-9a-f]|[57][0-9a])")


def sqlite_file(url: URL) -> Path | None:
    """SQLite's file; None for another database, or one in memory."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database)).absolute()


def parse_url(text: str) -> URL:
    """A SQLAlchemy URL. Raises ConfigError, without showing a password, for one that is none."""
    try:
        if parts := SQLITE_URL.fullmatch(text):
            return _sqlite_url(*parts.groups())
        url = make_url(text)
        url.get_dialect()
        if url.get_backend_name() == "sqlite":
            raise ValueError("it has a user or a host")
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigError(
            "database_url is not a URL of a known database: write it like sqlite:////data/sluice.db"
        ) from error
    return url


def _sqlite_url(driver: str, path: str | None, options: str | None) -> URL:
    """A SQLite URL, whose path has a `%3F` for `?`. Raises ConfigError for options, ArgumentError for a driver."""
    if options:
        raise ConfigError(
            "database_url has a `?`, and a SQLite URL has no options: write %3F for a `?` of the path, or remove it"
        )
    if NEEDLESS_ESCAPE.search(path or ""):
        raise ConfigError(
            "database_url has a `%` whose next two digits stand for a letter or a digit: write %25 for a `%` of a path"
        )
    path = unquote(path or ":memory:")
    # One driver reads a path that begins with `file:` as a URI of SQLite's own, and another does not.
    url = URL.create(driver, database=f"./{path}" if path.startswith("file:") else path)
    url.get_dialect()
    return url


def shown(engine: Engine) -> str:
    """The database's URL for people."""
    if engine.dialect.name == "sqlite":
        return printable(f"{engine.url.drivername}:///{engine.url.database}")
    return shown_url(engine.url.render_as_string(hide_password=False))


@contextmanager
def transaction(on: Engine | Connection, *, lasting: bool = True) -> Iterator[Connection]:
    """One write transaction: all of it or nothing. Takes SQLite's write lock at the start.

    One that is not `lasting` may be undone by a power cut, as a whole: for what is only found again then.
    Raises StoreUnavailable for a system error; the first error is the one that is seen.
    """
    with translated(on.engine), connected(on) as connection:
        connection.execution_options(**{BEGIN: IMMEDIATELY})
        with connection.begin() if lasting else _unsynced(connection):
            yield connection


@contextmanager
def _unsynced(connection: Connection) -> Iterator[None]:
    """A transaction whose commit does not wait for the disk; the next lasting one does, for both."""
    if not is_sqlite(connection):
        with connection.begin():
            yield
        return
    driver: Any = connection.connection.driver_connection
    (level,) = driver.execute("PRAGMA synchronous").fetchone()
    driver.execute("PRAGMA synchronous = NORMAL")
    try:
        with connection.begin():
            yield
    finally:
        driver.execute(f"PRAGMA synchronous = {int(level)}")


@contextmanager
def reading(on: Engine | Connection) -> Iterator[Connection]:
    """One consistent view of the data, without a lock."""
    with translated(on.engine), connected(on) as connection:
        connection.execution_options(**{BEGIN: "BEGIN"})
        with connection.begin():
            yield connection


@contextmanager
def connected(on: Engine | Connection) -> Iterator[Connection]:
    """One connection: a new one, or the one that is given, for several transactions that share its own tables."""
    if isinstance(on, Connection):
        yield on
        return
    with translated(on):
        try:
            connection = on.connect()
        except (TypeError, ValueError, ProgrammingError) as error:
            # By type alone: the driver's words about an option that it does not know may contain its value.
            raise ConfigError(
                f"{shown(on)}: the driver does not take the user, password or options of database_url "
                f"({type(error).__name__}): correct them"
            ) from None
        except InterfaceError as error:
            reported = without_secrets(str(error.orig).strip())
            raise StoreUnavailable(f"{shown(on)}: {reported}: check that the server runs") from error
        with connection:
            yield connection


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Turns the driver's system errors into ours; programming errors pass as they are."""
    try:
        yield
    except DBAPIError as error:
        raise translate(engine, error) from error


def translate(engine: Engine, error: DBAPIError) -> Exception:
    """The error to raise for what the driver said."""
    reported, where = without_secrets(str(error.orig).strip()), shown(engine)
    if "not a database" in reported:
        return ForeignDatabase(
            f"{where} is not a database of Sluice's: {reported}; point database_url elsewhere"
        )
    if reported.startswith(OUR_MISTAKES):
        return error
    for word, advice in ADVICE:
        if word in reported.lower():
            return StoreUnavailable(f"{where}: {reported}: {advice}")
    if error.connection_invalidated or isinstance(error.orig, sqlite3.OperationalError | OSError):
        return StoreUnavailable(f"{where}: {reported}: it is retried")
    if type(error.orig).__name__ == "OperationalError":
        return StoreUnavailable(f"{where}: {reported}: check that the server runs and database_url is right")
    return error


def checkpoint(connection: Connection) -> None:
    """Moves what is committed from SQLite's write-ahead log into the database file; between transactions.

    Writers may go on meanwhile, unless the log has grown long: then they wait a moment for it to begin anew,
    which it does where nobody reads what is in it.
    """
    if not is_sqlite(connection):
        return
    try:
        with _busy_timeout(connection, RESTART_SECONDS) as driver:
            _busy, pages, _moved = driver.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages * PAGE_BYTES > LONGEST_WAL_BYTES:
                driver.execute("PRAGMA wal_checkpoint(RESTART)")
    except sqlite3.Error as error:
        # What was committed stands, in the log; if the file is damaged, the next transaction raises.
        log.info("SQLite's log is not moved into the database file for now: %s", error)
