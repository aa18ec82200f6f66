"""The table that a task writes one record at a time: validate, upsert, commit."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

from worker.contract import Event

DATABASE = "PEERS_DATABASE"  # the variable that tells a worker process where the table is

TABLES = (
    "CREATE TABLE target (key TEXT PRIMARY KEY, name TEXT, value REAL, ts TEXT)",
    "CREATE TABLE dead_letters (line TEXT, reason TEXT)",
)
UPSERT = (
    "INSERT INTO target VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
    "name = excluded.name, value = excluded.value, ts = excluded.ts WHERE excluded.ts > target.ts"
)


class Table:
    """One connection, for all threads of a process: they take turns here rather than at SQLite's lock."""

    def __init__(self, database: Path) -> None:
        self._connection = sqlite3.connect(
            database, timeout=60, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._turn = threading.Lock()

    def take(self, line: str) -> None:
        """What is no Event goes to the dead letters; of the others the newest of each key stays."""
        try:
            event = Event.model_validate_json(line)
        except ValueError as error:
            self._execute("INSERT INTO dead_letters VALUES (?, ?)", (line, str(error)))
        else:
            self._execute(UPSERT, (event.key, event.name, event.value, event.ts.isoformat()))

    def counts(self) -> tuple[int, int]:
        """Rows in the target, and dead letters."""
        select = "SELECT (SELECT count(*) FROM target), (SELECT count(*) FROM dead_letters)"
        with self._turn:
            rows, rejected = self._connection.execute(select).fetchone()
        return rows, rejected

    def close(self) -> None:
        self._connection.close()

    def _execute(self, statement: str, values: tuple[object, ...]) -> None:
        with self._turn:
            self._connection.execute(statement, values)


def create(database: Path) -> Table:
    """An empty one; WAL is a property of the file, so workers find it set."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in TABLES:
        connection.execute(statement)
    connection.close()
    return Table(database)


_opening = threading.Lock()
_opened: dict[int, Table] = {}


def of_this_process() -> Table:
    """The process' own, opened by its first record: a connection must not cross a fork."""
    with _opening:
        if os.getpid() not in _opened:
            _opened[os.getpid()] = Table(Path(os.environ[DATABASE]))
        return _opened[os.getpid()]
