"""Frames of other libraries (pandas, Polars, PyArrow and what else narwhals reads) as dictionaries, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from store.errors import UsageError

LIBRARIES = frozenset({"pandas", "polars", "pyarrow", "modin", "cudf", "duckdb", "ibis", "dask"})


def is_frame(records: object) -> bool:
    """Whether it is an object of such a library; none is imported for it."""
    return type(records).__module__.partition(".")[0] in LIBRARIES


def rows(frame: object) -> Iterator[dict[str, Any]]:
    """Its rows. Where a library has one value for what is missing and for what is no number, it is missing."""
    try:
        import narwhals
    except ImportError as error:
        raise UsageError(
            "to send a frame, narwhals must be installed: pip install 'sluice[frames]'"
        ) from error
    try:
        found = narwhals.from_native(frame)
    except TypeError as error:
        raise UsageError(
            f"a {type(frame).__name__} is no frame that narwhals reads: give its rows"
        ) from error
    if isinstance(found, narwhals.LazyFrame):
        found = found.collect()
    has_one_value = found.implementation.is_pandas_like()
    for row in found.iter_rows(named=True):
        yield {name: _present(value) for name, value in row.items()} if has_one_value else row


def _present(value: Any) -> Any:
    is_missing = type(value).__name__ == "NAType" or (isinstance(value, float | datetime) and value != value)  # noqa: PLR0124
    return None if is_missing else value
