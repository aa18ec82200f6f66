"""What the name of a file shows: its format, and whether it is compressed."""

from __future__ import annotations

from pathlib import PurePath
from typing import Literal

from producer.files.source import STDIN

Format = Literal["json", "ndjson", "csv", "parquet", "xlsx"]

FORMATS: dict[str, Format] = {
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json-seq": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}

TYPED: frozenset[Format] = frozenset(("parquet", "xlsx"))  # tables whose cells have types

# What people send by mistake; with --format the first bytes of the file tell.
NOT_READ = frozenset(
    (
        ".zip",
        ".tar",
        ".tgz",
        ".7z",
        ".rar",
        ".bz2",
        ".xz",
        ".zst",
        ".lz4",
        ".xls",
        ".ods",
    )
)


def suffix_of(path: str) -> str:
    """The ending that shows the format, in lower case; the one before `.gz`."""
    name = PurePath(path.lower())
    return PurePath(name.stem).suffix if name.suffix == ".gz" else name.suffix


def format_of(path: str) -> Format | None:
    """The format by a file's name; None if the name does not show it."""
    return "ndjson" if path == STDIN else FORMATS.get(suffix_of(path))


def is_gzip_name(path: str) -> bool | None:
    """Whether a file is compressed by its name; None if the name does not show it."""
    ending = PurePath(path.lower()).suffix
    return True if ending == ".gz" else False if ending in FORMATS else None
