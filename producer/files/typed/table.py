"""What the readers of typed tables share: the library of an extra, rows as JSON, columns with one name each."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from producer.files.batches import Block, Payload
from store.errors import InputError, UsageError
from worker.encoding import encoded
from worker.queue.message import Opaque

BLOCK_ROWS = 1000
LIBRARIES = {"parquet": ("pyarrow.parquet", "parquet"), "xlsx": ("openpyxl", "excel")}


class Table(Protocol):
    """An open table."""

    columns: list[str]
    part: list[Any]  # which part of the file is read, where that was chosen: it is part of the delivery

    def blocks(self) -> Iterator[Block]: ...

    def share_read(self) -> float: ...

    def close(self) -> None: ...


def library(format: str) -> Any:
    """The library that reads a format. Raises UsageError that names its extra."""
    package, extra = LIBRARIES[format]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"to read {format} files, {package.partition('.')[0]} must be installed: pip install 'sluice[{extra}]'; "
            "nothing was sent"
        ) from error


def json_block(rows: Sequence[tuple[int, Mapping[str, Any]]], limit: int, name: str) -> Block:
    """Rows with their numbers as raw records. Raises InputError for a value that JSON has no way to write."""
    payloads: list[Payload] = []
    for number, row in rows:
        try:
            payload = encoded(row, number)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        payloads.append(Opaque.head_of(payload) if len(payload) > limit else payload)
    numbers = [number for number, _ in rows]
    is_run = bool(rows) and numbers[-1] - numbers[0] == len(rows) - 1
    return Block(payloads, range(numbers[0], numbers[-1] + 1) if is_run else numbers)


def refuse_repeated(names: Iterable[str], name: str, what: str = "columns") -> None:
    """Raises InputError where a name stands twice: which of them a field is read from is not known."""
    if repeated := [f"{each[:60]!r} ({count} times)" for each, count in Counter(names).items() if count > 1]:
        raise InputError(
            f"{name}: names {what} more than once: {', '.join(repeated)}; rename them, or leave out all but one; "
            "nothing of it was sent"
        )
