"""An input is opened once: a pipe arrives whole, and of a regular file the bytes of its hash."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path
from unittest import mock

import pytest

from producer.files.open import open_records
from store.errors import InputError

from .reading import MIB, digest

LINES = [b'{"n":%d}' % n for n in range(1000)]
IN_FORMATS = {
    "ndjson": b"\n".join(LINES),
    "json": b"[" + b",".join(LINES) + b"]",
    "csv": b"n\n" + b"\n".join(LINES),
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("format", IN_FORMATS)
def test_a_pipe_is_opened_once_never_sought_and_read_whole(format: str, compressed: bool) -> None:
    data = gzip.compress(IN_FORMATS[format]) if compressed else IN_FORMATS[format]
    reader, writer = os.pipe()  # which holds all of it
    os.write(writer, data)
    os.close(writer)
    opened: list[Path] = []

    def open_counted(path: Path, mode: str) -> io.BufferedReader:
        opened.append(path)
        return io.BufferedReader(Unseekable(os.dup(reader)))

    try:
        with (
            mock.patch.object(Path, "open", open_counted),
            open_records(f"/dev/fd/{reader}", format=format, check_head=True) as file,
        ):
            assert file.size is None
            assert file.content() is None
            assert [p for block in file.blocks() for p in block.payloads] == LINES
            assert file.bytes_read == len(data)
    finally:
        os.close(reader)
    assert opened == [Path(f"/dev/fd/{reader}")]


class Unseekable(io.FileIO):
    def seek(self, *_: int) -> int:
        raise AssertionError("a pipe cannot be sought in")


@pytest.mark.parametrize("is_hashed_first", [False, True])
def test_a_regular_file_is_opened_once_for_its_hash_and_its_records(
    tmp_path: Path, is_hashed_first: bool
) -> None:
    path = tmp_path / "a.ndjson"
    for data in (IN_FORMATS["ndjson"], b"1\n" * (3 * MIB), gzip.compress(b"1\n2")):
        path = tmp_path / ("a.ndjson.gz" if data[:2] == b"\x1f\x8b" else "a.ndjson")
        path.write_bytes(data)
        with (
            mock.patch.object(Path, "open", side_effect=Path.open, autospec=True) as opened,
            open_records(str(path), check_head=True) as file,
        ):
            records = [] if is_hashed_first else [p for block in file.blocks() for p in block.payloads]
            content = file.content()
            records = records or [p for block in file.blocks() for p in block.payloads]
        assert opened.call_count == 1
        assert content == digest(data)
        assert b"\n".join(records) == gunzipped(data).rstrip(b"\n")


def gunzipped(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def test_what_is_appended_after_the_hash_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"1\n2\n")
    with open_records(str(path)) as file:
        assert file.content() == digest(b"1\n2\n")
        with path.open("ab") as more:
            more.write(b"3\n")
        assert [p for block in file.blocks() for p in block.payloads] == [b"1", b"2"]


@pytest.mark.parametrize("now", [b"7\n8\n", b"7\n", b""])
def test_a_file_that_is_rewritten_after_the_hash_is_an_error(tmp_path: Path, now: bytes) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"1\n2\n")
    os.utime(path, (1, 1))
    with open_records(str(path)) as file, pytest.raises(InputError, match="was changed while it was read"):
        file.content()
        with path.open("r+b") as other:
            other.truncate(0)
            other.write(now)
        list(file.blocks())


def test_an_error_names_a_file_by_its_bytes(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        open_records(os.fsdecode(bytes(tmp_path) + b"/caf\xe9\n.csv"))
    assert str(error.value) == f"{tmp_path}/caf\\xe9\\n.csv: no such file; check the path"
