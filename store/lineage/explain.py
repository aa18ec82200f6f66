"""Why the target holds what it holds of a key, and what lost against it: the facts, and what they say."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, select

from store import database, timestamps
from store.database import install
from store.database.schema import CARRIED, dead_letters, lineage_events, record_tables, source_priorities
from store.errors import SluiceError
from store.lineage import trace
from store.tables import batches
from store.tables.lineage import Entry

UNRANKED = 2147483647  # as the view `golden` has it
MOST_NAMED = 5

Facts = dict[str, Any]


def explain(connection: Connection, key: str, source: str | None = None) -> Facts:
    """Every source's account of a key, and which one `golden` takes. Raises SluiceError where none has it."""
    found = trace.of_key(connection, key, source)
    names = sorted({entry.source for entry in found if entry.key == key})
    if not names:
        of = f" of source {source!r}" if source else ""
        raise SluiceError(f"nothing is known of key {key!r}{of}: `store batches` lists what was received")
    sources = [_of_source(connection, key, name, found) for name in names]
    return {"key": key, "sources": sources, "golden": None if source else golden(connection, key)}


def _of_source(connection: Connection, key: str, source: str, entries: list[Entry]) -> Facts:
    own = [entry for entry in entries if entry.source == source]
    versions = _versions(own, key)
    held = _held(connection, key, source)
    holds = {**versions.get(held["id"], {}), **held} if held else None
    wrote = [each for each in versions.values() if each["outcome"] in ("inserted", "updated")]
    replaced = [each for each in wrote if not holds or each["id"] != holds["id"]]
    return {
        "source": source,
        "holds": holds,
        "replaced": sorted(replaced, key=lambda each: (each["run"], each["ts"]), reverse=True),
        "lost_at_load": [each for each in versions.values() if each["outcome"] == "superseded"],
        "lost_at_stage": _skipped(own, key, "superseded", versions),
        "pending": [each for each in versions.values() if each["outcome"] is None],
        "duplicates": _skipped(own, key, "duplicate", versions),
        "skipped": _skipped(own, key, "late", versions),
        "rejected": _rejected(connection, own, key),
    }


def _held(connection: Connection, key: str, source: str) -> Facts | None:
    target = record_tables(install.contract_columns(connection)).target
    found = select(target).where(target.c.source == source, target.c.key == key)
    row = connection.execute(found).mappings().first()
    if row is None:
        return None
    fixed = ("source", "key", "ts", "content_hash", "extra", *CARRIED)
    values = {str(name): value for name, value in row.items() if name not in fixed}
    extra = orjson.loads(row["extra"]) if row["extra"] else {}
    return {"id": f"stage-{row['lineage_id']}", "ts": timestamps.to_iso(row["ts"]), "values": values | extra}


def _versions(entries: list[Entry], key: str) -> dict[str, Facts]:
    """`stage` id -> one staged record of the key, oldest first, and what its load did."""
    loads = {entry.parent_id: entry for entry in entries if entry.step == "load"}
    known = {entry.id: entry for entry in entries}
    found = {}
    for entry in entries:
        if entry.step == "stage" and entry.key == key:
            load = loads.get(entry.id)
            found[entry.id] = {
                "id": entry.id,
                "ts": timestamps.to_iso(entry.detail.removeprefix("ts ")),
                **_place(entry),
                "staged_at": timestamps.to_iso(entry.at),
                "outcome": load.detail if load else None,
                "run": load.run if load else None,
                "loaded_at": timestamps.to_iso(load.at) if load else None,
                "sent_back": _sent_back(entry, known),
            }
    return found


def _place(entry: Entry) -> Facts:
    return {"file": entry.file, "line": entry.line, "batch": entry.batch}


def _sent_back(entry: Entry, known: dict[str, Entry]) -> Facts | None:
    """The replay that a staged record came from, and why it had been rejected."""
    replay = known.get(entry.parent_id or "")
    if replay is None:
        return None
    rejection = known.get(replay.parent_id or "")
    return {"edited": replay.detail.startswith("edited"), "reasons": rejection.detail if rejection else None}


def _skipped(entries: list[Entry], key: str, detail: str, versions: dict[str, Facts]) -> list[Facts]:
    """Records that were not staged, and what each repeats or is beaten by."""
    found = []
    for entry in entries:
        if entry.step == "skip" and entry.key == key and entry.detail == detail:
            other = versions.get(entry.repeats_id or "", {})
            by = {name: other[name] for name in ("id", "ts", "file", "line")} if other else None
            found.append({**_place(entry), "at": timestamps.to_iso(entry.at), "by": by})
    return found


def _rejected(connection: Connection, entries: list[Entry], key: str) -> list[Facts]:
    """The dead letters of this key: where each came, every time, and what is with it now."""
    rejects = [entry for entry in entries if entry.step == "reject" and entry.key == key]
    letters = _letters(connection, [entry.number for entry in rejects])
    found: dict[str, Facts] = {}
    for entry in rejects:
        letter = letters[entry.number]
        facts = found.setdefault(letter["dead_letter"], {**letter, "reasons": [], "at": []})
        if entry.detail not in facts["reasons"]:
            facts["reasons"].append(entry.detail)
        if not entry.parent_id:  # what was sent back and rejected again came from no other line
            facts["at"].append(_place(entry))
    return list(found.values())


def _letters(connection: Connection, numbers: list[int]) -> dict[int, Facts]:
    """`reject` entry -> its dead letter, how that stands, and how often it was sent back."""
    events = lineage_events
    rows = (
        select(events.c.id, events.c.dead_letter_id, dead_letters.c.status, dead_letters.c.replays)
        .outerjoin(dead_letters, dead_letters.c.id == events.c.dead_letter_id)
        .where(database.member_of(connection, events.c.id, numbers))
    )
    return {
        number: {"dead_letter": id, "status": status, "replays": replays}
        for number, id, status, replays in connection.execute(rows)
    }


def golden(connection: Connection, key: str) -> Facts | None:
    """The row that the view `golden` takes of a key, the others in order, and what decided."""
    target = record_tables().target
    sources = batches.sources(connection)
    rows = (
        select(target.c.source, target.c.ts, target.c.content_hash, source_priorities.c.priority)
        .outerjoin(source_priorities, source_priorities.c.source == target.c.source)
        .where(target.c.source.in_(sources), target.c.key == key)
    )
    found = sorted(connection.execute(rows).all())
    # Sorts keep the order of equals: from the least to the most important, as the view orders.
    found.sort(key=lambda row: (row[1], row[2]), reverse=True)
    found.sort(key=lambda row: UNRANKED if row[3] is None else row[3])
    if not found:
        return None
    ranked = [{"source": row[0], "ts": timestamps.to_iso(row[1]), "priority": row[3]} for row in found]
    return {**ranked[0], "because": _decided_by(ranked), "others": ranked[1:]}


def _decided_by(ranked: list[Facts]) -> str:
    if len(ranked) == 1:
        return "only source"
    first, second = ranked[:2]
    if first["priority"] != second["priority"]:
        return "priority"
    return "newest" if first["ts"] != second["ts"] else "content hash"
