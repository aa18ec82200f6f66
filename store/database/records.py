"""`staging` and `target`, the tables a record passes through, with the contract's fields as typed columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    false,
)
from sqlalchemy.types import TypeEngine

from store.database.schema import Name, Serial

Kind = Literal["text", "integer", "real", "decimal", "boolean", "json"]
# A decimal is a number that can be compared and summed: SQLite has binary ones alone, so the digits of one that
# such a number does not hold exactly stand beside it, in a column of text named `<field>_exact`.
DecimalNumber: TypeEngine[Any] = Double().with_variant(Numeric(), "postgresql")
KIND_TYPES: dict[Kind, Callable[[], TypeEngine[Any]]] = {
    "text": Text,
    "integer": BigInteger,
    "real": Double,
    "decimal": lambda: DecimalNumber,
    "boolean": Boolean,
    "json": Text,
}


@dataclass(frozen=True, slots=True)
class ContractColumn:
    """One field of the contract as a column; `key` and `ts` are fixed columns and never among these."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Partition:
    """One of the partitions that `staging` and `target` are divided into, by a hash of source and key."""

    number: int  # from 0
    of: int

    def __str__(self) -> str:
        return f"{self.number}_of_{self.of}"


@dataclass(frozen=True)
class RecordTables:
    """`staging` and `target` with the contract's columns; `data` names the columns both share."""

    staging: Table
    target: Table
    data: tuple[str, ...]


# What a target row says of the record it came from, and how `record_lineage` calls it.
CARRIED = {
    "lineage_id": "id",
    "lineage_line": "line",
    "lineage_run": "run_seq",
    "lineage_outcome": "outcome",
    "lineage_parent": "parent_id",
    "lineage_version": "version",
}
FIXED = frozenset(
    {
        "source",
        "key",
        "ts",
        "sequence",
        "deleted",
        "content_hash",
        "extra",
        "id",
        "line",
        "flags",
        "parent_id",
        "version",
        *CARRIED,
    }
)


def _version() -> Iterator[Column[Any]]:
    """What both tables hold of a version, beside its key and the contract's columns."""
    yield Column("ts", Text, nullable=False)
    yield Column("sequence", BigInteger, nullable=False, server_default="0")  # orders versions of one time
    # A tombstone: all but key and time is null.
    yield Column("deleted", Boolean, nullable=False, server_default=false())
    yield Column("content_hash", LargeBinary(16), nullable=False)
    yield Column("extra", Text)  # JSON: the fields beyond the contract


@lru_cache(maxsize=64)
def record_tables(
    columns: tuple[ContractColumn, ...] = (), partition: Partition | None = None
) -> RecordTables:
    """The two tables a record passes through, with these contract columns; or one partition of each."""
    suffix = f"_{partition}" if partition else ""
    tables = MetaData()
    typed = [(column.name, KIND_TYPES[column.kind]) for column in columns]

    staging = Table(
        f"staging{suffix}",
        tables,
        Column("id", Serial, primary_key=True, autoincrement=False),  # see `staged_id`: rows are appended
        Column("source", Name, nullable=False),
        Column("key", Name, nullable=False),
        *_version(),
        Column("line", BigInteger, nullable=False),
        Column(
            "flags", Integer, nullable=False, server_default="0"
        ),  # 1 late, 2 stale, 4 ambiguous, 8 shifted
        Column("parent_id", BigInteger),
        Column("version", BigInteger),  # null: that of its batch's delivery
        *(Column(name, kind()) for name, kind in typed),
    )
    target = Table(
        f"target{suffix}",
        tables,
        Column("source", Name, primary_key=True),
        Column("key", Name, primary_key=True),
        *_version(),
        Column("lineage_id", BigInteger, nullable=False),
        Column("lineage_line", BigInteger, nullable=False),
        Column("lineage_run", BigInteger, nullable=False),
        Column("lineage_outcome", Integer, nullable=False),  # 1 inserted, 2 updated
        Column("lineage_parent", BigInteger),  # the `replay` entry, where it came from a dead letter
        Column("lineage_version", BigInteger),  # null: that of its batch's delivery
        *(Column(name, kind()) for name, kind in typed),
        CheckConstraint("lineage_outcome IN (1, 2)", name="target_lineage_outcome"),
        # With rowids: rows are appended, and a chunk of new keys changes the pages of the key's index alone.
    )
    data = (
        "source",
        "key",
        "ts",
        "sequence",
        "deleted",
        "content_hash",
        "extra",
        *(name for name, _ in typed),
    )
    return RecordTables(staging, target, data)
