"""What is no file of its format at all is refused with one error, and a file with wrong records is not."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.files.open import open_records
from store.errors import InputError

from .reading import read

RECORD = b'{"key": "a", "n": [1, {"b": "x\\n"}]}'
PRETTY = json.dumps(json.loads(RECORD), indent=2).encode()


def refusal(data: bytes, format: str = "ndjson", **options: Any) -> str:
    """What the look says; nothing if the file is read."""
    try:
        read(data, format=format, check_head=True, **options)
    except InputError as error:
        return str(error)
    return ""


def archive(kind: str) -> bytes:
    target = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(target, "w") as packed:
            packed.writestr("a.csv", "key\n1\n")
    else:
        with tarfile.open(fileobj=target, mode="w") as packed_too:
            packed_too.addfile(tarfile.TarInfo("a.csv"), io.BytesIO())
    return target.getvalue()


@pytest.mark.parametrize("format", ["json", "ndjson", "csv"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("data", "what", "advice"),
    [
        (archive("zip"), "a ZIP archive", "unpack it"),
        (archive("tar"), "a tar archive", "unpack it"),
        (bz2.compress(RECORD), "bzip2 data", "decompress it"),
        (lzma.compress(RECORD), "xz data", "decompress it"),
        (b"\x28\xb5\x2f\xfd" + bytes(9), "zstd data", "decompress it"),
        (b"PAR1\x15\x04", "a Parquet file", "send it with --format parquet"),
        (b"SQLite format 3\0", "an SQLite database", "export it"),
        (b"%PDF-1.7\n", "a PDF document", "export it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9), "an old Microsoft Office file", "export it"),
        (RECORD.decode().encode("utf-16"), "UTF-16 text", "iconv -f UTF-16"),
        (b"\xfe\xff" + RECORD.decode().encode("utf-16-be"), "UTF-16 text", "iconv -f UTF-16"),
        (RECORD.decode().encode("utf-32"), "UTF-32 text", "iconv -f UTF-32"),
        (RECORD.decode().encode("utf-16-le"), "UTF-16 text without", "iconv -f UTF-16LE"),
        (RECORD.decode().encode("utf-16-be"), "UTF-16 text without", "iconv -f UTF-16BE"),
        (RECORD.decode().encode("utf-32-le"), "UTF-32 text without", "iconv -f UTF-32LE"),
        (b"<!DOCTYPE html>\n<html><body>Log in", "an HTML or XML page", "a login page"),
        (b"\xef\xbb\xbf\r\n <HTML>\n", "an HTML or XML page", "a login page"),
        (b'<?xml version="1.0"?>\n<Error/>', "an HTML or XML page", "an error"),
        (b"key,name\n" + b"<html>\n", "", ""),
    ],
)
def test_another_kind_of_file_is_named_with_what_to_do(
    format: str, compressed: bool, data: bytes, what: str, advice: str
) -> None:
    if not what and format == "json":
        return
    message = refusal(gzip.compress(data) if compressed else data, format)
    if not what:
        assert message == ""
        return
    assert message.startswith(f"standard input: this is {what}"), message
    assert advice in message
    assert message.endswith("; nothing of it was sent")


def test_ndjson_is_no_table() -> None:
    assert "this is NDJSON, not CSV: send it with --format ndjson" in refusal(RECORD + b"\n" + RECORD, "csv")


def test_data_that_was_compressed_twice_is_refused() -> None:
    twice = gzip.compress(gzip.compress(RECORD))
    assert "this is gzip data within gzip data: decompress it once" in refusal(twice)


@pytest.mark.parametrize(
    ("name", "compressed", "message"),
    [
        ("a.ndjson", True, "the name says plain text, but the file is gzip data: rename it"),
        ("a.ndjson.gz", False, "the name says gzip, but the file is not gzip data: rename it"),
        ("a.GZ", False, "the name says gzip, but the file is not gzip data: rename it"),
        ("a.ndjson", False, None),
        ("a.ndjson.gz", True, None),
        ("a", True, None),
        ("a.2025", False, None),
    ],
)
@pytest.mark.parametrize("format", [None, "ndjson"])
def test_a_name_that_says_gzip_and_bytes_that_do_not_are_refused_and_the_reverse(
    tmp_path: Path, name: str, compressed: bool, message: str | None, format: str | None
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(RECORD) if compressed else RECORD)
    if message:
        with pytest.raises(InputError, match=message):
            open_records(str(path), format="ndjson", check_head=True)
    elif format:
        with open_records(str(path), format="ndjson", check_head=True) as file:
            assert [block.payloads for block in file.blocks()] == [[RECORD]]


LONG = json.dumps({"key": "a", "values": ["x" * 50] * 2000}, indent=1).encode()


@pytest.mark.parametrize(
    ("data", "what", "advice"),
    [
        (PRETTY, "goes over several lines", "--format json"),
        (b"\n" + PRETTY + b"\n" + PRETTY, "goes over several lines", "--format json"),
        (PRETTY.replace(b"\n", b"\r\n"), "goes over several lines", "--format json"),
        (b"[\n" + RECORD + b",\n" + RECORD + b"\n]\n", "goes over several lines", "--format json"),
        (b"[" + RECORD + b",\n" + RECORD + b"]\n", "goes over several lines", "--format json"),
        (LONG, "goes over several lines", "--format json"),
        (b"[\n" + b",\n".join([RECORD] * 2000) + b"]", "goes over several lines", "--format json"),
        (RECORD + RECORD, "several values in a line", "--format json"),
        (RECORD + b" " + RECORD + b"\n" + RECORD + RECORD, "several values in a line", "--format json"),
        (RECORD * 2000, "several values in a line", "--format json"),
        (RECORD + b",\n" + RECORD + b",\n" + RECORD, "commas after its records", "without commas"),
        (RECORD + b"," + RECORD, "commas after its records", "without commas"),
        (b"[" + RECORD + b"," + RECORD + b"]\n", "arrays of objects", "--format json"),
    ],
    ids=range(13),
)
def test_json_that_is_not_one_value_a_line_is_refused_as_ndjson(data: bytes, what: str, advice: str) -> None:
    message = refusal(data)
    assert message.startswith("standard input: this is not NDJSON: ")
    assert what in message
    assert advice in message
    assert refusal(data, "json") == "" or b"," in data


@pytest.mark.parametrize("good", [[RECORD], [RECORD] * 3])
@pytest.mark.parametrize(
    "bad",
    [
        RECORD[:-1],
        RECORD[:20],
        b"{",
        b"[",
        b'{"a": [',
        b'{"a": {',
        b'{"a": "x',
        RECORD + RECORD,
        RECORD + b",",
        RECORD + b" trailing",
        b"[" + RECORD + b"]",
        b"[1, 2]",
        b'"x"',
        b"1",
        b"}",
        b"\xff\xfe\xfd"[1:],
        b"\0",
        b"<134>Jan 1 12:00:00 host",
        b'{"a": ' * 20_000,
        b"9" * 5000,
    ],
)
def test_a_first_line_that_is_wrong_alone_is_a_record_that_is_wrong(bad: bytes, good: list[bytes]) -> None:
    found = read(b"\n".join([bad, *good]), format="ndjson", check_head=True)
    assert [payload for _, payload in found] == [bad, *good]


@given(st.lists(st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"").rstrip(b"\r")), max_size=9))
def test_whatever_follows_a_first_record_is_read(lines: list[bytes]) -> None:
    data = b"\n".join([RECORD, *lines])
    expected = [RECORD, *[line for line in lines if line.strip()]]
    assert [payload for _, payload in read(data, format="ndjson", check_head=True)] == expected


def test_a_slow_pipe_is_looked_at_no_further_than_its_first_record() -> None:
    class Slow(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.given += 1
            line = RECORD + b"\n"
            assert self.given < 2, "it waits for more"
            buffer[: len(line)] = line
            return len(line)

    slow = Slow()
    with (
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(slow))),
        open_records("-", check_head=True) as file,
    ):
        assert next(file.blocks()).payloads[0] == RECORD
    assert slow.given == 1
