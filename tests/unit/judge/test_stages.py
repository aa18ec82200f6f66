from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from store import payload
from store.csv_reader import Dialect
from store.tables.deliveries import Delivery
from store.tables.staging import LATE, STALE
from worker.contract import load_contract
from worker.judge.stages import Judged, content_of_raw, judge_batch, judge_for, payload_of
from worker.queue.message import Message, Opaque, RawRecord
from worker.settings import SourceSettings, WorkerSettings

NOW = datetime(2025, 1, 15, 12, tzinfo=UTC)
WATERMARK = "2025-01-15T10:00:00.000000Z"


def message(*records: RawRecord) -> Message:
    delivery, lines = Delivery("d1", "file", "s", "f", None, "x"), range(1, len(records) + 1)
    return Message(
        "ab", "file", delivery, 0, "s", "f", "json", None, Dialect(), list(records), lines, "x", [], 1
    )


def judged(*records: RawRecord | dict[str, Any], watermark: str | None = WATERMARK, **source: Any) -> Judged:
    settings = WorkerSettings()
    judge = judge_for(load_contract(settings), SourceSettings(**source), timedelta(hours=1))
    texts = [orjson.dumps(each).decode() if isinstance(each, dict) else each for each in records]
    return judge_batch(message(*texts), judge, watermark, NOW)


def at(ts: str) -> dict[str, Any]:
    return {"key": "a", "name": "n", "value": 1, "ts": ts}


def outcome(ts: str, **source: Any) -> str | int:
    """The reason, or the flags, or "skipped"."""
    found = judged(at(ts), **source)
    if found.bad:
        return found.bad[0].faults[0].reason
    return "skipped" if found.skipped else found.valid.flags[0]


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
    assert len(judged(at("0001-01-01T00:00:00Z"), watermark=None, late=policy).valid) == 1


def test_stale_is_older_than_max_age_when_it_is_processed() -> None:
    assert outcome("2025-01-15T11:00:00Z", max_age="1h") == 0
    assert outcome("2025-01-15T10:59:59.999999Z", max_age="1h") == STALE
    assert outcome("2025-01-15T10:59:59.999999Z", max_age="1h", stale="dead_letter") == "stale"
    assert outcome("2025-01-15T09:00:00Z", max_age="1h") == LATE | STALE


def test_ages_beyond_the_beginning_of_time_are_no_error() -> None:
    assert outcome("2025-01-15T09:00:00Z", max_age="900000d", allowed_lateness="900000d") == 0


def test_every_record_has_one_outcome_and_keeps_its_position() -> None:
    found = judged(
        "nonsense", at(WATERMARK), at("2025-01-15T11:00:00Z"), Opaque(b"\xff", 1, None), late="skip"
    )
    assert [bad.position for bad in found.bad] == [0, 3]
    assert [each.position for each in found.skipped] == [1]
    assert [each.position for each in found.valid] == [2]
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


# Sequences


def sequences(*records: dict[str, Any], **source: Any) -> list[int]:
    found = judged(*records, **source)
    assert found.bad == []
    return [each.record.sequence for each in found.valid]


def test_a_sequence_is_read_from_the_record_as_it_came() -> None:
    records = [at(WATERMARK) | {"log": {"position": 7}}, at(WATERMARK) | {"log": {"position": "8"}}]
    assert sequences(*records, sequence="log.position") == [7, 8]
    mapped = {"sequence": "log.position", "fields": {"value": "log.value"}}
    records = [{**at(WATERMARK), "log": {"position": 9, "value": 1}}]
    assert sequences(*records, **mapped) == [9]


def test_a_named_sequence_takes_precedence_over_digits_below_microseconds() -> None:
    record = at("2025-01-15T11:00:00.123456789Z")
    assert sequences(record) == [789_000_000_000]
    assert sequences(record | {"version": 3}, sequence="version") == [3]


@pytest.mark.parametrize("extra", ["keep", "ignore", "forbid"])
def test_the_field_of_the_sequence_is_no_unexpected_one(extra: str) -> None:
    assert sequences(at(WATERMARK) | {"version": 3}, sequence="version", extra=extra) == [3]
    assert sequences(at(WATERMARK) | {"log": [{"n": 3}]}, sequence="log[0].n", extra=extra) == [3]
    found = judged(at(WATERMARK) | {"version": 3, "other": 1}, sequence="version", extra="forbid")
    assert [(fault.reason, fault.field) for bad in found.bad for fault in bad.faults] == [
        ("unexpected_field", "other")
    ]


def test_a_record_without_a_usable_sequence_is_a_dead_letter_and_the_others_are_not() -> None:
    found = judged(
        at(WATERMARK),
        at(WATERMARK) | {"n": 1.5},
        at(WATERMARK) | {"n": "+-5"},
        at(WATERMARK) | {"n": 4},
        sequence="n",
    )
    assert [bad.faults[0].reason for bad in found.bad] == [
        "missing_sequence",
        "invalid_sequence",
        "invalid_sequence",
    ]
    assert [(each.position, each.record.sequence) for each in found.valid] == [(3, 4)]


@pytest.mark.parametrize("ts", ["+-5", "²", "9" * 5000])
def test_an_epoch_number_that_is_none_is_invalid_with_validate_off_too(ts: str) -> None:
    judge = judge_for(load_contract(WorkerSettings()), SourceSettings(ts_unit="ns"), timedelta(hours=1))
    sent = message(orjson.dumps(at(ts)).decode())
    (bad,) = judge_batch(sent, judge, None, NOW, {"validate": 0.0}).bad
    assert bad.faults[0].reason == "invalid_timestamp"


# Payloads


@pytest.mark.parametrize(
    ("record", "stored"),
    [
        ("é", ("é", "utf-8", 2, None)),
        ("a\0", (base64.b64encode(b"a\0").decode(), "base64", 2, None)),
        (Opaque(b"\xff", 1, None), ("/w==", "base64", 1, None)),
        (Opaque(b"head", 9999, "digest"), ("head", "utf-8", 9999, "digest")),
        (Opaque(b"he\0d", 9999, "digest"), (base64.b64encode(b"he\0d").decode(), "base64", 9999, "digest")),
        (Opaque("é".encode()[:1], 9999, "digest"), ("ww==", "base64", 9999, "digest")),
    ],
)
def test_a_payload_is_stored_byte_for_byte(record: RawRecord, stored: tuple[Any, ...]) -> None:
    assert payload_of(record) == stored


@given(st.text(st.characters(), max_size=20))
@example("plain")
@example("a\0b")
@example("\udc80")
def test_every_text_is_stored_as_its_bytes_are(text: str) -> None:
    content = text.encode("utf-8", "surrogatepass")
    assert payload_of(text) == (*payload.to_text(content), len(content), None)


def test_what_cannot_be_read_says_its_bytes() -> None:
    records = [
        "nonsense",
        "nonsense ",
        Opaque(b"\xff", 1, None),
        Opaque(b"a", 9, "d1"),
        Opaque(b"a", 9, "d2"),
    ]
    assert len({content_of_raw(record, message(record)) for record in records}) == len(records)
