"""What the target holds now for a letter's key, with its own values beside, and what a replay would do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from typing import Any

from sqlalchemy import Connection, select

from store import paths
from store.database.records import record_tables
from store.database.schema import batch_of, batches
from store.dead_letters.raw.leaves import Payload
from store.dead_letters.raw.origins import Origins, path_of
from store.dead_letters.raw.values import as_json, same
from store.lineage import explain
from store.tables.dead_letters import DeadLetter

INSERT, OVERWRITE, SUPERSEDED, DUPLICATE = "insert", "overwrite", "superseded", "duplicate"
REPLAYABLE = ("open", "parked")
# In words: a replay of the letter …
WOULD = {
    "insert": "would load: the target has no row of its key",
    "overwrite": "would load, and overwrite the target's row",
    "superseded": "would be superseded: the target has something newer, and nothing would be overwritten",
    "duplicate": "would be a duplicate: the target has this very record",
    "skipped": "would be skipped",
    "rejected": "would be rejected again",
    "refused": "cannot be sent",
    "unknown": "is not known",
}
# … and once it is corrected …
CORRECTED = {
    "insert": "its record would be a new row of the target",
    "overwrite": "its record would overwrite the target's row",
    "superseded": "its record would be superseded: the target has something newer",
}


@dataclass(frozen=True)
class Value:
    """A field as the target has it, and as the letter has it."""

    field: str
    held: str | None  # JSON; None: null
    raw: str | None  # the path of the letter's own field, as one text; None: it has none
    own: str | None  # JSON as the payload writes it; None: it is not there
    differs: bool | None  # numbers and times are compared by value; None: they cannot be compared


@dataclass(frozen=True)
class Held:
    """The target's row of the key."""

    id: str  # stage-…
    key: str
    ts: str
    deleted: bool
    file: str
    line: int
    delivery: int
    batch: str
    run: int
    values: list[Value]


@dataclass(frozen=True)
class Outlook:
    """What a replay of the letter would do now, judged by the contract, the mapping and the target of now."""

    as_it_is: str  # insert, overwrite, superseded, duplicate, skipped, rejected, refused; unknown
    why: str = ""  # of one that is refused, or not known
    faults: list[dict[str, str]] = field(default_factory=list)  # for which it would be rejected again
    key: str | None = None
    ts: str | None = None  # its event time, where that can be read
    corrected: str | None = None  # of a rejected one: insert, overwrite or superseded, with this key and time


def held(
    connection: Connection,
    letter: DeadLetter,
    key: str | None,
    ts: str | None,
    origins: Origins,
    payload: Payload,
) -> Held | None:
    """The target's row; None where it has none, or the key is not known. `ts` is the letter's, where it is known."""
    row = None if key is None else explain.held_row(connection, key, letter.source)
    if row is None or key is None:
        return None
    target, id = record_tables().target.c, int(row["id"].partition("-")[2])
    lineage = select(target.lineage_line, target.lineage_run).where(
        target.source == letter.source, target.key == key
    )
    line, run = connection.execute(lineage).one()
    columns = (batches.c.file, batches.c.delivery_seq, batches.c.id)
    file, delivery, batch = connection.execute(select(*columns).where(batches.c.seq == batch_of(id))).one()
    values = [
        _with_time(each, row["ts"], ts) if each.field == "ts" else each
        for each in _values({"ts": row["ts"], **row["values"]}, origins, payload)
    ]
    return Held(row["id"], key, row["ts"], bool(row["deleted"]), file, line, delivery, batch, run, values)


def _with_time(value: Value, held: str, own: str | None) -> Value:
    """The event time, which the source's settings read: without them, only equal texts are known to be equal."""
    if own is not None:
        return replace(value, differs=own != held)
    return replace(value, differs=None) if value.differs and value.own is not None else value


def _values(held: dict[str, Any], origins: Origins, payload: Payload) -> Iterator[Value]:
    for name, value in held.items():
        path = path_of(origins, name)
        own = None if path is None else payload.value(path)
        text = None if value is None else as_json(value)
        differs = path is not None and not payload.why_not and not same(text, own)
        yield Value(name, text, None if path is None else paths.joined(path), own, differs)


def outlook(connection: Connection, letter: DeadLetter) -> Outlook | None:
    """What a replay would do, as the entry point of `sluice.outlook` judges; None: the letter is in no state for one.

    The contract and the mapping are the worker's, which this package does not import by itself.
    """
    if letter.status not in REPLAYABLE:
        return None
    found = list(entry_points(group="sluice.outlook"))
    if not found:
        return Outlook("unknown", "no package is installed that judges letters")
    judged: Outlook = found[0].load()(connection, letter)
    return judged
