"""CSV: a header, and rows as their bytes; a quoted cell may hold line breaks."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, repeat

from producer.files.batches import Block, Payload, line_block
from producer.files.lines import lines, skipped
from producer.files.rows import BegunRow, RowEnds
from store.csv_reader import Dialect
from store.errors import ConfigError, InputError
from worker.queue.message import Opaque

# A program that saves such a file again may put delimiters behind it, for the other columns.
SEPARATOR_LINE = re.compile(rb'"?sep=([\t !#-/:-@\[-`{-~])"?\1*+[ \t]*+\r?(?:\n|\Z)', re.IGNORECASE)
SEPARATOR_LINE_BYTES = 200
SHOWN_CHARACTERS = 60


class CsvRows:
    """The header and the rows of one file.

    What stands in a quoted cell that is closed is never a row of its own, however long the cell is. Of a quote that is
    not closed before the end of the file, each line is a row.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        *,
        name: str,
        dialect: Dialect,
        limit: int,
        is_delimiter_given: bool = False,
    ) -> None:
        self._name, self._limit = name, limit
        self._chunks = skipped(iter(chunks), dialect.skip_rows) if dialect.skip_rows else iter(chunks)
        self._line = 1 + dialect.skip_rows
        self.dialect = self._after_separator_line(dialect, is_delimiter_given=is_delimiter_given)
        self._ends = RowEnds(self.dialect)
        self._begun = BegunRow(name, limit, self.dialect.blank)
        self._in_header = True
        self._blocks = self._read()
        self.header = self._read_header()

    def blocks(self) -> Iterator[Block]:
        """The rows after the header, byte for byte, without the line break at their end."""
        return self._blocks

    def _read(self) -> Iterator[Block]:
        with self._begun:
            for chunk in self._chunks:
                yield from self._rows(chunk)
                if self._in_header and self._begun.size > self._limit:
                    raise self._bad_header(
                        self._line, f"is longer than {self._limit:,} bytes: is a quote not closed?"
                    )
            if self._begun.state.is_quoted:
                rest = self._begun.take_apart()
                yield from lines(rest, self._line, self._limit, self.dialect.blank, self._ends.comment)
            elif self._begun.size:
                yield self._block(self._begun.take())

    def _rows(self, data: bytes) -> Iterator[Block]:
        pos = 0
        if self._begun.size:
            end, self._begun.state = self._ends.find(data, 0, self._begun.state)
            self._begun.add(data[:end] if end >= 0 else data)
            if end < 0:
                return
            newlines = self._begun.newlines
            yield self._block(self._begun.take())
            pos = end + 1
            self._line += newlines + 1
        if self._ends.are_lines(data):
            last = data.rfind(b"\n", pos)
            if last >= pos:
                yield self._plain(data[pos:last])
                pos = last + 1
        while pos < len(data):
            found = self._ends.of_one_line.match(data, pos)
            end = found.end() if found else pos
            if end > pos:
                yield self._plain(data[pos : end - 1])
            else:
                if found := self._ends.of_many_lines.match(data, pos):
                    end = found.end() - 1
                else:
                    end, state = self._ends.find(data, pos, self._ends.begin(data, pos))
                if end < 0:
                    self._begun.add(data[pos:])
                    self._begun.state = state
                    return
                yield self._block(data[pos:end])
                self._line += data.count(b"\n", pos, end) + 1
                end += 1
            pos = end

    def _plain(self, region: bytes) -> Block:
        """Rows of one line each."""
        found = region.split(b"\n")
        first = self._line
        self._line += len(found)
        if b"\r" in region:
            strip = bytes.removesuffix if self.dialect.escapechar else bytes.rstrip  # an escaped one stays
            found = list(map(strip, found, repeat(b"\r")))
        return line_block(found, first, self._limit, self.dialect.blank, self._ends.comment)

    def _block(self, row: Payload) -> Block:
        """One row, that begins on the current line."""
        comment = self._ends.comment
        if not isinstance(row, Opaque):
            return line_block([self._stripped(row)], self._line, self._limit, self.dialect.blank, comment)
        is_row = row.content and not (comment and row.content.startswith(comment))
        return Block([row], [self._line]) if is_row else Block([], [])

    def _stripped(self, row: bytes) -> bytes:
        """Without the line break at its end; one that is escaped stays."""
        return row.removesuffix(b"\r") if self.dialect.escapechar else row.rstrip(b"\r")

    def _after_separator_line(self, dialect: Dialect, *, is_delimiter_given: bool) -> Dialect:
        """The dialect with the delimiter that the first line names, as spreadsheet programs write it; `sep=;`.

        Raises InputError where another one is given.
        """
        start = b""
        while b"\n" not in start and len(start) < SEPARATOR_LINE_BYTES and (more := next(self._chunks, b"")):
            start += more
        found = SEPARATOR_LINE.match(start)
        rest = start[found.end() :] if found else start
        self._chunks = chain([rest] if rest else [], self._chunks)
        if found is None:
            return dialect
        delimiter = found[1].decode()
        if is_delimiter_given and delimiter != dialect.delimiter:
            raise InputError(
                f"{self._name}: line {self._line} says that the delimiter is {delimiter!r}, and {dialect.delimiter!r} "
                f"is given: leave that out, or skip this line with skip_rows = {self._line}; nothing of it was sent"
            )
        self._line += 1
        try:
            return replace(dialect, delimiter=delimiter)
        except ConfigError as error:
            raise InputError(f"{self._name}: line {self._line - 1} names a delimiter, but {error}") from None

    def _read_header(self) -> list[str]:
        """The names in the first row that is not blank; the rows after it are put back.

        Raises InputError if there is no such row, or its names cannot be read, or one stands there twice.
        """
        first = next((block for block in self._blocks if block.payloads), None)
        if first is None:
            raise InputError(
                f"{self._name}: {self._why_empty()} no row that names the columns: check how the file was made; "
                "nothing of it was sent"
            )
        self._in_header = False
        self._blocks = chain([Block(first.payloads[1:], first.lines[1:])], self._blocks)
        row, line = first.payloads[0], first.lines[0]
        if isinstance(row, Opaque):
            raise self._bad_header(line, f"is longer than {self._limit:,} bytes: is a quote not closed?")
        try:
            names = self.dialect.names(row.decode())
        except UnicodeDecodeError:
            encoding = self.dialect.encoding.upper()
            raise self._bad_header(line, f"is not {encoding} text", "--encoding, --format") from None
        except csv.Error as error:
            raise self._bad_header(line, f"cannot be read as CSV ({error}): is a quote not closed?") from None
        if repeated := {name: count for name, count in Counter(names).items() if name and count > 1}:
            named = ", ".join(
                f"{name[:SHOWN_CHARACTERS]!r} ({count} times)" for name, count in repeated.items()
            )
            raise InputError(
                f"{self._name}: the header on line {line} names columns more than once: {named}; which of them a "
                "field is read from is not known: rename them, or leave out all but one; nothing of it was sent"
            )
        return names

    def _why_empty(self) -> str:
        skip = self.dialect.skip_rows
        return f"has behind the {skip:,} lines of skip_rows" if skip else "is empty, and has"

    def _bad_header(self, line: int, problem: str, check: str = "--format") -> InputError:
        return InputError(
            f"{self._name}: the header on line {line} {problem}; "
            f"the first row must name the columns: check {check} and the csv delimiter"
        )
