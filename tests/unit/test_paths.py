"""A path is bytes: it is shown as one line of text, and two paths are never shown alike."""

from __future__ import annotations

import os

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from store.text import printable, shown_path

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name) | st.text(
    st.sampled_from('\\xe9ué\x85\n"'), min_size=1, max_size=8
).map(str.encode)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"orders 2025-01.csv", "orders 2025-01.csv"),
        ("Größe 😀.csv".encode(), "Größe 😀.csv"),
        (b"caf\xe9.csv", "caf\\xe9.csv"),
        (b"a\nb\t\x1b[31m\x07.csv", "a\\nb\\t\\x1b[31m\\x07.csv"),
        ("\x85\u2028\u202e.csv".encode(), "\\u0085\\u2028\\u202e.csv"),
        (b"\x85.csv", "\\x85.csv"),
        (rb"caf\xe9.csv", r"caf\\xe9.csv"),
        (b"\xed\xa0\x80.csv", "\\xed\\xa0\\x80.csv"),
    ],
)
def test_what_cannot_be_shown_is_written_out(name: bytes, shown: str) -> None:
    assert shown_path(os.fsdecode(name)) == shown


@given(NAMES)
def test_any_path_is_one_line_that_json_and_terminals_take(name: bytes) -> None:
    shown = shown_path(os.fsdecode(name))
    assert shown.isprintable()
    assert printable(shown) == shown
    assert orjson.loads(orjson.dumps(shown)) == shown


@given(NAMES, NAMES)
@example(b"\x85", "\x85".encode())
@example(b"\xe9", rb"\xe9")
@example(b"\n", rb"\n")
@example(b"\\", b"\\\\")
def test_two_paths_are_never_shown_alike(one: bytes, other: bytes) -> None:
    assert (shown_path(os.fsdecode(one)) == shown_path(os.fsdecode(other))) == (one == other)


def test_a_text_that_is_no_path_is_shown_all_the_same() -> None:
    assert shown_path("a\0\ud800.csv") == "a\\x00\\ud800.csv"
