"""The loader: staging -> target, the watermark, and what it does with late and stale records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from store import database, timestamps
from store.database import schema
from store.errors import LockHeld, WatermarkCorrupt
from store.load import merge
from store.reports import freshness, receipts
from store.tables import leases, watermarks
from worker import loader
from worker.queue.upkeep.maintenance import enqueue_due

from .plant import Plant, ndjson, row

NOON = "2025-01-15T12:00:00Z"
STORED_NOON = "2025-01-15T12:00:00.000000Z"


def watermark(plant: Plant, source: str = "default") -> str | None:
    with database.reading(plant.engine) as connection:
        return watermarks.stored(connection).get(source)


def set_watermark(plant: Plant, value: str) -> None:
    with database.transaction(plant.engine) as connection:
        connection.execute(schema.watermarks.update().values(value=value))


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def test_rows_are_loaded_because_they_are_staged_however_old_they_are(plant: Plant) -> None:
    plant.run(ndjson(row("new", NOON)))
    plant.run(ndjson(row("old", "1999-01-01T00:00:00Z")), "old.ndjson")
    assert [each["key"] for each in plant.rows()] == ["new", "old"]
    assert plant.report()["late"] == 1
    assert watermark(plant) == STORED_NOON


@pytest.mark.parametrize("chunk", ["1", "2", "7", "100000"])
def test_chunks_of_any_size_load_everything(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, chunk: str
) -> None:
    monkeypatch.setenv("SLUICE_LOAD_CHUNK_RECORDS", chunk)
    times = [f"2025-01-15T08:00:0{n % 5}Z" for n in range(10)]
    plant.run(ndjson(*(row(f"k{n % 3}", ts, value=n) for n, ts in enumerate(times))))
    found = plant.report()
    assert (found["target_rows"], found["loaded"], found["pending"]) == (3, 10, 0)
    assert [each["ts"][17:19] for each in plant.rows()] == ["04", "04", "03"]
    assert plant.violations() == []
    runs = plant.rows("run_log", "seq")
    assert [(each["status"], each["chunks"]) for each in runs] == [("succeeded", -(-10 // int(chunk)))]


def test_a_run_that_finds_nothing_is_not_logged(plant: Plant) -> None:
    plant.load()
    assert plant.rows("run_log", "seq") == []


def test_a_second_loader_leaves_the_work_to_the_first(plant: Plant) -> None:
    plant.send(ndjson(row()))
    plant.work()
    with database.transaction(plant.engine) as connection:
        leases.acquire(connection, loader.LOCK, "elsewhere:1:abc", 60)
    plant.load()
    assert plant.report()["pending"] == 1
    with pytest.raises(LockHeld, match="elsewhere:1"):
        loader.load(plant.engine, plant.settings)
    with database.transaction(plant.engine) as connection:
        leases.release(connection, loader.LOCK, "elsewhere:1:abc")
    plant.load()
    assert plant.report()["pending"] == 0


def test_a_run_that_fails_is_logged_as_failed_and_changes_nothing_else(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_LOAD_CHUNK_RECORDS", "1")
    plant.send(ndjson(row("a"), row("b"), row("c")))
    plant.work()
    whole, calls = merge.merge_chunk, []

    def fail_second(*args: Any) -> Any:
        calls.append(1)
        merged = whole(*args)
        if len(calls) == 2:
            raise RuntimeError("the loader's own bug")
        return merged

    with monkeypatch.context() as broken:
        broken.setattr(merge, "merge_chunk", fail_second)
        with pytest.raises(RuntimeError):
            loader.load(plant.engine, plant.settings)
    (run,) = plant.rows("run_log", "seq")
    assert (run["status"], run["inserted"]) == ("failed", 1)
    assert "the loader's own bug" in run["error"]
    assert (plant.report()["target_rows"], plant.report()["pending"]) == (1, 2)
    assert plant.violations() == []
    plant.load()  # the lock was given back
    assert plant.report()["target_rows"] == 3


# The watermark


def test_the_watermark_only_moves_forward_and_every_move_names_its_run_and_record(plant: Plant) -> None:
    plant.run(ndjson(row("a", "2025-01-15T08:00:00Z"), row("b", NOON)))
    plant.run(ndjson(row("c", "2025-01-15T11:00:00Z")), "older.ndjson")
    assert watermark(plant) == STORED_NOON
    plant.run(ndjson(row("d", "2025-01-15T13:00:00+00:00")), "newer.ndjson")
    assert watermark(plant) == "2025-01-15T13:00:00.000000Z"
    moves = plant.rows("watermark_history", "id")
    assert [(each["record_key"], each["run_seq"], each["previous"]) for each in moves] == [
        ("b", 1, None),
        ("d", 3, STORED_NOON),
    ]
    (loaded,) = [each for each in plant.chain("d") if each.step == "load"]
    assert loaded.id == f"load-{moves[1]['lineage_id']}"


def test_the_pipeline_watermark_is_the_least_over_its_sources(plant: Plant) -> None:
    plant.run(ndjson(row(ts=NOON)), source="north")
    plant.run(ndjson(row(ts="2025-01-15T10:00:00Z")), source="south")
    assert plant.report()["watermark"] == "2025-01-15T10:00:00.000000Z"


def test_a_record_from_2099_is_a_dead_letter_and_the_watermark_stays(plant: Plant) -> None:
    plant.run(ndjson(row(ts=NOON)))
    plant.run(ndjson(row("b", "2099-01-01T00:00:00Z")), "future.ndjson")
    assert plant.reasons() == ["future_timestamp"]
    assert watermark(plant) == STORED_NOON
    assert plant.report()["target_rows"] == 1


CORRUPT = [
    "",
    "yesterday",
    "2025-01-15T12:00:00Z",
    "2099-01-01T00:00:00.000000Z",
    "2025-01-15T11:00:00.000000Z",
]


@pytest.mark.parametrize("value", CORRUPT)
def test_a_corrupt_watermark_stops_the_loader_until_it_is_repaired(plant: Plant, value: str) -> None:
    plant.run(ndjson(row("a", NOON)))
    plant.send(ndjson(row("b", "2025-01-15T13:00:00Z")), "more.ndjson")
    plant.work()
    set_watermark(plant, value)
    with pytest.raises(WatermarkCorrupt, match="store watermark repair"):
        loader.load(plant.engine, plant.settings)
    assert plant.report()["target_rows"] == 1
    run = plant.rows("run_log", "seq")[-1]
    assert run["status"] == "failed"
    assert "store watermark repair" in run["error"]
    with database.transaction(plant.engine) as connection:
        repaired = watermarks.repair(connection, timedelta(hours=1))
    assert repaired == [("default", value, STORED_NOON)]
    plant.load()
    assert watermark(plant) == "2025-01-15T13:00:00.000000Z"
    assert plant.violations() == []


@pytest.mark.parametrize("value", ["", "yesterday", "2099-01-01T00:00:00.000000Z"])
def test_a_corrupt_watermark_loses_no_record_that_arrives_meanwhile(plant: Plant, value: str) -> None:
    plant.run(ndjson(row("a", NOON)))
    set_watermark(plant, value)
    plant.send(ndjson(row("b", "2025-01-15T13:00:00Z")), "more.ndjson")
    plant.work()
    with database.transaction(plant.engine) as connection:
        watermarks.repair(connection, timedelta(hours=1))
    for job_id in plant.redis.zrange("rq:scheduled:records", 0, -1):
        plant.redis.zadd("rq:scheduled:records", {job_id: 1})
    enqueue_due(plant.redis, plant.broker.queue())
    plant.work()
    plant.load()
    assert [each["key"] for each in plant.rows()] == ["a", "b"]
    assert plant.report()["dead_letters"] == 0


def test_a_corrupt_watermark_stops_its_own_source_alone(plant: Plant) -> None:
    for source in ("good", "bad"):
        plant.run(ndjson(row("a", NOON)), f"{source}-1.ndjson", source=source)
    for source in ("good", "bad"):  # staged before the watermark breaks
        plant.send(ndjson(row("b", "2025-01-15T13:00:00Z")), f"{source}-2.ndjson", source=source)
    plant.work()
    with database.transaction(plant.engine) as connection:
        connection.exec_driver_sql(
            "UPDATE watermarks SET value = '2099-01-01T00:00:00.000000Z' WHERE source = 'bad'"
        )
    for source in ("bad", "good"):  # and sent after it
        plant.send(ndjson(row("c", "2025-01-15T14:00:00Z")), f"{source}-3.ndjson", source=source)
    plant.work()
    plant.load()

    assert [(each["source"], each["key"]) for each in plant.rows()] == [
        ("bad", "a"), ("good", "a"), ("good", "b"), ("good", "c"),
    ]  # fmt: skip
    assert [(each["source"], each["key"]) for each in plant.rows("staging")] == [("bad", "b")]
    run = plant.rows("run_log", "seq")[-1]
    assert (run["status"], run["inserted"]) == ("failed", 2)
    assert "the watermark of 'bad' is 2099" in run["error"]
    assert len(plant.broker.held()) == 1
    assert plant.violations() == []

    with database.transaction(plant.engine) as connection:
        assert [source for source, _, _ in watermarks.repair(connection, timedelta(hours=1))] == ["bad"]
    for job_id in plant.redis.zrange("rq:scheduled:records", 0, -1):
        plant.redis.zadd("rq:scheduled:records", {job_id: 1})
    enqueue_due(plant.redis, plant.broker.queue())
    plant.work()
    plant.load()
    assert len(plant.rows()) == 6
    assert {each["value"] for each in plant.rows("watermarks", "source")} == {"2025-01-15T14:00:00.000000Z"}
    assert plant.violations() == []


def test_a_record_that_a_worker_with_a_wrong_clock_took_moves_no_watermark(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.run(ndjson(row("a", NOON)))
    now, ahead = database.now, timedelta(days=40_000)
    monkeypatch.setattr(database, "now", lambda connection: now(connection) + ahead)
    plant.send(ndjson(row("b", "2099-01-01T00:00:00Z"), row("c", "2025-01-15T13:00:00Z")), "more.ndjson")
    plant.work()
    monkeypatch.setattr(database, "now", now)
    plant.load()
    assert [each["key"] for each in plant.rows()] == ["a", "b", "c"]
    assert watermark(plant) == "2025-01-15T13:00:00.000000Z"
    plant.run(ndjson(row("d", "2025-01-15T14:00:00Z")), "next.ndjson")
    assert watermark(plant) == "2025-01-15T14:00:00.000000Z"
    assert plant.violations() == []


# Late, stale, future


def run_late(plant: Plant, toml: str, *times: str) -> None:
    plant.configure(f"[sources.s]\n{toml}\n")
    plant.run(ndjson(row("first", NOON)), "first.ndjson", source="s")
    plant.run(ndjson(*(row(f"k{n}", ts) for n, ts in enumerate(times))), "later.ndjson", source="s")
    assert plant.violations() == []


JUST_LATE, AT, JUST_IN_TIME = "2025-01-15T11:59:59.999999Z", NOON, "2025-01-15T12:00:00.000001Z"


def test_the_load_policy_loads_late_records_and_flags_them(plant: Plant) -> None:
    run_late(plant, 'late = "load"', JUST_LATE, AT, JUST_IN_TIME)
    assert plant.report()["late"] == 1
    assert plant.report()["target_rows"] == 4


def test_the_dead_letter_policy_rejects_late_records(plant: Plant) -> None:
    run_late(plant, 'late = "dead_letter"', JUST_LATE, AT, JUST_IN_TIME)
    assert plant.reasons() == ["late"]
    assert [each["key"] for each in plant.rows()] == ["first", "k1", "k2"]


@pytest.mark.parametrize(("policy", "late"), [("load", 1), ("dead_letter", 1), ("skip", 2)])
def test_late_records_are_counted_whatever_the_policy_does_with_them(
    plant: Plant, policy: str, late: int
) -> None:
    run_late(plant, f'late = "{policy}"', JUST_LATE, AT, JUST_IN_TIME)
    with database.reading(plant.engine) as connection:
        newest, oldest = receipts.recent(connection, 10)["batches"]
    assert plant.report()["late"] == plant.report()["by_source"]["s"]["late"] == late
    assert (newest["late"], oldest["late"]) == (late, 0)


def test_the_skip_policy_without_lateness_takes_what_is_at_the_watermark_for_seen(plant: Plant) -> None:
    run_late(plant, 'late = "skip"', JUST_LATE, AT, JUST_IN_TIME)
    found = plant.report()
    assert (found["skipped"], found["late"], found["dead_letters"]) == (2, 2, 0)
    assert [each["key"] for each in plant.rows()] == ["first", "k2"]
    (entry,) = plant.chain("k0")
    assert (entry.step, entry.detail, entry.goes_to, entry.line) == ("skip", "late", "nowhere", 1)


@pytest.mark.parametrize(("policy", "loaded"), [("load", 3), ("dead_letter", 2), ("skip", 2)])
def test_allowed_lateness_is_how_far_behind_is_not_yet_late(plant: Plant, policy: str, loaded: int) -> None:
    toml = f'late = "{policy}"\nallowed_lateness = "1h"'
    run_late(plant, toml, "2025-01-15T11:00:00.000001Z", "2025-01-15T10:59:59.999999Z")
    assert plant.report()["target_rows"] == loaded


def test_lateness_is_judged_by_the_watermark_as_it_stood_when_the_batch_began(plant: Plant) -> None:
    plant.configure('[sources.s]\nlate = "skip"\n')
    plant.run(ndjson(row("a", NOON), row("b", "2025-01-15T01:00:00Z")), source="s")
    assert plant.report()["skipped"] == 0
    assert plant.rows("batches", "seq")[0]["watermark_before"] is None


def test_a_watermark_of_one_source_makes_no_record_of_another_late(plant: Plant) -> None:
    plant.configure('[sources.old]\nlate = "dead_letter"\n')
    plant.run(ndjson(row(ts=NOON)), source="new")
    plant.run(ndjson(row(ts="1999-01-01")), source="old")
    assert plant.report()["target_rows"] == 2


def test_stale_records_are_flagged_and_loaded(plant: Plant) -> None:
    plant.configure('[sources.s]\nmax_age = "1d"\n')
    plant.run(ndjson(row("old", ago(hours=25)), row("fresh", ago(hours=23))), source="s")
    assert (plant.report()["stale"], plant.report()["target_rows"]) == (1, 2)


def test_stale_records_are_dead_letters_where_the_source_says_so(plant: Plant) -> None:
    plant.configure('[sources.s]\nmax_age = "1d"\nstale = "dead_letter"\n')
    plant.run(ndjson(row("old", ago(hours=25)), row("fresh", ago(hours=23))), source="s")
    assert plant.reasons() == ["stale"]
    assert [each["key"] for each in plant.rows()] == ["fresh"]


@pytest.mark.parametrize("policy", ["flag", "dead_letter"])
def test_fresh_stale_and_what_is_otherwise_rejected_are_all_that_was_received(
    plant: Plant, policy: str
) -> None:
    plant.configure(f'[sources.s]\nmax_age = "1d"\nstale = "{policy}"\n')
    rows = [row("old", ago(hours=25)), row("new", ago(hours=23)), row("newer", ago(hours=22)), row("", NOON)]
    plant.run(ndjson(*rows, rows[1]), source="s")
    with database.reading(plant.engine) as connection:
        (batch,) = receipts.recent(connection, 10)["batches"]
        (shown,) = freshness.of_sources(connection, timestamps.now())
    report = plant.report()
    assert (report["input_records"], report["fresh"], report["stale"]) == (5, 3, 1)
    assert (batch["fresh"], batch["stale"]) == (shown.fresh, shown.stale) == (3, 1)
    assert shown.records == 4


def test_the_future_begins_after_max_future_skew(plant: Plant) -> None:
    plant.configure('[worker]\nmax_future_skew = "10m"\n')
    plant.run(ndjson(row("in", ago(minutes=-9)), row("out", ago(minutes=-11))))
    assert plant.reasons() == ["future_timestamp"]
    assert [each["key"] for each in plant.rows()] == ["in"]


def test_the_watermark_may_stand_within_max_future_skew(plant: Plant) -> None:
    plant.run(ndjson(row("a", ago(minutes=-59))))
    plant.run(ndjson(row("b", ago(minutes=-58))), "more.ndjson")
    assert plant.report()["target_rows"] == 2
