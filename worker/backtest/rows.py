"""Rows of the target under a contract as it would be.

The records that they came from are not stored, so what is judged are the fields of the contract as their columns hold
them, without the mapping. Where that cannot tell what the record itself would be, the row is not judged:

- a null may have been an absent field, and a contract may take the one and not the other;
- a row that the very same contract accepted, or that fails as stored by the contract in force too: its validators do
  not take what they made;
- a row that its source has deleted has no fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, get_args

import orjson
from sqlalchemy import Connection, RowMapping, Select, func, select

from store.database import install
from store.database.records import ContractColumn, record_tables
from store.database.schema import POSITION_BITS, batches, contracts
from worker.backtest.findings import Failures, shapes_of
from worker.contract import Contract
from worker.judge.faults import Fault, Rejection
from worker.judge.stages import judge_for
from worker.settings import SourceSettings, WorkerSettings

PIECE = 1_000
HASH_BITS = 128

Faults = Sequence[Fault]


@dataclass
class RowTest:
    """What would become of the rows."""

    rows: int = 0  # of the target
    looked_at: int = 0
    passing: int = 0
    failures: Failures = field(default_factory=Failures)  # of those that newly fail
    not_judged: dict[str, int] = field(default_factory=dict)  # why -> rows

    def skip(self, why: str) -> None:
        self.not_judged[why] = self.not_judged.get(why, 0) + 1

    @property
    def newly_fail(self) -> int:
        return sum(each.records for each in self.failures.found.values())

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "rows": self.rows,
            "sampled": self.looked_at,
            "pass": self.passing,
            "newly_fail": self.newly_fail,
            "not_judged": sum(self.not_judged.values()),
            "failing": self.failures.largest_first(),
            "why_not_judged": self.not_judged,
        }


class StoredRecords:
    """A contract, applied to records as their columns hold them."""

    def __init__(
        self, contract: Contract, settings: WorkerSettings, columns: Sequence[ContractColumn]
    ) -> None:
        self._contract, self._settings = contract, settings
        self._given = {field: name for name, field in contract.inputs.items()}
        decimals = {column.name for column in columns if column.kind == "decimal"}
        digits = {f"{name}_exact" for name in decimals}
        self._columns = [column for column in columns if column.name not in digits]
        self._exact = {
            name: f"{name}_exact" for name in decimals if f"{name}_exact" in {c.name for c in columns}
        }
        self._validate: dict[str, Callable[[dict[str, Any]], Any]] = {}

    def faults(self, row: RowMapping, fields: frozenset[str] | None) -> Faults | None:
        """What is wrong with a row; nothing where it is in order; None where that cannot be told.

        `fields` are those of the contract that accepted it, None where that is unknown.
        """
        record, unsure = self.record(row, fields)
        first = self._faults(row["source"], record)
        if not unsure:
            return first
        second = self._faults(row["source"], record | dict.fromkeys(unsure))
        return first if shapes_of(first) == shapes_of(second) else None

    def record(self, row: RowMapping, fields: frozenset[str] | None) -> tuple[dict[str, Any], list[str]]:
        """(the row as a record, the names of fields that were either null or absent and make a difference)."""
        record: dict[str, Any] = orjson.loads(row["extra"]) if row["extra"] else {}
        unsure: list[str] = []
        for column in self._columns:
            name, value = column.name, row[column.name]
            given = self._given.get(name, name)
            if value is None:
                if (fields is None or name in fields) and self._null_matters(name):
                    unsure.append(given)
            elif column.kind == "json":
                record[given] = orjson.loads(value)
            elif (digits := self._exact.get(name)) and row[digits] is not None:
                record[given] = Decimal(row[digits])
            else:
                record[given] = value
        numeric = self._contract.kinds["key"]
        record[self._given["key"]] = _number(row["key"]) if numeric in ("integer", "real") else row["key"]
        record[self._given["ts"]] = row["ts"]
        return record, unsure

    def _null_matters(self, name: str) -> bool:
        """Whether a contract may take a null for something else than an absent field."""
        info = self._contract.model.model_fields.get(name)
        if info is None:
            return False
        return info.is_required() or type(None) not in get_args(info.annotation) or info.default is not None

    def _faults(self, source: str, record: dict[str, Any]) -> Faults:
        if source not in self._validate:
            plain = SourceSettings(extra=self._settings.source(source).extra)  # no mapping
            judge = judge_for(self._contract, plain, self._settings.max_future_skew)
            self._validate[source] = judge.validator.validate
        try:
            self._validate[source](dict(record))
        except Rejection as rejection:
            return rejection.faults
        return ()


def _number(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


@dataclass
class Comparison:
    """The contract as it would be, and the one in force where that is another."""

    contract: Contract
    settings: WorkerSettings
    in_force: tuple[Contract, WorkerSettings] | None


def judge_rows(
    connection: Connection,
    comparison: Comparison,
    source: str | None,
    sample: int | None,
    on_rows: Callable[[int], None],
) -> RowTest:
    """Judges a sample of the target's rows, or all of them; streamed."""
    columns = install.contract_columns(connection)
    would_be = StoredRecords(comparison.contract, comparison.settings, columns)
    before = StoredRecords(*comparison.in_force, columns) if comparison.in_force else None
    test = RowTest(rows=_count(connection, source))
    fields = {
        fingerprint: frozenset(orjson.loads(text))
        for fingerprint, text in connection.execute(select(contracts.c.fingerprint, contracts.c.fields))
    }
    of_batch = {
        seq: print_ for seq, print_ in connection.execute(select(batches.c.seq, batches.c.fingerprint))
    }
    same: dict[str, str] = {}
    for row in _rows(connection, columns, source, sample, test.rows):
        test.looked_at += 1
        if test.looked_at % PIECE == 0:
            on_rows(PIECE)
        if row["deleted"]:
            test.skip("deleted by their source: they have no fields")
            continue
        accepted_by = of_batch.get(row["lineage_id"] >> POSITION_BITS, "")
        its_fields = fields.get(accepted_by)
        faults = would_be.faults(row, its_fields)
        if faults is None:
            test.skip("a null in them may have been an absent field, which makes a difference")
        elif not faults:
            test.passing += 1
        elif accepted_by == _fingerprint(comparison, row["source"], same):
            test.skip("accepted by this contract and mapping, which do not take what they stored")
        elif before and before.faults(row, its_fields) != ():
            test.skip("as stored they do not meet the contract in force either")
        else:
            test.failures.add(row["source"], faults, row["key"])
    return test


def _fingerprint(comparison: Comparison, source: str, known: dict[str, str]) -> str:
    if source not in known:
        known[source] = comparison.contract.fingerprint(comparison.settings.source(source))
    return known[source]


def _count(connection: Connection, source: str | None) -> int:
    target = record_tables().target
    statement = select(func.count()).select_from(target)
    if source is not None:
        statement = statement.where(target.c.source == source)
    return connection.execute(statement).scalar_one()


def _rows(
    connection: Connection,
    columns: tuple[ContractColumn, ...],
    source: str | None,
    sample: int | None,
    number: int,
) -> Iterator[RowMapping]:
    """About so many rows, those with the smallest hashes: any row is as likely as any other, and always the same."""
    target = record_tables(columns).target
    names = ("source", "key", "ts", "deleted", "extra", "lineage_id", *(column.name for column in columns))
    statement: Select[Any] = select(*(target.c[name] for name in names))
    if source is not None:
        statement = statement.where(target.c.source == source)
    if sample is not None and sample < number:
        bound = ((1 << HASH_BITS) - 1) * sample // number
        statement = statement.where(target.c.content_hash < bound.to_bytes(HASH_BITS // 8, "big"))
    yield from connection.execute(statement.execution_options(yield_per=PIECE)).mappings()
