"""All of Sluice in one process: real files, real job functions under RQ's own worker, a Redis that is not.

plant.send(b'{"key": "a", ...}')      what `producer enqueue` does
plant.work()                          what `rq worker` does until the queue is empty
plant.load()                          what `rq worker loader` does with one job
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import inspect, text

from producer.testing import InProcess
from store import database
from store.checks import conservation, contents
from store.checks import letters as letters_check
from store.database import generation
from store.dead_letters import actions
from store.dead_letters.actions import Order
from store.dead_letters.edits import Edit
from store.lineage import trace
from store.reports import summary
from store.settings import StoreSettings
from store.tables import dead_letters, lineage
from store.tables.dead_letters import DeadLetter
from worker.contract import load_contract
from worker.dead_letters import mirror
from worker.dead_letters.replay import Cut, Sending
from worker.queue import send
from worker.queue.names import LOAD_STAGED, LOADER_QUEUE
from worker.workplace import close_workplace


def row(key: str = "a", ts: str = "2025-01-15T08:00:00Z", **fields: Any) -> dict[str, Any]:
    """A record that keeps the default contract, with whatever is to be different about it."""
    return {"key": key, "name": "pump", "value": 1.5, "ts": ts} | fields


def ndjson(*rows: dict[str, Any]) -> bytes:
    return b"".join(orjson.dumps(each) + b"\n" for each in rows)


class Plant(InProcess):
    """One home, one queue, one database."""

    def __init__(self, home: Path, config: Path) -> None:
        super().__init__()
        self.home = home
        self.config = config

    # --- settings ---

    def configure(self, toml: str) -> None:
        """Writes sluice.toml; whoever comes next reads it."""
        self.config.write_text(toml)
        close_workplace()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another process has the database for itself meanwhile."""
        other = database.existing(StoreSettings.load())
        with database.connected(other, "change") as connection, connection.begin() as transaction:
            yield
            transaction.rollback()
        other.dispose()

    def move_to(self, url: str) -> None:
        """From now on in another database."""
        self.close()
        os.environ["DATABASE_URL"] = url

    @property
    def database(self) -> Path:
        return StoreSettings.load().database_file

    # --- what the commands do ---

    def file(self, content: bytes, name: str = "records.ndjson") -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def send(
        self, content: bytes | Path, name: str = "records.ndjson", source: str = "default", **options: Any
    ) -> send.Sent:
        """`producer enqueue`."""
        path = content if isinstance(content, Path) else self.file(content, name)
        return self.send_messages(self.messages(path, source, **options))

    def load(self) -> None:
        """One job of the loader, as the cron sends it."""
        self.broker.queue(LOADER_QUEUE).enqueue_call(LOAD_STAGED)
        self.work(LOADER_QUEUE)

    def run(self, content: bytes | Path, *args: Any, **options: Any) -> send.Sent:
        """From the file to the table."""
        sent = self.send(content, *args, **options)
        self.work()
        self.load()
        return sent

    def replay(self, edit: Edit | None = None, **chosen: Any) -> tuple[send.Sent, list[str]]:
        """`producer replay`: what was sent, and why what was not."""
        sending = self.action(edit, **chosen)
        if sending is None:
            return send.Sent(), []
        sent = self.send_messages(list(sending.messages()))
        return sent, [why for _, why in sending.refused]

    def action(self, edit: Edit | None = None, most: int = 5000, **chosen: Any) -> Sending | None:
        """A replay of the open letters that match, none of them sent yet; None where none match."""
        with database.transaction(self.engine) as connection:
            conditions = dead_letters.conditions(connection, **chosen)
            order = Order("replay", {}, "", "ann@host", (edit or Edit()).to_text())
            action = actions.begin(connection, order, conditions)
        if action is None:
            return None
        worker = self.settings
        return Sending(self.engine, action, load_contract(worker), worker, Cut(most, 4 << 20), [])

    # --- looking ---

    def rows(self, table: str = "target", order: str = "source, key") -> list[dict[str, Any]]:
        statement = f"SELECT * FROM {table} ORDER BY {order}"  # noqa: S608
        with database.reading(self.engine) as connection:
            return [dict(each) for each in connection.execute(text(statement)).mappings()]

    def column_types(self, table: str) -> dict[str, str]:
        with database.reading(self.engine) as connection:
            return {each["name"]: str(each["type"]) for each in inspect(connection).get_columns(table)}

    def report(self) -> dict[str, Any]:
        with database.reading(self.engine) as connection:
            return summary.report(connection)

    def digest(self) -> str:
        with database.reading(self.engine) as connection:
            return conservation.digest(connection)

    def violations(self) -> list[str]:
        with database.reading(self.engine) as connection:
            held = contents.law(connection)
            return (
                conservation.violations(connection)
                + letters_check.law(connection).violations
                + held.violations
                + [held.unchecked] * bool(held.unchecked)
            )

    def letters(self, status: str | None = "open") -> list[DeadLetter]:
        with database.reading(self.engine) as connection:
            return dead_letters.select_letters(connection, status=status)

    def reasons(self) -> list[str]:
        """Of the open letters, in the order of their lines."""
        return [letter.reason for letter in sorted(self.letters(), key=lambda letter: letter.line)]

    def chain(self, key: str) -> list[lineage.Entry]:
        """Every entry of a key and of what it follows, in the order they follow each other."""
        with database.reading(self.engine) as connection:
            entries = {entry.id: entry for entry in trace.of_key(connection, key)}

        def depth(entry: lineage.Entry) -> int:
            return 1 + depth(entries[entry.parent_id]) if entry.parent_id in entries else 0

        return sorted(entries.values(), key=depth)

    def mirrored(self) -> set[str]:
        return mirror.ids(self.redis)

    def status(self, job_id: str) -> str | None:
        found = self.redis.hget(f"rq:job:{job_id}", "status")
        return found.decode() if found else None


@contextmanager
def opened(home: Path, empty_database: Path | str) -> Iterator[Plant]:
    """A plant with a database of its own, copied from an empty file, for that is quicker than making it; or a URL's."""
    home.mkdir(parents=True, exist_ok=True)
    if isinstance(empty_database, str):
        os.environ["DATABASE_URL"] = empty_database
    else:
        shutil.copy(empty_database, home / "sluice.db")
        generation.forget()  # of an earlier example with this home, whose file this one has replaced
    os.environ["SLUICE_HOME"] = str(home)
    plant = Plant(home, Path(os.environ["SLUICE_CONFIG"]))
    close_workplace()
    try:
        yield plant
    finally:
        plant.close()
