"""How every queue with a record a task is run: workers first, then the clock, then the records."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from contestants import table
from contestants.race import Finish, Race, TooLate, wait_until

REDIS = "PEERS_REDIS"  # the variable that tells a process where the queue is
PROCESSES = 2
START_SECONDS = 60.0
STOP_SECONDS = 60.0
HERE = Path(__file__).parents[1]
COMMANDS = Path(sys.executable).parent


def run(
    race: Race, workers: list[list[str]], are_ready: Callable[[], bool], send: Callable[[Race], None]
) -> Finish:
    """Seconds from the first record sent to the last one in the table; starting and stopping are not counted."""
    database = race.folder / "target.db"
    watched = table.create(database)
    with _running(workers, race, database):
        wait_until(are_ready, "the workers are ready", START_SECONDS)
        started = time.perf_counter()
        send(race)
        _wait_for_the_last(race, watched)
        seconds = time.perf_counter() - started
    _, rejected = watched.counts()
    watched.close()
    return Finish(seconds, database, rejected)


def _wait_for_the_last(race: Race, watched: table.Table) -> None:
    def all_there() -> bool:
        rows, rejected = watched.counts()
        return rows >= race.rows and rejected >= race.rejected

    try:
        wait_until(all_there, "all records are in the table", race.limit_seconds)
    except TooLate as error:
        rows, rejected = watched.counts()
        there = f"{rows:,} of {race.rows:,} rows and {rejected:,} of {race.rejected:,} dead letters are there"
        raise TooLate(f"{error}: {there}") from None


@contextmanager
def _running(commands: list[list[str]], race: Race, database: Path) -> Iterator[None]:
    env = os.environ | {REDIS: race.redis_url, table.DATABASE: str(database), "PYTHONPATH": str(HERE)}
    processes = []
    with (race.folder / "workers.log").open("wb") as log:
        for command in commands:
            words = [str(COMMANDS / command[0]), *command[1:]]
            processes.append(subprocess.Popen(words, env=env, stdout=log, stderr=log, cwd=race.folder))
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
