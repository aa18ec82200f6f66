"""The answers of the commands about records, as data for JSON: one function a command, each over a connection.

Timestamps are ISO 8601, with a fraction only where it is not zero. Each answer imports what it asks: `store report`
needs no lineage and no laws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from store import timestamps
from store.errors import SluiceError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from store.checks.conservation import Law
    from store.tables.lineage import Entry

UNKNOWN = (
    "{} is unknown. Give files and keys the names under which they were sent: `store batches` lists the files, "
    "`store letters list` the rejected records"
)


def report(connection: Connection, idle_after: timedelta | None = None) -> dict[str, Any]:
    """What came in so far, and what became of it."""
    from store.reports import summary

    found = _with_iso(summary.report(connection, idle_after), "watermark")
    found["watermarks"] = {name: timestamps.to_iso(value) for name, value in found["watermarks"].items()}
    found["by_source"] = {
        name: _with_iso(counters, "watermark") for name, counters in found["by_source"].items()
    }
    return found


def lineage_of_key(connection: Connection, key: str, source: str | None) -> list[dict[str, Any]]:
    """Every entry of a record key. Raises SluiceError where there is none."""
    from store.lineage import trace

    found = trace.of_key(connection, key, source)
    if not found:
        raise SluiceError(UNKNOWN.format(f"key {key!r}" + (f" of source {source!r}" if source else "")))
    return [_entry(entry) for entry in found]


def lineage_of_line(connection: Connection, file: str, line: int) -> list[dict[str, Any]]:
    """What became of one line of one file. Raises SluiceError where the line is unknown."""
    from store.lineage import trace

    found = trace.of_line(connection, file, line)
    if not found:
        raise SluiceError(UNKNOWN.format(f"line {line} of {file!r}"))
    return [_entry(entry) for entry in found]


def lineage_of_id(connection: Connection, id: str) -> list[dict[str, Any]]:
    """Every entry connected with one entry or dead letter. Raises SluiceError where there is none."""
    from store.lineage import trace

    found = trace.of_id(connection, id)
    if not found:
        raise SluiceError(
            f"no entry has the id {id!r}, and no dead letter's id begins with it: "
            "`store lineage KEY --json` shows the ids"
        )
    return [_entry(entry) for entry in found]


def _entry(entry: Entry) -> dict[str, Any]:
    names = {"comes_from": "from", "goes_to": "to"}
    return _with_iso({names.get(name, name): value for name, value in asdict(entry).items()}, "at")


def check(
    connection: Connection, repair: bool, with_lineage: bool = False, *, registered: bool = True
) -> dict[str, Any]:
    """The laws of the store and, unless told otherwise, those that other packages registered, with their violations."""
    from store.checks import conservation, contents
    from store.checks import letters as letter_checks
    from store.checks import lineage as lineage_checks

    chains = lineage_checks.laws(connection) if with_lineage else []
    laws = [
        *conservation.laws(connection),
        contents.law(connection),
        letter_checks.law(connection),
        *chains,
        *(law(repair) for law in (registered_checks() if registered else [])),
    ]
    return {
        "holds": all(law.holds for law in laws),
        "laws": [
            {
                "law": law.says,
                "holds": law.holds,
                "violations": law.violations,
                "unchecked": law.unchecked,
                "waiting": law.waiting,
            }
            for law in laws
        ],
    }


def registered_checks() -> list[Callable[[bool], Law]]:
    """Checks outside the store, such as that of the Redis DLQ: the entry points of `sluice.checks`."""
    from importlib.metadata import entry_points  # slow to import

    return [entry.load() for entry in sorted(entry_points(group="sluice.checks"), key=lambda each: each.name)]


def _with_iso(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The row with these stored timestamps as ISO 8601."""
    return {
        name: timestamps.to_iso(value) if name in names and value is not None else value
        for name, value in row.items()
    }
