"""What Spark and Flink say of late data, duplicates and idle sources, told again of this pipeline.

Spark: https://spark.apache.org/docs/latest/structured-streaming-programming-guide.html
       ("Handling Late Data and Watermarking", "Streaming Deduplication")
       https://spark.apache.org/docs/latest/api/python/reference/pyspark.sql/api/pyspark.sql.DataFrame.dropDuplicatesWithinWatermark.html
Flink: https://nightlies.apache.org/flink/flink-docs-stable/docs/dev/datastream/event-time/generating_watermarks/
       ("Dealing With Idle Sources")
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from store import database
from store.reports import lateness, timing
from tests.integration.plant import Plant, ndjson, row

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
TEN_MINUTES = timedelta(minutes=10)

# Spark's figure, trigger by trigger: (clock, word). A word at a time is a record of its own.
TRIGGERS = (
    ("12:07 dog", "12:08 owl"),
    ("12:14 dog", "12:09 cat"),
    ("12:15 cat", "12:08 dog", "12:13 owl", "12:21 owl"),
    ("12:04 donkey", "12:17 owl"),
)
ALL_WORDS = {word for trigger in TRIGGERS for word in trigger}


def word(reported: str) -> dict[str, Any]:
    clock, name = reported.split()
    return row(reported, f"2025-01-15T{clock}:00Z", name=name)


def run_triggers(plant: Plant) -> None:
    """Each trigger is a batch, loaded before the next one begins."""
    for number, words in enumerate(TRIGGERS):
        plant.run(ndjson(*(word(each) for each in words)), f"trigger-{number}.ndjson")


def loaded(plant: Plant) -> set[str]:
    return {str(each["key"]) for each in plant.rows()}


def counts(plant: Plant) -> tuple[int, int]:
    """(late, skipped)"""
    found = plant.report()
    return found["late"], found["skipped"]


def shown(plant: Plant, idle_after: timedelta | None) -> dict[str, Any]:
    with database.reading(plant.engine) as connection:
        return timing.watermark(connection, HOUR, idle_after)


# --- Spark: late data ----------------------------------------------------------------------------------


def test_with_ten_minutes_allowed_the_donkey_alone_is_late_as_in_spark(plant: Plant) -> None:
    """withWatermark("timestamp", "10 minutes"): (12:08, dog) and (12:09, cat) count, (12:04, donkey) is too late.

    Spark's watermark has the delay taken off: 12:04, then 12:11. Ours is the greatest time loaded: 12:14, then
    12:21; `allowed_lateness` comes off when a record is judged. The records that are late are the same.
    """
    plant.configure('[sources.default]\nallowed_lateness = "10m"\nlate = "skip"\n')
    run_triggers(plant)
    assert loaded(plant) == ALL_WORDS - {"12:04 donkey"}
    assert counts(plant) == (1, 1)
    assert plant.violations() == []


def test_unlike_spark_the_donkey_is_loaded_by_default_and_only_counted(plant: Plant) -> None:
    """On purpose: Spark drops it because the window's state is gone; a merge that knows no order needs no state."""
    plant.configure('[sources.default]\nallowed_lateness = "10m"\n')
    run_triggers(plant)
    assert loaded(plant) == ALL_WORDS
    assert counts(plant) == (1, 0)


def test_unlike_spark_a_dropped_donkey_may_be_stored_as_a_dead_letter(plant: Plant) -> None:
    """On purpose: nothing is dropped without a trace, so what is late can be sent back."""
    plant.configure('[sources.default]\nallowed_lateness = "10m"\nlate = "dead_letter"\n')
    run_triggers(plant)
    assert (plant.reasons(), loaded(plant)) == (["late"], ALL_WORDS - {"12:04 donkey"})


def test_unlike_spark_a_record_is_judged_by_its_own_time_and_not_by_its_window(plant: Plant) -> None:
    """On purpose: in Spark what is older than the watermark, 12:11, still counts while its window, 12:10 to 12:20,
    is open. There are no windows here: `allowed_lateness` says how much is allowed, to the microsecond."""
    plant.configure('[sources.default]\nallowed_lateness = "10m"\nlate = "skip"\n')
    run_triggers(plant)
    plant.run(ndjson(word("12:10 owl"), word("12:12 owl")), "open-window.ndjson")
    assert loaded(plant) == ALL_WORDS - {"12:04 donkey"} | {"12:12 owl"}
    assert counts(plant) == (2, 2)


def test_the_watermark_of_a_batch_is_what_stood_when_it_began_as_in_spark(plant: Plant) -> None:
    """Spark sets the watermark "for the next trigger": (12:21, owl) does not make (12:08, dog) beside it late."""
    plant.configure('[sources.default]\nallowed_lateness = "10m"\nlate = "skip"\n')
    for number, words in enumerate(TRIGGERS[:3]):
        plant.run(ndjson(*(word(each) for each in words)), f"trigger-{number}.ndjson")
    assert counts(plant) == (0, 0)
    assert [each["watermark_before"] for each in plant.rows("batches", "seq")] == [
        None, "2025-01-15T12:08:00.000000Z", "2025-01-15T12:14:00.000000Z"
    ]  # fmt: skip


def test_unlike_spark_one_order_or_another_ends_in_one_digest(plant: Plant, make_plant: Any) -> None:
    """On purpose: in Spark the donkey counts if it comes first. Here the result is a function of the records."""
    run_triggers(plant)
    digest = plant.digest()
    other = make_plant()
    for number, words in enumerate(reversed(TRIGGERS)):
        other.run(ndjson(*(word(each) for each in words)), f"trigger-{number}.ndjson")
    assert other.digest() == digest


def test_what_would_have_been_late_can_be_asked_afterwards(plant: Plant) -> None:
    """`store lateness` tells, before `allowed_lateness` is chosen, whom it would cost."""
    run_triggers(plant)
    with database.reading(plant.engine, scratch=True) as connection:
        (found,) = lateness.of_sources(connection, allowed=[timedelta(0), TEN_MINUTES, HOUR])
    assert found.late == {timedelta(0): 4, TEN_MINUTES: 1, HOUR: 0}


# --- Spark: duplicates ---------------------------------------------------------------------------------


def test_a_duplicate_within_the_watermark_is_dropped_as_in_spark(plant: Plant) -> None:
    """withWatermark("eventTime", "10 seconds").dropDuplicates("guid", "eventTime")"""
    first = row("guid-1", "2025-01-15T12:00:00Z")
    plant.run(ndjson(first, row("guid-2", "2025-01-15T12:00:09Z")))
    plant.run(ndjson(first), "again.ndjson")
    assert plant.report()["duplicates"] == 1


@pytest.mark.parametrize("policy", ["load", "skip"])
def test_unlike_spark_a_duplicate_is_known_however_long_ago_it_came(plant: Plant, policy: str) -> None:
    """On purpose: Spark forgets what is behind the watermark and keeps the rest in state; here the target is the
    memory. With `skip` a late repeat is turned away before anybody asks whether it is one."""
    plant.configure(f'[sources.default]\nlate = "{policy}"\n')
    first = row("guid-1", "2015-01-15T12:00:00Z")
    plant.run(ndjson(first))
    plant.run(ndjson(row("guid-2", "2025-01-15T12:00:00Z")), "ten-years-on.ndjson")
    plant.run(ndjson(first, row("guid-3", "2025-01-15T12:00:01Z")), "again.ndjson")
    found = plant.report()
    assert (found["duplicates"], found["skipped"]) == ((1, 0) if policy == "load" else (0, 1))
    assert loaded(plant) == {"guid-1", "guid-2", "guid-3"}


@pytest.mark.parametrize("ties", ["delivery", "hash"])
def test_unlike_spark_one_key_and_time_with_another_content_is_no_duplicate(
    plant: Plant, make_plant: Any, ties: str
) -> None:
    """On purpose: dropDuplicates("guid", "eventTime") keeps what came first. Here a record that says something
    else is a conflict, which is counted: what was sent later wins, or with `ties = "hash"` one of the two, in
    any order."""
    noon = "2025-01-15T12:00:00Z"
    one, other = row("guid-1", noon, value=1), row("guid-1", noon, value=2)
    values = []
    for first, second in ((one, other), (other, one)):
        made = make_plant()
        made.configure(f'[sources.default]\nties = "{ties}"\n')
        made.run(ndjson(first))
        made.run(ndjson(second), "other.ndjson")
        found = made.report()
        assert (found["duplicates"], found["target_rows"], found["conflicts"]) == (0, 1, 1)
        assert found["updated"] + found["superseded"] == 1
        values.append(made.rows()[0]["value"])
    assert values == [2.0, 1.0] if ties == "delivery" else len(set(values)) == 1


def test_unlike_spark_one_key_a_moment_later_is_an_update_and_no_duplicate(plant: Plant) -> None:
    """On purpose: dropDuplicatesWithinWatermark("guid") takes two times of one guid, less than the delay apart, for
    one event sent twice. Here time is part of what a record says, and the later one stays."""
    plant.configure('[sources.default]\nallowed_lateness = "10h"\n')
    plant.run(ndjson(row("guid-1", "2025-01-15T12:00:00Z", value=1)))
    plant.run(ndjson(row("guid-1", "2025-01-15T12:00:07Z", value=1)), "again.ndjson")
    found = plant.report()
    assert (found["duplicates"], found["updated"]) == (0, 1)
    assert plant.rows()[0]["ts"] == "2025-01-15T12:00:07.000000Z"


# --- Flink: idle sources -------------------------------------------------------------------------------


@pytest.fixture
def partitions(plant: Plant) -> Plant:
    """One partition that still carries events, and one whose last came at eight, two days ago by the clock."""
    plant.run(ndjson(row("q", "2025-01-15T08:00:00Z")), "q.ndjson", source="quiet")
    with database.transaction(plant.engine) as connection:
        connection.exec_driver_sql("UPDATE batches SET processed_at = '2025-01-15T08:00:01.000000Z'")
    plant.run(ndjson(row("b", "2025-01-15T12:00:00Z")), "b.ndjson", source="busy")
    return plant


def test_without_idleness_the_quiet_one_holds_the_watermark_back_as_in_flink(partitions: Plant) -> None:
    """ "the watermark will be held back, because it is computed as the minimum over all" its inputs"""
    found = shown(partitions, None)
    assert (found["watermark"], found["held_back_by"]) == ("2025-01-15T08:00:00Z", ["quiet"])


def test_an_idle_source_is_left_out_of_the_minimum_as_in_flink(partitions: Plant) -> None:
    """withIdleness(Duration.ofMinutes(1)) marks an input as idle; here `idle_after`."""
    found = shown(partitions, DAY)
    assert (found["watermark"], found["held_back_by"]) == ("2025-01-15T12:00:00Z", ["busy"])


def test_unlike_flink_a_source_that_wakes_may_draw_the_pipelines_watermark_back(partitions: Plant) -> None:
    """On purpose: a Flink watermark is a promise to windows and never goes back. Ours says how far all active
    sources have come; no record is judged by it, but by its own source's watermark, which never goes back."""
    assert shown(partitions, DAY)["watermark"] == "2025-01-15T12:00:00Z"
    partitions.run(ndjson(row("q2", "2025-01-15T08:30:00Z")), "q2.ndjson", source="quiet")
    found = shown(partitions, DAY)
    assert (found["watermark"], found["held_back_by"]) == ("2025-01-15T08:30:00Z", ["quiet"])
    assert partitions.report()["late"] == 0


def test_when_all_are_idle_the_watermark_stays_at_the_least(partitions: Plant) -> None:
    """Flink's source operator does not advance either while all of its splits are idle. On purpose unlike its
    operators with several inputs, which then go on to the greatest (StatusWatermarkValve)."""
    with database.transaction(partitions.engine) as connection:
        connection.exec_driver_sql("UPDATE batches SET processed_at = '2025-01-15T08:00:01.000000Z'")
    found = shown(partitions, DAY)
    assert all(each["idle"] for each in found["sources"])
    assert (found["watermark"], found["held_back_by"]) == ("2025-01-15T08:00:00Z", ["quiet"])
