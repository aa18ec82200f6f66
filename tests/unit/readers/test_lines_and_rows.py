"""NDJSON and CSV: lines, rows, and what a quote that is not closed costs."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.files.open import open_records
from store.csv_reader import Dialect
from store.errors import ConfigError, InputError
from worker.queue.message import Opaque

from .reading import MIB, digest, header_of, payloads, read

# NDJSON


def test_every_line_is_a_record_and_the_last_needs_no_line_break() -> None:
    assert read(b"1\n2\n3") == [(1, b"1"), (2, b"2"), (3, b"3")]


def test_lines_of_a_block_without_blanks_are_a_range() -> None:
    with (
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"1\n2\n3\n"))),
        open_records("-") as file,
    ):
        assert [block.lines for block in file.blocks()] == [range(1, 4)]


def test_blank_lines_are_not_records_but_count_as_lines() -> None:
    assert read(b"\n1\n \t\r\n\n2\n\n") == [(2, b"1"), (5, b"2")]


def test_windows_line_ends_are_not_part_of_a_record() -> None:
    assert payloads(b"1\r\n2\r\n3\r") == [b"1", b"2", b"3"]


def test_only_a_newline_ends_a_line() -> None:
    record = b"a\rb\x0bc\x0cd\x1ce\xc2\x85f\xe2\x80\xa8g"
    assert payloads(record + b"\n1") == [record, b"1"]


def test_a_line_at_the_limit_is_a_record_and_one_byte_more_is_oversize() -> None:
    long = b"x" * 101
    assert payloads(long[:100] + b"\r\n" + long + b"\r\n", max_record_bytes=100) == [
        long[:100],
        Opaque(long, 101, digest(long)),
    ]


@pytest.mark.parametrize("chunk", [1000, MIB])
def test_an_oversize_record_keeps_its_head_size_and_digest(chunk: int) -> None:
    long = b"0123456789" * 1000
    found = payloads(b"1\n" + long + b"\r\n2", max_record_bytes=50, chunk=chunk)
    assert found == [b"1", Opaque(long[:4096], 10_000, digest(long)), b"2"]


def test_a_long_line_of_blanks_is_not_a_record() -> None:
    assert read(b" " * 10_000 + b"\n1\n", max_record_bytes=50, chunk=1000) == [(2, b"1")]


@given(
    st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"").rstrip(b"\r"))), st.integers(1, 30)
)
def test_ndjson_payloads_are_the_non_blank_lines_sent(lines: list[bytes], chunk: int) -> None:
    data = b"\n".join(lines)
    plain = data if data[:2] != b"\x1f\x8b" and data[:3] != b"\xef\xbb\xbf" else b""
    expected = [(n, line) for n, line in enumerate(plain.split(b"\n"), 1) if line.strip()]
    assert read(plain, chunk=chunk) == expected


# CSV


def test_the_header_is_the_first_row_that_is_not_blank_without_space_around_names() -> None:
    assert header_of(b"\n \n key , ts\r\n1,2\n") == ["key", "ts"]
    assert header_of(b'"a ""b"""," c"\n') == ['a "b"', "c"]


def test_only_csv_has_a_header() -> None:
    with (
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"1"))),
        open_records("-") as file,
    ):
        assert file.header is None


def test_a_header_may_have_line_breaks_within_quotes() -> None:
    data = b'a,"b\nc"\n1,2\n'
    assert header_of(data) == ["a", "b\nc"]
    assert read(data, format="csv", chunk=1) == [(3, b"1,2")]


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (b"a,\xff\n1,2\n", "not UTF-8"),
        (b'a,"b"c\n1,2\n', "cannot be read as CSV"),
        (b'a,"b\n1,2\n', "cannot be read as CSV"),
        (b"a\rb\rc", "cannot be read as CSV"),
        (b"a" * 101, "longer than 100 bytes"),
        (b"\n" + b"a" * 9000 + b"\n1", "line 2 is longer than 100 bytes"),
        (b'a,"' + b"x\n" * 100, "not closed"),
    ],
)
def test_a_header_that_names_no_columns_is_an_input_error(header: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read(header, format="csv", max_record_bytes=100)
    with pytest.raises(InputError, match=problem):
        read(header, format="csv", max_record_bytes=100, chunk=7)


def test_rows_are_the_bytes_between_line_ends() -> None:
    data = b'a,b\r\n1, "x" \r\n\r\n"2","y, z"\n\xff,"'
    assert read(data, format="csv") == [(2, b'1, "x" '), (4, b'"2","y, z"'), (5, b'\xff,"')]


def test_a_quoted_cell_may_have_line_breaks_which_stay_as_they_are() -> None:
    data = b'a,b\n1,"x\r\n\n y"\r\n2,z\n'
    assert read(data, format="csv") == [(2, b'1,"x\r\n\n y"'), (5, b"2,z")]


def test_a_doubled_quote_does_not_end_a_cell() -> None:
    assert payloads(b'a,b\n1,"x""\ny"\n2,"a""b"\n', format="csv") == [b'1,"x""\ny"', b'2,"a""b"']


def test_an_unclosed_quote_costs_one_record_and_not_the_rest_of_the_file() -> None:
    data = b'a,b\n1,"x\n2,y\n3,z\n'
    assert read(data, format="csv") == [(2, b'1,"x'), (3, b"2,y"), (4, b"3,z")]


def test_what_stands_between_an_unclosed_quote_and_one_that_closes_is_one_record() -> None:
    data = b'a,b\n1,"x\n2,y\n3,"z\nz"\n4,w\n'
    assert payloads(data, format="csv") == [b'1,"x\n2,y\n3,"z\nz"', b"4,w"]


def test_lines_that_make_a_row_with_too_many_cells_are_one_record() -> None:
    data = b'a,b\n1,"x\n2",y\n3,z\n'
    assert read(data, format="csv") == [(2, b'1,"x\n2",y'), (4, b"3,z")]


def test_a_closed_cell_of_any_number_of_lines_is_in_one_row() -> None:
    row = b'2,"' + b"x\n" * 10_002 + b'"'
    assert read(b"a,b\n" + row + b"\n3,z\n", format="csv", chunk=4096) == [(2, row), (10_005, b"3,z")]


@pytest.mark.parametrize("chunk", [7, 100, MIB])
def test_a_closed_cell_beyond_the_limit_is_one_oversize_record(chunk: int) -> None:
    row = b'1,"' + b"2,y\n" * 60 + b'"'
    found = read(b"a,b\n" + row + b"\r\n3,z\n", format="csv", max_record_bytes=100, chunk=chunk)
    assert found == [(2, Opaque(row, len(row), digest(row))), (63, b"3,z")]


@pytest.mark.parametrize("chunk", [7, 100, MIB])
def test_a_quote_that_is_never_closed_makes_each_line_a_row_however_many_follow(chunk: int) -> None:
    long = b"y" * 200
    data = b'a,b\n1,"x\n' + b"2,y\r\n\n" * 60 + long + b'\n3,""\n4,5" pipe'
    found = payloads(data, format="csv", max_record_bytes=100, chunk=chunk)
    assert found == [b'1,"x', *[b"2,y"] * 60, Opaque(long, 200, digest(long)), b'3,""', b'4,5" pipe']


def test_a_quote_within_a_cell_without_quotes_opens_none() -> None:
    data = b'a,b\n1,5" pipe\n2,a"b\n3,a"b,"x\ny"\n'
    assert payloads(data, format="csv") == [b'1,5" pipe', b'2,a"b', b'3,a"b,"x\ny"']


def test_a_large_quoted_cell_within_the_limit_is_one_row() -> None:
    row = b'1,"' + b"x" * 300_000 + b'\n"'
    assert payloads(b"a,b\n" + row, format="csv") == [row]


def test_a_csv_line_beyond_the_limit_closes_the_quote_of_its_row() -> None:
    row = b'1,"x\n' + b"x" * 9000 + b'"'
    data = b"a,b\n" + row + b"\n2,z\n"
    expected = [(2, Opaque(row[:4096], len(row), digest(row))), (4, b"2,z")]
    assert read(data, format="csv", max_record_bytes=100) == expected
    assert read(data, format="csv", max_record_bytes=100, chunk=500) == expected


def test_a_tsv_file_has_tabs_and_a_row_of_empty_cells_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"a\tb\n\t\n1\t2\n")
    with open_records(str(path)) as file:
        assert file.dialect == Dialect(delimiter="\t")
        assert file.header == ["a", "b"]
        assert [p for block in file.blocks() for p in block.payloads] == [b"\t", b"1\t2"]


def test_options_set_the_delimiter_and_the_quote() -> None:
    options = Dialect(delimiter=";", quotechar="'")
    data = b"a;'b'\n1;'x\ny'\n2;\"\n"
    assert header_of(data, dialect=options) == ["a", "b"]
    assert payloads(data, format="csv", dialect=options) == [b"1;'x\ny'", b'2;"']


@pytest.mark.parametrize(
    ("delimiter", "quotechar"),
    [("", '"'), (";;", '"'), ("é", '"'), ("\n", '"'), (",", ""), (",", "“"), (",", ",")],
)
def test_delimiter_and_quote_must_be_two_different_ascii_characters(delimiter: str, quotechar: str) -> None:
    with pytest.raises(ConfigError, match="csv"):
        Dialect(delimiter=delimiter, quotechar=quotechar)


CELLS = st.text(st.sampled_from("ab,;\"\\'\n\r é"), max_size=6)
DIALECTS = st.builds(
    Dialect,
    delimiter=st.sampled_from(",;\t|"),
    quotechar=st.sampled_from("\"'"),
    escapechar=st.sampled_from([None, "\\"]),
)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8),
    dialect=DIALECTS,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE]),
    doubled=st.booleans(),
    chunk=st.integers(1, 40),
)
def test_rows_of_a_csv_writer_are_read_back_under_their_dialect(
    rows: list[tuple[str, ...]], dialect: Dialect, quoting: Any, doubled: bool, chunk: int
) -> None:
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=dialect.delimiter,
        quotechar=dialect.quotechar,
        escapechar=dialect.escapechar,
        quoting=quoting if dialect.escapechar else csv.QUOTE_ALL,
        doublequote=doubled or not dialect.escapechar,
    )
    writer.writerows([("k", "l", "m"), *rows])
    found = payloads(text.getvalue().encode(), format="csv", dialect=dialect, chunk=chunk)
    texts = [payload.decode() for payload in found if isinstance(payload, bytes)]
    assert [dialect.rows([text]) for text in texts] == [[list(row)] for row in rows]
    assert dialect.rows(texts) == [list(row) for row in rows]
