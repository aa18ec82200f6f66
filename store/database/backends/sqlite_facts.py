"""What SQLite says of itself, and of the rights of this process to its file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from sqlalchemy import Connection

from store.database.backends.base import Facts

SYNCHRONOUS = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}


def facts(connection: Connection, path: Path | None) -> Facts:
    """In a write transaction."""

    def pragma(name: str) -> str:
        return str(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

    missing = [
        f"writing on {each}" for each in ((path, path.parent) if path else ()) if not os.access(each, os.W_OK)
    ]
    synchronous = SYNCHRONOUS.get(int(pragma("synchronous")), "unknown")
    found = {
        "journal_mode": pragma("journal_mode"),
        "synchronous": synchronous,
    }
    doubts = []
    if path and found["journal_mode"] != "wal":
        doubts.append(
            f"journal_mode is {found['journal_mode']} and not wal, so readers and writers wait for each other: "
            "put the database on a local disk"
        )
    if synchronous in ("OFF", "NORMAL"):
        doubts.append(
            f"synchronous is {synchronous}, and a power cut may lose the last batches: "
            "[store] synchronous = FULL, or send the last files again after one"
        )
    return Facts(f"SQLite {sqlite3.sqlite_version}", tuple(missing), not missing, found, tuple(doubts), None)
