"""Encodings: the same text gives the same records, and a byte that is no text costs its record alone."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.files.batches import Payload
from producer.files.transcoding import Transcoder
from store.csv_reader import Dialect, encoding_name
from store.errors import ConfigError, InputError
from worker.queue.message import Opaque

from .reading import MIB, read

ENCODINGS = ["cp1252", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp500", "gb18030"]
LINES = 'key,name\na,"kühl\nung"\nb,ÿþ\n'


def found(
    data: bytes, encoding: str, *, format: str = "csv", chunk: int = 1 << 20
) -> list[tuple[int, Payload]]:
    return read(data, format=format, dialect=Dialect(encoding=encoding), chunk=chunk)


@pytest.mark.parametrize("chunk", [1, 2, 3, 1 << 20])
@pytest.mark.parametrize(
    "encoding", ["cp1252", "latin-1", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp500", "gb18030"]
)
def test_a_text_gives_the_same_records_in_every_encoding(encoding: str, chunk: int) -> None:
    data = LINES.encode(encoding)
    assert found(data, encoding, chunk=chunk) == [(2, 'a,"kühl\nung"'.encode()), (4, "b,ÿþ".encode())]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "gb18030"])
def test_a_bom_is_no_part_of_the_header(encoding: str) -> None:
    data = ("" if encoding == "utf-8-sig" else "\ufeff") + '{"a":1}\n'
    assert found(data.encode(encoding), encoding, format="ndjson") == [(1, b'{"a":1}')]


@pytest.mark.parametrize("chunk", [1, 2, 1 << 20])
@pytest.mark.parametrize(
    ("encoding", "bad"),
    [
        ("cp1252", b"b,\x81\x8d"),
        ("cp1252", "b,Á".encode()),  # bytes that are UTF-8 and not what was said
        ("ascii", "b,ü".encode()),
        ("shift_jis", b"b,\xff"),
        ("gb18030", b"b,\x81\x30"),
        ("utf-16-le", b"b\0,\0\x00\xd8x\0"),
        ("utf-16-be", b"\0b\0,\xdc\xaa\0x"),
        ("utf-32-le", b"b\0\0\0,\0\0\0\x00\xd8\0\0x\0\0\0"),
    ],
)
def test_a_byte_that_does_not_decode_costs_its_row_alone(encoding: str, bad: bytes, chunk: int) -> None:
    """Refuses a row that is read with other characters, and one whose bytes are not as they were."""
    start, end = "key,name\na,x\n".encode(encoding), "\nc,y\n".encode(encoding)
    records = found(start + bad + end, encoding, chunk=chunk)
    assert records == [(2, b"a,x"), (3, Opaque(bad, len(bad), None)), (4, b"c,y")]


def test_the_byte_order_of_a_bom_is_that_of_the_bytes_that_are_given_back() -> None:
    for codec, bom in (("utf-16-be", b"\xfe\xff"), ("utf-16-le", b"\xff\xfe")):
        bad = "ü".encode(codec) + b"\xd8\xd8"
        data = bom + "k\n".encode(codec) + bad + "\n".encode(codec)
        assert found(data, "utf-16") == [(2, Opaque(bad, len(bad), None))]


def test_a_character_that_the_end_of_the_file_cuts_costs_its_row_alone() -> None:
    data = "k\na\n".encode("utf-16-le") + b"b\0c"
    assert found(data, "utf-16-le") == [(2, b"a"), (3, Opaque(b"b\0c", 3, None))]


@given(
    data=st.binary(max_size=60) | st.text(max_size=30).map(lambda text: text.encode("cp1252", "replace")),
    encoding=st.sampled_from(["cp1252", "ascii", "iso8859-7", "koi8-r", "cp1255"]),
    chunk=st.integers(1, 9),
)
def test_each_line_is_its_text_or_its_own_bytes(data: bytes, encoding: str, chunk: int) -> None:
    """The law, for encodings in which a line of text is a line of bytes."""

    def record(line: bytes) -> Payload:
        try:
            return line.decode(encoding).encode()
        except UnicodeDecodeError:
            return Opaque(line, len(line), None)

    data = b"x" + data.replace(b"\x1f\x8b", b"")
    lines = [(number, line.rstrip(b"\r")) for number, line in enumerate(data.split(b"\n"), 1)]
    expected = [(number, record(line)) for number, line in lines if line.strip(b" \t\r\v\f")]
    assert found(data, encoding, format="ndjson", chunk=chunk) == expected


@given(
    text=st.text(max_size=40),
    chunk=st.integers(1, 9),
    encoding=st.sampled_from(["utf-16", "utf-32", "gb18030"]),
)
def test_a_text_of_any_characters_gives_the_records_that_utf_8_gives(
    text: str, chunk: int, encoding: str
) -> None:
    text = "x" + text
    expected = found(text.encode(), "utf-8", format="ndjson")
    assert found(text.encode(encoding), encoding, format="ndjson", chunk=chunk) == expected


def test_an_encoding_has_one_name() -> None:
    assert {encoding_name(name) for name in ("latin-1", "ISO-8859-1", "latin1", "L1")} == {"iso8859-1"}
    assert encoding_name("UTF-8-SIG") == encoding_name("utf8") == "utf-8"


@pytest.mark.parametrize("name", ["", "klingon", "rot13", "base64", "utf-7", "idna", "iso2022_jp", "x\0"])
def test_what_is_no_encoding_of_files_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not known here"):
        Dialect(encoding=name)


def test_a_header_in_another_encoding_is_named() -> None:
    with pytest.raises(
        InputError, match="is not ASCII text; the first row must name the columns: check --encoding"
    ):
        found("ü,b\n".encode("cp1252"), "ascii")


@pytest.mark.parametrize(
    ("data", "encoding", "problem"),
    [
        (b"\xef\xbb\xbfkey\na\n", "cp1252", "this is UTF-8 text, not cp1252: name its encoding"),
        (b"\xff\xfek\0\n\0", "cp1252", "this is UTF-16 text, not cp1252"),
        (b"\xfe\xff\0k\0\n", "utf-16-le", "this is UTF-16 text, not utf-16-le"),
        (
            b"\0k\0e\0y\0\n",
            "utf-16",
            "this is UTF-16 text without a byte order mark, not utf-16: .*encoding UTF-16BE",
        ),
        (b"k\0e\0y\0\n\0", "utf-8", r"without a byte order mark: name its encoding \(`--encoding UTF-16LE`"),
        (b"PK\x03\x04" + b"\xd0\0" * 20, "utf-16", "this is a ZIP archive"),
    ],
)
def test_a_file_whose_first_bytes_show_another_encoding_is_refused(
    data: bytes, encoding: str, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        read(data, format="csv", dialect=Dialect(encoding=encoding), check_head=True)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "cp1252"])
def test_a_file_in_its_encoding_passes_the_look(encoding: str) -> None:
    data = "key\nä\n".encode(encoding)
    assert read(data, format="csv", dialect=Dialect(encoding=encoding), check_head=True) == [
        (2, "ä".encode())
    ]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "gb18030"])
def test_a_long_text_is_decoded_in_bounded_memory(encoding: str) -> None:
    """Also one without a line's end, and with bytes that do not decode."""
    pieces = ("ü" * (1 << 15)).encode(encoding), b"\x81\x8d\x00\xd8"
    tracemalloc.start()
    try:
        size = sum(map(len, Transcoder(encoding).utf_8(piece for _ in range(100) for piece in pieces)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 4 * MIB
    assert peak < MIB
