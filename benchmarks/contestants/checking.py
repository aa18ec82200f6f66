"""Whether a contestant's table says what the bare loop's table says."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from contestants.race import Finish, Race

# Each writes a time in its own way: the seconds are the same in all.
VIEWS = (
    "CREATE TEMP VIEW mine AS SELECT key, name, value, strftime('%s', ts) FROM main.target",
    "CREATE TEMP VIEW expected AS SELECT key, name, value, strftime('%s', ts) FROM reference.target",
)
COUNTS = {
    "rows lost or stale": "SELECT count(*) FROM (SELECT * FROM expected EXCEPT SELECT * FROM mine)",
    "rows that should not be there": "SELECT count(*) FROM (SELECT * FROM mine EXCEPT SELECT * FROM expected)",
    "rows doubled": "SELECT count(*) - count(DISTINCT key) FROM mine",
}


def complaints(race: Race, reference: Path, finish: Finish) -> list[str]:
    """What is wrong, in words; nothing where every record had its effect once."""
    connection = sqlite3.connect(finish.database)
    connection.execute("ATTACH ? AS reference", (str(reference),))
    for view in VIEWS:
        connection.execute(view)
    counts = {what: connection.execute(select).fetchone()[0] for what, select in COUNTS.items()}
    connection.close()
    if finish.rejected is not None:
        counts["dead letters lost"] = max(0, race.rejected - finish.rejected)
        counts["dead letters doubled"] = max(0, finish.rejected - race.rejected)
    return [f"{count:,} {what}" for what, count in counts.items() if count]
