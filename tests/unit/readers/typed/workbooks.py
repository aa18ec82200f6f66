"""Workbooks for the tests, also such as no library writes."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import openpyxl


def workbook(path: Path, rows: Sequence[Sequence[Any]], **sheets: Sequence[Sequence[Any]]) -> Path:
    book = openpyxl.Workbook()
    first = book.active
    assert first is not None
    for number, row in enumerate(rows, 1):
        for column, value in enumerate(row, 1):
            cell = first.cell(number, column, value)
            if isinstance(value, str) and not value.startswith(("=", "#")):
                cell.data_type = "s"
    for title, more in sheets.items():
        sheet = book.create_sheet(title)
        for each in more:
            sheet.append(each)
    file = path / "a.xlsx"
    book.save(file)
    book.close()
    return file


def replaced(path: Path, part: str, change: Callable[[bytes], bytes]) -> None:
    """Changes the parts of a workbook whose names contain `part`."""
    with zipfile.ZipFile(path) as archive:
        parts = {each: archive.read(each) for each in archive.namelist()}
    assert any(part in each for each in parts)
    with zipfile.ZipFile(path, "w") as archive:
        for each, content in parts.items():
            archive.writestr(each, change(content) if part in each else content)


def raw_number(path: Path, old: bytes, new: bytes) -> None:
    """Other digits in the sheet of a workbook, as Excel itself writes them."""
    assert old in sheet_of(path)
    replaced(path, "sheet1", lambda content: content.replace(old, new))


def with_rows(path: Path, rows: str) -> Path:
    """A workbook whose sheet has this XML for its rows; the style 1 is a date."""
    file = workbook(path, [[datetime(2025, 1, 15)]])
    data = f"<sheetData>{rows}</sheetData>".encode()
    replaced(file, "sheet1", lambda content: re.sub(rb"<sheetData>.*</sheetData>", data, content))
    return file


def text(address: str, content: str, kind: str = "str") -> str:
    """The XML of a cell."""
    return f'<c r="{address}" t="{kind}"><v>{content}</v></c>'


def sheet_of(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("xl/worksheets/sheet1.xml")
