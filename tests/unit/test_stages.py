from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from store.tables.staging import LATE, STALE
from worker.contract import load_contract
from worker.judge.stages import Judged, Valid, dedupe, judge_batch, judge_for, kept_payload, said
from worker.judge.validate import Accepted
from worker.queue.message import Message, Opaque, RawRecord
from worker.settings import SourceSettings, WorkerSettings

NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)
MARK = "2025-01-15T10:00:00.000000Z"


def message(*records: RawRecord) -> Message:
    return Message(
        "ab", "file", "s", "f", "json", None, ",", list(records), range(1, len(records) + 1), "x", [], 1
    )


def judged(*records: RawRecord | dict[str, Any], mark: str | None = MARK, **source: Any) -> Judged:
    settings = WorkerSettings()
    judge = judge_for(load_contract(settings), SourceSettings(**source), timedelta(hours=1))
    texts = [orjson.dumps(each).decode() if isinstance(each, dict) else each for each in records]
    return judge_batch(message(*texts), judge, mark, NOW)


def at(ts: str) -> dict[str, Any]:
    return {"key": "a", "name": "n", "value": 1, "ts": ts}


def outcome(ts: str, **source: Any) -> str | int:
    """The reason, or the flags, or "skipped"."""
    found = judged(at(ts), **source)
    if found.bad:
        return found.bad[0].faults[0].reason
    return "skipped" if found.skipped else found.valid[0].flags


def test_the_future_begins_one_microsecond_after_the_skew() -> None:
    assert outcome("2025-01-15T13:00:00Z") == 0
    assert outcome("2025-01-15T13:00:00.000001Z") == "future_timestamp"
    assert outcome("9999-12-31T23:59:59Z") == "future_timestamp"


@pytest.mark.parametrize(
    ("ts", "load", "dead_letter", "skip"),
    [
        ("2025-01-15T09:59:59.999999Z", LATE, "late", "skipped"),
        ("2025-01-15T10:00:00Z", 0, 0, "skipped"),
        ("2025-01-15T10:00:00.000001Z", 0, 0, 0),
    ],
)
def test_late_is_older_than_the_watermark_and_to_skip_is_at_it_too(
    ts: str, load: Any, dead_letter: Any, skip: Any
) -> None:
    assert [outcome(ts, late=policy) for policy in ("load", "dead_letter", "skip")] == [
        load,
        dead_letter,
        skip,
    ]


def test_allowed_lateness_moves_the_bound() -> None:
    assert outcome("2025-01-15T09:30:00Z", allowed_lateness="30m") == 0
    assert outcome("2025-01-15T09:29:59Z", allowed_lateness="30m") == LATE


@pytest.mark.parametrize("policy", ["load", "dead_letter", "skip"])
def test_nothing_is_late_before_there_is_a_watermark(policy: str) -> None:
    assert len(judged(at("0001-01-01T00:00:00Z"), mark=None, late=policy).valid) == 1


def test_stale_is_older_than_max_age_when_it_is_processed() -> None:
    assert outcome("2025-01-15T11:00:00Z", max_age="1h") == 0
    assert outcome("2025-01-15T10:59:59.999999Z", max_age="1h") == STALE
    assert outcome("2025-01-15T10:59:59.999999Z", max_age="1h", stale="dead_letter") == "stale"
    assert outcome("2025-01-15T09:00:00Z", max_age="1h") == LATE | STALE


def test_ages_beyond_the_beginning_of_time_are_no_error() -> None:
    assert outcome("2025-01-15T09:00:00Z", max_age="900000d", allowed_lateness="900000d") == 0


def test_every_record_has_one_outcome_and_keeps_its_place() -> None:
    found = judged("nonsense", at(MARK), at("2025-01-15T11:00:00Z"), Opaque(b"\xff", 1, None), late="skip")
    assert [bad.place for bad in found.bad] == [0, 3]
    assert [each.place for each in found.skipped] == [1]
    assert [each.place for each in found.valid] == [2]
    assert (found.late, found.stale) == (1, 0)


@pytest.mark.parametrize(
    ("record", "reason"),
    [(Opaque(b"\xff", 1, None), "undecodable"), (Opaque(b"{", 10**7, "ab" * 16), "too_large"),
     (Opaque(b"\xff", 10**7, "ab" * 16), "too_large")],
)  # fmt: skip
def test_opaque_records_are_rejected_for_what_made_them_so(record: Opaque, reason: str) -> None:
    assert judged(record).bad[0].faults[0].reason == reason


def test_a_key_is_remembered_where_it_can_be_read() -> None:
    rows = [{"key": "a"}, {"key": 5}, {"key": "x\0"}, {"key": "x" * 2000}, {}]
    found = judged(*rows, "nonsense", '{"key":"\\ud800"}')
    assert [bad.record_key for bad in found.bad] == ["a", None, None, "x" * 1000, None, None, None]


# Dedupe


def valid(place: int, key: str, ts: str, content: bytes) -> Valid:
    return Valid(place, Accepted(key, ts, content, None, ()), 0)


def always(_: Valid) -> bool:
    return True


def places(*outcomes: list[Valid]) -> list[list[int]]:
    return [[each.place for each in outcome] for outcome in outcomes]


def test_the_same_content_earlier_in_the_batch_in_staging_or_in_the_target_is_a_duplicate() -> None:
    given = [
        valid(0, "a", "2", b"x"),
        valid(1, "a", "2", b"x"),
        valid(2, "b", "2", b"y"),
        valid(3, "c", "2", b"z"),
    ]
    found = dedupe(given, {"c": ("2", b"z", 70)}, {("b", b"y"): 80}, always)
    assert places(found.staged) == [[0]]
    assert [(each.valid.place, each.of, each.of_place) for each in found.duplicates] == [
        (1, None, 0),
        (2, 80, None),
        (3, 70, None),
    ]
    assert found.superseded == []


def test_what_is_older_than_the_target_is_superseded_and_equal_times_go_by_content() -> None:
    held = {"a": ("2", b"m", 70)}
    given = [
        valid(n, "a", ts, c) for n, (ts, c) in enumerate([("1", b"z"), ("2", b"a"), ("2", b"z"), ("3", b"a")])
    ]
    found = dedupe(given, held, {}, always)
    assert places(found.staged) == [[2, 3]]
    assert [(each.valid.place, each.of) for each in found.superseded] == [(0, 70), (1, 70)]


def test_outside_its_share_a_record_is_not_held_against_the_target() -> None:
    held = {"a": ("2", b"m", 70)}
    found = dedupe([valid(0, "a", "1", b"z"), valid(1, "a", "1", b"z")], held, {}, lambda _: False)
    assert (places(found.staged), [each.of_place for each in found.duplicates]) == ([[0]], [0])


def test_one_content_under_two_keys_is_two_records() -> None:
    found = dedupe([valid(0, "a", "1", b"x"), valid(1, "b", "1", b"x")], {}, {}, always)
    assert places(found.staged) == [[0, 1]]


# Payloads


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        ("é", ("é", "utf-8", 2, None)),
        ("a\0", (base64.b64encode(b"a\0").decode(), "base64", 2, None)),
        (Opaque(b"\xff", 1, None), ("/w==", "base64", 1, None)),
        (Opaque(b"head", 9999, "digest"), ("head", "utf-8", 9999, "digest")),
        (Opaque(b"he\0d", 9999, "digest"), (base64.b64encode(b"he\0d").decode(), "base64", 9999, "digest")),
        (Opaque("é".encode()[:1], 9999, "digest"), ("ww==", "base64", 9999, "digest")),
    ],
)
def test_a_payload_is_kept_byte_for_byte(record: RawRecord, kept: tuple[Any, ...]) -> None:
    assert kept_payload(record) == kept


def test_what_cannot_be_read_says_its_bytes() -> None:
    records = [
        "nonsense",
        "nonsense ",
        Opaque(b"\xff", 1, None),
        Opaque(b"a", 9, "d1"),
        Opaque(b"a", 9, "d2"),
    ]
    assert len({said(record, message(record)) for record in records}) == len(records)
