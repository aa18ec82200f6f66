"""The stages a batch passes, in their order. Pure: what they need to know of the world is handed to them.

    parse -> adapt -> validate -> freshness

Each record leaves with exactly one outcome: staged, rejected or skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from store import payload
from store.tables.staging import AMBIGUOUS, LATE, SHIFTED, STALE
from worker.contract import Contract
from worker.judge.adapt import Adapter, origins_json
from worker.judge.columnwise.quick import Quick, QuickVerdict
from worker.judge.content import as_bytes, content_of_parsed, content_of_raw, number_names
from worker.judge.faults import Fault, Rejection
from worker.judge.freshness import Clock
from worker.judge.notation import Notation
from worker.judge.parse import AS_FLOATS, UNDECODABLE, Numbers, parse_csv, parse_json
from worker.judge.records import Accepted, Records
from worker.judge.tombstones import Tombstones
from worker.judge.validate import Validator
from worker.queue.message import Message, Opaque, RawRecord
from worker.settings import SourceSettings


@dataclass(frozen=True)
class Judge:
    """The contract and one source's settings, compiled once for all of its batches."""

    contract: Contract
    source: SourceSettings
    adapter: Adapter
    validator: Validator
    tombstones: Tombstones | None  # for a source that says which keys are deleted
    quick: Quick | None  # the quick way; without it, all records are judged one by one
    max_future_skew: timedelta
    fingerprint: str  # of the contract and the source's mapping
    origins: str  # JSON: where the contract's fields come from
    numbers: frozenset[str] = frozenset()  # names of raw records under which the contract has a number
    notation: Notation | None = None  # of numbers, where it is not JSON's
    others: dict[Notation | None, Judge] = field(default_factory=dict, compare=False)  # of other notations

    def of(self, message: Message) -> Judge:
        """The judge of the same records, with numbers as the file of a message writes them."""
        # An edited row of a CSV file is sent back as JSON, with numbers as the file writes them.
        is_of_csv = message.format == "csv" or message.kind == "replay"
        notation = Notation.of(message.dialect) if is_of_csv else None
        if notation == self.notation:
            return self
        if notation not in self.others:
            if len(self.others) >= MOST_NOTATIONS:
                self.others.clear()
            self.others[notation] = judge_for(self.contract, self.source, self.max_future_skew, notation)
        return self.others[notation]


MOST_NOTATIONS = 8


def judge_for(
    contract: Contract, source: SourceSettings, max_future_skew: timedelta, notation: Notation | None = None
) -> Judge:
    """The judge of one source's records."""
    adapter = Adapter(source, contract, notation)
    validator = Validator(
        contract,
        source.extra or contract.extra,
        adapter.read_time,
        adapter.below_microseconds,
        reads_iso=adapter.reads_iso,
        read_besides=adapter.read_besides,
        notation=notation,
        read_oddity=adapter.read_oddity,
    )
    tombstones = Tombstones(source, contract, validator) if source.deleted else None
    quick = Quick(contract, source, adapter)
    return Judge(
        contract, source, adapter, validator, tombstones, quick, max_future_skew, contract.fingerprint(source),
        origins_json(source, contract, adapter), number_names(adapter, contract), notation,
    )  # fmt: skip


class Bad(NamedTuple):
    """A record that breaks its contract."""

    position: int
    faults: tuple[Fault, ...]
    content: str  # what it says, whatever its format
    record_key: str | None


@dataclass
class Judged:
    """A batch after the stages that need no database."""

    valid: Records = field(default_factory=lambda: Records.empty(0))
    bad: list[Bad] = field(default_factory=list)
    skipped: Records = field(default_factory=lambda: Records.empty(0))
    late: int = 0
    stale: int = 0
    ambiguous: int = 0
    shifted: int = 0
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> seconds; one that was off is absent


T = TypeVar("T")
U = TypeVar("U")
Positioned = list[tuple[int, T]]  # (position in the batch, what the record has become)

STRUCTURES = frozenset({dict, list})

ALL_ON: Mapping[str, float] = {"adapt": 1.0, "validate": 1.0, "freshness": 1.0}


class Passage:
    """One batch on its way through the stages."""

    def __init__(self, message: Message, shares: Mapping[str, float], judge: Judge) -> None:
        self.message = message
        self.shares = shares
        self.numbers, self.notation = judge.numbers, judge.notation
        self.items_are_parsed = (
            not judge.adapter.changes_records
        )  # what a dictionary says is what its record says
        self.judged = Judged()

    def stage(
        self, name: str, items: Positioned[T], on: Callable[[T], U], off: Callable[[T], U]
    ) -> Positioned[U]:
        """Applies a stage to its share of the records, `off` to the others; the rejected leave."""
        started = time.perf_counter()
        share = self.shares.get(name, 1.0)
        passed: Positioned[U] = []
        for position, item in items:
            try:
                if share == 1.0 or falls_in(share, self.message.records[position]):
                    passed.append((position, on(item)))
                else:
                    passed.append((position, off(item)))
            except Rejection as rejection:
                self.reject(position, rejection, item)
        if share:
            spent = self.judged.seconds.get(name, 0.0) + time.perf_counter() - started
            self.judged.seconds[name] = round(spent, 6)
        return passed

    def read(
        self, items: Positioned[dict[str, Any]], read: Callable[[dict[str, Any]], T], found: dict[int, T]
    ) -> Positioned[dict[str, Any]]:
        """Reads what each raw record says into `found`, by position; records that do not say it leave."""
        passed: Positioned[dict[str, Any]] = []
        for position, item in items:
            try:
                found[position] = read(item)
                passed.append((position, item))
            except Rejection as rejection:
                self.reject(position, rejection, item)
        return passed

    def reject(self, position: int, rejection: Rejection, item: object, key: str | None = None) -> None:
        key = _key(item) if isinstance(item, dict) else key
        # A list may have been changed by a contract's own validator, and is read anew.
        flat = isinstance(item, dict) and STRUCTURES.isdisjoint(map(type, item.values()))
        record = self.message.records[position]
        if isinstance(item, dict) and flat and self.items_are_parsed:
            content = content_of_parsed(item, record, self.message, self.numbers, self.notation)
        else:
            content = content_of_raw(record, self.message, self.numbers, self.notation)
        self.judged.bad.append(Bad(position, rejection.faults, content, key))


def falls_in(share: float, record: RawRecord) -> bool:
    """Whether a record belongs to a share of all records: the same ones on every machine."""
    if share in (0.0, 1.0):
        return bool(share)
    return int(as_bytes(record)[:8], 16) < share * 2**32


def judge_batch(
    message: Message,
    judge: Judge,
    watermark: str | None,
    now: datetime,
    shares: Mapping[str, float] = ALL_ON,
) -> Judged:
    """Parse, adapt, validate and freshness for every record of a batch."""
    judge = judge.of(message)
    passage = Passage(message, shares, judge)
    clock = Clock.at(judge.source, judge.max_future_skew, watermark, now)
    judged = passage.judged
    quick = _quickly(message, judge, clock, shares)
    records = [(position, message.records[position]) for position in quick.rest]
    exactly = judge.contract.has_decimals
    numbers = Numbers(exactly, exactly or judge.adapter.changes_records)
    raw = passage.stage("parse", records, lambda each: parse(each, message, numbers), _never)
    sequences: dict[int, int] = {}
    if judge.adapter.read_sequence:
        raw = passage.read(raw, judge.adapter.read_sequence, sequences)
    valid: Positioned[Accepted] = []
    if judge.tombstones:
        deleted: dict[int, bool] = {}
        raw = passage.read(raw, judge.tombstones.is_one, deleted)
        dead = [item for item in raw if deleted[item[0]]]
        raw = [item for item in raw if not deleted[item[0]]]
        accept = judge.tombstones.accept
        valid += passage.stage(
            "validate",
            dead,
            lambda each: clock.not_later(accept(each)),
            lambda each: clock.not_later(accept(each)),
        )
    if judge.adapter.changes_records:
        raw = passage.stage("adapt", raw, judge.adapter.adapt, _as_it_is)
    elif shares.get("adapt", 1.0):
        judged.seconds["adapt"] = 0.0
    check = judge.validator
    valid += passage.stage(
        "validate",
        raw,
        lambda each: clock.not_later(check.validate(each)),
        lambda each: clock.not_later(check.accept_unvalidated(each)),
    )
    for name in quick.seconds.keys() & judged.seconds.keys():
        judged.seconds[name] = round(judged.seconds[name] + quick.seconds[name], 6)
    accepted = quick.accepted
    for position, record in valid:
        accepted.append(position, record._replace(sequence=sequences.get(position, record.sequence)))
    _flag(passage, clock, judge, accepted.in_order() if valid else accepted)
    judged.bad.sort(key=lambda bad: bad.position)
    return judged


def _quickly(message: Message, judge: Judge, clock: Clock, shares: Mapping[str, float]) -> QuickVerdict:
    """What the quick way accepts, and the positions of the records that the stages judge one by one."""
    whole = shares.get("adapt", 1.0) == shares.get("validate", 1.0) == 1.0
    if judge.quick and whole:
        return judge.quick.judge(message, clock.latest)
    return QuickVerdict(Records.empty(len(judge.contract.columns)), list(range(len(message.records))))


def _flag(passage: Passage, clock: Clock, judge: Judge, accepted: Records) -> None:
    """The stage freshness, for the records that are old enough to be late or stale; mostly none is."""
    started = time.perf_counter()
    judged, share = passage.judged, passage.shares.get("freshness", 1.0)
    rejected, skipped = set(), []
    for row in _old(accepted.times, clock.oldest_untouched):
        position = accepted.positions[row]
        if not falls_in(share, passage.message.records[position]):
            continue
        try:
            flags = clock.flags(accepted.times[row])
        except Rejection as rejection:
            passage.reject(position, rejection, None, accepted.keys[row])
            rejected.add(row)
            continue
        accepted.flags[row] |= flags
        judged.late += bool(flags & LATE)
        judged.stale += bool(flags & STALE)
        if flags & LATE and judge.source.late == "skip":
            skipped.append(row)
    if share:
        judged.seconds["freshness"] = round(time.perf_counter() - started, 6)
    for row, flags in enumerate(accepted.flags if judge.adapter.read_oddity else ()):
        if flags and row not in rejected:
            judged.ambiguous += bool(flags & AMBIGUOUS)
            judged.shifted += bool(flags & SHIFTED)
    gone = rejected.union(skipped)
    judged.skipped = accepted.take(skipped)
    judged.valid = (
        accepted.take([row for row in range(len(accepted)) if row not in gone]) if gone else accepted
    )


def _old(times: Sequence[str], limit: str) -> list[int]:
    """The rows that are not later than the limit."""
    if not limit or not times or min(times) > limit:
        return []
    return [row for row, ts in enumerate(times) if ts <= limit]


def _as_it_is(raw: dict[str, Any]) -> dict[str, Any]:
    return raw


def _never(record: RawRecord) -> dict[str, Any]:
    raise AssertionError("a record is always parsed")


def poisoned(message: Message) -> Judged:
    """A batch whose records killed whoever judged them: rejected unread."""
    fault = Fault("poison", None, "judging it killed the worker, or took too long, again and again")
    return Judged(
        bad=[Bad(position, (fault,), as_bytes(each), None) for position, each in enumerate(message.records)]
    )


def parse(record: RawRecord, message: Message, numbers: Numbers = AS_FLOATS) -> dict[str, Any]:
    """One raw record as a dictionary. Raises Rejection."""
    if isinstance(record, Opaque):
        if record.digest:
            raise Rejection(Fault("too_large", None, f"{record.size} bytes are more than max_record_bytes"))
        raise Rejection(Fault(UNDECODABLE, None, f"bytes that are not {message.dialect.encoding.upper()}"))
    if message.format == "csv":
        return parse_csv(record, message.header or [], message.dialect)
    return parse_json(record, numbers)


def encode(record: str) -> bytes:
    return record.encode("utf-8", "surrogatepass")


def _key(raw: dict[str, Any] | None) -> str | None:
    key = raw.get("key") if raw else None
    return key[:1000] if isinstance(key, str) and "\0" not in key and key.isprintable() else None


def payload_of(record: RawRecord) -> tuple[str, str, int, str | None]:
    """(payload, encoding, size in bytes, digest) of a raw record as a dead letter keeps it, byte for byte."""
    if isinstance(record, Opaque):
        is_head = record.digest is not None
        text = payload.to_text(record.content) if is_head else payload.to_base64(record.content)
        return *text, record.size, record.digest
    if record.isascii() and "\0" not in record:  # saves 1 µs a record
        return record, "utf-8", len(record), None
    content = encode(record)
    return *payload.to_text(content), len(content), None
