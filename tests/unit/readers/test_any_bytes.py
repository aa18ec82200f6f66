"""Any bytes are records or an input error, in bounded memory."""

from __future__ import annotations

import gzip
import io
import sys
import tracemalloc
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producer.files import open as readers
from producer.files.batches import Payload
from producer.files.open import open_records
from store.errors import UsageError
from worker.queue import message

from .reading import MIB, Endless, payloads

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
        (b"[1, [", b"0,", b"0]]", {"format": "json"}, 2),
        (b'{"z": [', b"0,", b'0], "b": [1]}', {"format": "json", "records": "b"}, 1),
        (b" ", b"\n", b"[1]", {"format": "json"}, 1),
        (b"[1]\n", b"\n", b'"x"', {"format": "json"}, 2),
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
