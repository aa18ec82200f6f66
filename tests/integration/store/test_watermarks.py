from __future__ import annotations

from datetime import timedelta

import pytest

from store import database, timestamps
from store.errors import WatermarkCorrupt
from store.tables import watermarks
from store.tables.watermarks import Move
from tests.integration.store.conftest import Ledger, Record

HOUR = timedelta(hours=1)
FUTURE = "2999-01-01T00:00:00.000000Z"
OLD, NEW = "2025-01-01T00:00:00.000000Z", "2025-01-15T12:00:00.000000Z"


@pytest.fixture
def moved(ledger: Ledger) -> Ledger:
    """A store whose only source stands at NEW, after a first load at OLD."""
    for ts in (OLD, NEW):
        ledger.receive([Record("a", ts)])
        ledger.load()
    return ledger


def read(ledger: Ledger) -> dict[str, str]:
    """Each source's, as a batch of it reads it."""
    with database.reading(ledger.engine) as connection:
        sources = [each.source for each in watermarks.standings(connection, HOUR)]
        found = {source: watermarks.read(connection, source, HOUR) for source in sources}
    return {source: value for source, value in found.items() if value is not None}


def repair(ledger: Ledger) -> list[tuple[str, str | None, str | None]]:
    with database.transaction(ledger.engine) as connection:
        return watermarks.repair(connection, HOUR)


def set_watermark(ledger: Ledger, value: str) -> None:
    ledger.tamper("UPDATE watermarks SET value = :value", value=value)


def test_a_watermark_is_the_greatest_event_time_loaded(moved: Ledger) -> None:
    assert read(moved) == {"shop": NEW}


def test_a_late_record_does_not_move_it_back(moved: Ledger) -> None:
    moved.receive([Record("late", "2020-01-01T00:00:00.000000Z")])
    moved.load()
    assert read(moved) == {"shop": NEW}
    assert ("shop", "late") in moved.target()


def test_advance_moves_forward_only(moved: Ledger) -> None:
    with database.transaction(moved.engine) as connection:
        assert not watermarks.advance(connection, Move("shop", OLD, 1, "a"), NEW, 1)
        assert not watermarks.advance(connection, Move("shop", NEW, 1, "a"), NEW, 1)
        assert watermarks.advance(connection, Move("shop", NEW[:-2] + "1Z", 1, "a"), NEW, 1)


def test_every_move_is_stored_with_its_run_and_record(moved: Ledger) -> None:
    with database.reading(moved.engine) as connection:
        latest, first = watermarks.history(connection, "shop", 10)
        assert watermarks.history(connection, "usgs", 10) == []
    assert (first["previous"], first["value"], latest["previous"], latest["value"]) == (None, OLD, OLD, NEW)
    assert (latest["run_seq"], latest["record_key"], latest["why"]) == (2, "a", "load")
    assert latest["lineage_id"] == moved.rows("SELECT lineage_id FROM target")[0][0]


def test_a_load_that_does_not_move_it_adds_nothing_to_its_history(moved: Ledger) -> None:
    moved.receive([Record("b", OLD)])
    moved.load()
    assert moved.rows("SELECT count(*) FROM watermark_history") == [(2,)]


def test_the_pipelines_is_the_least_over_its_sources(moved: Ledger) -> None:
    moved.receive([Record("q", OLD)], source="usgs")
    moved.load()
    assert watermarks.pipeline(read(moved)) == OLD
    assert watermarks.pipeline({}) is None


@pytest.mark.parametrize(
    ("value", "reported"),
    [
        ("", "no timestamp"),
        ("yesterday", "no timestamp"),
        ("2025-01-15 12:00:00", "no timestamp"),
        ("2025-13-45T12:00:00.000000Z", "no timestamp"),
        ("2025-W03-3T12:00:00.000000Z", "no timestamp"),
        ("2025-01-15T12:00:00,000000Z", "no timestamp"),
        (FUTURE, "in the future"),
        (OLD, "last moved to"),
        ("2025-02-01T00:00:00.000000Z", "last moved to"),
    ],
)
def test_a_corrupt_one_is_refused_naming_the_repair_and_repaired(
    moved: Ledger, value: str, reported: str
) -> None:
    set_watermark(moved, value)
    with pytest.raises(WatermarkCorrupt, match=reported) as refused:
        read(moved)
    assert "'shop'" in str(refused.value)
    assert "`store watermark repair`" in str(refused.value)
    assert repair(moved) == [("shop", value, NEW)]
    assert read(moved) == {"shop": NEW}
    assert repair(moved) == []


def test_one_that_is_gone_is_refused_and_repaired(moved: Ledger) -> None:
    moved.tamper("DELETE FROM watermarks")
    with pytest.raises(WatermarkCorrupt, match="gone"):
        read(moved)
    assert repair(moved) == [("shop", None, NEW)]
    assert read(moved) == {"shop": NEW}


def test_one_without_a_history_is_refused_and_repaired_from_the_target(moved: Ledger) -> None:
    moved.tamper("DELETE FROM watermark_history")
    with pytest.raises(WatermarkCorrupt, match="nothing ever moved it"):
        read(moved)
    assert repair(moved) == [("shop", NEW, NEW)]
    assert read(moved) == {"shop": NEW}


def test_one_whose_history_lies_too_falls_back_to_what_the_target_holds(moved: Ledger) -> None:
    moved.tamper("UPDATE watermark_history SET value = :value", value=FUTURE)
    set_watermark(moved, FUTURE)
    assert repair(moved) == [("shop", FUTURE, NEW)]
    assert read(moved) == {"shop": NEW}


def test_a_repair_is_a_move_that_is_stored(moved: Ledger) -> None:
    set_watermark(moved, "nonsense")
    repair(moved)
    with database.reading(moved.engine) as connection:
        latest = watermarks.history(connection, None, 1)[0]
    assert (latest["previous"], latest["value"], latest["why"]) == ("nonsense", NEW, "repair")
    assert latest["run_seq"] is None


def test_one_of_which_nothing_sound_is_left_is_taken_away(moved: Ledger) -> None:
    set_watermark(moved, "nonsense")
    moved.tamper("DELETE FROM watermark_history")
    moved.tamper("DELETE FROM target")
    moved.tamper("DELETE FROM past_lineage")
    assert repair(moved) == [("shop", "nonsense", None)]
    assert read(moved) == {}
    with database.reading(moved.engine) as connection:
        [move] = watermarks.history(connection, "shop", 10)
    assert (move["previous"], move["value"], move["why"]) == ("nonsense", None, "repair")
    moved.receive([Record("b", OLD)])
    moved.load()
    assert read(moved) == {"shop": OLD}


def test_a_repair_restores_the_greatest_time_loaded_that_is_not_in_the_future(moved: Ledger) -> None:
    """A clock that was ahead for a moment put the watermark, and a record, into the future."""
    moved.receive([Record("ahead", FUTURE)])
    moved.load()
    assert ("shop", "ahead") in moved.target()
    moved.tamper("DELETE FROM watermark_history")
    moved.tamper("UPDATE watermarks SET value = :value", value=FUTURE)
    assert repair(moved) == [("shop", FUTURE, NEW)]
    assert read(moved) == {"shop": NEW}


def test_a_repair_counts_what_was_loaded_and_replaced_since(moved: Ledger) -> None:
    moved.receive([Record("a", FUTURE)])
    moved.load()
    moved.tamper("DELETE FROM watermark_history")
    moved.tamper("UPDATE watermarks SET value = :value", value=FUTURE)
    assert repair(moved) == [("shop", FUTURE, NEW)]  # of the version of the only key that was replaced


def test_one_that_does_not_hold_says_nothing_of_another_source(moved: Ledger) -> None:
    moved.receive([Record("q", OLD)], source="usgs")
    moved.load()
    moved.tamper("UPDATE watermarks SET value = :value WHERE source = 'shop'", value=FUTURE)
    with database.reading(moved.engine) as connection:
        assert watermarks.read(connection, "usgs", HOUR) == OLD
        checked = watermarks.read_all(connection, HOUR)
    assert (checked.sound, list(checked.problems)) == ({"usgs": OLD}, ["shop"])


def test_a_repair_leaves_sound_ones_alone(moved: Ledger) -> None:
    moved.receive([Record("q", OLD)], source="usgs")
    moved.load()
    moved.tamper("UPDATE watermarks SET value = 'nonsense' WHERE source = 'usgs'")
    assert repair(moved) == [("usgs", "nonsense", OLD)]
    assert read(moved) == {"shop": NEW, "usgs": OLD}


def test_one_within_the_allowed_skew_is_not_in_the_future(ledger: Ledger) -> None:
    soon = timestamps.to_text(timestamps.now() + timedelta(minutes=30))
    ledger.receive([Record("a", soon)])
    ledger.load()
    assert read(ledger) == {"shop": soon}


def test_standings_tell_what_is_wrong_instead_of_raising(moved: Ledger) -> None:
    set_watermark(moved, OLD)
    with database.reading(moved.engine) as connection:
        (standing,) = watermarks.standings(connection, HOUR)
    assert (standing.value, standing.run, standing.record_key) == (OLD, 2, "a")
    assert standing.problem is not None
    assert "last moved to" in standing.problem
