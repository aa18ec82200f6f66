"""Excel: a record is a row, with the number that Excel shows beside it."""

from __future__ import annotations

import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.files.open import open_records
from producer.files.typed import excel
from store.errors import InputError
from tests.examples import examples
from worker.settings import SourceSettings

from .reading import as_read, as_written, feed_of, read
from .workbooks import raw_number, replaced, sheet_of, text, with_rows, workbook

WITHOUT_CONTROL = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
CELLS = (
    st.none()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e300, 1e300)
    | st.booleans()
    | WITHOUT_CONTROL
    | st.datetimes(datetime(1901, 1, 1), datetime(9999, 12, 31)).map(
        lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    )
)


@given(rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5))
@settings(max_examples=examples(12))
def test_records_of_excel_are_its_rows_with_the_numbers_beside_them(
    rows: list[list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [[None if isinstance(cell, str) and cell[0] in "=#" else cell for cell in row] for row in rows]
    found = read(workbook(tmp_path_factory.mktemp("excel"), [["a", "b", "c"], *rows]))
    wanted = [(number, row) for number, row in enumerate(rows, 2) if any(cell is not None for cell in row)]
    assert [line for line, _ in found] == [line for line, _ in wanted]
    for (_, record), (_, row) in zip(found, wanted, strict=True):
        values = [as_read(value, like) for value, like in zip(record.values(), row, strict=True)]
        for value, cell in zip(values, row, strict=True):
            near = isinstance(cell, float | int) and not isinstance(cell, bool)
            # What openpyxl writes has 16 digits; what is read is what is written.
            assert value == (pytest.approx(cell, rel=1e-15) if near else as_written(cell))


@pytest.mark.parametrize(
    ("digits", "number"),
    [
        ("10.1", "10.1"),
        ("1.1000000000000001", "1.1"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("7", "7"),
    ],
)
def test_a_number_is_the_one_of_the_file_whatever_excel_shows(
    tmp_path: Path, digits: str, number: str
) -> None:
    path = workbook(tmp_path, [["v"], [77777]])
    raw_number(path, b"<v>77777</v>", f"<v>{digits}</v>".encode())
    with open_records(str(path)) as file:
        assert [block.payloads for block in file.blocks()] == [[f'{{"v":{number}}}'.encode()]]


def test_a_formula_is_what_excel_has_computed(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["v", "w"], ["=1+1", 1]])
    raw_number(path, b"<v />", b"<v>2</v>") if b"<v />" in sheet_of(path) else raw_number(
        path, b"<v/>", b"<v>2</v>"
    )
    assert read(path) == [(2, {"v": 2, "w": 1})]


def test_a_line_break_within_a_cell_is_one_line_break(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["v"], ["one two"]])
    raw_number(path, b"one two", b"one_x000D_\ntwo _x005F_x000D_")
    assert read(path) == [(2, {"v": "one\r\ntwo _x000D_"})]


def test_an_error_cell_is_no_text_that_a_contract_could_take(tmp_path: Path) -> None:
    found = read(workbook(tmp_path, [["v", "w"], ["#N/A", timedelta(hours=36, milliseconds=500)]]))
    assert found == [(2, {"v": {"excel_error": "#N/A"}, "w": "P1DT43200.5S"})]


def test_a_date_beyond_what_excel_has_is_an_error_cell(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["v"], [datetime(2025, 1, 15)]])
    raw_number(path, b"<v>45672</v>", b"<v>99999999</v>")
    assert read(path) == [(2, {"v": {"excel_error": "#VALUE!"}})]


def test_empty_rows_and_lines_before_the_header_do_not_move_the_line(tmp_path: Path) -> None:
    path = workbook(
        tmp_path, [[], ["Report of May"], ["key", None, "n"], [], ["a", None, 1], ["b", "x", None, "y"]]
    )
    with (
        feed_of().open(str(path)) as file,
        pytest.raises(InputError, match=r"its columns are 'Report of May'"),
    ):
        feed_of().check_header(file)
    found = read(path, dialect=SourceSettings(skip_rows=2).dialect())
    assert found == [
        (5, {"key": "a", "n": 1}),
        (6, {"key": "b", "column B": "x", "n": None, "column D": "y"}),
    ]


def test_several_sheets_need_a_choice_which_is_part_of_the_delivery(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["key"], ["a"]], Other=[["key"], ["b"]])
    with pytest.raises(InputError, match=r"has 2 sheets that are not hidden \('Sheet', 'Other'\)"):
        read(path)
    with pytest.raises(InputError, match=r"no sheet 'Sheat'; its sheets are 'Sheet', 'Other'"):
        read(path, sheet="Sheat")
    assert read(path, sheet="Other") == [(2, {"key": "b"})]
    ids = set()
    for sheet in ("Sheet", "Other", "Sheet"):
        feed = feed_of(sheet=sheet)
        with feed.open(str(path)) as file:
            ids.add(feed.delivery(file).id)
    assert len(ids) == 2


def test_a_header_that_stands_twice_or_holds_an_error_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the header in row 1.*'v' \(2 times\)"):
        read(workbook(tmp_path, [["v", "v"], [1, 2]]))
    with pytest.raises(InputError, match=r"the header in row 1 has the error #REF! in column B"):
        read(workbook(tmp_path, [["v", "#REF!"], [1, 2]]))
    with pytest.raises(InputError, match="no row that names the columns"):
        read(workbook(tmp_path, []))


def test_a_damaged_workbook_is_one_error(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["v"], [1]])
    raw_number(path, b"</row>", b"</rov>")
    with pytest.raises(InputError, match="cannot be read"):
        read(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match="cannot be read as an Excel workbook"):
        read(path)


def test_a_damaged_digit_is_an_error(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["v"], [77777]])
    with zipfile.ZipFile(path) as archive:
        parts = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for each, content in parts.items():
            archive.writestr(each, content)
    path.write_bytes(path.read_bytes().replace(b"<v>77777</v>", b"<v>77778</v>"))
    with pytest.raises(InputError, match="Bad CRC-32"):
        read(path)


def test_texts_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["v"], [1]])
    with (
        mock.patch.object(excel, "MOST_HELD_BYTES", 100),
        pytest.raises(InputError, match="100 are read at most"),
    ):
        read(path)


HEADER = f'<row r="1">{text("A1", "a")}{text("B1", "b")}{text("C1", "c")}</row>'


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            f'<row r="4">{text("A4", "x")}</row><row r="3">{text("A3", "y")}</row>',
            "row 3 stands below row 4 in the file",
        ),
        (
            f'<row r="2">{text("A2", "x")}</row><row r="2">{text("B2", "y")}</row>',
            "row 2 stands below row 2 in the file",
        ),
        (f'<row r="2.5">{text("A2", "x")}</row>', "2.5 is no number of a row"),
        (f'<row r="0">{text("A0", "x")}</row>', "row 0 stands below row 1 in the file"),
        (f'<row r="1048577">{text("A1048577", "x")}</row>', "a row beyond 1,048,576"),
        (f'<row r="2">{text("A2", "x")}{text("A2", "y")}</row>', "row 2 holds the cell A2 twice"),
        (f'<row r="2"><c r="A2"/>{text("A2", "y")}</row>', "row 2 holds the cell A2 twice"),
        (f'<row r="2">{text("A3", "x")}</row>', "row 2 holds the cell A3"),
        (f"<row>{text('A5', 'x')}</row>", "row 2 holds the cell A5"),
        (
            f'</sheetData><sheetData><row r="2">{text("A2", "x")}</row>',
            "row 2 stands below row 1 in the file",
        ),
    ],
)
def test_rows_and_cells_in_an_order_that_loses_some_are_refused(
    tmp_path: Path, rows: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(with_rows(tmp_path, HEADER + rows))


def test_the_rows_before_a_wrong_one_are_read(tmp_path: Path) -> None:
    rows = "".join(f'<row r="{number}">{text(f"A{number}", "x")}</row>' for number in (2, 4, 3))
    with open_records(str(with_rows(tmp_path, HEADER + rows))) as file:
        blocks = file.blocks()
        assert list(next(blocks).lines) == [2, 4]
        with pytest.raises(InputError, match="row 3 stands below row 4"):
            next(blocks)


@given(columns=st.permutations("ABCD"), has_numbers=st.booleans())
@settings(max_examples=examples(12))
def test_cells_are_read_by_their_column_in_whatever_order_they_stand(
    columns: list[str], has_numbers: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    number = ' r="2"' if has_numbers else ""
    row = "".join(text(f"{column}2", column.lower()) for column in columns)
    found = read(with_rows(tmp_path_factory.mktemp("excel"), f"{HEADER}<row{number}>{row}</row>"))
    assert found == [(2, {"a": "a", "b": "b", "c": "c", "column D": "d"})]


def test_cells_without_an_address_stand_beside_each_other(tmp_path: Path) -> None:
    row = '<row r="2.0" ht="20"><c t="str"><v>x</v></c><c/><c><v>3</v></c><extLst><ext/></extLst></row>'
    assert read(with_rows(tmp_path, HEADER + row)) == [(2, {"a": "x", "b": None, "c": 3})]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2025-01-15T08:00:00+02:00", "2025-01-15T08:00:00+02:00"),
        ("2025-01-15T08:00:00Z", "2025-01-15T08:00:00+00:00"),
        ("2025-01-15T08:00:00", "2025-01-15T08:00:00"),
        ("2025-01-15 08:00:00", "2025-01-15T08:00:00"),
        ("2025-01-15T08:00:00.123456", "2025-01-15T08:00:00.123456"),
        ("2025-01-15T08:00:00.1234567", {"excel_error": "no date: 2025-01-15T08:00:00.1234567"}),
        ("2025-01-15", "2025-01-15"),
        ("08:00:00", "08:00:00"),
        ("08:00:00+02:00", {"excel_error": "no date: 08:00:00+02:00"}),
        ("PT36H30.5S", "P1DT43230.5S"),
        ("PT", {"excel_error": "no date: PT"}),
        ("PT1H30.1234S", {"excel_error": "no date: PT1H30.1234S"}),
        ("2025-02-30", {"excel_error": "no date: 2025-02-30"}),
        ("2025", {"excel_error": "no date: 2025"}),
        ("2025-01-15T08:00:00 and more", {"excel_error": "no date: 2025-01-15T08:00:00 and more"}),
    ],
)
def test_a_date_in_iso_8601_has_all_that_is_written_or_is_an_error_cell(
    tmp_path: Path, written: str, value: Any
) -> None:
    row = f'<row r="2">{text("A2", written, "d")}</row>'
    assert read(with_rows(tmp_path, HEADER + row)) == [(2, {"a": value, "b": None, "c": None})]


@pytest.mark.parametrize(
    ("serial", "value"),
    [
        ("1", "1900-01-01T00:00:00"),
        ("59", "1900-02-28T00:00:00"),
        ("59.75", "1900-02-28T18:00:00"),
        ("59.9999999999", {"excel_error": "no date: 59.9999999999"}),
        ("60", {"excel_error": "no date: 60"}),
        ("60.5", {"excel_error": "no date: 60.5"}),
        ("60.9999999999", "1900-03-01T00:00:00"),
        ("61", "1900-03-01T00:00:00"),
        ("-1", {"excel_error": "no date: -1"}),
        ("-0.25", {"excel_error": "no date: -0.25"}),
        ("0.5", "12:00:00"),
    ],
)
def test_a_day_that_never_was_is_an_error_cell(tmp_path: Path, serial: str, value: Any) -> None:
    row = f'<row r="2"><c r="A2" s="1"><v>{serial}</v></c></row>'
    path = with_rows(tmp_path, HEADER + row)
    assert read(path) == [(2, {"a": value, "b": None, "c": None})]


def test_the_calendar_from_1904_has_the_day_60(tmp_path: Path) -> None:
    path = with_rows(tmp_path, f'{HEADER}<row r="2"><c r="A2" s="1"><v>60</v></c></row>')
    replaced(
        path, "xl/workbook.xml", lambda xml: xml.replace(b"<workbookPr />", b'<workbookPr date1904="1"/>')
    )
    assert read(path) == [(2, {"a": "1904-03-01T00:00:00", "b": None, "c": None})]


def test_a_value_in_a_column_whose_made_up_name_is_another_column_is_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["column C", "b"], ["x", 1], ["y", 2, "z"]])
    with pytest.raises(
        InputError, match=r"row 3 has a value in column C, .* another column is named 'column C'"
    ):
        read(path)
    assert read(workbook(tmp_path, [["column A", "b"], [None, 1]])) == [(2, {"column A": None, "b": 1})]


def test_a_workbook_of_a_kind_that_is_not_read_is_called_by_its_kind(tmp_path: Path) -> None:
    path = workbook(tmp_path, [["v"], [1]])
    usual, strict = b"http://schemas.openxmlformats.org/", b"http://purl.oclc.org/ooxml/"
    replaced(
        path,
        "xl/work",
        lambda xml: xml.replace(usual + b"spreadsheetml/2006/main", strict + b"spreadsheetml/main"),
    )
    with pytest.raises(InputError, match=r"Strict Open XML.*save it as 'Excel Workbook"):
        read(path)
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2000))
    with pytest.raises(InputError, match=r"password or is an old \.xls.*remove the password"):
        read(path)
