"""Parquet: what the cells hold is what the records say, to the last digit."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from producer.files.open import open_records
from store.errors import InputError
from tests.examples import examples

from .reading import Record, as_read, as_written, read

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
WHOLE = st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59))
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int64": (pa.int64(), WHOLE),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "decimal": (pa.decimal128(38, 9), st.decimals(-(10**28), 10**28, places=9)),
    "double": (pa.float64(), st.floats(allow_nan=False, allow_infinity=False)),
    "text": (pa.string(), TEXT),
    "truth": (pa.bool_(), st.booleans()),
    "day": (pa.date32(), st.dates()),
    "naive": (pa.timestamp("us"), MOMENTS),
    "zoned": (pa.timestamp("us", "UTC"), MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC))),
    "list": (pa.list_(pa.int64()), st.lists(st.none() | WHOLE, max_size=3)),
    "fields": (
        pa.struct([("a", pa.decimal128(20, 2)), ("b", pa.list_(pa.string()))]),
        st.fixed_dictionaries({"a": st.none() | st.decimals(-(10**9), 10**9, places=2), "b": st.lists(TEXT)}),
    ),
    "names": (pa.map_(pa.string(), pa.int32()), st.dictionaries(TEXT, st.integers(0, 9), max_size=3)),
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | each for name, (_, each) in KINDS.items()}), max_size=5
)


@given(rows=ROWS)
@settings(max_examples=examples(20))
def test_records_of_parquet_are_its_rows(
    rows: list[Record], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("parquet") / "a.parquet"
    schema = pa.schema([(name, kind) for name, (kind, _) in KINDS.items()])
    parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=2)
    found = read(path)
    assert [line for line, _ in found] == list(range(1, len(rows) + 1))
    for (_, record), row in zip(found, rows, strict=True):
        assert {name: as_read(value, row[name]) for name, value in record.items()} == as_written(row)


def parquet_of(path: Path, **columns: Any) -> Path:
    file = path / "a.parquet"
    parquet.write_table(pa.table(columns), file)
    return file


def times(number: int, kind: pa.DataType) -> pa.Array:
    return pa.array([number], pa.int64()).cast(kind)


NANOSECONDS = 1_736_931_720_123_456_789  # 2025-01-15 09:02:00.123456789 UTC


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (pa.timestamp("ns"), "2025-01-15 09:02:00.123456789"),
        (pa.timestamp("ns", "Europe/Oslo"), "2025-01-15 09:02:00.123456789Z"),
        (pa.list_(pa.timestamp("ns", "UTC")), ["2025-01-15 09:02:00.123456789Z"]),
        (pa.struct([("a", pa.timestamp("ns"))]), {"a": "2025-01-15 09:02:00.123456789"}),
    ],
)
def test_nanoseconds_are_read_to_the_last_digit(tmp_path: Path, kind: pa.DataType, text: Any) -> None:
    value: Any = NANOSECONDS
    bare: pa.DataType = pa.int64()
    if pa.types.is_list(kind):
        value, bare = [value], pa.list_(bare)
    elif pa.types.is_struct(kind):
        value, bare = {"a": value}, pa.struct([("a", bare)])
    path = parquet_of(tmp_path, ts=pa.array([value], bare).cast(kind))
    assert read(path) == [(1, {"ts": text})]


def test_a_time_of_a_zone_is_in_utc(tmp_path: Path) -> None:
    path = parquet_of(tmp_path, ts=times(NANOSECONDS // 1000, pa.timestamp("us", "Europe/Oslo")))
    assert read(path) == [(1, {"ts": "2025-01-15T09:02:00.123456+00:00"})]


def test_a_zone_whose_offset_has_seconds_moves_no_time(tmp_path: Path) -> None:
    moment = datetime(1930, 1, 1, tzinfo=UTC)
    path = parquet_of(tmp_path, ts=pa.array([moment], pa.timestamp("ms", "Europe/Amsterdam")))
    assert read(path) == [(1, {"ts": "1930-01-01T00:00:00+00:00"})]


def test_a_time_that_python_has_no_value_for_costs_its_own_record_alone(tmp_path: Path) -> None:
    moments = pa.array([2**62, 0], pa.int64()).cast(pa.timestamp("us"))
    found = read(parquet_of(tmp_path, ts=moments))
    assert "out of range" in found[0][1]["ts"]
    assert found[1] == (2, {"ts": "1970-01-01T00:00:00"})


def test_what_is_no_number_is_spelled_out_and_rejected_later(tmp_path: Path) -> None:
    path = parquet_of(tmp_path, v=[float("nan"), None, float("-inf")])
    with open_records(str(path)) as file:
        assert [block.payloads for block in file.blocks()] == [
            [b'{"v":NaN}', b'{"v":null}', b'{"v":-Infinity}']
        ]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([b"\xff"]), r"column 'v' holds bytes \(binary\)"),
        (pa.array([[timedelta(1)]]), r"column 'v.element' holds a length of time"),
        (pa.array([[(1, 2)]], pa.map_(pa.int64(), pa.int64())), r"'v' is a map with keys of int64"),
    ],
)
def test_a_column_that_json_cannot_hold_is_named_before_anything_is_sent(
    tmp_path: Path, column: pa.Array, message: str
) -> None:
    with pytest.raises(InputError, match=f"{message}.*nothing of it was sent"):
        read(parquet_of(tmp_path, v=column))


def test_a_parquet_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table([[1], [2]], names=["v", "v"]), path)
    with pytest.raises(InputError, match=r"'v' \(2 times\)"):
        read(path)


def test_a_row_beyond_the_limit_is_one_rejected_record(tmp_path: Path) -> None:
    path = parquet_of(tmp_path, v=["x" * 99, "y"])
    with open_records(str(path), max_record_bytes=50) as file:
        (block,) = file.blocks()
    assert [len(block.payloads), type(block.payloads[0]).__name__, block.payloads[1]] == [
        2,
        "Opaque",
        b'{"v":"y"}',
    ]


def test_a_damaged_page_is_one_error_after_the_rows_before_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table_of = pa.table({"v": [f"{n:032d}" for n in range(3000)]})
    parquet.write_table(table_of, path, row_group_size=1500, compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    begin = parquet.read_metadata(path).row_group(1).column(0).data_page_offset
    content[begin : begin + 40] = b"\xff" * 40
    path.write_bytes(content)
    lines = []
    with open_records(str(path)) as file, pytest.raises(InputError, match=r"beyond row 1,[05]00"):
        for block in file.blocks():
            lines += block.lines
    assert lines[:1000] == list(range(1, 1001))


def test_a_page_that_differs_from_its_checksum_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    values = pa.table({"v": [float(100 + n) for n in range(10)]})
    parquet.write_table(values, path, compression="none", use_dictionary=False, write_page_checksum=True)
    content = path.read_bytes()
    assert content.count(struct.pack("<d", 103.0)) == 1
    path.write_bytes(content.replace(struct.pack("<d", 103.0), struct.pack("<d", 999.0)))
    with pytest.raises(InputError, match="CRC"):
        read(path)


def test_a_table_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = parquet_of(tmp_path, v=[1])
    with open_records(str(path)) as file:
        path.write_bytes(path.read_bytes() + b" ")
        with pytest.raises(InputError, match="changed while it was read"):
            list(file.blocks())
