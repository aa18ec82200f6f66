"""`store freshness`: how old what a source sent last is, and whether that is late against its own rhythm."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from store import timestamps
from store.reports import freshness
from tests.integration.store.conftest import Ledger
from tests.integration.store.timing.timeline import NOON, Command, Timeline, ago, at, commands


@pytest.fixture
def line(ledger: Ledger) -> Timeline:
    return Timeline(ledger)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return commands(monkeypatch, capsys)


@pytest.fixture
def hourly(line: Timeline, monkeypatch: pytest.MonkeyPatch) -> Timeline:
    """A source that is loaded every hour until noon, once after three hours."""
    for clock in ("06:00", "09:00", "10:00", "11:00", "12:00"):
        line.arrive_and_load(at(clock))
    set_clock(monkeypatch, at("12:30"))
    return line


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    monkeypatch.setattr(timestamps, "now", lambda: timestamps.from_text(moment))


def shop(store: Command) -> dict[str, object]:
    (found,) = store("freshness", "--json").json["sources"]
    return dict(found)


def test_the_newest_record_and_its_age_are_in_the_answer(hourly: Timeline, store: Command) -> None:
    found = shop(store)
    assert (found["newest"], found["age_seconds"]) == ("2025-01-15T12:00:00Z", 1800.0)


def test_fresh_and_stale_are_all_valid_records(line: Timeline, store: Command) -> None:
    line.arrive([NOON, at("11:00")], received=7, staged=5, rejected=2, stale=3)
    line.arrive([], received=1, skipped=1, stale=1)
    found = shop(store)
    assert (found["records"], found["fresh"], found["stale"]) == (6, 2, 4)


def test_the_rhythm_is_the_median_step_in_event_time(hourly: Timeline, store: Command) -> None:
    assert shop(store)["rhythm_seconds"] == 3600


@pytest.mark.parametrize(("clock", "late"), [("12:30", False), ("15:00", False), ("15:01", True)])
def test_a_source_is_late_when_its_newest_is_older_than_three_steps(
    hourly: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch, clock: str, late: bool
) -> None:
    set_clock(monkeypatch, at(clock))
    found = store("freshness", "--json").json
    assert (found["late"], found["sources"][0]["late"]) == (["shop"] if late else [], late)
    assert re.search(rf"^shop .* {'late' if late else 'on time'}$", store("freshness").out, re.M)


def test_a_late_source_is_explained_in_a_sentence(
    hourly: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, at("17:00"))
    assert store("freshness").out.endswith(
        "\nshop is late: its newest record is 5 h old, and its rhythm is 1 h\n"
    )


@pytest.mark.parametrize("at_once", [1, 2, 200])
def test_many_chunks_of_one_run_are_one_step(
    line: Timeline, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(freshness, "MOVES_AT_ONCE", at_once)
    for day in ("13", "14", "15"):
        line.arrive([at("12:00", f"2025-01-{day}"), at("12:01", f"2025-01-{day}")])
        line.ledger.load(size=1)
    with line.engine.connect() as connection:
        assert freshness.rhythms(connection, ["shop"]) == {"shop": timedelta(days=1).total_seconds()}


def test_history_loaded_at_once_is_no_rhythm(line: Timeline, store: Command) -> None:
    line.arrive_and_load(*(at("12:00", f"2025-01-{day}") for day in range(10, 16)))
    line.arrive_and_load(at("12:00", "2025-01-16"))
    found = shop(store)
    assert (found["rhythm_seconds"], found["late"]) == (None, False)
    assert "no rhythm yet" in store("freshness").out


def test_a_rewind_is_no_step(hourly: Timeline, store: Command) -> None:
    store("watermark", "rewind", "shop", "2025-01-01", "--why", "again")
    hourly.arrive_and_load(at("11:30"))
    hourly.arrive_and_load(at("12:30"))
    assert shop(store)["rhythm_seconds"] == 3600


def test_only_the_latest_steps_make_the_rhythm(line: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "STEPS_USED", 2)
    for clock in ("00:00", "05:00", "10:00", "11:00", "12:00"):
        line.arrive_and_load(at(clock))
    with line.engine.connect() as connection:
        assert freshness.rhythms(connection, ["shop"]) == {"shop": 3600}


def test_sources_are_judged_by_their_own_rhythm_alone(
    hourly: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("13", "14", "15"):
        hourly.arrive_and_load(at("12:00", f"2025-01-{day}"), source="daily")
    set_clock(monkeypatch, at("18:00"))
    assert store("freshness", "--json").json["late"] == ["shop"]


def test_an_idle_source_is_marked(line: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    line.arrive_and_load(NOON, processed_at=ago(days=2))
    assert shop(store)["idle"] is False
    monkeypatch.setenv("SLUICE_IDLE_AFTER", "1d")
    assert shop(store)["idle"] is True
    assert re.search(r"^shop .* no rhythm yet, idle$", store("freshness").out, re.M)


def test_a_source_of_which_nothing_is_loaded_has_no_age(line: Timeline, store: Command) -> None:
    line.arrive([NOON])
    found = shop(store)
    assert (found["newest"], found["age_seconds"], found["late"]) == (None, None, False)
    assert re.search(r"^shop .* nothing loaded$", store("freshness").out, re.M)


def test_a_record_later_than_a_clock_that_was_set_back_has_a_negative_age(
    hourly: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, at("11:59"))
    assert (shop(store)["age_seconds"], shop(store)["late"]) == (-60.0, False)
