"""Local times that exist twice, or not at all: what the source says becomes of them, and how many there were."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.tables.staging import AMBIGUOUS, SHIFTED
from worker.contract import Event
from worker.judge.local_times import LocalZone
from worker.judge.stages import Judged, judge_batch, judge_for
from worker.judge.times import time_reader
from worker.settings import SourceSettings

from .pairs import contract_of, importable  # noqa: F401 - a fixture
from .shapes import SKEW, message

NOW = datetime(2026, 6, 1, tzinfo=UTC)
GAP, FOLD, PLAIN = "2025-03-30T02:30:00", "2025-10-26T02:30:00", "2025-07-01T12:00:00"


def utc(text: str, zone: str = "Europe/Berlin", **source: Any) -> str:
    read = time_reader(SourceSettings(assume_tz=zone, **source))
    return read(text).strftime("%m-%dT%H:%M")


def test_of_a_time_that_exists_twice_the_earlier_or_the_later_is_taken() -> None:
    assert utc(FOLD) == utc(FOLD, ambiguous="earlier") == "10-26T00:30"
    assert utc(FOLD, ambiguous="later") == "10-26T01:30"
    with pytest.raises(ValueError, match="exists twice in Europe/Berlin, where the clock is put back"):
        utc(FOLD, ambiguous="reject")


def test_a_time_that_does_not_exist_is_rejected_or_what_the_clock_shows_then() -> None:
    assert utc(GAP, nonexistent="shift") == "03-30T01:30"
    for source in ({}, {"nonexistent": "reject"}):
        with pytest.raises(
            ValueError, match="does not exist in Europe/Berlin, where the clock is put forward"
        ):
            utc(GAP, **source)


@pytest.mark.parametrize(
    ("text", "zone", "kind"),
    [
        ("2025-10-26T01:59:59", "Europe/Berlin", 0),
        ("2025-10-26T02:00:00", "Europe/Berlin", AMBIGUOUS),
        ("2025-10-26T02:59:59.999999", "Europe/Berlin", AMBIGUOUS),
        ("2025-10-26T03:00:00", "Europe/Berlin", 0),
        ("2025-03-30T01:59:59", "Europe/Berlin", 0),
        ("2025-03-30T02:00:00", "Europe/Berlin", SHIFTED),
        ("2025-03-30T03:00:00", "Europe/Berlin", 0),
        ("2025-04-06T01:45:00", "Australia/Lord_Howe", AMBIGUOUS),  # half an hour
        ("2024-03-10T00:30:00", "America/Havana", SHIFTED),  # at midnight
        ("2024-11-03T00:30:00", "America/Havana", AMBIGUOUS),
        ("2018-02-17T23:30:00", "America/Sao_Paulo", AMBIGUOUS),  # the hour before midnight
        ("2011-12-30T12:00:00", "Pacific/Apia", SHIFTED),  # a whole day that was left out
        ("9999-12-31T23:59:59", "Europe/Berlin", 0),
        ("0001-01-01T00:00:00", "Europe/Berlin", 0),
        (FOLD, "Etc/GMT-1", 0),
    ],
)  # fmt: skip
def test_odd_times_are_known_in_every_zone(text: str, zone: str, kind: int) -> None:
    assert LocalZone(SourceSettings(assume_tz=zone)).kind(datetime.fromisoformat(text)) == kind


ZONES = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Asia/Tehran"]
)


@given(moment=st.datetimes(datetime(1980, 1, 1), datetime(2036, 1, 1)), zone=ZONES)
def test_an_ordinary_time_is_the_only_one_that_the_clock_shows_so(moment: datetime, zone: str) -> None:
    """The law: there are as many moments that a clock shows as this time as its kind says."""
    local = LocalZone(SourceSettings(assume_tz=zone))
    kind = local.kind(moment)
    offsets = {timedelta(minutes=minutes) for minutes in range(-15 * 60, 15 * 60, 30)}
    shown = sum(
        (moment - offset).replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
        == moment
        for offset in offsets
    )
    assert shown == {0: 1, AMBIGUOUS: 2, SHIFTED: 0}[kind]


def judged(texts: list[str], *, quick: bool, **source: Any) -> Judged:
    settings = SourceSettings(assume_tz="Europe/Berlin", **source)
    judge = judge_for(contract_of(Event), settings, SKEW)
    rows = [
        f'{{"key":"{n}","name":"n","value":1,"ts":"{text}","gone":{str(n == 9).lower()}}}'
        for n, text in enumerate(texts)
    ]
    found = judge_batch(message(list(rows)), judge if quick else replace(judge, quick=None), None, NOW)
    found.seconds = {}
    return found


MANY = [PLAIN, FOLD, GAP, FOLD + "+01:00", "2025-10-26 02:10:00", GAP + "Z", PLAIN]


@pytest.mark.parametrize("quick", [True, False])
def test_odd_times_are_counted_and_flagged_where_they_are_taken(quick: bool) -> None:
    """Refuses silence, also of a batch in which nearly all times are ordinary; an offset leaves no doubt."""
    found = judged(MANY, quick=quick, nonexistent="shift")
    assert (found.ambiguous, found.shifted) == (2, 1)
    assert found.valid.flags == [0, AMBIGUOUS, SHIFTED, 0, AMBIGUOUS, 0, 0]
    rejecting = judged(MANY, quick=quick, ambiguous="reject")
    assert (rejecting.ambiguous, rejecting.shifted) == (0, 0)
    assert [(bad.position, bad.faults[0].reason) for bad in rejecting.bad] == [
        (1, "invalid_timestamp"), (2, "invalid_timestamp"), (4, "invalid_timestamp"),
    ]  # fmt: skip


@pytest.mark.parametrize("quick", [True, False])
def test_a_late_record_keeps_the_flag_of_its_time(quick: bool) -> None:
    found = judged(MANY, quick=quick, nonexistent="shift", max_age="1d")
    assert (found.stale, found.ambiguous, found.shifted) == (7, 2, 1)


def test_tombstones_are_counted_too() -> None:
    found = judged([FOLD] * 10, quick=True, deleted="gone")
    assert (found.ambiguous, len(found.valid.tombstones)) == (10, 1)


@given(
    texts=st.lists(st.sampled_from([*MANY, "2025-03-30T02:30", "never"]), min_size=1, max_size=6),
    later=st.booleans(),
)
def test_the_quick_way_gives_the_same_times_as_the_careful_one(texts: list[str], later: bool) -> None:
    source = {"ambiguous": "later" if later else "earlier", "nonexistent": "shift" if later else "reject"}
    assert repr(judged(texts, quick=True, **source)) == repr(judged(texts, quick=False, **source))


def test_without_a_zone_no_time_is_odd() -> None:
    judge = judge_for(contract_of(Event), SourceSettings(), SKEW)
    assert judge.adapter.read_oddity is None
