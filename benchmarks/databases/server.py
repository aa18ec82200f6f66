"""A PostgreSQL for a measurement, from the wheel that the tests use; it waits for the disk, as one in use does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine, text

ROOT = Path(__file__).parents[2]
# What its own defaults are, but for the memory and the log of changes: a batch is not to wait for a checkpoint.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
}


class Server:
    """A server of its own, which ends with the measurement."""

    def __enter__(self) -> Server:
        self._folder = _server("start", *(f"{name}={value}" for name, value in SETTINGS.items()))
        pid = Path(self._folder, "data", "postmaster.pid")
        self.process = int(pid.read_text().split()[0])
        return self

    def __exit__(self, *_: object) -> None:
        _server("stop", self._folder)

    def database(self, name: str) -> str:
        """The URL of a new database."""
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE template0'))
        engine.dispose()
        return self._url(name)

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self._folder}"


def _server(*words: str) -> str:
    command = [sys.executable, "-m", "tests.postgresql", *words]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()
