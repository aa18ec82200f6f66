"""What answers are made of: tables that fit the terminal, times and lengths of time for people.

What is printed as JSON is not rendered: so rich, which is slow to import, is imported where something is made of it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from store.text import MAX_CELL, printable, printable_lines, shortened

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

PIPED_WIDTH = 132
GAP = 2  # blanks between two columns
MAX_NAME_CELL = 300  # of a cell that says what the row is
MAX_FILE = 34
LEAST_TEXT = 16  # a text column is not made narrower
LEAST_NAME = 8
EMPTY = (
    "Nothing has been processed yet. Send a file with `producer enqueue FILE`, then run `worker up --burst`."
)
ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")

# Where a table is too wide, text columns are shortened with `…`; fixed ones and numbers never are.
Kind = Literal["text", "fixed", "number"]


@dataclass(frozen=True)
class Listing:
    """A table for any width. Its first `names` columns say what a row is: they are never shortened.

    Columns that do not fit, even with the text ones at their narrowest, continue below with the names repeated.
    """

    title: str
    columns: Mapping[str, Kind]
    rows: Sequence[Sequence[Text]]
    names: int = 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        yield Text(self.title, "table.title")  # not the table's own title, which is as narrow as the table
        for number, widths in enumerate(self.parts(options.max_width)):
            if number:
                yield Text("")
            yield self._part(widths)

    def parts(self, width: int) -> list[dict[int, int]]:
        """Column -> its width, for each of the tables that stand below one another."""
        natural = [self._natural(column) for column in range(len(self.columns))]
        narrow = [self._narrow(column, size) for column, size in enumerate(natural)]
        names = range(self.names)
        widest = max(narrow[self.names :], default=0)
        room = max(width - widest - GAP * self.names, LEAST_NAME * self.names)
        named = fitted({column: natural[column] for column in names}, {}, room)
        taken = sum(named.values()) + GAP * (self.names - 1)
        found: list[dict[int, int]] = []
        part: list[int] = []
        for column in range(self.names, len(natural)):
            if part and taken + sum(GAP + narrow[each] for each in (*part, column)) > width:
                found.append(self._widths(part, natural, narrow, width - taken))
                part = []
            part.append(column)
        found.append(self._widths(part, natural, narrow, width - taken))
        return [named | widths for widths in found]

    def _widths(
        self, part: list[int], natural: Sequence[int], narrow: Sequence[int], room: int
    ) -> dict[int, int]:
        least = {column: narrow[column] for column in part}
        return fitted({column: natural[column] for column in part}, least, room - GAP * len(part))

    def _natural(self, column: int) -> int:
        from rich.cells import cell_len

        heading = list(self.columns)[column]
        return max([cell_len(heading), *(row[column].cell_len for row in self.rows)])

    def _narrow(self, column: int, natural: int) -> int:
        from rich.cells import cell_len

        heading, kind = list(self.columns.items())[column]
        return min(natural, max(LEAST_TEXT, cell_len(heading))) if kind == "text" else natural

    def _part(self, widths: dict[int, int]) -> Table:
        made = frame("")
        for column, (heading, kind) in enumerate(self.columns.items()):
            if column in widths:
                made.add_column(
                    heading,
                    justify="right" if kind == "number" else "left",
                    width=widths[column],
                    no_wrap=column >= self.names,
                    overflow="fold" if column < self.names else "ellipsis",
                )
        for row in self.rows:
            made.add_row(*(row[column] for column in widths))
        return made


def fitted(natural: Mapping[int, int], least: Mapping[int, int], room: int) -> dict[int, int]:
    """Widths that fit into the room, the widest columns narrowed first; none below its least width."""
    most = max(natural.values(), default=0)
    while most > 1 and sum(_capped(natural, least, most).values()) > room:
        most -= 1
    widths = _capped(natural, least, most)
    left = room - sum(widths.values())
    for column, size in natural.items():
        if widths[column] < size and left > 0:
            widths[column] += 1
            left -= 1
    return widths


def _capped(natural: Mapping[int, int], least: Mapping[int, int], most: int) -> dict[int, int]:
    return {column: max(min(size, most), least.get(column, 1)) for column, size in natural.items()}


def put(*things: Any) -> None:
    """Prints tables, trees and lines; a pipe gets a fixed width, whatever terminal is behind it."""
    from rich.console import Console
    from rich.table import Table

    fixed = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    console = Console(markup=False, emoji=False, highlight=False, width=fixed)
    with console.capture() as captured:
        for number, thing in enumerate(things):
            if number and isinstance(thing, Listing | Table):
                console.print()
            if isinstance(thing, str):
                console.print(printable_lines(thing), soft_wrap=True)
            else:
                console.print(thing)
    sys.stdout.write("\n".join(line.rstrip() for line in captured.get().split("\n")))


def frame(title: str) -> Table:
    """An empty table: a title, a line under the headings, and as narrow as can be."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    return Table(
        title=Text(title) if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def table(
    title: str, columns: Mapping[str, Kind], rows: Iterable[Sequence[Any]], *, names: int = 1
) -> Listing:
    """A table of these columns, each of its kind; the first `names` of them say what a row is."""
    return Listing(
        printable(title),
        columns,
        [
            [cell(value, MAX_NAME_CELL if column < names else MAX_CELL) for column, value in enumerate(row)]
            for row in rows
        ],
        names,
    )


def cell(value: object, most: int = MAX_CELL) -> Text:
    """One line, shortened with `…` where it is long; numbers with a comma between thousands."""
    from rich.text import Text

    if value is None:
        return Text("")
    return Text(f"{value:,}" if isinstance(value, int) else shortened(str(value), most))


def file_and_lines(file: str, lines: str) -> str:
    """`file:lines`; of a long path its end, which says more."""
    whole = printable(f"{file}:{lines}")
    return whole if len(whole) <= MAX_FILE else "…" + whole[1 - MAX_FILE :]


def moment(iso: str | None) -> str:
    """`2025-01-15 12:00:00 UTC`, of an ISO 8601 timestamp in UTC; any other text is not changed."""
    if iso is None:
        return ""
    return iso[:-1].replace("T", " ") + " UTC" if ISO_TIME.fullmatch(iso) else iso


def second(iso: str | None) -> str:
    """The same without a fraction: for the times at which Sluice did something."""
    return re.sub(r"\.\d+", "", moment(iso))


def span(seconds: float | None) -> str:
    """A length of time in its two greatest units."""
    if seconds is None:
        return ""
    if abs(seconds) < 60:
        return f"{seconds:.1f} s" if abs(seconds) >= 1 else f"{seconds * 1000:.0f} ms"
    sign, left = ("-" if seconds < 0 else ""), abs(int(seconds))
    sizes = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts = []
    for unit, size in sizes:
        number, left = divmod(left, size)
        parts.append(f"{number} {unit}" if number else "")
    first = next(number for number, part in enumerate(parts) if part)
    return sign + " ".join(part for part in parts[first : first + 2] if part)
