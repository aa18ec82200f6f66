"""`store watermark`: idle sources, what holds the pipeline back, moves by hand, clocks that are set back."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from store import database, timestamps
from store.errors import WatermarkCorrupt
from store.tables import watermarks
from tests.integration.store.conftest import Ledger
from tests.integration.store.timing.timeline import HOUR, NOON, Command, Timeline, ago, at, commands

WHO = re.compile(r".+@.+")


@pytest.fixture
def line(ledger: Ledger) -> Timeline:
    return Timeline(ledger)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return commands(monkeypatch, capsys)


@pytest.fixture
def two(line: Timeline, monkeypatch: pytest.MonkeyPatch) -> Timeline:
    """A busy source at noon, and a quiet one at eight that sent its last batch two days ago."""
    monkeypatch.setenv("SLUICE_IDLE_AFTER", "1d")
    line.arrive_and_load(at("08:00"), source="quiet", processed_at=ago(days=2))
    line.arrive_and_load(at("11:00"), NOON, source="busy")
    return line


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    monkeypatch.setattr(timestamps, "now", lambda: timestamps.from_text(moment))
    monkeypatch.setattr(database, "now", lambda _connection: timestamps.from_text(moment))


def read(line: Timeline, skew: timedelta = HOUR) -> dict[str, str | None]:
    """Each source's, as a batch of it reads it."""
    with database.reading(line.engine) as connection:
        sources = [each.source for each in watermarks.standings(connection, skew)]
        return {source: watermarks.read(connection, source, skew) for source in sources}


# --- the pipeline's ------------------------------------------------------------------------------------


def test_each_source_tells_which_record_of_which_run_set_it(two: Timeline, store: Command) -> None:
    busy, quiet = store("watermark", "--json").json["sources"]
    assert (busy["source"], busy["watermark"], busy["run"]) == ("busy", "2025-01-15T12:00:00Z", 2)
    assert (busy["record_key"], busy["lineage_id"], busy["why"]) == (
        "busy-2-1",
        f"load-{2 << 20 | 1}",
        "load",
    )
    assert quiet["age_seconds"] > busy["age_seconds"] > 0


def test_an_idle_source_is_marked_and_does_not_hold_the_pipeline_back(two: Timeline, store: Command) -> None:
    found = store("watermark", "--json").json
    assert {each["source"]: each["idle"] for each in found["sources"]} == {"busy": False, "quiet": True}
    assert (found["watermark"], found["held_back_by"]) == ("2025-01-15T12:00:00Z", ["busy"])
    output = store("watermark").out
    assert re.search(r"^quiet .* valid, idle$", output, re.M)
    assert re.search(
        r"^quiet is idle: its last batch came at \d{4}-.* UTC; it does not hold the pipeline back$",
        output,
        re.M,
    )
    assert "pipeline: 2025-01-15 12:00:00 UTC, held back by busy\n" in output


def test_the_report_goes_by_the_active_sources_too(two: Timeline, store: Command) -> None:
    assert store("report", "--json").json["watermark"] == "2025-01-15T12:00:00Z"


def test_without_idle_after_the_quiet_source_holds_the_pipeline_back(
    two: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLUICE_IDLE_AFTER")
    found = store("watermark", "--json").json
    assert (found["watermark"], found["held_back_by"]) == ("2025-01-15T08:00:00Z", ["quiet"])
    assert not any(each["idle"] for each in found["sources"])
    assert "held back by quiet\n" in store("watermark").out


def test_a_batch_wakes_an_idle_source_even_where_all_of_it_is_skipped(two: Timeline, store: Command) -> None:
    two.arrive([], source="quiet", received=1, skipped=1)
    assert store("watermark", "--json").json["held_back_by"] == ["quiet"]


def test_when_all_are_idle_the_pipeline_stays_at_the_least(two: Timeline, store: Command) -> None:
    two.ledger.tamper("UPDATE batches SET processed_at = :at", at=ago(days=3))
    found = store("watermark", "--json").json
    assert (found["watermark"], found["held_back_by"]) == ("2025-01-15T08:00:00Z", ["quiet"])
    assert "held back by quiet; every source is idle\n" in store("watermark").out


def test_a_source_of_which_nothing_is_loaded_is_shown_and_holds_nothing_back(
    two: Timeline, store: Command
) -> None:
    two.arrive([], source="new", received=1, rejected=1)
    found = store("watermark", "--json").json
    assert [each["watermark"] for each in found["sources"] if each["source"] == "new"] == [None]
    assert found["held_back_by"] == ["busy"]
    assert re.search(r"^new +none yet .* nothing loaded$", store("watermark").out, re.M)


def test_with_a_corrupt_watermark_the_pipelines_is_unknown(two: Timeline, store: Command) -> None:
    two.ledger.tamper("UPDATE watermarks SET value = 'nonsense' WHERE source = 'busy'")
    assert store("watermark", "--json").json["watermark"] is None
    assert "unknown until the corrupt watermarks are repaired" in store("watermark").out


# --- by hand -------------------------------------------------------------------------------------------


def test_a_watermark_is_set_forward_and_the_move_is_in_the_history(two: Timeline, store: Command) -> None:
    ended = store(
        "watermark", "set", "busy", "2025-01-16T01:00:00+01:00", "--why", "its 15th is elsewhere", "--json"
    )
    assert (ended.code, ended.json["previous"]) == (0, "2025-01-15T12:00:00Z")
    assert ended.json["watermark"] == "2025-01-16T00:00:00Z"
    assert read(two)["busy"] == "2025-01-16T00:00:00.000000Z"
    latest = store("watermark", "history", "busy", "--json").json[0]
    assert (latest["previous"], latest["watermark"]) == ("2025-01-15T12:00:00Z", "2025-01-16T00:00:00Z")
    assert (latest["run"], latest["record_key"], latest["why"]) == (None, None, "its 15th is elsewhere")
    assert WHO.fullmatch(latest["by"])


def test_a_rewind_is_shown_and_loading_continues(two: Timeline, store: Command) -> None:
    output = store("watermark", "rewind", "busy", "2025-01-10", "--why", "the 11th was sent wrong").out
    assert output.startswith("busy: moved from 2025-01-15 12:00:00 UTC to 2025-01-10 00:00:00 UTC by ")
    assert re.search(
        r"^busy was moved by hand \(.+@.+\): the 11th was sent wrong$", store("watermark").out, re.M
    )
    two.arrive_and_load(at("09:00", "2025-01-12"), source="busy")
    assert read(two)["busy"] == at("09:00", "2025-01-12")
    assert store("watermark", "repair", "--json").json == {"repaired": []}


def test_a_rewind_takes_nothing_that_is_loaded_away(two: Timeline, store: Command) -> None:
    before = two.ledger.digest()
    store("watermark", "rewind", "busy", "2025-01-10", "--why", "again")
    assert two.ledger.digest() == before


def test_a_repair_after_a_rewind_does_not_undo_it(two: Timeline, store: Command) -> None:
    store("watermark", "rewind", "busy", "2025-01-10", "--why", "again")
    two.ledger.tamper("UPDATE watermarks SET value = 'nonsense' WHERE source = 'busy'")
    (repaired,) = store("watermark", "repair", "--json").json["repaired"]
    assert repaired["watermark"] == "2025-01-10T00:00:00Z"
    two.arrive_and_load(at("07:00", "2025-01-11"), source="busy")
    assert read(two)["busy"] == at("07:00", "2025-01-11")


def test_the_first_watermark_of_a_source_may_be_set_by_hand(two: Timeline, store: Command) -> None:
    two.arrive([at("09:00")], source="new")
    assert store("watermark", "set", "new", "2025-01-01", "--why", "seen before").code == 0
    assert read(two)["new"] == at("00:00", "2025-01-01")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("set", "busy", "2025-01-15T11:00:00Z", "--why", "x"), 2, "`store watermark rewind` back"),
        (("set", "busy", "2025-01-15T12:00:00Z", "--why", "x"), 2, "is 2025-01-15T12:00:00Z already"),
        (("set", "busy", "2999-01-01", "--why", "x"), 2, "2999-01-01T00:00:00Z lies in the future"),
        (("rewind", "busy", "2025-01-16", "--why", "x"), 2, "`store watermark set` forward"),
        (("rewind", "busy", "2025-01-15T12:00:00Z", "--why", "x"), 2, "moves it back"),
        (("rewind", "fresh", "2025-01-15", "--why", "x"), 2, "'fresh' was never moved"),
        (("rewind", "busy", "yesterday", "--why", "x"), 2, "'yesterday' is not an ISO 8601 time"),
        (("rewind", "busy", "0001-01-01T00:00:00+14:00", "--why", "x"), 2, "not an ISO 8601 time"),
        (("rewind", "busy", "2025-01-10", "--why", " "), 2, "--why is blank"),
        (("rewind", "busy", "2025-01-10"), 2, "--why"),
        (("set", "nosuch", "2025-01-10", "--why", "x"), 1, "nothing is known of source 'nosuch'"),
    ],
)
def test_a_move_that_must_not_be_is_refused_and_changes_nothing(
    two: Timeline, store: Command, arguments: tuple[str, ...], code: int, message: str
) -> None:
    two.arrive([], source="fresh", received=1, rejected=1)
    before = two.stored()
    ended = store("watermark", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert message in " ".join(ended.err.split())
    assert two.stored() == before
    assert len(store("watermark", "history", "--json").json) == 2


def test_a_corrupt_watermark_is_repaired_before_it_is_moved(two: Timeline, store: Command) -> None:
    two.ledger.tamper("UPDATE watermarks SET value = 'nonsense' WHERE source = 'busy'")
    ended = store("watermark", "rewind", "busy", "2025-01-10", "--why", "x")
    assert ended.code == 1
    assert "`store watermark repair`" in ended.err


def test_a_move_within_the_workers_skew_is_allowed(
    two: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_MAX_FUTURE_SKEW", "500000d")
    assert store("watermark", "set", "busy", "2999-01-01", "--why", "x").code == 0


def test_the_history_is_newest_first_and_limited(two: Timeline, store: Command) -> None:
    store("watermark", "rewind", "busy", "2025-01-10", "--why", "once")
    assert [each["why"] for each in store("watermark", "history", "--json").json] == ["once", "load", "load"]
    assert [each["why"] for each in store("watermark", "history", "--limit", "1", "--json").json] == ["once"]
    output = store("watermark", "history").out
    assert re.search(r"^ +2 +busy +2025-01-15 12:00:00 UTC .* run 2 +record busy-2-1$", output, re.M)


# --- clocks that run backwards -------------------------------------------------------------------------


def test_a_clock_set_back_within_the_skew_changes_nothing(
    line: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.arrive_and_load(NOON)
    set_clock(monkeypatch, at("11:30"))
    assert read(line) == {"shop": NOON}
    line.arrive_and_load(at("12:10"))
    (found,) = store("watermark", "--json").json["sources"]
    assert (found["watermark"], found["age_seconds"], found["problem"]) == (
        "2025-01-15T12:10:00Z",
        -2400.0,
        None,
    )
    assert "-40 min" in store("watermark").out


def test_a_clock_set_back_beyond_the_skew_is_refused_in_words_that_blame_the_clock_first(
    line: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.arrive_and_load(NOON)
    set_clock(monkeypatch, at("08:00"))
    with pytest.raises(WatermarkCorrupt) as refused:
        read(line)
    assert str(refused.value) == (
        "the watermark of 'shop' is 2025-01-15T12:00:00.000000Z, which lies in the future: by the database's clock and "
        "max_future_skew, 2025-01-15T09:00:00.000000Z is the latest that is sound; if the clock is wrong, set it; if "
        "it is right, run `store watermark repair`, which restores it from its history and the target"
    )
    assert "CORRUPT" in store("watermark").out
    set_clock(monkeypatch, at("13:00"))
    assert read(line) == {"shop": NOON}


def test_the_last_move_is_the_one_with_the_greatest_id_even_if_the_clock_was_set_back(
    line: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, at("13:00"))
    line.arrive_and_load(at("11:00"))
    set_clock(monkeypatch, at("12:30"))
    line.arrive_and_load(NOON)
    assert read(line) == {"shop": NOON}
    times = [datetime.fromisoformat(each["at"]) for each in store("watermark", "history", "--json").json]
    assert times == sorted(times)  # newest first, although their times ascend
    assert store("watermark", "--json").json["sources"][0]["moved_at"] == "2025-01-15T12:30:00Z"


def test_a_source_whose_last_batch_lies_in_the_future_is_not_idle(two: Timeline, store: Command) -> None:
    two.arrive([], source="quiet", processed_at=ago(days=-5))
    assert store("watermark", "--json").json["held_back_by"] == ["quiet"]


def test_the_last_batch_is_the_one_with_the_greatest_number_even_if_the_clock_was_set_back(
    two: Timeline, store: Command
) -> None:
    two.arrive([], source="busy", processed_at=ago(days=9))
    assert {each["source"]: each["idle"] for each in store("watermark", "--json").json["sources"]} == {
        "busy": True, "quiet": True
    }  # fmt: skip


def test_idle_after_is_read_from_the_configuration(
    two: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLUICE_IDLE_AFTER")
    Path("sluice.toml").write_text('[store]\nidle_after = "12h"\n')
    assert store("watermark", "--json").json["idle_after_seconds"] == 43_200
    Path("sluice.toml").write_text("[store]\nidle_after = -1\n")
    ended = store("watermark")
    assert (ended.code, "[store] idle_after = -1" in ended.err) == (2, True)
