"""`store letters` over a store of 1,000,000 letters: each command, its CPU time beside an empty store's, and the query.

python benchmarks/letters/questions.py
python benchmarks/letters/questions.py --letters 100000 --groups 50

The rows are written directly: files of 10,000 records each, all of them rejected. `store check` holds for them.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Engine, func, select

from store import database, hashing, timestamps
from store.database import install, letters
from store.database.schema import RECORD_BITS, batches, deliveries, event_id, lineage_events
from store.dead_letters import groups, paging
from store.dead_letters.filters import Filter
from store.dead_letters.paging import Ask, Cursor
from store.reports import alarms
from store.reports import letters as answers
from store.reports.one_letter.view import view
from store.settings import StoreSettings

STORE = str(Path(sys.executable).parent / "store")
PER_FILE = 10_000
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
FIELDS = ("value", "ts", "name", "unit", "amount", "place", "depth", "kind", "rate", "code")
RULES = ("float_parsing", "missing", "too_short", "time", "string_type")
RESOLVED_EVERY = 10


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


class Case(NamedTuple):
    """A command, and what it asks the store."""

    name: str
    command: list[str]
    query: Callable[[Connection], Any]


def cases(connection: Connection) -> list[Case]:
    """What is measured, of this store."""
    letter = letters.dead_letters.c
    total = connection.execute(select(func.count()).select_from(letters.dead_letters)).scalar_one()
    order = (letter.first_seen_at, letter.id)
    deep = Cursor(*connection.execute(select(*order).order_by(*order).offset(total * 9 // 10).limit(1)).one())
    last = connection.execute(
        select(letter.file, letter.last_seen_at).order_by(letter.batch_seq.desc()).limit(1)
    ).one()
    of = group(7)
    field = orjson.loads(of.faults)[0]["field"]

    def listed(
        name: str, which: Filter, *options: str, after: Cursor | None = None, text: str | None = None
    ) -> Case:
        def query(connection: Connection) -> None:
            for page in paging.pages(connection, which, Ask(20, after, text, 100_000 if text else 0)):
                answers.letters_json(connection, page.letters)
            paging.count(connection, which)

        return Case(name, ["list", *options], query)

    def grouped(name: str, which: Filter, *options: str, after: str | None = None) -> Case:
        given = [*options, *(["--after", after] if after else [])]
        return Case(name, given, lambda connection: answers.grouped(connection, which, 20, after))

    far = answers.grouped(connection, Filter(status="open"), 200)["next"]
    middle = timestamps.to_iso(
        connection.execute(
            select(letter.first_seen_at).order_by(*order).offset(total // 2).limit(1)
        ).scalar_one()
    )

    def alarm(connection: Connection) -> None:
        alarms.alarm(connection, alarms.Limits.of(1000, "2h", "5%"))

    still = "open"
    filters = ("--source", of.source, "--field", field, "--rule", "missing", "--until", "2026-01-01")
    return [
        Case("groups", [], lambda c: answers.grouped(c, Filter(status=still), 20)),
        grouped("groups, those behind the 200th", Filter(status=still), after=far),
        grouped(
            "groups --field --rule", Filter(fields=[field], rules=["missing"], status=still), *filters[2:6]
        ),
        grouped("groups --file (the last one)", Filter(file=last[0], status=still), "--file", last[0]),
        grouped("groups --delivery", Filter(delivery=3, status=still), "--delivery", "3"),
        grouped(
            "groups --since (the last minute)",
            Filter(since=timestamps.to_iso(last[1]), status=still),
            "--since",
            timestamps.to_iso(last[1]),
        ),
        grouped("groups --since (half of all)", Filter(since=middle, status=still), "--since", middle),
        listed("list, the first page", Filter(status=still)),
        listed("list, a page after 90%", Filter(status=still), "--after", str(deep), after=deep),
        listed("list --status all", Filter(), "--status", "all"),
        listed("list --group", Filter(groups=[of.id[:8]], status=still), "--group", of.id[:8]),
        listed(
            "list --source --field --rule --until",
            Filter(source=of.source, fields=[field], rules=["missing"], until="2026-01-01", status=still),
            *filters,
        ),
        listed("list --file (the last one)", Filter(file=last[0], status=still), "--file", last[0]),
        listed(
            "list --since (the last minute)",
            Filter(since=timestamps.to_iso(last[1]), status=still),
            "--since",
            timestamps.to_iso(last[1]),
        ),
        listed("list --delivery", Filter(delivery=3, status=still), "--delivery", "3"),
        listed(
            "list --group --contains (1 letter)",
            Filter(groups=[of.id], status=still),
            *("--group", of.id, "--contains", "999999,50"),
            text="999999,50",
        ),
        Case("show", ["show", deep.id], lambda c: view(c, deep.id)),
        Case("alarm", ["alarm", "--max-open", "1000", "--max-age", "2h", "--max-rate", "5%"], alarm),
    ]


def run(home: Path, command: list[str]) -> tuple[float, float]:
    """(wall seconds, CPU seconds) of the real command, the better of two."""
    found = []
    for _ in range(2):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [STORE, "letters", *command],
            env={**os.environ, "SLUICE_HOME": str(home)},
            capture_output=True,
            check=False,
        )
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        found.append((time.perf_counter() - started, cpu))
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--letters", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=300)
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}"
    )
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as empty:
        engine = install.prepare(StoreSettings(home=Path(folder), database_url=None))
        install.prepare(StoreSettings(home=Path(empty), database_url=None)).dispose()
        started = time.perf_counter()
        build(engine, options.letters, options.groups)
        size = Path(folder, "sluice.db").stat().st_size / 2**20
        print(
            f"{options.letters:,} letters, {options.groups} groups, {size:,.0f} MB, "
            f"written in {time.perf_counter() - started:.0f} s"
        )
        print(f"{'':38}{'query':>10}{'command':>10}{'its CPU':>10}{'on empty':>10}")
        with database.reading(engine) as connection:
            for case in cases(connection):
                started = time.perf_counter()
                case.query(connection)
                query = time.perf_counter() - started
                wall, cpu = run(Path(folder), case.command)
                _, base = run(Path(empty), case.command)
                figures = "".join(f"{seconds * 1000:>7.0f} ms" for seconds in (query, wall, cpu, base))
                print(f"{case.name:38}{figures}")
        engine.dispose()


if __name__ == "__main__":
    main()
