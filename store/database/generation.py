"""The generation of a SQLite file, which tells when the file under a running process is not the one that it was.

A file that is copied over another in place keeps its name and inode, and SQLite, which keeps pages in memory and in
its log, does not notice. So each database has a random number in its header (`user_version`), another one in each
backup and each restored database. Before each write it is read from the file itself, past memory and log; and the file
must not have fewer batches than it had.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from store.errors import StoreUnavailable
from store.text import printable

APPLICATION_ID = int.from_bytes(b"Sluc")  # in the header too: `file` shows it
LAST_BATCH = "SELECT seq FROM sqlite_sequence WHERE name = 'batches'"
COUNT_EVERY_SECONDS = 1.0
LOOKS = 3  # a file that a checkpoint writes may be read half written, once
OVERWRITTEN = (
    "{} was overwritten while it was in use ({}), and its log does not belong to it any more: end `worker up` and all "
    "others that use it, then `store restore FILE` with the copy that is to be used"
)

# path -> what its file was when this process saw it last; a forked process knows what its parent knew.
_seen: dict[Path, FileState] = {}
_counted_at: dict[Path, float] = {}


@dataclass(frozen=True, slots=True)
class FileState:
    """A SQLite file, as it is without its log."""

    device: int
    inode: int
    generation: int  # 0: it has none yet
    batches: int | None = None  # the greatest number of a batch so far; None: none, or not counted

    def became(self, now: FileState) -> str | None:
        """Why this is not what the same file may have become; None where it may, or it is another file."""
        if (self.device, self.inode) != (now.device, now.inode) or not self.generation:
            return None
        if now.generation != self.generation:
            return f"its generation is {now.generation}, and was {self.generation}"
        if self.batches is not None and now.batches is not None and now.batches < self.batches:
            return f"its last batch is {now.batches}, and was {self.batches}"
        return None


def begin(driver: Any) -> int:
    """Gives a database a new generation; in its transaction."""
    generation = secrets.randbelow(2**31 - 1) + 1
    driver.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    driver.execute(f"PRAGMA user_version = {generation}")
    return generation


def state_of(path: Path, *, counted: bool = True) -> FileState | None:
    """The state of a file; None where there is none, or it cannot be read at the moment.

    Not `counted`, it has no batches: SQLite reads the whole schema for that, which takes ten times as long.
    """
    try:
        found = path.stat()
        # `immutable`: without locks and without the log. SQLite opens it itself: if we closed a file that SQLite has
        # open too, its locks would be gone.
        uri = f"file:{quote(str(path))}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            (generation,) = connection.execute("PRAGMA user_version").fetchone()
            last = connection.execute(LAST_BATCH).fetchone() if counted and generation else None
    except (OSError, sqlite3.Error):  # SQLite itself says what is wrong with it
        return None
    return FileState(found.st_dev, found.st_ino, generation, last and last[0])


def check(path: Path, driver: Any) -> None:
    """Raises StoreUnavailable where the file was overwritten since it was seen first, or does not fit its log."""
    before, why, at = _seen.get(path), None, time.monotonic()
    counted = before is None or at - _counted_at.get(path, 0.0) > COUNT_EVERY_SECONDS
    for _ in range(LOOKS):
        if (now := state_of(path, counted=counted)) is None:
            return
        why = before.became(now) if before else _differs_from_log(now, driver)
        if why is None:
            _seen[path] = now if counted or before is None else replace(now, batches=before.batches)
            if counted:
                _counted_at[path] = at
            return
    raise StoreUnavailable(OVERWRITTEN.format(printable(str(path)), why))


def _differs_from_log(file: FileState, driver: Any) -> str | None:
    """Why a file is not the one whose log lies beside it, as far as the log has the header; None where it may be."""
    (in_log,) = driver.execute("PRAGMA user_version").fetchone()
    if file.generation in (0, in_log):
        return None
    return f"its generation is {file.generation}, and that of its log {in_log}"


def forget() -> None:
    """Takes every file as it is from now on."""
    _seen.clear()
