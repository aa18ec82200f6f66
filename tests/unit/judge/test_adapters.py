from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import timestamps
from worker.contract import load_contract
from worker.judge.adapt import Adapter, sequence_reader
from worker.judge.faults import Rejection
from worker.judge.parse import Unusable
from worker.judge.times import Times, digits_reader, time_reader
from worker.settings import SourceSettings, WorkerSettings

MOMENTS = st.datetimes(timezones=st.just(UTC))


def adapter(**fields: str) -> Adapter:
    return Adapter(SourceSettings(fields=fields), load_contract(WorkerSettings()))


def test_without_a_mapping_a_record_passes_as_it_is() -> None:
    raw = {"anything": 1}
    assert adapter().adapt(raw) is raw


def test_fields_that_no_expression_looks_at_pass_as_they_are() -> None:
    mapped = adapter(key="uid", value="readings[0].v", name="join('-', [a, b])")
    raw = {"uid": "k", "readings": [{"v": 1}], "a": "x", "b": "y", "region": "eu", "v": 9, "ts": "t"}
    assert mapped.adapt(raw) == {"key": "k", "value": 1, "name": "x-y", "region": "eu", "v": 9, "ts": "t"}


def test_a_field_that_a_mapping_does_not_find_is_not_taken_from_elsewhere() -> None:
    assert adapter(value="properties.mag").adapt({"key": "k", "value": 7, "properties": {}}) == {"key": "k"}


def test_a_mapping_looks_up_paths_and_expressions() -> None:
    mapped = adapter(
        key="id", value="properties.mag", name="join('-', tags)", depth="geometry.coordinates[2]"
    )
    raw = {"id": "a", "properties": {"mag": -1}, "tags": ["x", "y"], "geometry": {"coordinates": [1, 2, 3]}}
    assert mapped.adapt(raw | {"ts": "t"}) == {"key": "a", "value": -1, "name": "x-y", "depth": 3, "ts": "t"}


def test_a_record_that_an_expression_does_not_work_on_is_rejected_for_that_field() -> None:
    with pytest.raises(Rejection) as rejected:
        adapter(name="join('-', tags)").adapt({"tags": 5})
    assert rejected.value.faults[0].reason == "invalid_name"


def test_what_a_mapping_does_not_find_is_absent() -> None:
    assert adapter(key="a.b.c", name="d[0]").adapt({"a": {"b": 1}, "d": {}}) == {}
    assert adapter(key="a.b").adapt({"a": [1]}) == {}


def test_fields_of_the_contract_that_are_not_mapped_are_taken_by_their_name() -> None:
    assert adapter(key="id").adapt({"id": "a", "name": "n"}) == {"key": "a", "name": "n"}


def read(value: Any, **source: Any) -> str:
    return timestamps.to_text(time_reader(SourceSettings(**source))(value))


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("2025-01-15T12:00:00Z", "2025-01-15T12:00:00.000000Z"),
        ("2025-01-15t12:00:00z", "2025-01-15T12:00:00.000000Z"),
        ("2025-01-15 12:00:00+00:00", "2025-01-15T12:00:00.000000Z"),
        ("2025-01-15T12:45:00+01:00", "2025-01-15T11:45:00.000000Z"),
        ("2025-01-15T12:00:00-0330", "2025-01-15T15:30:00.000000Z"),
        ("2025-01-15T12:00:00.1Z", "2025-01-15T12:00:00.100000Z"),
        ("2025-01-15T12:00:00.123456789Z", "2025-01-15T12:00:00.123456Z"),
        ("2025-01-15T12:00:00", "2025-01-15T12:00:00.000000Z"),
        ("2025-01-15", "2025-01-15T00:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_iso_8601_is_stored_in_utc(text: str, stored: str) -> None:
    assert read(text) == stored


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "20250115", "20250115T120000Z", "1736942400", "2025-02-30", "2025-01-15T25:00:00Z",
     "2025-01-15x12:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2025-01-15T12:00:00+25:00",
     1736942400, 1.5, True, None, [], {}],
)  # fmt: skip
def test_what_is_no_iso_8601_text_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"ISO 8601|years 1 to 9999|does not exist"):
        read(value)


def test_a_naive_time_is_read_in_the_zone_of_its_source() -> None:
    assert read("2025-07-15T12:00:00", assume_tz="Europe/Oslo") == "2025-07-15T10:00:00.000000Z"
    assert read("2025-01-15T12:00:00", assume_tz="Europe/Oslo") == "2025-01-15T11:00:00.000000Z"
    assert read("2025-01-15T12:00:00Z", assume_tz="Europe/Oslo") == "2025-01-15T12:00:00.000000Z"


def test_a_naive_time_is_refused_where_the_source_says_so() -> None:
    with pytest.raises(ValueError, match="assume_tz is reject"):
        read("2025-01-15T12:00:00", assume_tz="reject")
    assert read("2025-01-15T12:00:00Z", assume_tz="reject") == "2025-01-15T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("unit", "value"),
    [("s", 1736942400), ("ms", 1736942400000), ("us", 1736942400000000), ("ns", 1736942400000000000),
     ("s", 1736942400.0), ("s", "1736942400"), ("ms", "1736942400000"), ("s", "1.7369424e9")],
)  # fmt: skip
def test_an_epoch_number_is_read_in_the_unit_of_its_source(unit: str, value: Any) -> None:
    assert read(value, ts_unit=unit) == "2025-01-15T12:00:00.000000Z"


def test_nanoseconds_are_not_read_through_a_float() -> None:
    assert read(1736942400123456999, ts_unit="ns") == "2025-01-15T12:00:00.123456Z"
    assert read(-1, ts_unit="s") == "1969-12-31T23:59:59.000000Z"


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@given(data=st.data())
def test_a_column_of_epoch_numbers_is_read_as_each_of_them(
    unit: str, per_second: int, data: st.DataObject
) -> None:
    first, last = (-62_135_596_800, 253_402_300_799)  # the first and the last second of the years 1 to 9999
    source = SourceSettings(ts_unit=unit)  # type: ignore[arg-type]
    numbers = st.one_of(
        st.integers(first * per_second, (last + 1) * per_second - 1),
        st.integers(-2 * 86_400 * per_second, 2 * 86_400 * per_second),
    )
    column = data.draw(st.lists(numbers, min_size=1, max_size=4))
    stored, digits = Times(source).stored(column, set())
    assert stored == [read(each, ts_unit=unit) for each in column]
    assert (digits or [0] * len(column)) == [below(each, ts_unit=unit) for each in column]
    beyond = [*column, (last + 1) * per_second]
    odd: set[int] = set()
    assert Times(source).stored(beyond, odd)[0][:-1] == stored
    assert odd == {len(column)}


@pytest.mark.parametrize(
    "value",
    [True, None, "", "x", "nan", "inf", "²", "9" * 5000, 10**30, -(10**30), 1e300, float("nan"), [], {}],
)
def test_what_is_no_epoch_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"number since 1970|years 1 to 9999"):
        read(value, ts_unit="s")


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_an_offset_changes_the_text_and_not_the_moment(moment: datetime, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    if datetime(2, 1, 1, tzinfo=UTC) < moment < datetime(9998, 1, 1, tzinfo=UTC):
        assert read(moment.astimezone(zone).isoformat()) == timestamps.to_text(moment)


@given(MOMENTS, MOMENTS)
def test_order_of_stored_text_is_order_in_time(one: datetime, other: datetime) -> None:
    assert (timestamps.to_text(one) < timestamps.to_text(other)) == (one < other)


# Sequences: what orders versions of one time


def below(value: Any, **source: Any) -> int:
    return digits_reader(SourceSettings(**source))(value)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("2025-01-15T12:00:00Z", 0),
        ("2025-01-15T12:00:00.123456Z", 0),
        ("2025-01-15T12:00:00.123456000Z", 0),
        ("2025-01-15T12:00:00.1234567Z", 700_000_000_000),
        ("2025-01-15T12:00:00.123456007Z", 7_000_000_000),
        ("2025-01-15T12:00:00,123456789+01:00", 789_000_000_000),
        ("2025-01-15T12:00:00.123456000000000001Z", 1),
        ("2025-01-15T12:00:00.1234560000000000009Z", 0),  # more digits than can be told apart
    ],
)
def test_digits_below_microseconds_order_versions_of_one_time(text: str, digits: int) -> None:
    assert below(text) == digits


@given(st.lists(st.integers(0, 10**9 - 1), min_size=2, max_size=2))
def test_the_order_of_time_and_digits_is_the_order_of_nanoseconds(nanoseconds: list[int]) -> None:
    texts = [f"2025-01-15T12:00:00.{each:09}Z" for each in nanoseconds]
    numbers = [1736942400 * 10**9 + each for each in nanoseconds]
    iso, epoch = SourceSettings(), SourceSettings(ts_unit="ns")
    for source, values in ((iso, texts), (epoch, numbers), (epoch, list(map(str, numbers)))):
        time_of, digits_of = time_reader(source), digits_reader(source)
        one, other = ((time_of(each), digits_of(each)) for each in values)
        assert (one < other) == (nanoseconds[0] < nanoseconds[1])


@pytest.mark.parametrize("value", ["²", "+-5", "x", "", "9" * 5000, None, True, 1.5, [], {}])
def test_what_is_no_number_of_nanoseconds_has_no_digits_below_microseconds(value: Any) -> None:
    assert below(value, ts_unit="ns") == 0


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ({"ts_unit": "s"}, ["1736942400.12345690000000000", "1736942400.12345710000000000"]),
        ({"ts_unit": "ms"}, ["1736942400000.4569999000000000", "1736942400000.4570001000000000"]),
        (
            {"ts_format": "%A %d.%m.%Y%H%M%S %z"},
            ["Wednesday 15.01.2025123000 +0030", "Wednesday 15.01.2025120000 +0000"],
        ),
    ],
)
def test_what_is_read_to_the_nearest_microsecond_has_no_digits_below(
    source: dict[str, Any], values: list[str]
) -> None:
    assert len({read(each, **source) for each in values}) == 1
    assert [below(each, **source) for each in values] == [0, 0]


def sequence(expression: str, raw: dict[str, Any]) -> int:
    return sequence_reader(expression)(raw)


@pytest.mark.parametrize(
    ("raw", "found"),
    [({"n": 7}, 7), ({"n": -(2**63)}, -(2**63)), ({"n": 2**63 - 1}, 2**63 - 1), ({"n": "7"}, 7), ({"n": " -7 "}, -7),
     ({"n": "+7"}, 7)],
)  # fmt: skip
def test_a_sequence_is_an_integer_or_the_text_of_one(raw: dict[str, Any], found: int) -> None:
    assert sequence("n", raw) == found


def test_a_sequence_may_be_an_expression() -> None:
    assert sequence("log.position", {"log": {"position": 3}}) == 3
    assert sequence("to_number(log[0])", {"log": ["4"]}) == 4


@pytest.mark.parametrize("raw", [{}, {"n": None}, {"n": ""}, {"n": " "}])
def test_a_record_without_its_sequence_is_rejected(raw: dict[str, Any]) -> None:
    with pytest.raises(Rejection) as rejected:
        sequence("n", raw)
    assert [fault.reason for fault in rejected.value.faults] == ["missing_sequence"]


@pytest.mark.parametrize(
    "value",
    [2**63, -(2**63) - 1, str(2**63), "9" * 5000, 1.0, "1.0", True, "x", "+-5", "--5", "²", "1_0", [], {},
     Unusable("why")],
)  # fmt: skip
def test_a_sequence_that_is_no_64_bit_integer_is_rejected(value: Any) -> None:
    with pytest.raises(Rejection) as rejected:
        sequence("n", {"n": value})
    assert [fault.reason for fault in rejected.value.faults] == ["invalid_sequence"]
