"""The quick way: slices of a batch are judged as columns, whatever the source's mapping and the contract.

Whatever is out of the ordinary is not judged here: it is left to `parse`, `adapt` and `validate`, which look at each
record and say what is wrong with it. What is accepted here, they accept to the same effect.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

from worker.contract import Contract
from worker.judge.adapt import Adapter
from worker.judge.columnwise.contents import Contents
from worker.judge.columnwise.fields import Fields
from worker.judge.columnwise.mapping import Mapping
from worker.judge.columnwise.tables import Table, read_csv, read_json
from worker.judge.faults import NOT_DATA
from worker.judge.records import Records
from worker.judge.times import Times
from worker.queue.message import Message
from worker.settings import SourceSettings

SLICE = 1000  # records: their dictionaries are gone before the garbage collector or the cache has too many of them


@dataclass
class QuickVerdict:
    """What the quick way has made of a batch."""

    accepted: Records
    rest: list[int] = field(default_factory=list)  # positions of the records that are judged one by one
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))  # by stage


class Quick:
    """One source's mapping and the contract, compiled for columns."""

    def __init__(self, contract: Contract, source: SourceSettings, adapter: Adapter) -> None:
        self._width = len(contract.columns)
        self._exactly = contract.has_decimals
        self._mapping = Mapping(adapter, contract, source.extra or contract.extra)
        self._mapping_stage = "adapt" if adapter.changes_records else "parse"
        self._times = Times(source)
        self._fields = Fields(contract, adapter.notation)
        self._contents = Contents(contract)
        self._ts = next(given for given, name in contract.inputs.items() if name == "ts")

    def judge(self, message: Message, latest: str) -> QuickVerdict:
        """The records that are as they should be and no later than `latest`, and which ones are not, or may not be."""
        found = QuickVerdict(Records.empty(self._width))
        for start in range(0, len(message.records), SLICE):
            stop = min(start + SLICE, len(message.records))
            try:
                accepted = self._slice(message, start, stop, latest, found.seconds)
            except NOT_DATA:
                raise
            except Exception:  # the careful way finds out which record it is, and why
                accepted = Records.empty(self._width)
            if len(accepted) < stop - start:
                there = set(accepted.positions)
                found.rest += [position for position in range(start, stop) if position not in there]
            found.accepted.extend(accepted)
        return found

    def _slice(
        self, message: Message, start: int, stop: int, latest: str, seconds: defaultdict[str, float]
    ) -> Records:
        began = time.perf_counter()
        table, rows = self._table(message, start, stop)
        parsed = time.perf_counter()
        seconds["parse"] += parsed - began
        if not rows:
            return Records.empty(self._width)
        records = self._mapping.slice(table, [start + row for row in rows])
        adapted = time.perf_counter()
        seconds[self._mapping_stage] += adapted - parsed

        self._fields.drop_unfit(records)
        odd: set[int] = set()
        records.own["ts"], digits = self._times.stored(records.given[self._ts], odd)
        records.own.setdefault("sequence", digits or [0] * len(records))
        records.drop(odd)
        if not len(records):
            return Records.empty(self._width)
        self._fields.validate(records)
        if len(records) and max(records.own["ts"]) > latest:
            records.drop({row for row, ts in enumerate(records.own["ts"]) if ts > latest})
        if not len(records):
            return Records.empty(self._width)
        self._contents.write_keys(records)
        values, hashed = self._contents.stored(records)
        contents = self._contents.hashes(records, hashed)
        seconds["validate"] += time.perf_counter() - adapted
        own = records.own
        extras: list[str | None] = [None] * len(records)
        if "extra" in own:
            extras = [text.decode() or None for text in own["extra"]]
        return Records(
            values, records.positions, own["key"], own["ts"], contents, extras, own["sequence"],
            [0] * len(records),
        )  # fmt: skip

    def _table(self, message: Message, start: int, stop: int) -> tuple[Table, list[int]]:
        records = message.records[start:stop]
        if message.format == "csv":
            table, rows = read_csv(records, message.header or [], message.dialect)
            return table, list(rows)
        objects, rows = read_json(records, exactly=self._exactly)
        return objects, list(rows)
