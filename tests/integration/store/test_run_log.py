from __future__ import annotations

from typing import Any

from sqlalchemy import Engine

from store import database
from store.tables import load_runs
from tests.integration.store.conftest import Ledger, Record


def start(engine: Engine) -> int:
    with database.transaction(engine) as connection:
        return load_runs.start(connection, "host:1:00", "2025-01-01T00:00:00.000000Z")


def latest(engine: Engine) -> dict[str, Any]:
    with database.reading(engine) as connection:
        return load_runs.recent(connection, 1)[0]


def test_a_run_is_running_until_it_is_finished(engine: Engine) -> None:
    number = start(engine)
    assert (latest(engine)["status"], latest(engine)["finished_at"]) == ("running", None)
    with database.transaction(engine) as connection:
        load_runs.finish(connection, number)
    assert latest(engine)["status"] == "succeeded"
    assert latest(engine)["finished_at"] is not None
    assert latest(engine)["error"] is None


def test_a_failed_run_keeps_its_error(engine: Engine) -> None:
    number = start(engine)
    with database.transaction(engine) as connection:
        load_runs.finish(connection, number, error="the disk is full")
    assert (latest(engine)["status"], latest(engine)["error"]) == ("failed", "the disk is full")


def test_counts_grow_with_every_chunk_even_if_the_run_fails(engine: Engine) -> None:
    number = start(engine)
    for watermark in ("2025-01-02T00:00:00.000000Z", "2025-01-03T00:00:00.000000Z"):
        with database.transaction(engine) as connection:
            counts = {"inserted": 2, "updated": 1, "duplicates": 4, "superseded": 3}
            load_runs.add_chunk(connection, number, counts, watermark, 0.5)
    with database.transaction(engine) as connection:
        load_runs.finish(connection, number, error="killed")
    row = latest(engine)
    assert (row["chunks"], row["inserted"], row["updated"]) == (2, 4, 2)
    assert (row["duplicates"], row["superseded"]) == (8, 6)
    assert (row["seconds"], row["watermark_after"]) == (1.0, "2025-01-03T00:00:00.000000Z")
    assert row["watermark_before"] == "2025-01-01T00:00:00.000000Z"


def test_a_run_that_a_dead_loader_left_is_interrupted_when_the_next_starts(engine: Engine) -> None:
    dead = start(engine)
    with database.transaction(engine) as connection:
        load_runs.add_chunk(connection, dead, {"inserted": 2}, None, 0.5)
    sign_of_life = latest(engine)["finished_at"]
    start(engine)
    with database.reading(engine) as connection:
        new, old = load_runs.recent(connection, 2)
    assert (new["status"], old["status"]) == ("running", "interrupted")
    assert "finished chunks stand" in old["error"]
    assert old["inserted"] == 2
    assert old["finished_at"] == sign_of_life


def test_a_finished_run_is_never_interrupted(engine: Engine) -> None:
    with database.transaction(engine) as connection:
        load_runs.finish(connection, load_runs.start(connection, "h:1:0", None))
    start(engine)
    with database.reading(engine) as connection:
        assert load_runs.recent(connection, 2)[1]["status"] == "succeeded"


def test_totals_are_over_all_runs_and_nought_without_any(ledger: Ledger) -> None:
    with database.reading(ledger.engine) as connection:
        assert load_runs.totals(connection) == {"inserted": 0, "updated": 0, "duplicates": 0, "superseded": 0}
    for day in ("02", "03"):
        ledger.receive([Record("x", f"2025-01-{day}"), Record(day, "2025-01-01")])
        ledger.load()
        ledger.receive([Record("x", f"2025-01-{day}"), Record("x", "2025-01-01")])
        ledger.load()
    with database.reading(ledger.engine) as connection:
        assert load_runs.totals(connection) == {"inserted": 3, "updated": 1, "duplicates": 2, "superseded": 2}
