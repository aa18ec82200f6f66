"""From the file to the table: whole files through the real job functions."""

from __future__ import annotations

import logging
import os
import sys
import zlib
from collections import Counter
from pathlib import Path

import orjson
import pytest

from store import database, timestamps
from worker import jobs
from worker.queue import message
from worker.queue.client import ATTEMPTS
from worker.queue.names import PROCESS_BATCH
from worker.queue.process import job_process
from worker.queue.upkeep.maintenance import enqueue_due
from worker.workplace import Workplace, renewed_workplace, workplace

from ..plant import Plant, ndjson, row

DATA = Path(__file__).parents[3] / "data"
USGS = Path(__file__).parents[3] / "sluice.toml"

# What a receipt says that sending the same again must not change.
LASTING = ("inserted", "updated", "pending", "target_rows", "dead_letters", "watermark", "reasons")


def retry_now(plant: Plant) -> None:
    """Lets the time of the retries come."""
    queue = plant.broker.queue()
    for id in plant.redis.zrange(queue.scheduled_job_registry.key, 0, -1):
        plant.redis.zadd(queue.scheduled_job_registry.key, {id: 1})
    enqueue_due(plant.redis, queue)


def test_the_sample_gives_exactly_the_promised_receipt(plant: Plant) -> None:
    plant.run(DATA / "sample.ndjson")
    found = plant.report()
    assert {name: found[name] for name in ("input_records", "staged", "loaded", "rejected")} == {
        "input_records": 7, "staged": 5, "loaded": 5, "rejected": 2,
    }  # fmt: skip
    assert (found["dead_letters"], found["lineage_entries"]) == (2, 12)
    assert found["watermark"] == "2025-01-15T12:00:00.000000Z"
    assert found["reasons"] == {"invalid_value": 1, "missing_timestamp": 1}
    assert plant.violations() == []


def test_the_sample_sent_again_changes_nothing(plant: Plant) -> None:
    plant.run(DATA / "sample.ndjson")
    before, digest = plant.report(), plant.digest()
    again = plant.run(DATA / "sample.ndjson")
    assert (again.sent_batches, again.known_batches) == (0, 1)
    assert plant.report() == before
    assert plant.digest() == digest


def test_the_sample_in_other_cuts_is_staged_again_and_changes_nothing(plant: Plant) -> None:
    plant.run(DATA / "sample.ndjson")
    before, digest = plant.report(), plant.digest()
    plant.run(DATA / "sample.ndjson", batch_records=2)
    after = plant.report()
    assert (after["staged"], after["loaded"], after["duplicates"], after["rejected"]) == (10, 10, 5, 4)
    assert (after["superseded"], after["conflicts"]) == (0, 0)
    assert len(plant.rows("deliveries", "seq")) == 1
    assert {name: after[name] for name in LASTING} == {name: before[name] for name in LASTING}
    assert [letter.occurrences for letter in plant.letters()] == [2, 2]
    assert plant.digest() == digest
    assert plant.violations() == []


def test_the_earthquakes_arrive_whole_and_negative_magnitudes_are_stored(plant: Plant) -> None:
    plant.configure(USGS.read_text())
    plant.run(DATA / "earthquakes.json", source="usgs")
    found = plant.report()
    assert (found["input_records"], found["target_rows"], found["dead_letters"]) == (1707, 1707, 0)
    assert min(each["value"] for each in plant.rows()) < 0
    assert plant.violations() == []


def test_a_batch_of_only_bad_records_succeeds(plant: Plant) -> None:
    sent = plant.run(b"nonsense\n[]\n{}\n")
    assert plant.status(sent.ids[0]) == "finished"
    assert plant.reasons() == ["malformed_json", "not_an_object", "missing_key"]
    assert plant.report()["target_rows"] == 0
    assert plant.violations() == []


def test_an_empty_file_is_no_batch(plant: Plant) -> None:
    assert plant.run(b"").ids == []
    assert plant.report()["input_records"] == 0


def test_a_second_delivery_does_nothing(plant: Plant) -> None:
    (message,) = plant.messages(plant.file(ndjson(row(), {"key": "b"})))
    plant.send_messages([message])
    plant.work()
    before, digest = plant.report(), plant.digest()
    plant.broker.send([message])
    plant.work()
    assert plant.status(message.id) == "finished"
    assert (plant.report(), plant.digest()) == (before, digest)
    assert [letter.occurrences for letter in plant.letters()] == [1]


def test_a_batch_delivered_to_two_workers_at_once_is_recorded_by_one(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    (message,) = plant.messages(plant.file(ndjson(row(), {"key": "b"})))
    plant.send_messages([message])
    plant.work()
    before = plant.report()
    # The other worker looked before this one committed.
    unseen = jobs.receive.View(False, False, None, {}, timestamps.now(), Counter())
    monkeypatch.setattr(jobs.receive, "look", lambda *_: unseen)
    plant.broker.send([message])
    plant.work()
    assert plant.status(message.id) == "finished"
    assert plant.report() == before
    assert plant.violations() == []


def test_a_changed_mapping_makes_new_ids_so_the_same_file_is_judged_again(plant: Plant) -> None:
    path = plant.file(ndjson({"key": "a", "name": "x", "temp": 4, "ts": "2025-01-15T08:00:00Z"}))
    first = plant.run(path, source="feed")
    assert plant.reasons() == ["missing_value"]
    plant.configure('[sources.feed]\nfields.value = "temp"\n')
    second = plant.run(path, source="feed")
    assert set(first.ids).isdisjoint(second.ids)
    assert [each["value"] for each in plant.rows()] == [4.0]
    assert plant.violations() == []


def test_a_batch_sent_for_another_mapping_waits_and_says_why_until_it_is_there(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    mapping = '[sources.s]\nfields.key = "id"\n'
    plant.configure(mapping)
    sent = plant.send(ndjson({"id": "a", "name": "x", "value": 4, "ts": "2025-01-15T08:00:00Z"}), source="s")
    plant.configure("")
    plant.work()
    assert plant.status(sent.ids[0]) == "scheduled"
    assert plant.report()["input_records"] == 0
    assert (
        f"batch {sent.ids[0]} goes back to the queue: it was sent for another contract or mapping"
        in caplog.text
    )
    assert list(plant.broker.held()) == sent.ids
    assert plant.broker.held_count() == 1
    plant.configure(mapping)
    retry_now(plant)
    assert plant.broker.held_count() == 0
    plant.work()
    plant.load()
    assert [each["key"] for each in plant.rows()] == ["a"]
    assert plant.violations() == []


def test_a_batch_of_a_newer_version_waits_for_a_worker_of_it_and_says_so(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr(message, "VERSION", message.VERSION + 1)
        sent = plant.send(ndjson(row("a")))
    for _ in range(ATTEMPTS + 1):
        plant.work()
        assert plant.status(sent.ids[0]) == "scheduled"
        assert "worker of a newer Sluice" in plant.broker.held()[sent.ids[0]]
        retry_now(plant)
    monkeypatch.setattr(message, "VERSION", message.VERSION + 1)
    plant.work()
    plant.load()
    assert [each["key"] for each in plant.rows()] == ["a"]
    assert plant.broker.held() == {}


def test_a_worker_reads_a_mapping_again_for_a_batch_that_was_sent_for_a_later_one(plant: Plant) -> None:
    plant.run(ndjson(row("a")), source="s")
    before = workplace()
    plant.config.write_text('[sources.s]\nfields.key = "id"\n')  # the worker of this process goes on
    plant.send(ndjson({"id": "b", "name": "x", "value": 4, "ts": "2025-01-15T08:00:00Z"}), source="s")
    plant.work()
    assert workplace() is not before
    plant.load()
    assert [each["key"] for each in plant.rows()] == ["a", "b"]


def test_a_worker_judges_by_the_earlier_mapping_that_it_had_what_was_sent_for_it(plant: Plant) -> None:
    plant.run(ndjson(row("a")), source="s")
    plant.send(ndjson(row("c")), source="s", name="c.ndjson")
    plant.config.write_text('[sources.s]\nfields.key = "id"\n')
    later = ndjson({"id": "b", "name": "x", "value": 4, "ts": "2025-01-15T08:00:00Z"})
    plant.send(later, source="s", name="b.ndjson")
    renewed_workplace()
    plant.work()
    plant.load()
    assert sorted(each["key"] for each in plant.rows()) == ["a", "b", "c"]
    assert plant.reasons() == []


def test_a_batch_whose_mapping_is_nowhere_fails_in_the_end(plant: Plant) -> None:
    sent = plant.send(ndjson(row("a")), source="s")
    plant.configure('[sources.s]\nfields.key = "id"\n')
    for _ in range(ATTEMPTS + 1):
        plant.work()
        retry_now(plant)
    assert plant.status(sent.ids[0]) == "failed"
    assert plant.report()["input_records"] == 0


def test_a_batch_for_a_contract_that_is_nowhere_makes_a_worker_read_its_configuration_once(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.send(ndjson(row("a")), source="s")
    plant.configure('[sources.s]\nfields.key = "id"\n')
    opened: list[type] = []
    monkeypatch.setattr(
        Workplace, "open", classmethod(lambda cls, first=Workplace.open: opened.append(cls) or first())
    )
    for _ in range(4):
        plant.work()
        retry_now(plant)
    assert len(opened) == 2  # at the start, and for the first attempt
    plant.config.write_text('[sources.s]\nfields.key = "number"\n')
    plant.work()
    assert len(opened) == 3


def test_a_configuration_that_became_wrong_leaves_the_worker_its_own(plant: Plant) -> None:
    plant.run(ndjson(row("a")), source="s")
    plant.config.write_text('[sources.s]\nfields.key = "id"\n')
    sent = plant.send(ndjson(row("b")), source="s")
    plant.config.write_text('[worker]\ncontract = "nowhere:Model"\n')
    before = workplace()
    plant.work()
    assert workplace() is before
    assert plant.status(sent.ids[0]) == "scheduled"
    [why] = plant.broker.held().values()
    assert "contract = 'nowhere:Model' cannot be imported" in why


def test_an_older_timestamp_never_overwrites(plant: Plant) -> None:
    plant.run(ndjson(row(ts="2025-01-15T08:00:00Z", value=1)))
    plant.run(ndjson(row(ts="2025-01-15T07:59:59.999999Z", value=2)), "older.ndjson")
    assert [each["value"] for each in plant.rows()] == [1.0]
    assert plant.report()["superseded"] == 1
    plant.run(ndjson(row(ts="2025-01-15T08:00:00.000001Z", value=3)), "newer.ndjson")
    assert [each["value"] for each in plant.rows()] == [3.0]
    assert plant.violations() == []


def test_one_key_in_two_sources_is_two_records(plant: Plant) -> None:
    plant.run(ndjson(row(value=1)), source="north")
    plant.run(ndjson(row(value=2)), source="south")
    assert [(each["source"], each["value"]) for each in plant.rows()] == [("north", 1.0), ("south", 2.0)]


# What lies in Redis, and what is said aloud


def test_a_job_in_redis_is_compressed_json_and_no_pickle(plant: Plant) -> None:
    sent = plant.send(ndjson(row()))
    data = zlib.decompress(plant.redis.hget(f"rq:job:{sent.ids[0]}", "data"))
    function, instance, args, kwargs = orjson.loads(data)
    assert (function, instance, kwargs) == (PROCESS_BATCH, None, {})
    assert args[0]["records"] == [orjson.dumps(row()).decode()]
    for key in plant.redis.keys("rq:job:*"):
        assert not any(value.startswith(b"\x80") for value in plant.redis.hgetall(key).values())


def test_results_in_redis_hold_no_record(plant: Plant) -> None:
    sent = plant.run(ndjson(row(name="a secret name"), row("b", name="a secret name", value="a secret")))
    for id in sent.ids:
        held = plant.redis.hgetall(f"rq:job:{id}")
        assert b"data" in held
        del held[b"data"]
        assert "secret" not in repr(held) + repr(plant.redis.xrange(f"rq:results:{id}"))


def test_no_value_of_a_record_is_logged(plant: Plant, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bad = [row("secret-key", value="secret-value"), row("b", **{"secret": "\0"}), {"secret": 1}]
    plant.run(ndjson(row("secret-key", name="secret-name"), *bad) + b'{"secret": "secret\n')
    assert plant.report()["rejected"] == 4
    assert "received 5, staged 1, rejected 4" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.sqlite("its files")
def test_the_files_of_the_database_are_its_owners_alone(plant: Plant) -> None:
    plant.close()
    plant.database.unlink()
    plant.run(ndjson(row()))
    assert plant.database.stat().st_mode & 0o077 == 0
    with database.reading(plant.engine) as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_job_process_gives_freed_memory_back_every_so_many_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    give_back = job_process._give_memory_back

    def counted() -> None:
        give_back()
        with calls.open("a") as file:
            file.write("x")

    monkeypatch.setattr(job_process, "_give_memory_back", counted)
    process = job_process.JobProcess(lambda *_: "", lambda: None)
    for number in range(2 * job_process.JOBS_BETWEEN_TRIMS + 1):
        process.give(str(number), "execution")
        assert process.wait() == ""
    process.dismiss()
    assert calls.read_text() == "xx"


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_memory_that_was_freed_between_what_is_in_use_goes_back_to_the_system() -> None:
    blocks = [b"x" * 64_000 for _ in range(2000)]  # too small to be mapped, and so given back, one by one
    last = b"y" * 64_000
    cycle = Blocks(blocks)
    full = resident_mb()
    del blocks, cycle
    job_process._give_memory_back()
    assert full - resident_mb() > 100
    assert last


class Blocks:
    """What only the collector finds."""

    def __init__(self, blocks: list[bytes]) -> None:
        self.blocks, self.myself = blocks, self


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
