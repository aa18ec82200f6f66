"""Options and extras of tables whose cells have types, and what is no such table."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import pytest

from producer.files.typed import table
from store.errors import ConfigError, InputError, UsageError

from .reading import Record, feed_of, read


@pytest.mark.parametrize(("name", "extra"), [("a.parquet", "parquet"), ("a.xlsx", "excel")])
def test_a_missing_extra_is_named_before_anything_is_opened(name: str, extra: str) -> None:
    with (
        mock.patch.dict(sys.modules, {table.LIBRARIES[name.partition(".")[2]][0]: None}),
        pytest.raises(UsageError, match=rf"pip install 'sluice\[{extra}\]'"),
    ):
        feed_of().check_options(name)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.parquet", {"options": {"encoding": "cp1252"}}, "--encoding is for text, not parquet"),
        ("a.xlsx", {"options": {"delimiter": ";"}}, "--delimiter is for CSV files, not xlsx"),
        ("a.parquet", {"options": {"skip_rows": 1}}, "--skip-rows is for CSV files"),
        ("a.csv", {"sheet": "x"}, "--sheet is for Excel files, not csv"),
        ("a.xlsx", {"records": "a"}, "is for JSON documents"),
    ],
)
def test_an_option_of_another_format_is_refused(name: str, options: Record, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        feed_of(**options).check_options(name)


@pytest.mark.parametrize("name", ["a.parquet", "a.xlsx"])
def test_what_is_no_such_table_is_one_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"key,value\n")
    with pytest.raises(InputError, match=r"not a Parquet file|as an Excel workbook"):
        read(path)


def test_a_table_that_is_gzip_data_is_refused_with_what_to_do(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "a.parquet.gz"
    path.write_bytes(gzip.compress(b"PAR1"))
    with pytest.raises(InputError, match="decompress it"):
        read(path)
