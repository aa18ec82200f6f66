"""Whether a table holds what the bare loop's table of the same records holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from loop import EVENT_COLUMNS

from contestants.race import Finish, Race

COUNTS = {
    "rows lost or stale": "SELECT count(*) FROM (SELECT * FROM expected EXCEPT SELECT * FROM mine)",
    "rows that should not be there": "SELECT count(*) FROM (SELECT * FROM mine EXCEPT SELECT * FROM expected)",
    "rows doubled": "SELECT count(*) - count(DISTINCT key) FROM mine",
}


def complaints(race: Race, reference: Path, finish: Finish) -> list[str]:
    """What is wrong, in words; nothing where every record had its effect once."""
    counts = differences(finish.database, reference, EVENT_COLUMNS)
    if finish.rejected is not None:
        counts["dead letters lost"] = max(0, race.rejected - finish.rejected)
        counts["dead letters doubled"] = max(0, finish.rejected - race.rejected)
    return [f"{count:,} {what}" for what, count in counts.items() if count]


def differences(database: Path, reference: Path, columns: Iterable[str]) -> dict[str, int]:
    """How many rows of `target` differ from the reference's, in these columns or in key and time."""
    # Each writes a time in its own way: the milliseconds are the same in all.
    select = f"SELECT key, {', '.join(columns)}, strftime('%Y-%m-%dT%H:%M:%f', ts)"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ATTACH ? AS reference", (str(reference),))
        connection.execute(f"CREATE TEMP VIEW mine AS {select} FROM main.target")
        connection.execute(f"CREATE TEMP VIEW expected AS {select} FROM reference.target")
        return {what: connection.execute(count).fetchone()[0] for what, count in COUNTS.items()}
