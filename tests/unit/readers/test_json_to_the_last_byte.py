"""A JSON document is accounted for to its last byte: what is whole is read, and an error names where it ends."""

from __future__ import annotations

import io
import json
import sys
import tracemalloc
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from producer.files import open as readers
from producer.files.batches import Payload
from producer.files.open import open_records
from store.errors import InputError
from worker.queue.message import Opaque

from .reading import MIB, Endless, payloads, read


def read_to(data: bytes, *, chunk: int = MIB, **options: Any) -> tuple[list[Payload], str]:
    """(the records, the error after them; empty where the document is whole)."""
    found: list[Payload] = []
    with (
        mock.patch.object(readers, "_READ_BYTES", chunk),
        mock.patch.object(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data))),
    ):
        try:
            with open_records("-", format="json", **options) as file:
                for block in file.blocks():
                    found += block.payloads
        except InputError as error:
            return found, str(error)
    return found, ""


A, B = b'{"key":"A"}', b'{"key":"B"}'


@pytest.mark.parametrize("chunk", [1, 3, MIB])
@pytest.mark.parametrize(
    ("data", "whole", "byte", "expected"),
    [
        (b"[%b,,%b]" % (A, B), [A], 14, "a value"),
        (b"[%b %b]" % (A, B), [A], 14, "',' or ']'"),
        (b"[%b}" % A, [A], 13, "',' or ']'"),
        (b"[%b,]" % A, [A], 14, "a value"),
        (b"[,%b]" % A, [], 2, "a value"),
        (b"[\f%b]" % A, [], 2, "a value"),
        (b"[1 2]", [b"1"], 4, "',' or ']'"),
        (b"[\n// note\n%b]" % A, [], 3, "a value"),
        (b"[%b]]" % A, [A], 14, "a value"),
        (b"[%b]\n %b, %b" % (A, B, A), [A, B], 27, "a value"),
        (b"[%b] trailing" % A, [A], 15, "a value"),
        (b'%b{"a": "x\n"}' % A, [A], 20, "the rest of a string"),
    ],
)
def test_the_first_byte_that_breaks_a_document_is_named_after_the_records_before_it(
    data: bytes, whole: list[bytes], byte: int, expected: str, chunk: int
) -> None:
    found, error = read_to(data, chunk=chunk)
    assert found == whole
    assert f"no JSON document from byte {byte} of its text on" in error
    assert f": {expected} should stand there" in error


@pytest.mark.parametrize("chunk", [1, 3, MIB])
@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"[", []),
        (b"[%b" % A, [A]),
        (b"[%b," % A, [A]),
        (b"[%b, %b" % (A, B[:-1]), [A]),
        (b'[%b, {"a": "x' % A, [A]),
        (b'[%b, {"a": "x\\' % A, [A]),
        (b'[%b, "x,' % A, [A]),
        (b"[%b, tru" % A, [A]),
        (b"[%b, 12" % A, [A]),
        (b'{"a": 1', []),
        (b"%b\n%b" % (A, B[:-1] + b"\n"), [A, B[:-1]]),  # one a line: the worker rejects the second
        (b"[%b]\n[%b" % (A, B), [A, B]),
        (b"[%b]\n{" % A, [A]),
    ],
)
def test_a_document_that_is_cut_short_never_passes_as_whole(
    data: bytes, whole: list[bytes], chunk: int
) -> None:
    found, error = read_to(data, chunk=chunk)
    assert found == whole
    line = 1 + data.count(b"\n")
    assert data.startswith(A) or f"behind byte {len(data)} of its text, on line {line}" in error


@pytest.mark.parametrize("chunk", [1, 3, MIB])
@pytest.mark.parametrize(
    ("data", "whole", "problem"),
    [
        (b'{"f":[%b]}\n{"f":[%b]}' % (A, B), [A, B], ""),
        (b'{"f":[%b]}{"f":[]}{"f":[%b]}' % (A, B), [A, B], ""),
        (b'{"f":[%b],"f":[%b]}' % (A, B), [A], "byte 20 of its text on, line 1: another key than 'f', which"),
        (b'{"f":[%b]}}}garbage [%b]' % (A, B), [A], "byte 20 of its text on, line 1: a value"),
        (b'{"f":[%b]' % A, [A], "behind byte 18 of its text, on line 1, ',' or '}' should follow"),
        (b'{"f":[%b],' % A, [A], "behind byte 19"),
        (b'{"f":[%b],"g":[1,2' % A, [A], "behind byte 27"),
        (b'{"f":[%b],"g":[1,,2]}' % A, [A], "byte 27 of its text on, line 1: a value"),
        (b'{"f":[%b],"g":nope}' % A, [A], "byte 24 of its text on, line 1: a value"),
        (b'{"f":[%b],"g":{"x":01}}' % A, [A], "byte 29 of its text on, line 1: a value"),
        (b'{"f":[%b],"g":[1]]}' % A, [A], "byte 27 of its text on, line 1: ',' or '}'"),
        (b'{"f":[%b],}' % A, [A], "byte 20 of its text on, line 1: a key in quotes"),
        (b'{"f" 1}', [], "byte 6 of its text on, line 1: ':'"),
        (b'{"f": ', [], "behind byte 6 of its text, on line 1, an array should follow"),
        (b'{"f":[%b]}\n{"error": 5}' % A, [A], "nothing at records path 'f' in the document that ends on line 2"),
        (b'{"f":[%b]}\n[1]' % A, [A], "the document itself is an array (line 2)"),
        (b'{"f":[%b]} 5' % A, [A], "nothing at records path 'f'"),
    ],
)  # fmt: skip
def test_what_follows_the_array_at_a_records_path_is_read_or_an_error(
    data: bytes, whole: list[bytes], problem: str, chunk: int
) -> None:
    found, error = read_to(data, chunk=chunk, records="f")
    assert found == whole
    assert problem in error
    assert bool(problem) == bool(error)


@pytest.mark.parametrize("chunk", [1, 3, MIB])
@pytest.mark.parametrize(
    "data",
    [
        b"%b%b" % (A, B),
        b"%b\n\n%b\n" % (A, B),
        b"\x1e%b\n\x1e%b\n" % (A, B),
        b"[%b]\n[%b]\n" % (A, B),
        b"[%b]%b" % (A, B),
        b"[]\n[%b, %b]" % (A, B),
    ],
)
def test_documents_one_after_another_are_read_one_after_another(data: bytes, chunk: int) -> None:
    assert read_to(data, chunk=chunk) == ([A, B], "")


@pytest.mark.parametrize("chunk", [1, 3, MIB])
def test_documents_of_several_lines_are_not_read_line_by_line(chunk: int) -> None:
    pretty = b'{\n "a": 1,\n "b": [\n%b\n ]\n}' % B
    assert read(pretty + b"\n" + pretty, format="json", chunk=chunk) == [(1, pretty), (7, pretty)]
    assert read(A + b"\n\n" + pretty + A, format="json", chunk=chunk) == [(1, A), (3, pretty), (8, A)]


@pytest.mark.parametrize("chunk", [1, 3, MIB])
def test_no_line_within_a_document_of_several_lines_is_a_record(chunk: int) -> None:
    found, error = read_to(b'%b\n%b\n{\n"parts": [\n%b\n]\n}\n' % (A, A, B), chunk=chunk)
    assert found == [A, A]
    assert "a document of several lines begins on line 3" in error


@pytest.mark.parametrize("data", [A + b"," + B, A + b",\n" + B, A + b"\n,\n" + B[:0]])
def test_objects_with_commas_between_them_are_refused_before_any_is_sent(data: bytes) -> None:
    found, error = read_to(data)
    if b"},\n" in data or b"},{" in data:
        assert (found, "put [ before the first" in error) == ([], True)
    else:
        assert found == [A, b","]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
ROWS = st.lists(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), VALUES, max_size=3)
)
WRITING = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, 1]),
        "ensure_ascii": st.booleans(),
        "separators": st.sampled_from([(",", ":"), (" , ", " : ")]),
    }
)


@settings(max_examples=60)
@given(
    pages=st.lists(ROWS, min_size=1, max_size=3),
    beside=st.none() | VALUES,
    writing=WRITING,
    between=st.sampled_from(["", "\n", " ", "\x1e"]),
    cut=st.integers(0),
    chunk=st.integers(1, 40),
)
@example(pages=[[{}]], beside=None, writing={}, between="", cut=1, chunk=1)
@example(pages=[[{}, {}]], beside=[], writing={}, between="", cut=11, chunk=1)
def test_any_document_cut_at_any_byte_gives_its_first_records_and_an_error(
    pages: list[list[Any]], beside: Any, writing: dict[str, Any], between: str, cut: int, chunk: int
) -> None:
    """With a records path where something stands beside the records, else as arrays one after another."""
    documents = pages if beside is None else [{"b": beside, "f": page, "z": beside} for page in pages]
    texts = [json.dumps(document, **writing).encode("utf-8", "surrogatepass") for document in documents]
    data = between.encode().join(texts)
    path = None if beside is None else "f"
    rows = [row for page in pages for row in page]

    found, error = read_to(data, chunk=chunk, records=path)
    assert ([json.loads(bytes(each)) for each in found], error) == (rows, "")  # type: ignore[arg-type]

    at = cut % len(data)
    ends = {sum(map(len, texts[:n])) + max(n - 1, 0) * len(between) for n in range(1, len(texts) + 1)}
    is_whole = any(end <= at <= end + len(between) for end in ends)
    first, error = read_to(data[:at], chunk=chunk, records=path)
    assert first == found[: len(first)]
    assert bool(error) == (not is_whole)


@settings(max_examples=40)
@given(
    st.lists(ROWS.map(lambda rows: {"rows": rows}), min_size=2, max_size=3),
    st.integers(0),
    st.integers(1, 40),
)
def test_documents_cut_at_any_byte_give_the_first_ones_and_an_error(
    objects: list[Any], cut: int, chunk: int
) -> None:
    texts = [json.dumps(each, indent=2).encode() for each in objects]
    data = b"\n".join(texts)
    assert payloads(data, format="json", chunk=chunk) == texts
    at = cut % len(data)
    found, error = read_to(data[:at], chunk=chunk)
    assert found == texts[: len(found)]
    ends = {len(b"\n".join(texts[:n])) for n in range(1, len(texts) + 1)}
    assert bool(error) == (not (at in ends or at - 1 in ends))


@given(
    st.binary(max_size=60) | st.lists(st.sampled_from(list(b'[]{},:"0a -\n\\'))).map(bytes), st.integers(1, 9)
)
@example(b'{"z":[1,{"a":[]}],"f":[{}]}', 1)
def test_what_is_skipped_is_held_to_the_grammar_of_json(soup: bytes, chunk: int) -> None:
    """As Python's own reader has it, but for what stands within strings and two words it takes besides."""
    data = b'{"f":[1],"g":%b}' % soup
    found, error = read_to(data, chunk=chunk, records="f")
    try:
        json.loads(data.decode("latin-1"), strict=False)
    except ValueError:
        assert error or b"\\" in soup or b"NaN" in soup
    else:
        assert not error or b"\n" in soup or soup.count(b'"f"')
        assert found == [b"1"]


@pytest.mark.parametrize(
    ("start", "fill", "options"),
    [
        (b"[1, ", b"[", {}),
        (b"", b"[", {"records": "f"}),
        (b"[1]", b"x", {}),
        (b'{"f":[1],"g":', b"9", {"records": "f"}),
    ],
)
def test_memory_stays_bounded_however_long_what_is_no_document_is(
    start: bytes, fill: bytes, options: dict[str, Any]
) -> None:
    stream = io.BufferedReader(Endless(start, fill, (2 if fill == b"[" else 64) * MIB // 16, b""))
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            payloads(stream, format="json", max_record_bytes=MIB // 16, chunk=MIB // 16, **options)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("chunk", [1, 3, MIB])
def test_a_broken_text_of_a_sequence_costs_itself_alone(chunk: int) -> None:
    """RFC 7464, 2.3: a text that was cut short, or holds several, does not spoil those behind the next separator."""
    texts = [A, b'{"a":', b'{"a":"x', b'{"a":1}}', A + B, b"}", b"nul", b"[1,2]", b'{"a":\n1}', B]
    data = b"".join(b"\x1e%b\n" % text for text in texts) + b"\x1e\x1e\n \x1e" + B[:-1]
    expected = [*texts[:7], b"1", b"2", *texts[8:], B[:-1]]
    found = read(data, format="json", chunk=chunk)
    assert [payload for _, payload in found] == expected
    assert [line for line, _ in found] == [1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 11, 13]


def test_a_text_of_a_sequence_beyond_the_limit_is_one_record() -> None:
    found = payloads(
        b"\x1e" + A + b"\n\x1e" + b"x" * 9000 + b"\n\x1e" + B, format="json", max_record_bytes=100
    )
    assert [isinstance(each, Opaque) for each in found] == [False, True, False]


def test_a_sequence_that_is_sent_as_ndjson_is_named() -> None:
    with pytest.raises(InputError, match=r"a sequence of JSON texts .*: send it with --format json"):
        read(b"\x1e" + A + b"\n\x1e" + B, format="ndjson", check_head=True)
