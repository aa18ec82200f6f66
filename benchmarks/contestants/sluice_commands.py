"""Sluice, by its commands: `producer enqueue`, then `worker up --burst` with two workers.

Their start-up and that of the private Redis are counted.
"""

from __future__ import annotations

import sqlite3

from bench import environment, timed

from contestants.race import Finish, Race

WORKERS = 2


def run(race: Race) -> Finish:
    env = environment(str(race.folder))
    try:
        sent = timed(["producer", "enqueue", str(race.file)], env)
        worked = timed(["worker", "up", "--burst", "--workers", str(WORKERS)], env)
        timed(["store", "check"], env)
    finally:
        timed(["worker", "down"], env)
    database = race.folder / "sluice.db"
    connection = sqlite3.connect(database)
    [rejected] = connection.execute("SELECT coalesce(sum(occurrences), 0) FROM dead_letters").fetchone()
    connection.close()
    return Finish(sent + worked, database, rejected)
