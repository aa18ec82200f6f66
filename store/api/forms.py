"""Rows as frames of other libraries, which are imported when they are asked for, and as files."""

from __future__ import annotations

import csv
import importlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import orjson

from store import timestamps
from store.errors import UsageError
from store.tables.rows import Field
from store.text import spreadsheet_cell

Row = dict[str, Any]
# A column of decimals has one scale: 20 digits before the point and 18 behind it.
DIGITS, SCALE = 38, 18


def needed(package: str, extra: str) -> Any:
    """A library of an extra. Raises UsageError that names the package."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"{package.partition('.')[0]} is not installed: pip install 'sluice[{extra}]', or choose another format"
        ) from error


def need(form: Callable[..., Any]) -> None:
    """Raises UsageError where the library of a form is missing: before a row is read."""
    if form in LIBRARIES:
        needed(*LIBRARIES[form])


def to_pandas(fields: Sequence[Field], rows: Sequence[Row]) -> Any:
    """A pandas.DataFrame."""
    pandas = needed("pandas", "pandas")
    columns = {}
    for name, kind in fields:
        values = [_json_text(row[name]) if kind == "json" else row[name] for row in rows]
        columns[name] = pandas.Series(values, dtype=PANDAS[kind]) if kind in PANDAS else pandas.Series(values)
    return pandas.DataFrame(columns)


def to_polars(fields: Sequence[Field], rows: Sequence[Row]) -> Any:
    """A polars.DataFrame."""
    polars = needed("polars", "polars")
    kinds = {
        "text": polars.String,
        "json": polars.String,
        "integer": polars.Int64,
        "real": polars.Float64,
        "boolean": polars.Boolean,
        "time": polars.Datetime("us", "UTC"),
        "decimal": polars.Decimal(DIGITS, SCALE),
    }
    columns = {
        name: polars.Series(name, _column(rows, name, kind), dtype=kinds.get(kind), strict=True)
        for name, kind in fields
    }
    return polars.DataFrame(columns)


def to_arrow(fields: Sequence[Field], rows: Sequence[Row]) -> Any:
    """A pyarrow.Table."""
    arrow = needed("pyarrow", "parquet")
    schema = _schema(fields)
    arrays = [arrow.array(_column(rows, name, kind), type=schema.get(name)) for name, kind in fields]
    return arrow.table(arrays, names=[name for name, _ in fields])


def write_csv(fields: Sequence[Field], pieces: Iterable[Sequence[Row]], file: IO[str]) -> int:
    """With a header; returns how many rows."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([spreadsheet_cell(name) for name, _ in fields])
    number = 0
    for piece in pieces:
        writer.writerows([spreadsheet_cell(as_text(row[name])) for name, _ in fields] for row in piece)
        number += len(piece)
    return number


def write_ndjson(fields: Sequence[Field], pieces: Iterable[Sequence[Row]], file: IO[str]) -> int:
    """One object a line; returns how many."""
    number = 0
    for piece in pieces:
        lines = (orjson.dumps({name: as_json(row[name]) for name, _ in fields}, as_json) for row in piece)
        file.write("".join(line.decode() + "\n" for line in lines))
        number += len(piece)
    return number


def write_parquet(fields: Sequence[Field], pieces: Iterable[Sequence[Row]], file: IO[bytes]) -> int:
    """In constant memory; returns how many."""
    parquet = needed("pyarrow.parquet", "parquet")
    arrow = needed("pyarrow", "parquet")
    number, writer = 0, None
    for piece in pieces:
        table = to_arrow(fields, piece)
        writer = writer or parquet.ParquetWriter(file, table.schema)
        writer.write_table(table)
        number += len(piece)
    if writer is None:
        writer = parquet.ParquetWriter(file, arrow.schema(list(_schema(fields).items())))
    writer.close()
    return number


@contextmanager
def replacing(path: Path, mode: str) -> Iterator[IO[Any]]:
    """A file that is there whole or not at all."""
    encoding = None if "b" in mode else "utf-8"
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): check its folder") from error
    try:
        with os.fdopen(handle, mode, encoding=encoding, newline=None if encoding is None else "") as file:
            yield file
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


PANDAS = {
    "text": "string",
    "json": "string",
    "integer": "Int64",
    "real": "Float64",
    "boolean": "boolean",
    "time": "datetime64[us, UTC]",
    "decimal": "object",
}


def _schema(fields: Sequence[Field]) -> dict[str, Any]:
    arrow = needed("pyarrow", "parquet")
    kinds = {
        "text": arrow.string(),
        "json": arrow.string(),
        "integer": arrow.int64(),
        "real": arrow.float64(),
        "boolean": arrow.bool_(),
        "time": arrow.timestamp("us", "UTC"),
        "decimal": arrow.decimal128(DIGITS, SCALE),
    }
    return {name: kinds[kind] for name, kind in fields if kind in kinds}


def _column(rows: Sequence[Row], name: str, kind: str) -> list[Any]:
    values = [row[name] for row in rows]
    if kind == "json":
        return [_json_text(value) for value in values]
    if kind == "decimal":
        for value in values:
            if value is not None and not _fits(value):
                raise UsageError(
                    f"field {name!r} has the value {value}, and a column of decimals holds {DIGITS - SCALE} digits "
                    f"before the point and {SCALE} behind it: take CSV, NDJSON or pandas"
                )
    return values


def _fits(value: Decimal) -> bool:
    exponent = value.normalize().as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -SCALE and abs(value) < 10 ** (DIGITS - SCALE)


def _json_text(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def as_text(value: Any) -> object:
    """A value of a row as text, or one whose own text is right."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return timestamps.to_iso(timestamps.to_text(value))
    if isinstance(value, dict | list):
        return _json_text(value)
    return bytes(value).hex() if isinstance(value, bytes | memoryview) else value


def as_json(value: Any) -> Any:
    """A value of a row as JSON has it: bytes as hex digits, a decimal with all its digits."""
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    return as_text(value) if isinstance(value, datetime | bytes | memoryview) else value


LIBRARIES: dict[Any, tuple[str, str]] = {
    to_pandas: ("pandas", "pandas"),
    to_polars: ("polars", "polars"),
    to_arrow: ("pyarrow", "parquet"),
}
