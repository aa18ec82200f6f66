"""The rows of a sheet of Excel from its XML, in which a wrong order or a wrong date is an error.

The `iter_rows` of openpyxl is not used. Without a word it leaves out a row that stands below a later one and a cell
that stands beside a later one, drops the zone of a date in ISO 8601, and reads 29 February 1900, which never was, as
the 28th.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import IO, Any

from openpyxl.utils.datetime import ISO_DURATION, WINDOWS_EPOCH
from openpyxl.utils.escape import unescape
from openpyxl.worksheet._reader import CELL_TAG, DATA_TAG, ROW_TAG, VALUE_TAG, WorkSheetParser
from openpyxl.xml.functions import iterparse

from store.errors import InputError

# The name in the object that stands for an error cell: no contract takes it for a value.
ERROR = "excel_error"
MOST_ROWS = 1 << 20  # of a sheet, in Excel too
DAY_MS = 86_400_000
TOO_FINE = re.compile(r"[.,]\d{7}")  # fromisoformat would cut off what is finer than a microsecond
SAVE_AGAIN = "open it in Excel, save it as .xlsx and send it again"

Row = tuple[int, dict[int, Any]]  # its number, and by column, from 0, the cells that are not empty


def rows_of(sheet: Any, source: IO[bytes], name: str) -> Iterator[Row]:
    """The rows that are not empty. Raises InputError where their order is wrong, and errors of all kinds."""
    book = sheet.parent
    parser = WorkSheetParser(
        None,  # not read by itself: it would collect the height of each row, and all links and merged cells
        sheet._shared_strings,
        data_only=True,
        epoch=book.epoch,
        date_formats=book._date_formats,
        timedelta_formats=book._timedelta_formats,
    )
    last, is_over = 0, False
    for _, element in iterparse(source):  # to the end of the file, where its checksum is compared
        if element.tag == ROW_TAG:
            number = _number(element.get("r", str(last + 1)))
            if number <= last or is_over:
                raise InputError(
                    f"{name}: row {number:,} stands below row {last:,} in the file, and a row may be lost: {SAVE_AGAIN}"
                )
            if number > MOST_ROWS:
                raise InputError(f"{name}: has a row beyond {MOST_ROWS:,}: repair the file")
            if cells := _cells(parser, element, number, name):
                yield number, cells
            last = number
            element.clear()
        elif is_over or element.tag == DATA_TAG:
            is_over = True
            element.clear()


def _number(text: str) -> int:
    """Some programs write 4.0."""
    number = float(text)
    if not number.is_integer():
        raise ValueError(f"{text} is no number of a row")
    return int(number)


def _cells(parser: Any, row: Any, number: int, name: str) -> dict[int, Any]:
    parser.row_counter, parser.col_counter = number, 0
    cells: dict[int, Any] = {}
    for element in row:
        if element.tag != CELL_TAG:
            continue
        kind = element.get("t")
        if kind == "d":
            element.set("t", "str")
        cell = parser.parse_cell(element)
        column, value = cell["column"] - 1, cell["value"]
        if cell["row"] != number or column in cells:
            what = f"the cell {element.get('r')}" + (" twice" if column in cells else "")
            raise InputError(f"{name}: row {number:,} holds {what}: {SAVE_AGAIN}")
        # An empty cell is in the dictionary, too, until all are read: one that stands twice is an error.
        cells[column] = _iso(value) if kind == "d" and value else _value(parser, element, cell)
    return {column: value for column, value in cells.items() if value is not None}


def _value(parser: Any, element: Any, cell: dict[str, Any]) -> Any:
    """The value of a cell, that of a formula as Excel has computed it."""
    value = cell["value"]
    if value is None or value == "":
        return None
    if cell["data_type"] == "e":
        return {ERROR: str(value)}
    if isinstance(value, str):
        # Excel writes a line break within a cell as _x000D_, and openpyxl leaves it so.
        return unescape(value) if "_x" in value else value
    if isinstance(value, timedelta):
        return _duration(value)
    if cell["data_type"] == "d" and (serial := element.findtext(VALUE_TAG)):
        milliseconds = round(float(serial) * DAY_MS)
        # Excel has 29 February 1900, which never was, as 60.
        if milliseconds < 0 or (milliseconds // DAY_MS == 60 and parser.epoch == WINDOWS_EPOCH):
            return {ERROR: f"no date: {serial[:60]}"}
    return value


def _iso(text: str) -> Any:
    """A date, a time or both in ISO 8601, with the zone if there is one, or a length of time; else an error cell."""
    try:
        if (match := ISO_DURATION.fullmatch(text)) and any(match.groups()):
            return _duration(
                timedelta(**{unit: float(count or 0) for unit, count in match.groupdict().items()})
            )
        if TOO_FINE.search(text):
            raise ValueError(text)
        if ":" not in text:
            return date.fromisoformat(text)
        if "-" in text[:5]:
            return datetime.fromisoformat(text)
        moment = time.fromisoformat(text)
        if moment.tzinfo is not None:  # JSON is not written for it
            raise ValueError(text)
        return moment
    except (ValueError, OverflowError):
        return {ERROR: f"no date: {text[:60]}"}


def _duration(value: timedelta) -> str:
    """ISO 8601, which pydantic reads."""
    sign = "-" if value < timedelta(0) else ""
    whole = abs(value)
    seconds = f"{whole.seconds}.{whole.microseconds:06d}".rstrip("0").rstrip(".")
    return f"{sign}P{whole.days}DT{seconds}S"
