from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producer.files import csv as csv_rows
from producer.files import open as readers
from producer.files.batches import Payload
from producer.files.csv import CsvOptions
from producer.files.open import open_records
from store.errors import ConfigError, InputError, UsageError
from worker.queue import message
from worker.queue.message import Opaque

MIB = 1 << 20


def read(data: bytes | io.BufferedIOBase, *, chunk: int = MIB, **options: Any) -> list[tuple[int, Payload]]:
    """Records with their lines, read from standard input in chunks of so many bytes."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    with (
        mock.patch.object(readers, "_READ_BYTES", chunk),
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=stream)),
        open_records("-", **options) as file,
    ):
        return [pair for block in file.blocks() for pair in zip(block.lines, block.payloads, strict=True)]


def payloads(data: bytes | io.BufferedIOBase, **options: Any) -> list[Payload]:
    return [payload for _, payload in read(data, **options)]


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_until_error(path: Path, **options: Any) -> tuple[list[Payload], str]:
    found: list[Payload] = []
    with pytest.raises(InputError) as error, open_records(str(path), **options) as file:
        for block in file.blocks():
            found += block.payloads
    return found, str(error.value)


class Endless(io.RawIOBase):
    """A start, then one byte over and over, then an end: a long file that is nowhere."""

    def __init__(self, start: bytes, fill: bytes, size: int, end: bytes) -> None:
        self._pieces = self._generate(start, fill, size, end)
        self._left = b""

    @staticmethod
    def _generate(start: bytes, fill: bytes, size: int, end: bytes) -> Iterator[bytes]:
        yield start
        piece = fill * 65536
        for _ in range(size // len(piece)):
            yield piece
        yield end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._left = self._left or next(self._pieces, b"")
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


# Opening a file


@pytest.mark.parametrize(
    ("name", "format", "wire"),
    [
        ("a.json", "json", "json"),
        ("a.ndjson", "ndjson", "json"),
        ("a.jsonl", "ndjson", "json"),
        ("a.csv", "csv", "csv"),
        ("a.tsv", "csv", "csv"),
        ("A.NDJSON", "ndjson", "json"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_the_ending_of_a_name_sets_the_format_with_and_without_gz(
    tmp_path: Path, name: str, format: str, wire: str, compressed: bool
) -> None:
    path = tmp_path / (name + ".gz" if compressed else name)
    path.write_bytes(gzip.compress(b"[1]") if compressed else b"[1]")
    with open_records(str(path)) as file:
        assert (file.format, file.wire_format) == (format, wire)


def test_the_first_bytes_of_a_file_show_that_it_is_gzipped(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(gzip.compress(b"1\n2\n"))
    with open_records(str(path)) as file:
        assert [p for block in file.blocks() for p in block.payloads] == [b"1", b"2"]


def test_a_file_named_only_gz_needs_a_format_and_is_read_with_one(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"1\n"))
    with open_records(str(path), format="ndjson") as file:
        assert [block.payloads for block in file.blocks()] == [[b"1"]]
    with pytest.raises(InputError, match="give --format json, ndjson or csv"):
        open_records(str(path))


def test_a_file_whose_name_ends_in_gz_may_be_plain(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(b"1\n")
    with open_records(str(path)) as file:
        assert [block.payloads for block in file.blocks()] == [[b"1"]]


def test_several_gzip_members_are_one_file() -> None:
    assert payloads(gzip.compress(b"1\n2") + gzip.compress(b"3\n4\n")) == [b"1", b"23", b"4"]


def test_an_unknown_ending_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"1\n")
    with pytest.raises(InputError, match=r"a\.txt.*give --format json, ndjson or csv"):
        open_records(str(path))


def test_an_unknown_format_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"'xml'.*json, ndjson or csv"):
        open_records("-", format="xml")


def test_a_missing_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: no such file") as error:
        open_records(str(tmp_path / "none.csv"))
    assert "\n" not in str(error.value)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.mkdir()
    with pytest.raises(InputError, match="is a directory"):
        open_records(str(path))


def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    with (
        mock.patch.object(Path, "open", side_effect=PermissionError(13, "denied")),
        pytest.raises(InputError, match="permission denied"),
    ):
        open_records(str(tmp_path / "a.csv"))


def test_a_path_that_no_system_can_open_is_an_input_error() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        open_records("a\0b.csv")


def test_closed_standard_input_is_an_input_error() -> None:
    with mock.patch.object(sys, "stdin", None), pytest.raises(InputError, match="standard input is closed"):
        open_records("-")


def test_standard_input_is_ndjson_without_a_format_option_and_is_not_closed() -> None:
    stream = io.BytesIO(b"1\n2\n")
    assert payloads(stream) == [b"1", b"2"]
    assert not stream.closed


def test_standard_input_may_be_gzipped() -> None:
    assert payloads(gzip.compress(b"a,b\n1,2\n"), format="csv", chunk=3) == [b"1,2"]


def test_progress_ends_at_the_size_of_the_file_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    for content in (b"1\n" * 5000, gzip.compress(b"1\n" * 5000)):
        path.write_bytes(content)
        with open_records(str(path)) as file:
            assert file.size == len(content)
            assert sum(len(block.payloads) for block in file.blocks()) == 5000
            assert file.bytes_read == len(content)


def test_the_size_of_standard_input_is_not_known() -> None:
    with (
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"1"))),
        open_records("-") as file,
    ):
        assert file.size is None


def test_a_records_path_is_refused_for_formats_that_have_no_paths() -> None:
    with pytest.raises(ConfigError, match="JSON documents"):
        open_records("-", format="csv", records="data")


@pytest.mark.parametrize("format", ["json", "ndjson", "csv"])
@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"])
def test_an_empty_file_has_no_records_and_is_not_an_error(format: str, data: bytes) -> None:
    assert read(data, format=format, chunk=2) == []


def test_an_empty_file_has_no_records_at_any_path() -> None:
    assert read(b" \n", format="json", records="a.b") == []


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, MIB])
@pytest.mark.parametrize(
    ("format", "data", "expected"),
    [("ndjson", b"1\n", b"1"), ("json", b"[1]", b"1"), ("csv", b"a\n1\n", b"1")],
)
def test_a_bom_at_the_start_of_a_file_is_not_part_of_the_first_record(
    format: str, data: bytes, expected: bytes, chunk: int
) -> None:
    assert payloads(b"\xef\xbb\xbf" + data, format=format, chunk=chunk) == [expected]


def test_a_bom_elsewhere_stays_in_its_record() -> None:
    assert payloads(b"1\n\xef\xbb\xbf2\n") == [b"1", b"\xef\xbb\xbf2"]


def test_nul_bytes_stay_in_their_record() -> None:
    assert payloads(b"\x00a\n\x00\n") == [b"\x00a", b"\x00"]


# Damaged files


@pytest.mark.parametrize("format", ["ndjson", "csv", "json"])
def test_a_gzip_file_cut_short_is_an_error_after_the_records_before_it(tmp_path: Path, format: str) -> None:
    lines = [digest(b"%d" % n).encode() for n in range(20_000)]
    content = b"[" + b",\n".join(lines) if format == "json" else b"\n".join(lines)
    path = tmp_path / f"a.{format}.gz"
    path.write_bytes(gzip.compress(content)[:200_000])
    found, message = read_until_error(path)
    expected = lines[1:] if format == "csv" else lines
    assert len(found) > 1000
    assert found == expected[: len(found)]
    assert "damaged or cut short at byte 200,000, line " in message
    assert "the records before it were read" in message


def test_corrupt_gzip_data_is_an_error_after_the_records_before_it(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b"\n".join(digest(b"%d" % n).encode() for n in range(20_000))))
    content[150_000:150_100] = bytes(100)
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(content)
    found, message = read_until_error(path)
    assert len(found) > 1000
    assert "damaged" in message


def test_a_gzip_header_alone_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(b"\x1f\x8b")
    assert read_until_error(path)[0] == []


def test_a_disk_that_fails_midway_is_an_input_error_after_the_records_before_it() -> None:
    class Failing(io.BytesIO):
        def readinto1(self, buffer: Any) -> int:
            if self.tell() >= 8:
                raise OSError(5, "Input/output error")
            return super().readinto1(buffer)

    found: list[Payload] = []
    with (
        mock.patch.object(readers, "_READ_BYTES", 4),
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=Failing(b"1\n2\n3\n4\n5\n6\n"))),
        open_records("-") as file,
        pytest.raises(InputError, match=r"cannot be read beyond byte \d+"),
    ):
        for block in file.blocks():
            found += block.payloads
    assert found[:3] == [b"1", b"2", b"3"]


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


def header_of(data: bytes, **options: Any) -> list[str] | None:
    with (
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data))),
        open_records("-", format="csv", **options) as file,
    ):
        return file.header


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


def test_an_unclosed_quote_before_a_row_with_line_breaks_costs_one_record() -> None:
    data = b'a,b\n1,"x\n2,y\n3,"z\nz"\n4,w\n'
    assert payloads(data, format="csv") == [b'1,"x', b"2,y", b'3,"z\nz"', b"4,w"]


def test_lines_that_would_make_a_row_with_too_many_cells_stay_apart() -> None:
    data = b'a,b\n1,"x\n2",y\n3,z\n'
    assert payloads(data, format="csv") == [b'1,"x', b'2",y', b"3,z"]


def test_a_quote_open_for_more_than_ten_thousand_lines_makes_each_line_a_row() -> None:
    fits = b'1,"' + b"x\n" * 9_999 + b'"'
    beyond = b'2,"' + b"x\n" * 10_000 + b'"'
    found = payloads(b"a,b\n" + fits + b"\n" + beyond + b"\n", format="csv")
    assert found[0] == fits
    assert found[1:3] == [b'2,"x', b"x"]
    assert len(found) == 1 + 10_001


def test_a_quoted_cell_beyond_the_limit_makes_each_line_a_row() -> None:
    data = b'a,b\n1,"' + b"x" * 60 + b"\n" + b"y" * 60 + b'"\n2,z\n'
    found = payloads(data, format="csv", max_record_bytes=100)
    assert found == [b'1,"' + b"x" * 60, b"y" * 60 + b'"', b"2,z"]


def test_a_large_quoted_cell_within_the_limit_is_one_row() -> None:
    row = b'1,"' + b"x" * 300_000 + b'\n"'
    assert payloads(b"a,b\n" + row, format="csv") == [row]


def test_a_csv_line_beyond_the_limit_is_oversize_and_closes_no_quote() -> None:
    long = b"x" * 9000 + b'"'
    data = b'a,b\n1,"x\n' + long + b"\n2,z\n"
    expected = [(2, b'1,"x'), (3, Opaque(long[:4096], 9001, digest(long))), (4, b"2,z")]
    assert read(data, format="csv", max_record_bytes=100) == expected
    assert read(data, format="csv", max_record_bytes=100, chunk=500) == expected


def test_a_tsv_file_has_tabs_and_a_row_of_empty_cells_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"a\tb\n\t\n1\t2\n")
    with open_records(str(path)) as file:
        assert file.csv == CsvOptions(delimiter="\t")
        assert file.header == ["a", "b"]
        assert [p for block in file.blocks() for p in block.payloads] == [b"\t", b"1\t2"]


def test_options_set_the_delimiter_and_the_quote() -> None:
    options = CsvOptions(delimiter=";", quotechar="'")
    data = b"a;'b'\n1;'x\ny'\n2;\"\n"
    assert header_of(data, csv=options) == ["a", "b"]
    assert payloads(data, format="csv", csv=options) == [b"1;'x\ny'", b'2;"']


@pytest.mark.parametrize(
    ("delimiter", "quotechar"),
    [("", '"'), (";;", '"'), ("é", '"'), ("\n", '"'), (",", ""), (",", "“"), (",", ",")],
)
def test_delimiter_and_quote_must_be_two_different_ascii_characters(delimiter: str, quotechar: str) -> None:
    with pytest.raises(ConfigError, match="csv"):
        CsvOptions(delimiter=delimiter, quotechar=quotechar)


CELLS = st.text(st.sampled_from('ab,"\n\r é'), max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=8), st.integers(1, 40))
def test_rows_of_a_csv_writer_are_read_back(rows: list[tuple[str, ...]], chunk: int) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("k", "l", "m"), *rows])
    found = payloads(text.getvalue().encode(), format="csv", chunk=chunk)
    assert all(isinstance(payload, bytes) for payload in found)
    parsed = [next(csv.reader([p.decode()])) for p in found if isinstance(p, bytes)]
    assert parsed == [list(row) for row in rows]


# JSON documents


def test_the_elements_of_an_array_are_exact_slices_with_their_lines() -> None:
    data = b'\n[ {"a": [1, {"b":2}]} ,\n\n  "x,]" , -1.5e3,null\n, [ ] ,{}]\n'
    assert read(data, format="json") == [
        (2, b'{"a": [1, {"b":2}]}'),
        (4, b'"x,]"'),
        (4, b"-1.5e3"),
        (4, b"null"),
        (5, b"[ ]"),
        (5, b"{}"),
    ]


def test_empty_slots_are_not_records() -> None:
    assert payloads(b"[,1,, ,2,]", format="json") == [b"1", b"2"]
    assert payloads(b"[ ]", format="json") == []


def test_brackets_and_quotes_within_strings_are_text() -> None:
    elements = [rb'{"a": "}]\"[{,"}', rb'"\\"', rb'{"\\\"": "\u005d"}']
    assert payloads(b"[" + b",".join(elements) + b"]", format="json", chunk=1) == elements


def test_an_array_beyond_one_block_keeps_every_element_and_line() -> None:
    data = b"[\n" + b",\n".join(b'{"n":%d}' % n for n in range(5000)) + b"\n]"
    assert read(data, format="json", chunk=1000) == [(n + 2, b'{"n":%d}' % n) for n in range(5000)]


def test_an_unclosed_quote_in_an_array_costs_one_record() -> None:
    data = b'[\n{"a": "x"},\n{"a": "y},\n{"a": "z"},\n{"a": "\\\n{"a": 1}\n]'
    expected = [b'{"a": "x"}', b'{"a": "y}', b'{"a": "z"}', b'{"a": "\\', b'{"a": 1}']
    assert payloads(data, format="json") == expected


def test_elements_after_one_of_several_lines_with_an_unclosed_quote_are_still_found() -> None:
    data = b'[\n  {\n    "a": "x,\n    "b": 1\n  },\n  {\n    "a": 2\n  }\n]\n'
    assert payloads(data, format="json") == [b'{\n    "a": "x', b'"b": 1', b"}", b'{\n    "a": 2\n  }']


def test_mismatched_brackets_count_by_depth_only() -> None:
    assert payloads(b'[{"a": [1}], [2}, 3]', format="json") == [b'{"a": [1}]', b"[2}", b"3"]
    assert payloads(b"[1, 2}", format="json") == [b"1", b"2"]


def test_elements_without_a_comma_between_them_are_separate_records() -> None:
    assert payloads(b'[{"a":1}\n{"a":2}]', format="json") == [b'{"a":1}', b'{"a":2}']


@pytest.mark.parametrize("partial", [b'{"a": [1, 2', b'{"a": "x', b'{"a": "x\\', b'"x,', b"tru"])
def test_an_element_cut_short_by_the_end_of_the_file_is_a_record(partial: bytes) -> None:
    assert payloads(b"[1, " + partial, format="json") == [b"1", partial]


def test_an_array_that_is_not_closed_keeps_its_elements() -> None:
    assert payloads(b"[1, 2, \n", format="json") == [b"1", b"2"]


def test_text_after_an_array_is_one_record() -> None:
    assert read(b"[1]\n x\n[2]\n", format="json") == [(1, b"1"), (2, b"x\n[2]")]
    long = b"y" * 9000
    assert payloads(b"[1]" + long, format="json", max_record_bytes=10) == [
        b"1",
        Opaque(long[:4096], 9000, digest(long)),
    ]


@pytest.mark.parametrize("chunk", [7, 1000, MIB])
def test_an_element_beyond_the_limit_is_oversize(chunk: int) -> None:
    long = b'{"a": "' + b"x" * 9000 + b'"}'
    found = payloads(b"[1, " + long + b" , 2]", format="json", max_record_bytes=5000, chunk=chunk)
    assert found == [b"1", Opaque(long[:4096], len(long), digest(long)), b"2"]


def test_space_after_a_scalar_does_not_make_it_oversize() -> None:
    data = b"[1" + b" " * 9000 + b",2]"
    assert payloads(data, format="json", max_record_bytes=10, chunk=1000) == [b"1", b"2"]


@pytest.mark.parametrize("depth", [1, 4, 5, 6, 7, 10_000])
def test_any_depth_of_nesting_is_one_element(depth: int) -> None:
    deep = b'{"a":[' * depth + b"1" + b"]}" * depth
    assert payloads(b"[" + deep + b"," + deep + b"]", format="json") == [deep, deep]


def test_an_object_is_one_record_without_the_space_around_it() -> None:
    assert read(b' \n{"a":\n1}\n\n', format="json") == [(2, b'{"a":\n1}')]
    assert payloads(b'{"a":1} \n \n', format="json") == [b'{"a":1}']


def test_an_object_beyond_the_limit_is_one_oversize_record() -> None:
    data = b'{"a": "' + b"x" * 9000 + b'"}'
    expected = [Opaque(data[:4096], len(data), digest(data))]
    assert payloads(data + b"\n", format="json", max_record_bytes=100, chunk=1000) == expected


@pytest.mark.parametrize("chunk", [1, 10, MIB])
def test_a_json_file_of_one_object_a_line_is_read_as_ndjson(chunk: int) -> None:
    data = b'\n{"a":1}\r\n\n{"a":\n[2]\n'
    assert read(data, format="json", chunk=chunk) == [(2, b'{"a":1}'), (4, b'{"a":'), (5, b"[2]")]


@pytest.mark.parametrize(
    ("data", "format"),
    [(b'{"a":1}\n{"a":2}', "ndjson"), (b'{"a":1}\n\n', "json"), (b'{"a":\n1}', "json"), (b"1\n2", "ndjson")],
)
def test_the_format_option_sets_how_a_json_file_is_read(data: bytes, format: str) -> None:
    with (
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data))),
        open_records("-", format="json") as file,
    ):
        assert file.format == format


def test_a_json_file_that_is_neither_array_nor_object_is_read_line_by_line() -> None:
    assert read(b'\n"x"\n2\n', format="json") == [(2, b'"x"'), (3, b"2")]


@pytest.mark.parametrize("chunk", [1, 5, MIB])
def test_a_records_path_leads_to_the_array_and_the_rest_is_skipped(chunk: int) -> None:
    data = rb"""{"items": [9], "n": null, "s": "}]\"", "o": {"data": {"items": [8]}},
        "dat\u0061" : { "x": [[[]]], "items" : [ {"a": 1},
        2 ], "items": [7]}, "z": [6]} trailing"""
    found = read(data, format="json", records="data.items", chunk=chunk)
    assert found == [(2, b'{"a": 1}'), (3, b"2")]


def test_the_error_for_a_missing_records_path_names_existing_keys() -> None:
    keys = b", ".join(b'"k%d": {"x": []}' % n for n in range(12))
    with pytest.raises(InputError, match=r"'data.items'.*'k0', 'k1', .*'k9'$"):
        read(b"{" + keys + b"}", format="json", records="data.items")


@pytest.mark.parametrize(
    "data",
    [b'{"a": {"b": 1}}', b'{"a": {"b": {"c": []}}}', b'{"a": {"b": ', b'{"a": [1]}', b"{}", b'{"a" 1}', b"5"],
)
def test_a_records_path_to_another_value_than_an_array_is_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError, match=r"standard input: .*records path 'a\.b'"):
        read(data, format="json", records="a.b")


def test_a_records_path_into_an_array_is_an_input_error() -> None:
    with pytest.raises(InputError, match="itself is an array"):
        read(b"[1]", format="json", records="a")


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a. .b"])
def test_a_records_path_with_an_empty_part_is_a_config_error(path: str) -> None:
    with pytest.raises(ConfigError, match="empty part"):
        read(b"{}", format="json", records=path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.lists(VALUES, max_size=6), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_the_elements_of_any_array_are_read_back(
    values: list[object], chunk: int, indent: int | None, nested: bool
) -> None:
    document: object = {"x": values, "d": {"i": values}} if nested else values
    data = json.dumps(document, ensure_ascii=False, indent=indent).encode("utf-8", "surrogatepass")
    found = payloads(data, format="json", records="d.i" if nested else None, chunk=chunk)
    assert [json.loads(p) for p in found if isinstance(p, bytes)] == values


# Any bytes at all

TOKENS = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\n",
    b"\r",
    b" ",
    b"a",
    b"1",
    b'"a":',
    b"\xff",
    b"\0",
]
SOUP = st.lists(st.sampled_from(TOKENS), max_size=60).map(b"".join)
STARTS = st.sampled_from([b"", b"[", b'{"a":[', b"a,b\n", b'{"a":1}\n', b"\xef\xbb\xbf"])
KINDS = st.sampled_from([("json", None), ("json", "a"), ("ndjson", None), ("csv", None)])


def outcome(data: bytes, kind: tuple[str, str | None], chunk: int, limit: int) -> tuple[Any, str]:
    format, records = kind
    found: list[tuple[int, Payload]] = []
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(readers, "_READ_BYTES", chunk))
        stack.enter_context(mock.patch.object(message, "HEAD_BYTES", 4))
        stack.enter_context(mock.patch.object(csv_rows, "MAX_ROW_LINES", 4))
        stack.enter_context(mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data))))
        try:
            file = stack.enter_context(
                open_records("-", format=format, records=records, max_record_bytes=limit)
            )
            for block in file.blocks():
                assert block.payloads
                found += zip(block.lines, block.payloads, strict=True)
        except UsageError as error:
            return found, str(error)
    return found, ""


@given(STARTS, SOUP, KINDS, st.integers(1, 12), st.sampled_from([3, 8, 20, 1000]))
@example(b"[", b"1" + b" " * 30 + b",2]", ("json", None), 3, 8)
@example(b"[", b'"\\\n1]', ("json", None), 3, 8)
@example(b'{"a":1}\n', b" " * 40 + b"\n1", ("json", None), 1, 8)
def test_the_size_of_chunks_changes_no_record(
    start: bytes, soup: bytes, kind: tuple[str, str | None], chunk: int, limit: int
) -> None:
    assert outcome(start + soup, kind, chunk, limit) == outcome(start + soup, kind, MIB, limit)


@given(STARTS, st.binary(max_size=200) | SOUP, KINDS, st.integers(1, 50))
def test_any_bytes_are_records_or_an_input_error(
    start: bytes, data: bytes, kind: tuple[str, str | None], chunk: int
) -> None:
    found, _ = outcome(start + data, kind, chunk, 1000)
    lines = [line for line, _ in found]
    assert lines == sorted(lines)


@given(st.binary(max_size=100), KINDS)
def test_any_bytes_that_claim_to_be_gzip_are_records_or_an_input_error(
    data: bytes, kind: tuple[str, str | None]
) -> None:
    outcome(b"\x1f\x8b" + data, kind, 10, 1000)
    outcome(gzip.compress(data)[: len(data)], kind, 10, 1000)


# Memory


def peak_of(stream: io.BufferedIOBase, **options: Any) -> tuple[list[Payload], int]:
    tracemalloc.start()
    try:
        return payloads(stream, **options), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("start", "fill", "end", "options", "count"),
    [
        (b"1\n", b"x", b"\n2\n", {}, 3),
        (b"1\n", b" ", b"\n2\n", {}, 2),
        (b"a,b\n1,2\n", b"x", b"\n2,3\n", {"format": "csv"}, 3),
        (b"a,b\n", b"\n", b"2,3\n", {"format": "csv"}, 1),
        (b"\n", b"\n", b"a,b\n2,3\n", {"format": "csv"}, 1),
        (b'[1, "', b"x", b'", 2]', {"format": "json"}, 3),
        (b'[1, "', b'\\"', b'", 2]', {"format": "json"}, 3),
        (b"[1, 2", b" ", b", 3]", {"format": "json"}, 3),
        (b"[1, ", b"[", b"", {"format": "json"}, 2),
        (b" ", b"\n", b"[1]", {"format": "json"}, 1),
        (b"[1]", b"x", b"", {"format": "json"}, 2),
        (b'{"a": "', b"x", b'"}', {"format": "json"}, 1),
        (b'{"a": 1}', b"\n", b"2", {"format": "json"}, 2),
        (b'{"a": "', b"x", b'", "b": [1]}', {"format": "json", "records": "b"}, 1),
        (b'{"', b"k", b'": 1, "b": [1]}', {"format": "json", "records": "b"}, 1),
    ],
)
def test_memory_stays_bounded_however_long_one_record_is(
    start: bytes, fill: bytes, end: bytes, options: dict[str, Any], count: int
) -> None:
    stream = io.BufferedReader(
        Endless(start, fill, 24 * MIB if fill in (b"x", b" ", b"k", b'\\"') else MIB // 4, end)
    )
    found, peak = peak_of(stream, max_record_bytes=MIB // 4, **options)
    assert len(found) == count
    assert peak < 8 * MIB


def test_a_small_gzip_file_of_a_huge_text_is_not_held_in_memory() -> None:
    stream = io.BytesIO(gzip.compress(b"[1, " + b"x" * (48 * MIB) + b", 2]"))
    found, peak = peak_of(stream, format="json")
    assert [len(p) for p in found] == [1, 4096, 1]
    assert peak < 12 * MIB
