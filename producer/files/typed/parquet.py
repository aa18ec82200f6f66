"""Parquet files, a few row at a time: each row a record, its number the line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any

from producer.files.batches import Block
from producer.files.typed.table import BLOCK_ROWS, json_block, library, refuse_repeated
from store.errors import InputError

MAGIC, ENCRYPTED = b"PAR1", b"PARE"
_BLOCK_BYTES = 8 << 20  # of rows in memory as Arrow has them, about
_BUFFER_BYTES = 1 << 18  # of each column that is read: without it a whole row group is in memory


class ParquetRows:
    """The rows of one Parquet file, in constant memory."""

    def __init__(self, file: IO[bytes], *, name: str, limit: int) -> None:
        """Raises InputError for what is no Parquet file, or has columns that JSON cannot hold."""
        self._name, self._limit = name, limit
        self.part: list[Any] = []
        self._rows_read = 0
        parquet = library("parquet")
        file.seek(0)
        start = file.read(len(MAGIC))
        if start == ENCRYPTED:
            raise InputError(f"{name}: this Parquet file is encrypted: decrypt it; nothing of it was sent")
        if start != MAGIC:
            raise InputError(f"{name}: this is not a Parquet file: check --format; nothing of it was sent")
        try:
            # Old writers have times of 96 bits: as nanoseconds, the years after 2262 would wrap without an error.
            self._file = parquet.ParquetFile(
                file,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,
                coerce_int96_timestamp_unit="us",
                page_checksum_verification=True,  # of pages that have one
            )
            self._schema = self._file.schema_arrow
        except Exception as error:  # Arrow's errors have no common base beyond this one
            raise self._unreadable(error, 0) from error
        self.columns: list[str] = list(self._schema.names)
        refuse_repeated(self.columns, name)
        for column in self._schema:
            self._refuse_unwritable(column.name, column.type)
        self._texts = [_as_text(column.type, only_fine=True) for column in self._schema]
        self._all_texts = [_as_text(column.type, only_fine=False) for column in self._schema]

    def _unreadable(self, error: Exception, row: int) -> InputError:
        where = f"cannot be read beyond row {row:,}" if row else "cannot be read as Parquet"
        reason = " ".join(str(error).split())[:200]
        return InputError(f"{self._name}: {where} ({reason}): repair the file and send it again")

    def _refuse_unwritable(self, path: str, kind: Any) -> None:
        types = library_types()
        for is_such, what in (
            (types.is_duration, "a length of time"),
            (types.is_interval, "an interval"),
            (_is_binary, "bytes"),
        ):
            if is_such(kind):
                raise InputError(
                    f"{self._name}: column {path!r} holds {what} ({kind}), which JSON has no value for: write it as "
                    "text or as a number, or leave it out; nothing of it was sent"
                )
        if types.is_struct(kind):
            refuse_repeated((field.name for field in kind), self._name, f"fields of column {path!r}")
        if types.is_map(kind) and not _is_text(kind.key_type):
            raise InputError(
                f"{self._name}: column {path!r} is a map with keys of {kind.key_type}, and JSON has text alone: write "
                "its keys as text, or leave it out; nothing of it was sent"
            )
        for inner, of in _children(kind):
            self._refuse_unwritable(f"{path}.{inner}", of)

    def share_read(self) -> float:
        """Of its rows."""
        total = self._file.metadata.num_rows
        return float(self._rows_read / total) if total else 1.0

    def blocks(self) -> Iterator[Block]:
        """Raises InputError where the file cannot be read further, after all rows before that."""
        batches = self._file.iter_batches(self._batch_rows(), use_threads=False)
        while True:
            try:
                batch = next(batches, None)
                rows = None if batch is None else self._rows(batch)
            except Exception as error:  # Arrow's errors have no common base beyond this one
                raise self._unreadable(error, self._rows_read) from error
            if rows is None:
                return
            first = self._rows_read + 1
            self._rows_read += len(rows)
            yield json_block(list(enumerate(rows, first)), self._limit, self._name)

    def _batch_rows(self) -> int:
        """Fewer where rows are large."""
        found = self._file.metadata
        groups = (found.row_group(number) for number in range(found.num_row_groups))
        row_bytes = max((each.total_byte_size // max(each.num_rows, 1) for each in groups), default=0)
        return max(1, min(BLOCK_ROWS, _BLOCK_BYTES // max(row_bytes, 1)))

    def _rows(self, batch: Any) -> list[dict[str, Any]]:
        """Its rows, with times that Python has no value for as text."""
        try:
            return _listed(batch, self._texts)
        except (OverflowError, ValueError):  # which row it is, Arrow does not tell
            singly = [batch.slice(number, 1) for number in range(batch.num_rows)]
            return [self._row(each) for each in singly]

    def _row(self, batch: Any) -> dict[str, Any]:
        try:
            return _listed(batch, self._texts)[0]
        except (OverflowError, ValueError):
            return _listed(batch, self._all_texts)[0]

    def close(self) -> None:
        self._file.close()


def library_types() -> Any:
    library("parquet")
    import pyarrow.types

    return pyarrow.types


def _listed(batch: Any, changes: list[Callable[[Any], Any] | None]) -> list[dict[str, Any]]:
    columns = [
        (change(column) if change else column).to_pylist(maps_as_pydicts="strict")
        for column, change in zip(batch.columns, changes, strict=True)
    ]
    names = batch.schema.names
    if not names:
        return [{} for _ in range(batch.num_rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _as_text(kind: Any, *, only_fine: bool) -> Callable[[Any], Any] | None:
    """What turns the times in a column into text, with all their digits; None for a column without such times.

    Only the fine ones, of nanoseconds, or all: Python has microseconds, and the years 1 to 9999.
    """
    import pyarrow

    utc = _changed(kind, _in_utc)
    text = _changed(utc, lambda each: pyarrow.string() if _is_time(each, only_fine) else each)
    return None if text == kind else lambda column: column.cast(utc).cast(text)


def _is_time(kind: Any, only_fine: bool) -> bool:
    types = library_types()
    if types.is_timestamp(kind) or types.is_time(kind):
        return not only_fine or getattr(kind, "unit", "") == "ns" or kind == "time64[ns]"
    return bool(types.is_date(kind)) and not only_fine


def _in_utc(kind: Any) -> Any:
    """With the same instants: Arrow writes another zone as an offset, may not know it, and offsets may have seconds."""
    import pyarrow

    if library_types().is_timestamp(kind) and kind.tz:
        return pyarrow.timestamp(kind.unit, "UTC")
    return kind


def _changed(kind: Any, change: Callable[[Any], Any]) -> Any:
    """A type with the types in it changed."""
    import pyarrow

    types, again = library_types(), partial(_changed, change=change)
    if types.is_struct(kind):
        return pyarrow.struct([field.with_type(again(field.type)) for field in kind])
    if types.is_map(kind):
        return pyarrow.map_(kind.key_type, again(kind.item_type))
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(kind.value_field.with_type(again(kind.value_type)), kind.list_size)
    if types.is_large_list(kind):
        return pyarrow.large_list(kind.value_field.with_type(again(kind.value_type)))
    if types.is_list(kind):
        return pyarrow.list_(kind.value_field.with_type(again(kind.value_type)))
    return change(kind)


def _children(kind: Any) -> Iterator[tuple[str, Any]]:
    types = library_types()
    if types.is_struct(kind):
        yield from ((field.name, field.type) for field in kind)
    elif types.is_map(kind):
        yield "value", kind.item_type
    elif types.is_dictionary(kind) or hasattr(kind, "value_type"):
        yield "element", kind.value_type


def _is_binary(kind: Any) -> bool:
    types = library_types()
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def _is_text(kind: Any) -> bool:
    types = library_types()
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
