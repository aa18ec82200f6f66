"""Sluice, by its commands: `worker up` with two workers is running, then `producer enqueue FILE --wait`.

The start-up of the producer is counted; that of the workers is not, as with everybody else.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pipeline

from contestants.race import Finish, Race


def run(race: Race) -> Finish:
    database = race.folder / "sluice.db"
    with pipeline.Site() as site:
        done = pipeline.run(race.file, 2, site)
        with closing(sqlite3.connect(site.database)) as theirs, closing(sqlite3.connect(database)) as kept:
            theirs.backup(kept)
            [rejected] = kept.execute("SELECT coalesce(sum(occurrences), 0) FROM dead_letters").fetchone()
    return Finish(done.seconds, database, rejected)
