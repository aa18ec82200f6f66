"""The engine, the one transaction helper, and what is said about a database that does not answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, ProgrammingError

from store import trust
from store.addresses import without_secrets
from store.database import backends
from store.database.backends.base import BEGIN, Backend, Begin
from store.errors import ConfigError, StoreUnavailable, UsageError
from store.settings import StoreSettings


def open_engine(settings: StoreSettings, *, page_cache_mb: int = 16) -> Engine:
    """An engine for this process alone: engines do not survive a fork. Nothing is opened yet."""
    url = url_of(settings)
    if settings.database_url is None:
        trust.check_folder(settings.home.absolute())
    try:
        backend = _backend(url)
        if settings.partitions > 1 and not backend.may_be_divided:
            raise ConfigError(
                f"partitions = {settings.partitions} needs PostgreSQL, for {url.get_backend_name()} has one writer at "
                "a time: set database_url to one, or remove partitions"
            )
        return backend.open(url, settings, page_cache_mb)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"database_url names {url.get_backend_name()}, whose driver {error.name!r} is not installed: "
            f"pip install 'sluice[{url.get_backend_name()}]', or use sqlite:////data/sluice.db"
        ) from error


def _backend(url: URL) -> Backend:
    return backends.of(url.get_backend_name())


def existing(settings: StoreSettings, *, page_cache_mb: int = 16) -> Engine:
    """An engine over a database that is there already.

    A file deleted under a running worker must not come back empty. Raises StoreUnavailable.
    """
    engine = open_engine(settings, page_cache_mb=page_cache_mb)
    path = sqlite_file(engine.url)
    if path and not path.exists():
        raise StoreUnavailable(f"{path} is gone: restore it, or run `store init` to begin with an empty one")
    return engine


def open_for_reading(settings: StoreSettings) -> Engine:
    """An engine over a database that is there, which cannot write. Raises StoreUnavailable where there is none."""
    engine = open_engine(settings)
    path = sqlite_file(engine.url)
    if path and not (path.exists() and path.stat().st_size):
        raise StoreUnavailable(
            f"there is no database {path}: set SLUICE_HOME or DATABASE_URL, or run `store init` for an empty one"
        )
    _backend(engine.url).only_read(engine)
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


def longest_key(settings: StoreSettings) -> int | None:
    """How many bytes of a record's key the database's indexes hold; None: any number."""
    return _backend(url_of(settings)).longest_key


SQLITE_URL = re.compile(r"(sqlite(?:\+\w+)?)://(?:/([^?]*))?(\?.*)?", re.DOTALL)
# Nothing that writes URLs writes letters and digits so: the `%` is one of the file's name.
NEEDLESS_ESCAPE = re.compile(r"(?i)%(3\d|[46][1-9a-f]|[57][0-9a])")
# As PostgreSQL's own programs and most hosters write it: without a driver, which is ours to choose.
WITHOUT_DRIVER = re.compile(r"postgres(?:ql)?(?=://)")


def sqlite_file(url: URL) -> Path | None:
    """SQLite's file; None for another database, or one in memory."""
    return _backend(url).file(url)


def parse_url(text: str) -> URL:
    """A SQLAlchemy URL. Raises ConfigError, without showing a password, for one that is none."""
    try:
        if parts := SQLITE_URL.fullmatch(text):
            return _sqlite_url(*parts.groups())
        url = make_url(WITHOUT_DRIVER.sub("postgresql+psycopg", text, count=1))
        url.get_dialect()
        if url.get_backend_name() == "sqlite":
            raise ValueError("it has a user or a host")
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigError(
            "database_url is not a URL of a known database: write it like sqlite:////data/sluice.db or "
            "postgresql+psycopg://user@host/database"
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
    return _backend(engine.url).shown(engine.url)


@contextmanager
def transaction(
    on: Engine | Connection, kind: Begin = "write", *, lasting: bool = True
) -> Iterator[Connection]:
    """One write transaction: all of it or nothing. Those of a kind but `batch` run one after another.

    One that is not `lasting` may be undone by a power cut, as a whole: for what is only found again then.
    Raises StoreUnavailable for a system error; the first error is the one that is seen.
    """
    with translated(on.engine), connected(on, kind) as connection, _begun(connection, lasting):
        yield connection


@contextmanager
def reading_then_writing(connection: Connection) -> Iterator[Callable[[], Connection]]:
    """What is read without a lock, and then written with it; temporary tables last for both. See `Backend`."""
    with (
        translated(connection.engine),
        _backend(connection.engine.url).reading_then_writing(connection) as write,
    ):
        yield write


def _begun(connection: Connection, lasting: bool) -> AbstractContextManager[object]:
    return connection.begin() if lasting else _backend(connection.engine.url).unsynced(connection)


@contextmanager
def reading(on: Engine | Connection, *, scratch: bool = False) -> Iterator[Connection]:
    """One consistent view of the data, without a lock; with `scratch`, one that may make temporary tables.

    Raises UsageError where it is asked for a text that the database cannot hold, and so does not.
    """
    with (
        translated(on.engine),
        connected(on, "scratch" if scratch else "read") as connection,
        connection.begin(),
    ):
        try:
            yield connection
        except DBAPIError as error:
            if _backend(on.engine.url).asks_for_nul(error):
                raise UsageError(
                    "a text that was asked for has a U+0000, and nothing that is stored has one"
                ) from error
            raise


@contextmanager
def connected(on: Engine | Connection, begin: Begin = "read") -> Iterator[Connection]:
    """One connection: a new one, or the one that is given, for several transactions that share its own tables."""
    if isinstance(on, Connection):
        yield on.execution_options(**{BEGIN: begin})
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
            yield connection.execution_options(**{BEGIN: begin})


@contextmanager
def translated(engine: Engine) -> Iterator[None]:
    """Turns the driver's system errors into ours; programming errors pass as they are."""
    try:
        yield
    except DBAPIError as error:
        raise translate(engine, error) from error


def translate(engine: Engine, error: DBAPIError) -> Exception:
    """The error to raise for what the driver said."""
    reported = without_secrets(str(error.orig).strip())
    return _backend(engine.url).translate(shown(engine), reported, error)
