"""Records of a program as they travel: nothing is bent on the way, and what cannot travel is refused by name."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import InputError
from worker.encoding import encoded

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


def decimal_of(number: str) -> Decimal:
    return Decimal(number)


def exact(value: Any) -> Any:
    """A value with numbers by value, as JSON has them."""
    if isinstance(value, dict):
        return {name.encode("utf-8", "surrogatepass"): exact(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [exact(each) for each in value]
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else value
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value


@given(st.dictionaries(st.text(), values))
def test_a_dictionary_comes_back_from_its_json_with_every_digit(record: dict[str, Any]) -> None:
    read = json.loads(encoded(record, 1), parse_float=decimal_of, parse_int=decimal_of)
    assert exact(read) == exact(record)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_never_made_null(value: float) -> None:
    assert encoded({"a": [value], "b": None}, 1) == b'{"a":[%s],"b":null}' % json.dumps(value).encode()


def test_text_and_bytes_stay_as_they_are() -> None:
    assert encoded('{"a": 1.0}', 1) == b'{"a": 1.0}'
    assert encoded(b'{"a":"\xff"}', 1) == b'{"a":"\xff"}'


def test_times_are_iso_8601() -> None:
    assert encoded({"ts": datetime(2025, 1, 15, 8, tzinfo=UTC)}, 1) == b'{"ts":"2025-01-15T08:00:00+00:00"}'
    old = datetime(1930, 1, 1, tzinfo=ZoneInfo("Europe/Amsterdam"))  # 19 minutes and 32 seconds before UTC
    assert encoded({"ts": old}, 1) == b'{"ts":"1930-01-01T00:00:00+00:19:32"}'


@pytest.mark.parametrize(
    "record", [{1: 2}, {"a": {1: 2}, "b": None}, {"a": object()}, {"a": {1, 2}}, ["a"], 7]
)
def test_what_json_cannot_write_is_refused_with_the_number_of_its_record(record: Any) -> None:
    with pytest.raises(InputError, match="record 1,234 "):
        encoded(record, 1234)


def test_a_record_without_end_is_refused() -> None:
    record: dict[str, Any] = {}
    record["a"] = record
    with pytest.raises(InputError):
        encoded(record, 1)
