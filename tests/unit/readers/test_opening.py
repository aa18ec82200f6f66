"""Files are opened by what they are, and what is damaged costs what lies behind it."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.files import open as readers
from producer.files.batches import Payload
from producer.files.open import open_records
from store.errors import ConfigError, InputError

from .reading import MIB, digest, payloads, read, read_until_error

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
    with pytest.raises(InputError, match="give --format json, ndjson, csv, parquet or xlsx"):
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
    with pytest.raises(InputError, match=r"a\.txt.*give --format json, ndjson, csv, parquet or xlsx"):
        open_records(str(path))


@pytest.mark.parametrize("name", ["a.csv.zip", "a.ODS", "a.json.bz2"])
def test_an_ending_of_what_is_not_read_is_named_with_what_to_do(name: str) -> None:
    with pytest.raises(InputError, match=r"\.(zip|ods|bz2) files are not read: unpack or export it"):
        open_records(name)


def test_an_unknown_format_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"'xml'.*json, ndjson, csv, parquet or xlsx"):
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


EMPTY = [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"]


@pytest.mark.parametrize("data", EMPTY)
def test_an_empty_file_of_lines_has_no_records_and_is_not_an_error(data: bytes) -> None:
    assert read(data, format="ndjson", chunk=2) == []


@pytest.mark.parametrize("data", EMPTY)
def test_an_empty_file_is_no_json_document_and_no_table(data: bytes) -> None:
    for format, lacking in (("json", "no JSON document"), ("csv", "no row that names the columns")):
        with pytest.raises(InputError, match=f"standard input: is empty, .*{lacking}"):
            read(data, format=format, chunk=2)


def test_a_table_of_a_header_alone_has_no_records_and_is_not_an_error() -> None:
    assert read(b"\nkey,ts\n\n", format="csv", chunk=2) == []


def test_an_empty_file_is_no_json_document_at_any_path() -> None:
    with pytest.raises(InputError, match="is empty"):
        read(b" \n", format="json", records="a.b")


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
    text = zlib.decompressobj(31).decompress(path.read_bytes())
    whole = text.count(b"\n") - (format == "csv")
    expected = lines[1:] if format == "csv" else lines
    assert whole > 1000
    assert found == expected[:whole]
    assert "damaged or cut short at byte 200,000, line " in message
    assert "were read" not in message  # the command says how many were sent


def test_corrupt_gzip_data_is_an_error_after_the_records_before_it(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b"\n".join(digest(b"%d" % n).encode() for n in range(20_000))))
    content[150_000:150_100] = bytes(100)
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(content)
    found, message = read_until_error(path)
    inflater, text = zlib.decompressobj(31), b""
    with suppress(zlib.error):
        for byte in content:
            text += inflater.decompress(bytes([byte]))
    assert len(found) > 1000
    assert found == [line for line in text.split(b"\n")[:-1] if line.strip()]
    assert "damaged" in message


def test_a_wrong_checksum_is_an_error_that_casts_doubt_on_the_records(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b"1\n2\n"))
    content[-5] ^= 1
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(content)
    found, message = read_until_error(path)
    assert found == [b"1", b"2"]
    assert "incorrect length check" in message or "incorrect data check" in message
    assert "may be wrong too" in message


@pytest.mark.parametrize("padding", [b"", bytes(3), bytes(100_000)])
@pytest.mark.parametrize("behind", [b"x", b"\x1fx", b"garbage\n" * 20_000])
@pytest.mark.parametrize("text", [b"1\n2", b"1\n2\n"])
def test_bytes_behind_gzip_data_are_an_error_after_all_of_its_records(
    tmp_path: Path, padding: bytes, behind: bytes, text: bytes
) -> None:
    whole = gzip.compress(text) + padding
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(whole + behind)
    with open_records(str(path)) as file, pytest.raises(InputError, match="not gzip data follow"):
        assert file.content()
        list(file.blocks())
    found, message = read_until_error(path)
    assert found == [b"1", b"2"]
    assert f"from byte {len(whole) + 1:,} on" in message
    path.write_bytes(whole)
    with open_records(str(path)) as file:
        assert [p for block in file.blocks() for p in block.payloads] == [b"1", b"2"]


@given(
    st.lists(st.binary(min_size=1, max_size=9).map(bytes.hex).map(str.encode), min_size=1, max_size=40),
    st.integers(0, 3),
    st.data(),
)
def test_wherever_gzip_data_is_cut_every_record_read_is_whole(
    lines: list[bytes], members: int, data: st.DataObject
) -> None:
    text = b"\n".join(lines) + b"\n"
    size = len(text) // (members + 1) + 1
    pieces = [gzip.compress(text[at : at + size]) for at in range(0, len(text), size)]
    content = b"".join(pieces)
    cut = data.draw(st.integers(2, len(content)))
    ends = [sum(map(len, pieces[:n])) for n in range(1, len(pieces) + 1)]
    found: list[Payload] = []
    with (
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content[:cut]))),
        open_records("-") as file,
        nullcontext() if cut in ends else pytest.raises(InputError),
    ):
        for block in file.blocks():
            found += block.payloads
    # Between two members nothing shows that another one is lacking.
    assert found == lines[: len(found)] or cut in ends
    assert text.startswith(b"\n".join(found))


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
