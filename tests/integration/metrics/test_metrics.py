"""The metrics are exact whatever has happened, and what cannot be read is absent."""

from __future__ import annotations

import logging
import re
import threading
from datetime import datetime
from pathlib import Path

import orjson
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from store import database
from store.cli.app import app
from store.dead_letters import pruning
from store.dead_letters.actions import Order
from store.dead_letters.edits import Edit
from store.errors import StoreUnavailable
from store.reports import metrics
from store.reports.metrics import Say, Values
from store.settings import StoreSettings
from store.tables import law_checks
from worker.metrics.collector import METRICS, Collector, read_all
from worker.queue import lost
from worker.queue.names import RECORDS_QUEUE

from ..plant import Plant, ndjson, row
from .conftest import Network, Scrape, Series, parsed

SAMPLE = Path(__file__).parents[3] / "data" / "sample.ndjson"
STORE_PARTS = ("store", "watermarks")


def only(found: Series, name: str) -> Series:
    """The series of one metric, by their labels alone, where they are not zero."""
    return {
        key.removeprefix(name).strip("{}"): value
        for key, value in found.items()
        if value and key.partition("{")[0] == name
    }


def letters(found: Series) -> Series:
    return {
        re.sub(r"reason=(\w+),source=default,status=(\w+)", r"\1 \2", labels): value
        for labels, value in only(found, "sluice_dead_letters").items()
    }


def check(laws: list[str], violations: int = 0, unchecked: str | None = None) -> list[dict[str, object]]:
    return [{"law": law, "violations": ["it does not"] * violations, "unchecked": unchecked} for law in laws]


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_an_empty_store_has_no_record_no_letter_and_no_law(scrape: Scrape) -> None:
    found = scrape()
    assert {key.partition("{")[0] for key, value in found.items() if value} == {
        "sluice_build_info", "sluice_scrape_success",
    }  # fmt: skip
    assert not [key for key in found if "timestamp" in key or "law" in key]


def test_the_sample_is_counted_exactly(plant: Plant, scrape: Scrape) -> None:
    plant.run(SAMPLE)
    found = scrape()
    assert only(found, "sluice_records_total") == {
        "outcome=staged,source=default": 5, "outcome=rejected,source=default": 2,
    }  # fmt: skip
    assert only(found, "sluice_loaded_records_total") == {"outcome=inserted": 5}
    assert found["sluice_staged_records"] == 0
    assert letters(found) == {"invalid_value open": 1, "missing_timestamp open": 1}
    oldest = min(each["first_seen_at"] for each in plant.rows("dead_letters", "id"))
    assert found["sluice_dead_letters_oldest_open_timestamp_seconds"] == unix(oldest)
    assert found["sluice_watermark_timestamp_seconds{source=default}"] == unix("2025-01-15T12:00:00Z")
    [run] = plant.rows("run_log", "seq")
    assert found["sluice_last_load_timestamp_seconds"] == unix(run["finished_at"])


def test_what_is_staged_and_not_loaded_is_counted_as_the_table_has_it(plant: Plant, scrape: Scrape) -> None:
    plant.run(ndjson(row("a")))
    plant.send(ndjson(row("b"), row("c"), row("a")), "more.ndjson")
    plant.work()
    found = scrape()
    assert found["sluice_staged_records"] == len(plant.rows("staging", "id")) == 3
    plant.load()
    found = scrape()
    assert found["sluice_staged_records"] == 0
    assert only(found, "sluice_loaded_records_total") == {"outcome=inserted": 3, "outcome=duplicate": 1}


def test_a_replay_counts_its_records_again_and_moves_the_letter(plant: Plant, scrape: Scrape) -> None:
    plant.run(SAMPLE)
    plant.replay(Edit(set={"value": 3.4}), reasons=("invalid_value",))
    assert letters(scrape()) == {"invalid_value replaying": 1, "missing_timestamp open": 1}
    plant.work()
    plant.load()
    found = scrape()
    assert letters(found) == {"invalid_value resolved": 1, "missing_timestamp open": 1}
    assert found["sluice_records_total{outcome=staged,source=default}"] == 6
    assert only(found, "sluice_loaded_records_total") == {"outcome=inserted": 6}


def test_no_counter_and_no_sum_of_letters_falls_by_a_prune(plant: Plant, scrape: Scrape) -> None:
    plant.run(SAMPLE)
    plant.replay(Edit(set={"value": 3.4}), reasons=("invalid_value",))
    plant.work()
    plant.load()
    before = scrape()
    done = pruning.prune_all(
        plant.engine, "9999-01-01T00:00:00.000000Z", Order("prune", {}, "", "ann@host", "")
    )
    assert done is not None
    assert done.letters == 1
    after = scrape()
    assert {key: value for key, value in before.items() if "_total" in key} == {
        key: value for key, value in after.items() if "_total" in key
    }
    assert letters(after) == {"invalid_value pruned": 1, "missing_timestamp open": 1}


def test_a_batch_is_queued_until_a_worker_takes_it_and_its_age_is_that_of_its_sending(
    plant: Plant, scrape: Scrape
) -> None:
    sent = plant.send(ndjson(row("a")))
    assert sent.batches == 1
    found = scrape()
    assert only(found, "sluice_queue_batches") == {"queue=records,state=queued": 1}
    [id] = plant.broker.queue().get_job_ids()
    job = plant.broker.queue().fetch_job(id)
    assert job is not None
    assert found["sluice_queue_oldest_timestamp_seconds"] == pytest.approx(
        job.created_at.timestamp(), abs=1e-3
    )
    plant.redis.hset(job.key, "created_at", "yesterday")  # by somebody: no reason to fail
    assert "sluice_queue_oldest_timestamp_seconds" not in scrape()
    plant.work()
    assert "queue=records,state=queued" not in only(scrape(), "sluice_queue_batches")


def test_a_held_batch_is_not_one_that_merely_waits_and_a_lost_one_is_what_the_inbox_lacks(
    plant: Plant, scrape: Scrape
) -> None:
    plant.run(ndjson(row("a")))
    [batch] = plant.rows("batches", "seq")
    plant.redis.hset(lost.KEY, mapping={batch["id"]: "now", "f" * 32: "now"})
    scheduled = plant.broker.queue().scheduled_job_registry.key
    plant.redis.zadd(scheduled, {"one": 1.0, "two": 2.0})
    plant.broker.hold("two", "the disk is full")
    found = only(scrape(), "sluice_queue_batches")
    states = ("retrying", "held", "lost")
    assert [found[f"queue={RECORDS_QUEUE},state={state}"] for state in states] == [1, 1, 1]
    assert plant.redis.hlen(lost.KEY) == 2  # who looks, changes nothing


def test_without_redis_the_store_is_served_and_the_queue_is_absent(
    plant: Plant, scrape: Scrape, network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    plant.run(SAMPLE)
    plant.send(ndjson(row("x")), "more.ndjson")
    assert scrape()["sluice_scrape_success{part=queue}"] == 1
    network.is_torn = True
    with caplog.at_level(logging.WARNING):
        found = [scrape() for _ in range(3)][-1]
    assert [record.getMessage() for record in caplog.records] == [
        "the metrics of queue cannot be read: it was unplugged"
    ]
    assert {part: found[f"sluice_scrape_success{{part={part}}}"] for part in (*STORE_PARTS, "queue")} == {
        "store": 1, "watermarks": 1, "queue": 0,
    }  # fmt: skip
    assert found["sluice_records_total{outcome=staged,source=default}"] == 5
    assert not [key for key in found if key.startswith(("sluice_queue", "sluice_workers"))]


def test_without_the_database_the_queue_is_served_and_the_store_is_absent(
    plant: Plant, scrape: Scrape, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plant.send(ndjson(row("x")))
    plant.redis.hset(lost.KEY, "f" * 32, "now")
    gone = StoreSettings(home=tmp_path, database_url=f"sqlite:///{tmp_path}/gone.db")
    problems: list[str] = []
    values = read_all(gone, plant.settings, problems.append)
    assert values["sluice_scrape_success"] == {("store",): 0, ("watermarks",): 0, ("queue",): 1}
    assert values["sluice_queue_batches"]["records", "queued"] == 1
    assert ("records", "lost") not in values["sluice_queue_batches"]
    assert set(values) == {
        "sluice_scrape_success", "sluice_build_info", "sluice_queue_batches",
        "sluice_queue_oldest_timestamp_seconds", "sluice_workers",
    }  # fmt: skip
    assert ["there is no database" in each for each in problems] == [True]
    assert not (tmp_path / "gone.db").exists()


def test_a_watermark_that_is_no_time_is_absent_and_its_part_fails(plant: Plant, scrape: Scrape) -> None:
    plant.run(ndjson(row("a")))
    with database.transaction(plant.engine) as connection:
        connection.execute(text("UPDATE watermarks SET value = 'tomorrow'"))
    found = scrape()
    assert found["sluice_scrape_success{part=watermarks}"] == 0
    assert found["sluice_scrape_success{part=store}"] == 1
    assert "sluice_watermark_timestamp_seconds{source=default}" not in found


def test_a_law_is_as_the_last_check_found_it_and_one_that_was_not_checked_keeps_its_last_result(
    plant: Plant, scrape: Scrape
) -> None:
    first, later = "2025-01-15T08:00:00.000000Z", "2025-01-16T08:00:00.000000Z"
    with database.transaction(plant.engine) as connection:
        law_checks.note(connection, check(["books", "mirror"]), first)
        law_checks.note(connection, check(["never"], unchecked="Redis is away"), first)
    assert only(scrape(), "sluice_law_holds") == {"law=books": 1, "law=mirror": 1}
    with database.transaction(plant.engine) as connection:
        law_checks.note(connection, check(["books"], violations=3), later)
        law_checks.note(connection, check(["mirror"], unchecked="Redis is away"), later)
    found = scrape()
    assert (found["sluice_law_holds{law=books}"], found["sluice_law_holds{law=mirror}"]) == (0, 1)
    assert found["sluice_law_checked_timestamp_seconds{law=mirror}"] == unix(first)
    assert found["sluice_law_checked_timestamp_seconds{law=books}"] == unix(later)


def test_store_check_notes_what_it_finds(plant: Plant, scrape: Scrape) -> None:
    plant.run(SAMPLE)
    law = "sluice_law_holds{law=received = staged + rejected + skipped}"
    assert CliRunner().invoke(app, ["check"]).exit_code == 0
    assert scrape()[law] == 1
    with database.transaction(plant.engine) as connection:
        connection.execute(text("UPDATE batches SET received = received + 1"))
    assert scrape()[law] == 1  # nobody has looked since: see the time beside it
    assert CliRunner().invoke(app, ["check"]).exit_code == 1
    assert scrape()[law] == 0


def test_a_check_whose_result_cannot_be_noted_says_so_and_is_answered(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreUnavailable("it is read-only")

    assert plant.engine  # the database is made
    monkeypatch.setattr(law_checks, "note", refuse)
    done = CliRunner().invoke(app, ["check", "--json"])
    assert (done.exit_code, orjson.loads(done.stdout)["holds"]) == (0, True)
    assert "not noted for the metrics: it is read-only" in done.stderr


def test_sources_and_reasons_beyond_the_bounds_are_summed_and_the_first_stay_for_ever(
    plant: Plant, scrape: Scrape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MOST_SOURCES", 2)
    monkeypatch.setattr(metrics, "MOST_REASONS", 1)
    for number, source in enumerate(("zoo", "bar", "abc", "more")):
        plant.run(ndjson(row(f"k{number}"), row("x", value="many"), {"key": "y"}), f"{source}.ndjson", source)
    found = scrape()
    assert only(found, "sluice_records_total") == {
        "outcome=staged,source=zoo": 1, "outcome=rejected,source=zoo": 2,
        "outcome=staged,source=bar": 1, "outcome=rejected,source=bar": 2,
        "outcome=staged,source=(other)": 2, "outcome=rejected,source=(other)": 4,
    }  # fmt: skip
    assert sum(only(found, "sluice_dead_letters").values()) == 8
    reasons = set(re.findall(r"reason=([^,]+)", " ".join(only(found, "sluice_dead_letters"))))
    assert len(reasons) == 2
    assert "(other)" in reasons
    assert set(only(found, "sluice_watermark_timestamp_seconds")) == {"source=zoo", "source=bar"}


@pytest.mark.sqlite("the plan of a statement")
def test_a_scrape_reads_no_record_and_no_letter_but_the_oldest(plant: Plant) -> None:
    """By the plan of each statement: large tables are searched by an index, or not named."""
    plant.run(SAMPLE)
    with database.reading(plant.engine) as connection:
        statements: list[tuple[str, object]] = []
        original = connection.execute

        def noted(statement: object, *args: object) -> object:
            compiled = statement.compile(connection.engine, compile_kwargs={"literal_binds": True})  # type: ignore[attr-defined]
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all()
            statements.append((str(compiled), [each[3] for each in plan]))
            return original(statement, *args)  # type: ignore[call-overload]

        connection.execute = noted  # type: ignore[assignment,method-assign]
        metrics.read(connection, lambda _: None)
    assert len(statements) >= 5
    scanned = {step.split()[1] for _, plan in statements for step in plan if step.startswith("SCAN")}  # type: ignore[attr-defined]
    assert scanned <= {"batches", "letter_groups", "run_log", "watermarks", "law_checks"}
    searched = [step for _, plan in statements for step in plan if "dead_letters" in step]  # type: ignore[attr-defined]
    assert searched
    assert all("dead_letters_by_age" in step for step in searched)


def test_who_scrapes_within_some_seconds_gets_the_same_answer_and_one_reads_at_a_time() -> None:
    reads, at_once, now = [], [], [0.0]
    busy = threading.Lock()

    def read(say: Say) -> Values:
        at_once.append(busy.acquire(blocking=False))
        reads.append(1)
        busy.release()
        return {"sluice_workers": {(): float(len(reads))}}

    shared = Collector(read, lambda: now[0])
    threads = [threading.Thread(target=shared.exposed) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(reads), all(at_once)) == (1, True)
    now[0] = 4.9
    assert parsed(shared.exposed()[0].decode())["sluice_workers"] == 1
    now[0] = 5.0
    assert parsed(shared.exposed()[0].decode())["sluice_workers"] == 2


def test_every_metric_that_is_given_is_described(plant: Plant, collecting: Collector) -> None:
    plant.run(SAMPLE)
    plant.send(ndjson(row("x")), "more.ndjson")
    CliRunner().invoke(app, ["check"])
    values = collecting.read(lambda _: None)
    labels = {metric.name: len(metric.labels) for metric in METRICS}
    assert set(values) == set(labels)
    assert all(len(each) == labels[name] for name, series in values.items() for each in series)
