"""Excel workbooks (.xlsx, .xlsm): the rows of one sheet, each with the number that Excel shows beside it.

openpyxl reads their cells: it tells an error cell from text and gives numbers as the file has them, a row at a time.
python-calamine is quicker, but holds the whole sheet in memory and makes one kind of number of all.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import IO, Any

from producer.files.batches import Block
from producer.files.typed.table import BLOCK_ROWS, json_block, library, refuse_repeated
from store.errors import InputError

Row = tuple[int, dict[int, Any]]  # its number, and its cells by column
# What is not read a row at a time, unpacked: the texts of all cells among it.
MOST_HELD_BYTES = 512 << 20

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STRICT = b"http://purl.oclc.org/ooxml/spreadsheetml/main"


class ExcelRows:
    """The rows of one sheet; its texts are in memory, its rows are not."""

    def __init__(self, file: IO[bytes], *, name: str, limit: int, sheet: str | None, skip_rows: int) -> None:
        """Raises InputError for what is no such workbook, or where it is not clear which sheet is meant."""
        self._name, self._limit = name, limit
        self._size, self._file = file.seek(0, 2), file
        openpyxl = library("xlsx")
        from producer.files.typed import sheet as xml  # it imports the extra

        self._xml = xml
        try:
            _refuse_other_kinds(file, name)
            _refuse_bomb(file, name)
            with warnings.catch_warnings(action="ignore"):  # of what is not read: validations, drawings
                self._book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        except InputError:
            raise
        except Exception as error:  # a damaged workbook raises errors of all kinds
            raise self._unreadable(error, 0) from error
        self._opened = ExitStack()
        self._opened.callback(self._book.close)
        try:
            self._sheet = self._chosen(sheet)
            self._source = self._opened.enter_context(self._sheet._get_source())
            self._rows = self._read()
            self.columns = self._header(skip_rows)
        except BaseException:
            self.close()
            raise
        self.part: list[Any] = [self._sheet.title, skip_rows]

    def _unreadable(self, error: Exception, row: int) -> InputError:
        where = f"cannot be read beyond row {row:,}" if row else "cannot be read as an Excel workbook"
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return InputError(
            f"{self._name}: {where} ({reason}): open it in Excel, save it as .xlsx and send it again"
        )

    def _chosen(self, wanted: str | None) -> Any:
        sheets = {each.title: each for each in self._book.worksheets}
        if wanted is not None:
            if wanted not in sheets:
                raise InputError(
                    f"{self._name}: has no sheet {wanted!r}; its sheets are {_listed(sheets)}; nothing of it was sent"
                )
            return sheets[wanted]
        shown = {title: each for title, each in sheets.items() if each.sheet_state == "visible"}
        if len(shown) != 1:
            raise InputError(
                f"{self._name}: has {len(shown)} sheets that are not hidden ({_listed(sheets)}): say which one with "
                "--sheet, or `sheet` of its source; nothing of it was sent"
            )
        return next(iter(shown.values()))

    def _read(self) -> Iterator[Row]:
        """The rows that are not empty. Raises InputError where they cannot be read, after all rows before that."""
        rows = self._xml.rows_of(self._sheet, self._source, self._name)
        fault: InputError | None = None
        row = 0
        while fault is None:
            some: list[Row] = []  # those before an error stay in it
            try:
                with warnings.catch_warnings(action="ignore"):  # of a date out of range: it is an error cell
                    for each in islice(rows, BLOCK_ROWS):
                        some.append(each)
            except InputError as error:
                fault = error
            except Exception as error:  # a damaged sheet raises errors of all kinds
                fault = self._unreadable(error, some[-1][0] if some else row)
                fault.__cause__ = error
            if not some and fault is None:
                return
            yield from some
            row = some[-1][0] if some else row
        raise fault

    def _header(self, skip_rows: int) -> list[str]:
        """The names in the first row that is not empty; a column without one is called by its letter."""
        found = next((row for row in self._rows if row[0] > skip_rows), None)
        if found is None:
            raise InputError(
                f"{self._name}: sheet {self._sheet.title!r} has no row that names the columns; nothing of it was sent"
            )
        number, cells = found
        for column, cell in sorted(cells.items()):
            if isinstance(cell, dict):
                raise InputError(
                    f"{self._name}: the header in row {number} has the error {cell[self._xml.ERROR]} in column "
                    f"{_letter(column)}: correct it; nothing of it was sent"
                )
        self._named = {column: _text(cell) for column, cell in sorted(cells.items())}
        names = [self._named.get(i) or _letter_name(i) for i in range(max(cells) + 1)]
        refuse_repeated(names, f"{self._name}: the header in row {number}")
        return names

    def share_read(self) -> float:
        """Of its bytes, about."""
        return self._file.tell() / self._size if self._size else 1.0

    def blocks(self) -> Iterator[Block]:
        """Raises InputError where the sheet cannot be read further, after all rows before that."""
        faults: list[InputError] = []
        records = _until_fault(
            ((number, self._record(number, cells)) for number, cells in self._rows), faults
        )
        while some := list(islice(records, BLOCK_ROWS)):
            yield json_block(some, self._limit, self._name)
        for fault in faults:
            raise fault

    def _record(self, number: int, cells: dict[int, Any]) -> dict[str, Any]:
        """An empty cell is null; below no name only what is not empty is part of the record."""
        record = {name: cells.get(column) for column, name in self._named.items()}
        for column in sorted(cells.keys() - self._named.keys()):
            name = _letter_name(column)
            if name in record:
                raise InputError(
                    f"{self._name}: row {number:,} has a value in column {_letter(column)}, which has no name, and "
                    f"another column is named {name!r}: name them both in the header"
                )
            record[name] = cells[column]
        return record

    def close(self) -> None:
        self._opened.close()


def _refuse_other_kinds(file: IO[bytes], name: str) -> None:
    """Raises InputError for what has the name of a workbook, and is one that is not read."""
    file.seek(0)
    if file.read(len(_OLE)) == _OLE:
        raise InputError(
            f"{name}: is encrypted with a password or is an old .xls file: open it in Excel, remove the password "
            "(File, Info, Protect Workbook), save it as .xlsx and send it again; nothing of it was sent"
        )
    with zipfile.ZipFile(file) as archive:
        books = [each for each in archive.namelist() if each.endswith("workbook.xml")]
        for each in books:
            with archive.open(each) as part:
                if _STRICT in part.read(4096):
                    raise InputError(
                        f"{name}: is a Strict Open XML workbook, which is not read: open it in Excel, save it as "
                        "'Excel Workbook (*.xlsx)' and send it again; nothing of it was sent"
                    )


def _refuse_bomb(file: IO[bytes], name: str) -> None:
    with zipfile.ZipFile(file) as archive:
        held = sum(each.file_size for each in archive.infolist() if "worksheets/" not in each.filename)
    if held > MOST_HELD_BYTES:
        raise InputError(
            f"{name}: the texts of this workbook are {held:,} bytes, and {MOST_HELD_BYTES:,} are read at most: "
            "export the sheet as CSV; nothing of it was sent"
        )


def _until_fault(rows: Iterator[Any], faults: list[InputError]) -> Iterator[Any]:
    try:
        yield from rows
    except InputError as error:
        faults.append(error)


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else cell.isoformat() if hasattr(cell, "isoformat") else str(cell)


def _letter(column: int) -> str:
    """As Excel names it, from 0."""
    letters = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _letter_name(column: int) -> str:
    return f"column {_letter(column)}"


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))
