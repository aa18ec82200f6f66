"""Where the rows of a table end: a dialect's rules, byte by byte, across the pieces that a file is read in."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from enum import Enum
from types import TracebackType
from typing import IO, Self

from producer.files.batches import PartialRecord, Payload
from store.csv_reader import Dialect
from store.errors import InputError

_SPOOL_BYTES = 1 << 16


class State(Enum):
    """Where in a row a byte stands."""

    START = "at the start of a cell"
    PLAIN = "in a cell without quotes"
    QUOTED = "in a quoted cell"
    QUOTE = (
        "behind a quote in a quoted cell"  # which closes the cell before a delimiter or the end of the line
    )
    ESCAPED = "behind an escape in a cell without quotes"
    ESCAPED_QUOTED = "behind an escape in a quoted cell"
    CLOSED = "behind blanks behind a quote in a quoted cell, which are no part of it"
    COMMENT = "in a line that is no row"

    @property
    def is_quoted(self) -> bool:
        return self in (State.QUOTED, State.ESCAPED_QUOTED)


ENDING = (State.START, State.PLAIN, State.QUOTE, State.CLOSED)  # where a newline ends the row


class RowEnds:
    """Finds the ends of rows.

    A quote opens a cell at its start alone, and closes it before a delimiter or the end of the line alone: a cell with
    another quote in it is for the worker to reject, as one row.
    """

    def __init__(self, dialect: Dialect) -> None:
        delimiter, quote = re.escape(dialect.delimiter.encode()), re.escape(dialect.quotechar.encode())
        escapechar = (dialect.escapechar or "").encode()
        escape = re.escape(escapechar)
        space = rb"\x20*+" if dialect.trim else b""
        self._blanks = dialect.blanks_behind_quotes.encode()
        blanks = rb"[%b]*+" % re.escape(self._blanks) if self._blanks else b""

        def row(newline: bytes) -> bytes:
            """A row by the rules, whose cells do not hold this byte."""
            escaped = rb"|%b%b" % (escape, rb"[^\n]" if newline else rb"[\s\S]") if escape else b""
            quoted = rb"%b(?:[^%b%b%b]++|%b%b%b)*+%b%b(?=%b|\r?\n)" % (
                quote, quote, escape, newline, quote, quote, escaped, quote, blanks, delimiter,
            )  # fmt: skip
            plain = rb"(?!%b)(?:[^%b%b\n]++%b)*+" % (quote, delimiter, escape, escaped)
            cell = rb"%b(?:%b|%b)" % (space, quoted, plain)
            return rb"%b(?:%b%b)*+\r?\n" % (cell, delimiter, cell)

        without = rb"[^%b%b\n]*+\n" % (quote, escape)
        self.comment = (dialect.comment or "").encode()
        no_row = rb"%b[^\n]*+\n|" % re.escape(self.comment) if self.comment else b""
        self.of_one_line = re.compile(rb"(?:%b%b|%b)*+" % (no_row, without, row(rb"\n")))
        self.of_many_lines = re.compile(row(b""))
        self._in_plain = re.compile(rb"[^%b%b\n]*+" % (delimiter, escape))
        self._in_quoted = re.compile(rb"[^%b%b]*+" % (quote, escape))
        self._spaces = re.compile(space)
        self._delimiter, self._quote = ord(dialect.delimiter), ord(dialect.quotechar)
        self._special = [dialect.quotechar.encode(), *([escapechar] if escapechar else [])]

    def are_lines(self, data: bytes) -> bool:
        """Whether every line is a row, for there is neither a quote nor an escape."""
        return not any(special in data for special in self._special)

    def begin(self, data: bytes, pos: int) -> State:
        """The state at the beginning of a row."""
        return State.COMMENT if self.comment and data.startswith(self.comment, pos) else State.START

    def find(self, data: bytes, pos: int, state: State) -> tuple[int, State]:
        """(the newline that ends the row, or -1 where the data ends first; the state there)."""
        size = len(data)
        if state is State.COMMENT:
            end = data.find(b"\n", pos)
            return end, State.COMMENT if end < 0 else State.START
        while True:
            if state is State.START:
                pos = self._end(self._spaces, data, pos)
            elif state is State.PLAIN:
                pos = self._end(self._in_plain, data, pos)
            elif state is State.QUOTED:
                pos = self._end(self._in_quoted, data, pos)
            if pos == size:
                return -1, state
            if data[pos] == ord("\n") and state in ENDING:
                return pos, State.START
            state, passed = self._next(state, data[pos])
            pos += passed

    def _next(self, state: State, byte: int) -> tuple[State, int]:
        """The state behind a byte, and whether it is passed."""
        match state:
            case State.START:
                return (State.QUOTED, 1) if byte == self._quote else (State.PLAIN, 0)
            case State.PLAIN:
                return (State.START if byte == self._delimiter else State.ESCAPED), 1
            case State.QUOTED:
                return (State.QUOTE if byte == self._quote else State.ESCAPED_QUOTED), 1
            case State.QUOTE | State.CLOSED:
                closed = {self._delimiter: State.START, ord("\r"): State.PLAIN}
                closed |= dict.fromkeys(self._blanks, State.CLOSED)
                if state is State.CLOSED:
                    closed[self._quote] = State.QUOTE  # so the quote before the blanks closed nothing
                return closed.get(byte, State.QUOTED), byte in closed or byte == self._quote
            case _:
                return (State.QUOTED if state.is_quoted else State.PLAIN), 1

    @staticmethod
    def _end(pattern: re.Pattern[bytes], data: bytes, pos: int) -> int:
        found = pattern.match(data, pos)
        return found.end() if found else pos


class BegunRow:
    """A row whose end is not found yet; what is beyond the limit is on the disk, for the case that it is no row."""

    def __init__(self, name: str, limit: int, blank: bytes) -> None:
        self._name, self._limit = name, limit
        self._record = PartialRecord(limit, b"\r", blank)
        self._pieces: list[bytes] = []
        self._spool: IO[bytes] | None = None
        self.state = State.START
        self.newlines = 0

    @property
    def size(self) -> int:
        return self._record.size

    def add(self, piece: bytes) -> None:
        """Raises InputError where the disk is full."""
        self._record.add(piece)
        self.newlines += piece.count(b"\n")
        try:
            if self._spool is None and self.size > self._limit:
                self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the row has ended
                self._spool.writelines(self._pieces)
                self._pieces = []
            self._spool.write(piece) if self._spool else self._pieces.append(piece)
        except OSError as error:
            raise InputError(
                f"{self._name}: a row of more than {self._limit:,} bytes cannot be written to {tempfile.gettempdir()} "
                f"({error}): make room there, or close its quote"
            ) from error

    def take(self) -> Payload:
        """The row as one record; then the next one may begin."""
        self._forget()
        return self._record.take()

    def take_apart(self) -> Iterator[bytes]:
        """All that was added."""
        yield from self._pieces
        if self._spool:
            self._spool.seek(0)
            while piece := self._spool.read(_SPOOL_BYTES):
                yield piece

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()

    def _forget(self) -> None:
        if self._spool:
            self._spool.close()
        self._pieces, self._spool, self.state, self.newlines = [], None, State.START, 0
