"""A database of an earlier version is brought to today's with all that is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from store import database
from store.checks import conservation
from store.checks import lineage as lineage_checks
from store.database import install
from store.database.schema import UNPUBLISHED, UNREMOVED, ContractColumn, event_id, staged_id
from store.settings import StoreSettings
from store.tables import dead_letters

COLUMNS = (ContractColumn("name", "text"), ContractColumn("value", "real"))
TS = "2025-01-0{}T00:00:00.000000Z"

# Batch 1 was loaded by run 1, batch 2 by run 2: of its three records one is new, one replaced key a, and one
# was beaten there. The third batch is still staged.
OLD = (
    "INSERT INTO batches (seq, id, kind, source, file, first_line, last_line, fingerprint, received, staged, "
    "duplicates, superseded, rejected, skipped, late, stale, reasons, seconds, processed_at, stages_run) "
    "VALUES (:seq, :id, 'file', 'shop', 'a.json', :first, :last, 'f', :n, :n, 0, 0, 0, 0, 0, 0, '{}', '{}', "
    "'2025-01-09T00:00:00.000000Z', '[\"dedupe\"]')"
)
BATCHES = [
    {"seq": 1, "id": "b1", "first": 1, "last": 2, "n": 2},
    {"seq": 2, "id": "b2", "first": 3, "last": 5, "n": 3},
    {"seq": 3, "id": "b3", "first": 6, "last": 6, "n": 1},
]
RUN = (
    "INSERT INTO run_log (seq, status, holder, started_at, chunks, inserted, updated, superseded, seconds) "
    "VALUES (:seq, 'succeeded', 'h', '2025-01-09T00:00:00.000000Z', 1, :inserted, :updated, :superseded, 0.1)"
)
RUNS = [
    {"seq": 1, "inserted": 2, "updated": 0, "superseded": 0},
    {"seq": 2, "inserted": 1, "updated": 1, "superseded": 1},
]
LINEAGE = (
    "INSERT INTO record_lineage (source, key, id, ts, line, run_seq, outcome) "
    "VALUES ('shop', :key, :id, :ts, :line, :run, :outcome)"
)
LOADED = [
    {"key": "a", "id": staged_id(1, 0), "ts": TS.format(1), "line": 1, "run": 1, "outcome": 1},
    {"key": "b", "id": staged_id(1, 1), "ts": TS.format(1), "line": 2, "run": 1, "outcome": 1},
    {"key": "a", "id": staged_id(2, 0), "ts": TS.format(3), "line": 3, "run": 2, "outcome": 2},
    {"key": "a", "id": staged_id(2, 1), "ts": TS.format(2), "line": 4, "run": 2, "outcome": 3},
    {"key": "c", "id": staged_id(2, 2), "ts": TS.format(2), "line": 5, "run": 2, "outcome": 1},
]
TARGET = (
    "INSERT INTO target (source, key, ts, content_hash, extra, lineage_id, name, value) "
    "VALUES ('shop', :key, :ts, :hash, :extra, :id, 'pump', 1.5)"
)
HELD = [
    {"key": "a", "ts": TS.format(3), "hash": b"a" * 16, "extra": '{"x":1}', "id": staged_id(2, 0)},
    {"key": "b", "ts": TS.format(1), "hash": b"b" * 16, "extra": None, "id": staged_id(1, 1)},
    {"key": "c", "ts": TS.format(2), "hash": b"c" * 16, "extra": None, "id": staged_id(2, 2)},
]
STAGED = (
    "INSERT INTO staging (source, key, ts, content_hash, id, line, flags, name, value) "
    "VALUES ('shop', 'd', :ts, :hash, :id, 6, 1, 'valve', 2.5)"
)


def migrated(engine: database.Engine, to: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(install.MIGRATIONS))
    with database.transaction(engine) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, to)


@pytest.fixture
def old(tmp_path: Path) -> StoreSettings:
    """A database as revision 0002 left it."""
    settings = StoreSettings(home=tmp_path)
    engine = database.open_engine(settings)
    install.create_private_file(engine.url)
    migrated(engine, "0002")
    install.add_contract_columns(engine, COLUMNS)
    with database.transaction(engine) as connection:
        for statement, rows in ((OLD, BATCHES), (RUN, RUNS), (LINEAGE, LOADED), (TARGET, HELD)):
            connection.execute(text(statement), rows)
        connection.execute(text(STAGED), {"ts": TS.format(4), "hash": b"d" * 16, "id": staged_id(3, 0)})
    engine.dispose()
    return settings


def test_rows_lineage_and_staging_of_an_earlier_version_are_all_there_after_it(old: StoreSettings) -> None:
    engine = install.prepare(old)
    with database.reading(engine) as connection:
        assert install.revision(engine) == "0004"
        assert conservation.violations(connection) == []
        assert [law.violations for law in lineage_checks.laws(connection)] == [[], [], [], []]
        columns = ("key", "id", "ts", "line", "run_seq AS run", "outcome")
        rows = connection.execute(
            text(f"SELECT {', '.join(columns)} FROM record_lineage ORDER BY id")  # noqa: S608
        ).mappings()
        assert [dict(row) for row in rows] == LOADED
        kept = connection.execute(text("SELECT key, ts, extra, name, value FROM target ORDER BY key")).all()
        assert kept == [(row["key"], row["ts"], row["extra"], "pump", 1.5) for row in HELD]
        past = connection.execute(text("SELECT id FROM past_lineage ORDER BY id")).scalars().all()
        assert past == [staged_id(1, 0), staged_id(2, 1)]
        waiting = connection.execute(text("SELECT id, key, line, flags, name, value FROM staging")).all()
        assert waiting == [(staged_id(3, 0), "d", 6, 1, "valve", 2.5)]
        assert connection.execute(text("SELECT count(*) FROM golden")).scalar() == 3
    engine.dispose()


def test_the_target_and_its_digest_are_not_changed_by_a_newer_version(old: StoreSettings) -> None:
    engine = database.open_engine(old)
    with database.reading(engine) as connection:
        before = conservation.digest(connection)
    engine.dispose()
    engine = install.prepare(old)
    with database.reading(engine) as connection:
        assert conservation.digest(connection) == before
    engine.dispose()


EVENTS = (
    "INSERT INTO lineage_events (id, step, source, record_key, dead_letter_id, detail, batch_seq, line, parent_id, "
    "repeats_id) VALUES (:id, :step, 'shop', :key, :letter, :detail, :batch, :line, :parent, :repeats)"
)
ENTRIES = [
    {"id": event_id(1, 7, "reject"), "step": "reject", "key": None, "letter": "l" * 32, "detail": "late",
     "batch": 1, "line": 8, "parent": None, "repeats": None},
    {"id": event_id(2, 8, "replay"), "step": "replay", "key": None, "letter": "l" * 32, "detail": "sent back",
     "batch": 2, "line": 8, "parent": event_id(1, 7, "reject"), "repeats": None},
    {"id": event_id(2, 9, "skip"), "step": "skip", "key": "a", "letter": None, "detail": "duplicate",
     "batch": 2, "line": 9, "parent": None, "repeats": staged_id(1, 0)},
]  # fmt: skip
LETTERS = (
    "INSERT INTO dead_letters (id, source, status, reason, errors, payload, encoding, size, format, content, file, "
    "line, batch_seq, event_id, occurrences, replays, first_seen_at, last_seen_at, published_at) "
    "VALUES (:id, 'shop', :status, 'late', '[]', '{', 'utf-8', 1, 'json', 'c', 'a.json', 8, 1, 1, 1, 0, 't', 't', :at)"
)


def test_entries_and_the_outbox_of_an_earlier_version_are_all_there_after_it(old: StoreSettings) -> None:
    states = [
        ("new", "open", None),
        ("told", "open", "t"),
        ("gone", "resolved", "t"),
        ("done", "resolved", None),
    ]
    engine = database.open_engine(old)
    with database.transaction(engine) as connection:
        connection.execute(text(EVENTS), ENTRIES)
        connection.execute(text(LETTERS), [{"id": id, "status": st, "at": at} for id, st, at in states])
    engine.dispose()
    engine = install.prepare(old)
    names = "id, step, record_key, dead_letter_id, detail, batch_seq, line, parent_id, repeats_id"
    with database.reading(engine) as connection:
        rows = connection.execute(text(f"SELECT {names} FROM lineage_events ORDER BY id")).all()  # noqa: S608
        assert rows == [tuple(entry.values()) for entry in ENTRIES]
        shown = connection.execute(text("SELECT count(*) FROM lineage WHERE id LIKE 'event-%'")).scalar()
        assert shown == len(ENTRIES)
        assert [letter.id for letter in dead_letters.unpublished(connection, 9)] == ["new"]
        assert dead_letters.unremoved(connection, 9) == ["gone"]
        asked = "EXPLAIN QUERY PLAN SELECT id FROM dead_letters WHERE "
        for condition, index in ((UNPUBLISHED, "unpublished"), (UNREMOVED, "unremoved")):
            plan = str(connection.exec_driver_sql(asked + str(condition)).all())
            assert f"dead_letters_{index}" in plan  # or each batch would go through all letters there are
    engine.dispose()
