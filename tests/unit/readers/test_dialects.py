"""What is no row of a table: lines above its header, comments, a line that names the delimiter. Lines stay true."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.files.batches import Payload
from store.csv_reader import Dialect
from store.errors import ConfigError, InputError
from worker.queue.message import Opaque

from .reading import header_of, read

CHUNKS = pytest.mark.parametrize("chunk", [1, 2, 5, 1 << 20])


def found(
    data: bytes, chunk: int = 1 << 20, *, given: bool = False, **dialect: Any
) -> list[tuple[int, Payload]]:
    return read(data, format="csv", dialect=Dialect(**dialect), is_delimiter_given=given, chunk=chunk)


@CHUNKS
def test_lines_above_the_header_are_skipped_whatever_they_hold(chunk: int) -> None:
    data = b'a "title\n\nx,"y\nkey,name\na,b\n'
    assert found(data, chunk, skip_rows=3) == [(5, b"a,b")]
    assert found(data, chunk, skip_rows=4) == []


def test_a_file_that_ends_among_the_skipped_lines_is_one_error() -> None:
    for data in (b"", b"a\n", b"a\nb", b"a\nb\n"):
        with pytest.raises(
            InputError, match="has behind the 2 lines of skip_rows no row that names the columns"
        ):
            found(data, skip_rows=2)


@CHUNKS
def test_a_line_that_begins_with_the_comment_is_no_row(chunk: int) -> None:
    """Refuses a record made of a comment, and a quote in one that swallows the rows behind it."""
    data = b'# made, "today\nkey,name\n#,"a\na,#b\n"c\n# d",e\n f,#\n#\n# x,"y'
    assert found(data, chunk, comment="#") == [(4, b"a,#b"), (5, b'"c\n# d",e'), (7, b" f,#")]
    assert header_of(data, dialect=Dialect(comment="#")) == ["key", "name"]


@CHUNKS
def test_comments_stay_comments_behind_a_quote_that_is_not_closed(chunk: int) -> None:
    assert found(b'a,b\n"x,y\n# no\nz,1\n', chunk, comment="#") == [(2, b'"x,y'), (4, b"z,1")]


@CHUNKS
def test_a_comment_beyond_the_limit_is_no_row(chunk: int) -> None:
    data = b"a,b\n#" + b"x" * 9000 + b"\n1,2\n"
    dialect = Dialect(comment="#")
    assert read(data, format="csv", dialect=dialect, max_record_bytes=100, chunk=chunk) == [(3, b"1,2")]


def test_without_a_comment_character_such_a_line_is_a_row() -> None:
    assert found(b"a,b\n#,2\n") == [(2, b"#,2")]


LINES = st.lists(
    st.sampled_from([b"#a", b'#"', b'"b\n#c",1', b"d,#", b"", b"e\r", b'f,"g"', b'# "h"\r']), max_size=9
)


@given(lines=LINES, chunk=st.integers(1, 12))
def test_a_table_gives_the_rows_that_it_gives_without_its_comments(lines: list[bytes], chunk: int) -> None:
    data = b"key,name\n" + b"".join(line + b"\n" for line in lines)
    without = b"key,name\n" + b"".join((b"" if line.startswith(b"#") else line) + b"\n" for line in lines)
    assert found(data, chunk, comment="#") == found(without)


@CHUNKS
@pytest.mark.parametrize(
    ("line", "delimiter"),
    [
        (b"sep=;", ";"),
        (b"SEP=;\r", ";"),
        (b'"sep=;"', ";"),
        (b"sep=\t", "\t"),
        (b"sep=,,,,", ","),
        (b"sep=| ", "|"),
    ],
)
def test_a_first_line_that_names_the_delimiter_is_followed(line: bytes, delimiter: str, chunk: int) -> None:
    row = f"a{delimiter}b".encode()
    data = line + b"\n" + f"k{delimiter}n".encode() + b"\n" + row
    assert found(data, chunk) == [(3, row)]
    assert header_of(data) == ["k", "n"]


def test_a_named_delimiter_does_not_overrule_one_that_is_given() -> None:
    data = b"sep=;\nk,n\na,b\n"
    assert found(b"sep=;\nk;n\na;b\n", given=True, delimiter=";") == [(3, b"a;b")]
    assert found(data, given=True, skip_rows=1) == [(3, b"a,b")]
    with pytest.raises(
        InputError, match=r"line 1 says that the delimiter is ';', and ',' is given.* skip_rows = 1"
    ):
        found(data, given=True)


@pytest.mark.parametrize("line", [b"sep=", b"sep=ab", b"sep=;x", b"x;sep=;", b"sep"])
def test_a_line_that_names_no_delimiter_is_a_header(line: bytes) -> None:
    assert found(line + b"\n1\n") == [(2, b"1")]


def test_a_delimiter_that_is_the_quote_is_an_error_of_the_file() -> None:
    with pytest.raises(InputError, match="line 1 names a delimiter, but csv delimiter ';' and quotechar ';'"):
        found(b"sep=;\na\n", quotechar=";")


def test_columns_that_stand_twice_are_all_named() -> None:
    with pytest.raises(
        InputError, match=r"line 2 names columns more than once: 'a' \(3 times\), 'c' \(2 times\)"
    ):
        found(b"\na,c, a,b,c,a,,\n1\n")
    assert found(b"a,,b,\n1\n") == [(2, b"1")]  # a column without a name has its own rule


def test_an_oversize_row_is_still_a_row_beside_comments() -> None:
    rows = read(
        b"a\n" + b"x" * 5000 + b"\n", format="csv", dialect=Dialect(comment="#"), max_record_bytes=100
    )
    assert [type(row) for _, row in rows] == [Opaque]


@pytest.mark.parametrize(
    ("dialect", "problem"),
    [
        ({"comment": "//"}, "csv comment '//' is not one ASCII character"),
        ({"comment": ","}, "csv delimiter ',' and quotechar '\"' and comment ',' are not all different"),
        ({"skip_rows": -1}, "csv skip_rows -1 is not a number from 0"),
        ({"decimal": ""}, "csv decimal '' is not one mark"),
        ({"decimal": "5"}, "csv decimal '5' is not one mark"),
        ({"thousands": "e"}, "csv thousands 'e' is not one mark"),
        ({"thousands": "."}, "csv decimal and thousands are both '.'"),
        ({"null_values": ["\\N"], "escapechar": "\\"}, r"csv null value '\\N' has the escapechar in it"),
        ({"null_values": [" -"], "trim": True}, "csv null value ' -' has blanks around it"),
    ],
)
def test_a_dialect_that_cannot_be_is_refused(dialect: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        Dialect(**dialect)
    assert problem in str(error.value)


def test_a_cell_that_is_a_null_value_is_empty_and_a_name_is_not() -> None:
    dialect = Dialect(null_values=("NA", "-"))
    assert dialect.rows(["NA,x,-,N"]) == [["", "x", "", "N"]]
    assert dialect.names("NA,b") == ["NA", "b"]
    assert Dialect(null_values=("NA",), trim=True).rows([' NA, "NA"']) == [["", ""]]


@CHUNKS
def test_blanks_behind_a_closing_quote_are_no_part_of_the_cell(chunk: int) -> None:
    """Refuses a dead letter for each row that a program has padded, and a cut within a cell."""
    data = b'a , b\n "x, "" ,y"  ,1\n"p\nq"\t,"2" \r\n3,4\n'
    dialect = Dialect(trim=True)
    rows = found(data, chunk, trim=True)
    assert [line for line, _ in rows] == [2, 3, 5]
    cells = [dialect.rows([row.decode()])[0] for _, row in rows if isinstance(row, bytes)]
    assert cells == [['x, " ,y', "1"], ["p\nq", "2"], ["3", "4"]]
    with pytest.raises(csv.Error):
        Dialect().rows(['"2" '])


TRIMMED = st.text(st.sampled_from("ab,\"'\n\t\\ é"), max_size=6)
PADDING = st.tuples(st.sampled_from(["", " ", "  "]), st.sampled_from(["", " ", "\t ", "  "]))


@given(
    rows=st.lists(st.tuples(TRIMMED, TRIMMED), min_size=1, max_size=5),
    padding=st.lists(PADDING, min_size=10, max_size=10),
    delimiter=st.sampled_from(",\t;"),
    chunk=st.integers(1, 20),
)
def test_padded_cells_are_read_back_without_their_blanks(
    rows: list[tuple[str, str]], padding: list[tuple[str, str]], delimiter: str, chunk: int
) -> None:
    around = iter(padding)

    def padded(cell: str) -> str:
        before, behind = next(around)
        quoted = cell.replace('"', '""')
        return f'{before}"{quoted}"{behind.replace(delimiter, "")}'

    text = f"k{delimiter}l\n" + "".join(delimiter.join(map(padded, row)) + "\n" for row in rows)
    dialect = Dialect(delimiter, trim=True)
    read_back = [row.decode() for _, row in found(text.encode(), chunk, delimiter=delimiter, trim=True)]  # type: ignore[union-attr]
    assert dialect.rows(read_back) == [[cell.strip() for cell in row] for row in rows]
    assert [dialect.rows([row])[0] for row in read_back] == dialect.rows(read_back)
