"""JSON documents: the elements of an array, one object, and paths."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.files.open import open_records
from store.errors import ConfigError, InputError
from worker.queue.message import Opaque

from .reading import MIB, digest, payloads, read

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


def test_an_empty_array_has_no_records() -> None:
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


def test_mismatched_brackets_within_an_element_count_by_depth_only() -> None:
    assert payloads(b'[{"a": [1}], [2}, 3]', format="json") == [b'{"a": [1}]', b"[2}", b"3"]


def test_a_word_that_is_no_value_is_an_element() -> None:
    assert payloads(b"[1, nope, 2]", format="json") == [b"1", b"nope", b"2"]


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
        2 ], "other": [7, {}, {"b": [-1.5e3, "x"]}]}, "z": [6]} """
    found = read(data, format="json", records="data.items", chunk=chunk)
    assert found == [(2, b'{"a": 1}'), (3, b"2")]


def test_the_error_for_a_missing_records_path_names_existing_keys() -> None:
    keys = b", ".join(b'"k%d": {"x": []}' % n for n in range(12))
    with pytest.raises(InputError, match=r"'data.items'.*'k0', 'k1', .*'k9'$"):
        read(b"{" + keys + b"}", format="json", records="data.items")


@pytest.mark.parametrize(
    "data",
    [b'{"a": {"b": 1}}', b'{"a": {"b": {"c": []}}}', b'{"a": [1]}', b"{}", b"5"],
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
