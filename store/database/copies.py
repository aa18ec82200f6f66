"""Copies of a SQLite database: one made while others write, and one put in the place of the database.

A copy is written beside its name, verified, and renamed: whoever looks sees all of it or nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL

from store import trust
from store.database import engine, generation, schema
from store.errors import ForeignDatabase, StoreUnavailable, UsageError

PAGES_AT_ONCE = 256
PARTIAL = ".partial"

Progress = Callable[[int, int], None]  # pages done, pages


@dataclass(frozen=True, slots=True)
class Copied:
    """A copy that was made or restored."""

    file: Path
    bytes: int
    generation: int
    batches: int
    last_batch_at: str | None
    replaced: Path | None = None  # what was replaced


def file_of(url: URL) -> Path:
    """SQLite's file. Raises UsageError for another database."""
    if path := engine.sqlite_file(url):
        return path
    raise UsageError(
        f"database_url is of {url.get_backend_name()}: back it up and restore it with its own tools, such as pg_dump"
    )


def back_up(database: Path, file: Path, *, force: bool, progress: Progress) -> Copied:
    """A copy of the database as it is at one moment, for this user alone, verified. Others may go on writing."""
    if not database.exists():
        raise UsageError(f"there is no database at {database}: check SLUICE_HOME or database_url")
    _refuse_same(database, file)
    if file.exists() and not force:
        raise UsageError(f"{file} exists: give another name, or --force to replace it")
    with _written_beside(file) as partial:
        _copy(database, partial, progress)
        return _seal(partial, file)


def restore(file: Path, database: Path, *, progress: Progress) -> Copied:
    """Puts a copy in the place of the database; what was there is left beside it.

    Raises UsageError where the file is none of ours, StoreUnavailable where somebody has the database open.
    """
    if not file.is_file():
        raise UsageError(f"{file} is not a file: give the file that `store backup` made")
    _refuse_same(database, file)
    trust.check_database(file.absolute())
    verify(file)
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    trust.check_database(database)
    with _written_beside(database) as partial:
        _copy(file, partial, progress)
        with _alone(database):
            replaced = _put_aside(database)
            made = _seal(partial, database)
    return Copied(made.file, made.bytes, made.generation, made.batches, made.last_batch_at, replaced)


def verify(file: Path) -> None:
    """Raises ForeignDatabase where a file is no whole database of ours with today's tables."""
    try:
        with closing(_reading(file)) as connection:
            tables = {
                row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            }
            if schema.VERSION_TABLE not in tables:
                raise ForeignDatabase(f"{file} is a database, and not one of Sluice's: it was not restored")
            (revision,) = connection.execute(f"SELECT version_num FROM {schema.VERSION_TABLE}").fetchone()  # noqa: S608
            if revision != schema.SCHEMA_REVISION:
                raise ForeignDatabase(
                    f"{file} is of another version of Sluice (revision {revision}; this one has "
                    f"{schema.SCHEMA_REVISION}): use that version"
                )
            _check_quickly(connection, file)
    except (sqlite3.Error, TypeError) as error:
        raise ForeignDatabase(
            f"{file} is not a whole SQLite database ({error}): it was not restored"
        ) from error


def _refuse_same(database: Path, file: Path) -> None:
    if file.absolute() == database or (file.exists() and database.exists() and file.samefile(database)):
        raise UsageError(f"{file} is the database itself: give another file")


@contextmanager
def _written_beside(file: Path) -> Iterator[Path]:
    """An empty private file beside this one, which is gone afterwards unless it was renamed."""
    partial = file.with_name(f"{file.name}.{os.getpid()}{PARTIAL}")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise UsageError(f"{file} cannot be written ({error.strerror}): check its folder") from error
    try:
        yield partial
    finally:
        for suffix in ("", *trust.SIDE_FILES):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)


def _reading(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True, isolation_level=None)


def _copy(source: Path, target: Path, progress: Progress) -> None:
    """All pages of one moment: one read transaction over all steps, so that writers do not make it begin anew."""
    try:
        with closing(_reading(source)) as reader, closing(sqlite3.connect(target)) as writer:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
            reader.backup(
                writer, pages=PAGES_AT_ONCE, progress=lambda _, rest, whole: progress(whole - rest, whole)
            )
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"{source} cannot be copied to {target.parent}: {error}") from error


def _seal(partial: Path, file: Path) -> Copied:
    """Makes a copy a generation of its own, in one file, verified and on the disk; then gives it its name."""
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # one file, without a log
            connection.execute("BEGIN IMMEDIATE")
            number = generation.begin(connection)
            connection.execute("DELETE FROM locks")  # whoever holds them does not know this copy
            connection.execute("COMMIT")
            _check_quickly(connection, file)
            batches, last = connection.execute("SELECT count(*), max(processed_at) FROM batches").fetchone()
        size = partial.stat().st_size
        _sync(partial)
        partial.replace(file)
        _sync(file.parent)
    except (sqlite3.Error, OSError) as error:
        raise StoreUnavailable(f"{file} cannot be written: {error}") from error
    return Copied(file, size, number, batches, last)


def _check_quickly(connection: sqlite3.Connection, file: Path) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise ForeignDatabase(f"{file} is damaged ({found}): use another copy")


@contextmanager
def _alone(database: Path) -> Iterator[None]:
    """While no other process has the database open; its log is emptied into it. Raises StoreUnavailable."""
    if not database.exists():
        yield
        return
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA journal_mode = DELETE")  # no other connection may be open for that
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                raise StoreUnavailable(
                    f"{database} is in use: end `worker up`, producers and all others that use it, then restore"
                ) from error
        except sqlite3.DatabaseError:  # it is damaged: that is why another is restored
            pass
        yield


def _put_aside(database: Path) -> Path | None:
    """Gives the database that is there, and the rest of its log, a name of their own; where there is one."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    replaced = database.with_name(f"{database.name}.before-{stamp}")
    found = None
    if database.exists():
        with suppress(OSError):  # a file system without links has it away for a moment
            os.link(database, replaced)
        if not replaced.exists():
            database.replace(replaced)
        found = replaced
    for suffix in trust.SIDE_FILES:
        with suppress(FileNotFoundError):  # mostly the log is empty, and there is none
            database.with_name(database.name + suffix).replace(replaced.with_name(replaced.name + suffix))
    return found


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
