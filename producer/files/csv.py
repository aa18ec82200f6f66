"""CSV: a header, and rows as their bytes; a quoted cell may hold line breaks."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

from producer.files.batches import Block, Payload, line_block
from producer.files.lines import lines
from producer.files.rows import BegunRow, RowEnds, State
from store.csv_reader import Dialect
from store.errors import InputError
from worker.queue.message import Opaque


class CsvRows:
    """The header and the rows of one file.

    What stands in a quoted cell that is closed is never a row of its own, however long the cell is. Of a quote that is
    not closed before the end of the file, each line is a row.
    """

    def __init__(self, chunks: Iterable[bytes], *, name: str, dialect: Dialect, limit: int) -> None:
        self._name, self._dialect, self._limit = name, dialect, limit
        self._ends = RowEnds(dialect)
        self._chunks = iter(chunks)
        self._begun = BegunRow(name, limit, dialect.blank)
        self._line = 1
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
                yield from lines(self._begun.take_apart(), self._line, self._limit, self._dialect.blank)
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
                    end, state = self._ends.find(data, pos, State.START)
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
            strip = bytes.removesuffix if self._dialect.escapechar else bytes.rstrip  # an escaped one stays
            found = list(map(strip, found, repeat(b"\r")))
        return line_block(found, first, self._limit, self._dialect.blank)

    def _block(self, row: Payload) -> Block:
        """One row, that begins on the current line."""
        if not isinstance(row, Opaque):
            return line_block([self._stripped(row)], self._line, self._limit, self._dialect.blank)
        return Block([row], [self._line]) if row.content else Block([], [])

    def _stripped(self, row: bytes) -> bytes:
        """Without the line break at its end; one that is escaped stays."""
        return row.removesuffix(b"\r") if self._dialect.escapechar else row.rstrip(b"\r")

    def _read_header(self) -> list[str]:
        """The names in the first row that is not blank; the rows after it are put back.

        Raises InputError if there is no such row, or its names cannot be read.
        """
        first = next((block for block in self._blocks if block.payloads), None)
        if first is None:
            raise InputError(
                f"{self._name}: is empty, and has no row that names the columns: check how the file was made; "
                "nothing of it was sent"
            )
        self._in_header = False
        self._blocks = chain([Block(first.payloads[1:], first.lines[1:])], self._blocks)
        row, line = first.payloads[0], first.lines[0]
        if isinstance(row, Opaque):
            raise self._bad_header(line, f"is longer than {self._limit:,} bytes: is a quote not closed?")
        try:
            return [name.strip() for name in self._dialect.rows([row.decode()])[0]]
        except UnicodeDecodeError:
            raise self._bad_header(line, "is not UTF-8 text") from None
        except csv.Error as error:
            raise self._bad_header(line, f"cannot be read as CSV ({error}): is a quote not closed?") from None

    def _bad_header(self, line: int, problem: str) -> InputError:
        return InputError(
            f"{self._name}: the header on line {line} {problem}; "
            "the first row must name the columns: check --format and the csv delimiter"
        )
