"""CSV: whole lines to rows; a quoted cell may hold line breaks."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat

from producer.files.batches import Block, line_block
from store.csv_reader import csv_reader
from store.errors import ConfigError, InputError
from worker.queue.message import Opaque

MAX_ROW_LINES = 10_000
_WHITESPACE = b" \t\n\r\v\f"


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """The characters that separate and quote the cells of a row."""

    delimiter: str = ","
    quotechar: str = '"'

    def __post_init__(self) -> None:
        for name, value in (("delimiter", self.delimiter), ("quotechar", self.quotechar)):
            if len(value) != 1 or not value.isascii() or value in "\r\n\0":
                raise ConfigError(
                    f"csv {name} {value!r} is not one ASCII character; give one, such as ',' or '\"'"
                )
        if self.delimiter == self.quotechar:
            raise ConfigError(
                f"csv delimiter and quotechar are both {self.delimiter!r}; give two different ones"
            )

    @property
    def blank(self) -> bytes:
        """The bytes of a blank line; a delimiter is not blank, for it separates two empty cells."""
        return _WHITESPACE.replace(self.delimiter.encode(), b"")


class CsvRows:
    """The header and the rows of one file.

    `regions` are whole lines, joined by newlines, or one line beyond the limit.
    """

    def __init__(
        self, regions: Iterable[bytes | Opaque], *, name: str, options: CsvOptions, limit: int
    ) -> None:
        self._name, self._options, self._limit = name, options, limit
        self._quote = options.quotechar.encode()
        self._regions = iter(regions)
        self._length_problem = (
            f"is longer than {limit:,} bytes or {MAX_ROW_LINES:,} lines, or has a quote that is not closed"
        )
        self._line = 1
        self._open: list[bytes] = []
        self.header = self._read_header()

    def blocks(self) -> Iterator[Block]:
        """The rows after the header, byte for byte, without the line break at their end."""
        for region in self._regions:
            if isinstance(region, Opaque):
                yield from self._give_up()
                if region.content:
                    yield Block([region], [self._line])
                self._line += 1
            else:
                yield from self._rows(region)
        yield from self._give_up()

    def _rows(self, region: bytes) -> Iterator[Block]:
        lines = region.split(b"\n")
        odd = self._odd_lines(lines) if self._quote in region else []
        if not odd and not self._open:
            yield self._plain(lines, 0, len(lines))
            self._line += len(lines)
            return
        if self._open:
            odd = [0, *(len(self._open) + index for index in odd)]
            lines = self._open + lines
        yield from self._pair(lines, odd)

    def _pair(self, lines: list[bytes], odd: list[int]) -> Iterator[Block]:
        """Rows from lines, of which those at `odd` open or close a quoted cell."""
        done = at = 0
        while at + 1 < len(odd):
            first, last = odd[at], odd[at + 1]
            row = lines[first : last + 1]
            if self._is_row(row):
                yield self._plain(lines, done, first)
                yield Block([b"\n".join(row).rstrip(b"\r")], [self._line + first])
                done = last + 1
                at += 1
            at += 1
        undecided = odd[at] if at < len(odd) else len(lines)
        if self._too_long(lines[undecided:]):
            undecided = len(lines)
        yield self._plain(lines, done, undecided)
        self._line += undecided
        self._open = lines[undecided:]

    def _give_up(self) -> Iterator[Block]:
        """No quote closes the open one: each line since is a row of its own."""
        yield self._plain(self._open, 0, len(self._open))
        self._line += len(self._open)
        self._open = []

    def _plain(self, lines: list[bytes], start: int, stop: int) -> Block:
        rows = [line.rstrip(b"\r") for line in lines[start:stop]]
        return line_block(rows, self._line + start, self._limit, self._options.blank)

    def _odd_lines(self, lines: list[bytes]) -> list[int]:
        """The lines that hold an odd number of quotes: each opens or closes a quoted cell."""
        counts = map(bytes.count, lines, repeat(self._quote))
        return [index for index, count in enumerate(counts) if count & 1]

    def _too_long(self, lines: list[bytes]) -> bool:
        return len(lines) > MAX_ROW_LINES or sum(map(len, lines)) + len(lines) - 1 > self._limit

    def _is_row(self, lines: list[bytes]) -> bool:
        if self._too_long(lines):
            return False
        try:
            # The cells are only counted, and latin-1 decodes any byte to one character.
            cells = self._parse(b"\n".join(lines).decode("latin-1"))
        except csv.Error:  # no row: the worker rejects it, with the reason
            return False
        return len(cells) == len(self.header)

    def _parse(self, text: str) -> list[str]:
        options = self._options
        rows = csv_reader([text], delimiter=options.delimiter, quotechar=options.quotechar)
        return next(rows, [])

    def _read_header(self) -> list[str]:
        """The names in the first row that is not blank; lines after it are put back.

        Raises InputError if there is such a row but its names cannot be read.
        """
        lines: list[bytes] = []
        for region in self._regions:
            if isinstance(region, Opaque):
                if region.content or lines:
                    raise self._bad_header(self._length_problem)
                self._line += 1
                continue
            lines += region.split(b"\n")
            if not self._quote_is_open(lines := self._without_blanks(lines)):
                break
            if self._too_long(lines):
                raise self._bad_header(self._length_problem)
        return self._take_header(lines)

    def _without_blanks(self, lines: list[bytes]) -> list[bytes]:
        blanks = next((n for n, line in enumerate(lines) if line.strip(self._options.blank)), len(lines))
        self._line += blanks
        return lines[blanks:]

    def _quote_is_open(self, lines: list[bytes]) -> bool:
        """Whether the first row needs more lines; without any line there is no row yet."""
        return not lines or (bool(odd := self._odd_lines(lines)) and odd[0] == 0 and len(odd) == 1)

    def _take_header(self, lines: list[bytes]) -> list[str]:
        if not lines:
            return []
        odd = self._odd_lines(lines)
        count = odd[1] + 1 if len(odd) > 1 and odd[0] == 0 else 1
        header = b"\n".join(lines[:count]).rstrip(b"\r")
        if self._too_long([header]) or count > MAX_ROW_LINES:
            raise self._bad_header(self._length_problem)
        try:
            names = [cell.strip() for cell in self._parse(header.decode("utf-8"))]
        except UnicodeDecodeError:
            raise self._bad_header("is not UTF-8 text") from None
        except csv.Error as error:
            raise self._bad_header(f"cannot be read as CSV ({error})") from None
        self._line += count
        if lines[count:]:
            self._regions = chain([b"\n".join(lines[count:])], self._regions)
        return names

    def _bad_header(self, problem: str) -> InputError:
        return InputError(
            f"{self._name}: the header on line {self._line} {problem}; "
            "the first row must name the columns: check --format and the csv delimiter"
        )
