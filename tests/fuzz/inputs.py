"""Hypothesis strategies: bytes that look like files and messages, and what becomes of them when they are hurt."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from hypothesis import strategies as st

from store.csv_reader import Dialect

GOOD = {"key": "a", "name": "pump", "value": 1.5, "ts": "2025-01-15T08:00:00Z"}
FIELDS = [*GOOD, "number", "properties", "amount", "at", "tags", "", "KEY", "a.b", "é"]
WHITESPACE = [b"", b" ", b"\n", b"\r\n", b"\t", b"\v", b"\f", b"\r", b" \n "]

# What parsers of these formats trip over, put where nobody expects it.
TOKENS = [
    *(bytes([byte]) for byte in b'{}[]":,\\/;|\t\r\n\0 \'+-.eE019\x0b\x0c\x1f\x7f\x85\xa0\xff\xc3\xed'),
    b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\x1f\x8b", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", "é\u2028😀".encode(),
    b'\\"', b"\\\\", b"\\u0000", b"\\ud800", b"\\ud83d\\ude00", b'""', b'"""', b'",', b'":', b'" :', b'":"',
    b"null", b"true", b"false", b"NaN", b"-Infinity", b"1e400", b"-0", b"1e-400", b"0x10", b"1_0", b"01",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809", b"1" * 25, b"1." + b"0" * 25,
    b"[" * 70, b"]" * 70, b'{"a":' * 70, b"}" * 70, b"[1,2]", b"{}", b"x" * 80, b" " * 80, b"\t" * 80,
    b"\n" + b" " * 80 + b"\n",
    b'"2025-01-15T08:00:00Z"', b'"2025-01-15"', b"20250115", b'"0001-01-01T00:00:00+23:59"', b"253402300800",
    b"=cmd|' /C calc'!A0", b"\x1b[2J", b"'); DROP TABLE target; --",
]  # fmt: skip

TEXTS = st.text(st.characters(max_codepoint=0x10FFFF), max_size=12) | st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\ud800",
        "x" * 40,
        "2025-01-15T08:00:00+02:00",
        "2025-02-30",
        "24:00",
        "1e5",
        "٣",
        "²",
        "NaN",
    ]
)
NUMBERS = (
    st.integers(-(2**70), 2**70) | st.floats(allow_nan=True) | st.sampled_from([2**63 - 1, 2**63, -(2**63)])
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS) | TEXTS, inner, max_size=4)
    ),
    max_leaves=8,
)
RECORDS = st.dictionaries(st.sampled_from(FIELDS) | TEXTS, VALUES, max_size=6).flatmap(
    lambda odd: st.sampled_from([odd, GOOD | odd, odd | GOOD, {"properties": GOOD | odd}])
)


def dumped(value: Any, *, ascii_only: bool = True) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


JSON_TEXTS = st.builds(lambda value, plain: dumped(value, ascii_only=plain), RECORDS | VALUES, st.booleans())


@st.composite
def hurt(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """A well-made input with a few pieces taken out, put in, or repeated."""
    data = draw(whole)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        stop = min(len(data), start + draw(st.sampled_from([0, 0, 1, 2, 7])))
        piece = draw(st.sampled_from(TOKENS) | st.binary(max_size=4) | st.just(data[stop : stop + 30]))
        data = data[:start] + piece + data[stop:]
    return data


def joined(pieces: st.SearchStrategy[bytes], between: list[bytes]) -> st.SearchStrategy[bytes]:
    pairs = st.tuples(pieces, st.sampled_from(between))
    return st.lists(pairs, max_size=8).map(lambda found: b"".join(piece + gap for piece, gap in found))


def csv_text(rows: list[list[str]], delimiter: str) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    return out.getvalue().encode("utf-8", "surrogatepass")


NDJSON = joined(JSON_TEXTS, [b"\n", b"\n", b"\r\n", b"\n\n", b"\n \n"])
ARRAYS = st.lists(JSON_TEXTS, max_size=8).flatmap(
    lambda items: st.sampled_from([b",", b" ,\n", b",\r\n  "]).map(
        lambda comma: b"[" + comma.join(items) + b"]"
    )
)
DOCUMENTS = (
    ARRAYS | ARRAYS.map(lambda array: b'{"kind": "x", "a": {"b": ' + array + b'}, "z": [1]}') | JSON_TEXTS
)
CELLS = (
    st.sampled_from(["a", "1.5", "2025-01-15T08:00:00Z", "", " ", 'q"q', "l\nl", "c,c", "=1+1", "\r"]) | TEXTS
)
TABLES = st.builds(
    lambda rows, delimiter: csv_text([list(GOOD), *rows], delimiter),
    st.lists(st.lists(CELLS, min_size=3, max_size=5), max_size=8),
    st.sampled_from(",,,\t;|"),
)
FILES = {
    "ndjson": hurt(NDJSON) | st.binary(max_size=200) | joined(st.sampled_from(TOKENS), WHITESPACE),
    "json": hurt(DOCUMENTS)
    | hurt(NDJSON)
    | st.binary(max_size=200)
    | joined(st.sampled_from(TOKENS), WHITESPACE),
    "csv": hurt(TABLES) | st.binary(max_size=200) | joined(st.sampled_from(TOKENS), WHITESPACE),
}

WIRE = {
    "v": 1, "id": "ab" * 16, "kind": "file", "source": "s", "file": "f.ndjson", "format": "json", "header": None,
    "dialect": Dialect().to_wire(), "records": [dumped(GOOD).decode(), {"base64": "/w==", "size": 1, "digest": None}],
    "lines": 1, "fingerprint": "f" * 16, "size": 80, "part_of": None, "letters": [],
}  # fmt: skip
OTHERS = [
    "csv",
    "replay",
    "split",
    "",
    "ab",
    ";",
    "\n",
    '"',
    ["key", "ts"],
    [],
    [1, 2],
    [7, 8],
    2**63,
    -1,
    0,
    True,
]
WIRES = st.one_of(
    st.dictionaries(
        st.sampled_from(list(WIRE)), VALUES | st.sampled_from([*WIRE.values(), *OTHERS]), max_size=3
    ).map(lambda odd: WIRE | odd),
    st.sampled_from(list(WIRE)).map(lambda lost: {name: WIRE[name] for name in WIRE if name != lost}),
    VALUES.map(lambda letters: WIRE | {"letters": [letters]}),
    VALUES.map(lambda record: WIRE | {"records": [record]}),
    VALUES,
).map(dumped)
