"""How things look: tables that fit, text that cannot harm a terminal, times and spans for people."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from store.terminal import shown

PIPED_WIDTH = 132
MOST_IN_CELL = 80
MOST_IN_PLACE = 34
ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")

# A text column shrinks, with `…`, where the table would be too wide; the two others do so last.
Kind = Literal["text", "fixed", "number"]


def put(*things: Any) -> None:
    """Prints tables, trees and lines; a pipe gets a fixed width, whatever terminal is behind it."""
    fixed = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    console = Console(markup=False, emoji=False, highlight=False, width=fixed)
    with console.capture() as captured:
        for number, thing in enumerate(things):
            if number and isinstance(thing, Table):
                console.print()
            if isinstance(thing, str):
                console.print("\n".join(shown(line) for line in thing.split("\n")), soft_wrap=True)
            else:
                console.print(thing)
    sys.stdout.write("\n".join(line.rstrip() for line in captured.get().split("\n")))


def frame(title: str) -> Table:
    """An empty table: a title, a line under the headings, and as narrow as can be."""
    return Table(
        title=Text(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def table(title: str, columns: Mapping[str, Kind], rows: Iterable[Sequence[Any]]) -> Table:
    """A table with these columns, each of its kind."""
    made = frame(title)
    for name, kind in columns.items():
        made.add_column(
            name,
            justify="right" if kind == "number" else "left",
            no_wrap=kind != "text",
            overflow="ellipsis",
        )
    for row in rows:
        made.add_row(*(cell(value) for value in row))
    return made


def cell(value: object) -> Text:
    """One line, shortened with `…` where it is long; numbers with their thousands apart."""
    if value is None:
        return Text("")
    said = f"{value:,}" if isinstance(value, int) else short(str(value))
    return Text(said, no_wrap=True, overflow="ellipsis")


def short(text: str, most: int = MOST_IN_CELL) -> str:
    """Text made harmless, and its head alone where it is long."""
    head = shown(text[: most + 1])
    return head if len(head) <= most else head[: most - 1] + "…"


def place(file: str, lines: str) -> str:
    """`file:lines`; of a long path its end, which tells more."""
    whole = shown(f"{file}:{lines}")
    return whole if len(whole) <= MOST_IN_PLACE else "…" + whole[1 - MOST_IN_PLACE :]


def moment(iso: str | None) -> str:
    """`2025-01-15 12:00:00 UTC`, of an ISO 8601 timestamp in UTC; anything else stays as it is."""
    if iso is None:
        return ""
    return iso[:-1].replace("T", " ") + " UTC" if ISO_TIME.fullmatch(iso) else iso


def second(iso: str | None) -> str:
    """The same to the second: for when something of ours was done."""
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
    first = next(place for place, part in enumerate(parts) if part)
    return sign + " ".join(part for part in parts[first : first + 2] if part)
