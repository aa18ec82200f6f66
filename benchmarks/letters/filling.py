"""A store as large as one likes, written directly: letters, and the rows of a target with their lineage.

Files of 10,000 records each, all of them rejected; then batches of 1,000 records, all of them loaded, and actions that
parked letters and opened them again. `store check` holds for all of it but the hashes of contents, which are random.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Engine, Table, func, select, text

from store import database, hashing, timestamps
from store.database import install, letters
from store.database.records import ContractColumn
from store.database.schema import (
    POSITION_BITS,
    RECORD_BITS,
    batches,
    deliveries,
    event_id,
    lineage_events,
    run_log,
)
from store.dead_letters import groups

PER_FILE = 10_000
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
FIELDS = ("value", "ts", "name", "unit", "amount", "place", "depth", "kind", "rate", "code")
RULES = ("float_parsing", "missing", "too_short", "time", "string_type")
RESOLVED_EVERY = 10

PER_BATCH, PER_DELIVERY = 1000, 10  # records of a batch, batches of a delivery
SOURCES = ("feed-0", "feed-1", "feed-2", "feed-3", "feed-4", *(f"shop-{number:02}" for number in range(15)))
DAYS = 30  # since the first batch of them
COLUMNS = (ContractColumn("name", "text"), ContractColumn("value", "real"))
# As wide as those of a worker.
SECONDS = '{"parse": 0.0123, "adapt": 0.0045, "validate": 0.0234, "freshness": 0.0012, "write": 0.0456}'


class Group(NamedTuple):
    """What the letters of a group have in common."""

    id: str
    source: str
    reason: str
    faults: str


def group(number: int) -> Group:
    """Of a source, and with faults, that its number stands for."""
    source, field = f"feed-{number % 5}", FIELDS[number // 5 % len(FIELDS)]
    rule, shape = RULES[number // 50 % len(RULES)], "d+," * (number // 250 + 1) + "d+"
    fault = {
        "reason": f"invalid_{field}",
        "field": field,
        "rule": rule,
        "message": f"{field} is wrong",
        "shape": shape,
    }
    id = groups.group_id(source, "f", [(field, rule, shape)])
    return Group(id, source, fault["reason"], orjson.dumps([fault]).decode())


def build(engine: Engine, number: int, of_groups: int) -> None:
    """So many letters in so many groups: a file after the other, a minute apart; one letter in ten is resolved."""
    kinds = [group(each) for each in range(of_groups)]
    found: dict[str, dict[str, Any]] = {}
    for at in range(0, number, PER_FILE):
        _file(engine, at // PER_FILE + 1, range(at, min(at + PER_FILE, number)), kinds, found)
    with database.transaction(engine) as connection:
        connection.execute(letters.letter_groups.insert(), list(found.values()))
    with database.connected(engine) as connection:
        database.checkpoint(connection)


def _file(
    engine: Engine, seq: int, numbers: range, kinds: list[Group], found: dict[str, dict[str, Any]]
) -> None:
    seen = timestamps.to_text(BEGIN + timedelta(minutes=seq))
    source, file = f"feed-{seq % 5}", f"orders-{seq:04}.ndjson"
    own = [kind for kind in kinds if kind.source == source]
    rows, events = [], []
    for position, each in enumerate(numbers):
        # Some groups are large and some are small, and some begin late.
        kind = own[min(int(len(own) * (each * 7919 % 1009 / 1009) ** 2), len(own) - 1)]
        payload = f'{{"key": "k{each}", "value": "{each},50 EUR", "ts": "2025-01-15T12:00:00Z", "name": "pump {each}"}}'
        id, status = hashing.hexdigest(payload.encode()), "resolved" if each % RESOLVED_EVERY == 0 else "open"
        event = event_id(seq, position, "reject")
        rows.append((
            id, source, status, kind.reason, kind.faults, kind.id, payload, "utf-8", len(payload), "json", id,
            f"k{each}", file, position + 1, seq, seq << RECORD_BITS | position, event, 1, 0, seen, seen,
            seen if status == "resolved" else None, seen if status == "open" else None,
        ))  # fmt: skip
        events.append((event, "reject", source, f"k{each}", id, kind.reason, seq, position + 1, None))
        counts = found.setdefault(kind.id, _counts(kind, seen, file, position + 1, id))
        counts[status] += 1
        counts["occurrences"] += 1
        counts["last_seen_at"] = seen
    with database.transaction(engine) as connection:
        _receive(connection, seq, source, file, len(numbers), seen)
        names = [
            "id", "source", "status", "reason", "errors", "group_id", "payload", "encoding", "size", "format",
            "content", "record_key", "file", "line", "batch_seq", "version", "event_id", "occurrences", "replays",
            "first_seen_at", "last_seen_at", "resolved_at", "published_at",
        ]  # fmt: skip
        database.insert_tuples(connection, letters.dead_letters, names, rows)
        entry = [column.name for column in lineage_events.columns]
        database.insert_tuples(connection, lineage_events, entry, events)


def _counts(kind: Group, seen: str, file: str, line: int, id: str) -> dict[str, Any]:
    return {
        "id": kind.id, "source": kind.source, "fingerprint": "f", "reason": kind.reason, "faults": kind.faults,
        "open": 0, "resolved": 0, "occurrences": 0, "first_seen_at": seen, "last_seen_at": seen, "file": file,
        "line": line, "sample": id,
    }  # fmt: skip


def _receive(connection: Connection, seq: int, source: str, file: str, number: int, at: str) -> None:
    """The delivery of a file and its one batch."""
    connection.execute(
        deliveries.insert().values(
            seq=seq, id=f"{seq:032x}", kind="file", source=source, file=file, fingerprint="f", again=0, started_at=at,
            records=number,
        )
    )  # fmt: skip
    connection.execute(
        batches.insert().values(
            seq=seq, id=f"{seq:032x}", kind="file", delivery_seq=seq, source=source, file=file, first_record=0,
            first_line=1, last_line=number, fingerprint="f", received=number, staged=0, rejected=number, skipped=0,
            late=0, stale=0, reasons="{}", seconds="{}", processed_at=at,
        )
    )  # fmt: skip


def load(engine: Engine, rows: int) -> None:
    """So many rows of the target in turns of its sources, and all that led to them: a run loads a batch."""
    refused = install.add_contract_columns(engine, COLUMNS).refused
    assert not refused, refused
    turns = rows // PER_BATCH // len(SOURCES)
    assert turns, f"at least {PER_BATCH * len(SOURCES):,} rows, a batch of each source"
    with database.transaction(engine) as connection:
        connection.execute(text("CREATE TEMP TABLE fed (number INTEGER PRIMARY KEY, name TEXT)"))
        fed = [{"number": number, "name": name} for number, name in enumerate(SOURCES)]
        connection.execute(text("INSERT INTO fed VALUES (:number, :name)"), fed)
        connection.execute(text("CREATE TEMP TABLE turns (t INTEGER PRIMARY KEY, at TEXT)"))
        given: dict[str, Any] = {
            "turns": turns,
            "of": len(SOURCES),
            "delivery": _next(connection, deliveries),
            "batch": _next(connection, batches),
            "run": _next(connection, run_log),
            "days": DAYS,
            "size": PER_BATCH,
            "width": PER_DELIVERY,
            "bits": POSITION_BITS,
            "seconds": SECONDS,
        }
        for statement in STATEMENTS:
            _execute(connection, statement, given)
        for name in ("fed", "turns"):
            connection.execute(text(f"DROP TABLE {name}"))
    with database.connected(engine) as connection:
        database.checkpoint(connection)


def _execute(connection: Connection, statement: str, given: dict[str, Any]) -> None:
    """With what the statement names."""
    made = text(statement)
    connection.execute(made, {name: value for name, value in given.items() if f":{name}" in statement})


def _next(connection: Connection, table: Table) -> int:
    """The number behind the greatest one of a table."""
    return int(connection.execute(select(func.coalesce(func.max(table.c.seq), 0) + 1)).scalar_one())


# A turn is a batch of each source; its time, of the last days, is when all of them were processed.
STATEMENTS = (
    """INSERT INTO turns WITH RECURSIVE n(t) AS (SELECT 0 UNION ALL SELECT t + 1 FROM n WHERE t < :turns - 1)
    SELECT t, strftime('%Y-%m-%dT%H:%M:%S.000000Z', 'now', '-' || ((:turns - t - 1) * :days * 86400 / :turns)
    || ' seconds') FROM n""",
    """INSERT INTO deliveries (seq, id, kind, source, file, fingerprint, again, started_at, format, records, bytes,
    batches, sent_batches, known_batches, seconds, waited_seconds, finished_at)
    SELECT :delivery + t / :width * :of + number, printf('d%031x', t / :width * :of + number), 'file', name,
    name || '-' || (t / :width) || '.ndjson', '0123456789abcdef', 0, at, 'json', min(:width, :turns - t) * :size,
    min(:width, :turns - t) * :size * 100, min(:width, :turns - t), min(:width, :turns - t), 0, 1.0, 0.0, at
    FROM turns JOIN fed WHERE t % :width = 0""",
    """INSERT INTO batches (seq, id, kind, delivery_seq, source, file, first_record, first_line, last_line,
    fingerprint, received, staged, rejected, skipped, inserted, late, stale, reasons, seconds, processed_at)
    SELECT :batch + t * :of + number, printf('b%031x', t * :of + number), 'file',
    :delivery + t / :width * :of + number, name, name || '-' || (t / :width) || '.ndjson', t % :width * :size,
    t % :width * :size + 1, (t % :width + 1) * :size, '0123456789abcdef', :size, :size, 0, 0, :size, 0, 0, '{}',
    :seconds, at FROM turns JOIN fed ORDER BY t, number""",
    """INSERT INTO run_log (seq, status, holder, started_at, finished_at, chunks, inserted, updated, duplicates,
    superseded, seconds)
    SELECT :run + t * :of + number, 'succeeded', 'host', at, at, 1, :size, 0, 0, 0, 1.0
    FROM turns JOIN fed ORDER BY t, number""",
    """INSERT INTO watermark_history (source, previous, value, run_seq, lineage_id, record_key, why, at)
    SELECT name, lag(at) OVER (PARTITION BY number ORDER BY t), at, :run + t * :of + number,
    ((:batch + t * :of + number) << :bits) + :size - 1, 'k' || ((t + 1) * :size - 1), 'load', at
    FROM turns JOIN fed ORDER BY t, number""",
    # Nearly in the order of the target's key: its index is appended to.
    """INSERT INTO target (source, key, ts, sequence, deleted, content_hash, lineage_id, lineage_line, lineage_run,
    lineage_outcome, name, value)
    SELECT fed.name, 'k' || (t * :size + p), at, 0, 0, randomblob(16), ((:batch + t * :of + number) << :bits) + p,
    t % :width * :size + p + 1, :run + t * :of + number, 1, 'pump ' || p, p * 0.5
    FROM fed CROSS JOIN turns CROSS JOIN (WITH RECURSIVE q(p) AS (SELECT 0 UNION ALL SELECT p + 1 FROM q
    WHERE p < :size - 1) SELECT p FROM q)""",
    """INSERT INTO watermarks (source, value, updated_at)
    SELECT name, at, at FROM turns JOIN fed WHERE t = :turns - 1""",
)


def act(engine: Engine, times: int, letters: int) -> None:
    """So many actions that parked so many open letters, as many that opened them again, and a replay of all letters
    that was stopped before it sent any."""
    with database.transaction(engine) as connection:
        for number in range(times):
            at = timestamps.to_text(BEGIN + timedelta(days=200, minutes=number))
            given: dict[str, Any] = {"skip": number * letters, "letters": letters, "at": at}
            for verb, before, after in (("park", "open", "parked"), ("unpark", "parked", "open")):
                _act(connection, given | {"verb": verb, "before": before, "after": after, "outcome": "done"})
        _act(connection, {"skip": 0, "letters": every_letter(connection), "at": at, "verb": "replay",
                          "before": "open", "after": "open", "outcome": "withdrawn"})  # fmt: skip


def every_letter(connection: Connection) -> int:
    """How many letters are open."""
    return groups.count_open(connection)


def _act(connection: Connection, given: dict[str, Any]) -> None:
    seq = _next(connection, letters.actions)
    given |= {"seq": seq, "token": f"{seq:032x}"}
    for statement in ACTION:
        _execute(connection, statement, given)


ACTION = (
    """INSERT INTO actions (seq, token, verb, status, filter, why, by, letters, withdrawn, started_at, finished_at)
    VALUES (:seq, :token, :verb, 'finished', '{}', 'until the supplier answers', 'ann@shop', :letters,
    CASE :outcome WHEN 'withdrawn' THEN :letters ELSE 0 END, :at, :at)""",
    """INSERT INTO action_letters (action_seq, letter_id, position, before, outcome)
    SELECT :seq, id, row_number() OVER (ORDER BY id) - 1, :before, :outcome FROM (SELECT id FROM dead_letters
    WHERE status = 'open' ORDER BY first_seen_at, id LIMIT :letters OFFSET :skip)""",
    """INSERT INTO letter_events (letter_id, at, verb, before, after, action_seq)
    SELECT letter_id, :at, :verb, :before, :after, :seq FROM action_letters WHERE action_seq = :seq""",
)
