"""The stages a batch passes, in their order. Pure: what they need to know of the world is handed to them.

    parse -> adapt -> validate -> freshness -> dedupe

Each record leaves with exactly one outcome: staged, duplicate, superseded, rejected or skipped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from store import hashing, payload, timestamps
from store.tables.staging import LATE, STALE
from worker.contract import Contract
from worker.judge.adapt import Adapter
from worker.judge.fast_path import PlainRecords
from worker.judge.faults import Fault, Rejection
from worker.judge.parse import parse_csv, parse_json
from worker.judge.validate import Accepted, Validator, content_of
from worker.queue.message import Message, Opaque, RawRecord
from worker.settings import SourceSettings


@dataclass(frozen=True)
class Judge:
    """The contract and one source's settings, compiled once for all of its batches."""

    contract: Contract
    source: SourceSettings
    adapter: Adapter
    validator: Validator
    plain: PlainRecords | None  # the quick way, where records come as they are
    max_future_skew: timedelta


def judge_for(contract: Contract, source: SourceSettings, max_future_skew: timedelta) -> Judge:
    """The judge of one source's records."""
    adapter = Adapter(source, contract)
    validator = Validator(
        contract, source.extra or contract.extra, adapter.read_time, reads_iso=adapter.reads_iso
    )
    plain = None if adapter.changes_records else PlainRecords.of(contract, validator)
    return Judge(contract, source, adapter, validator, plain, max_future_skew)


class Valid(NamedTuple):
    """A record that keeps its contract, and where in its batch it stands (from 0)."""

    place: int
    record: Accepted
    flags: int  # LATE, STALE


class Bad(NamedTuple):
    """A record that breaks its contract."""

    place: int
    faults: tuple[Fault, ...]
    content: str  # what it says, whatever its format
    record_key: str | None


@dataclass
class Judged:
    """A batch after the stages that need no database."""

    valid: list[Valid] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    skipped: list[Valid] = field(default_factory=list)
    late: int = 0
    stale: int = 0
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> seconds; one that was off is absent


T = TypeVar("T")
U = TypeVar("U")
Placed = list[tuple[int, T]]  # (place in the batch, what the record has become)

STRUCTURES = frozenset({dict, list})

ALL_ON: Mapping[str, float] = {"adapt": 1.0, "validate": 1.0, "freshness": 1.0, "dedupe": 1.0}


class Passage:
    """One batch on its way through the stages."""

    def __init__(self, message: Message, shares: Mapping[str, float], *, adapting: bool) -> None:
        self.message = message
        self.shares = shares
        self.items_are_parsed = not adapting  # what a dictionary says is what its record says
        self.judged = Judged()

    def stage(self, name: str, items: Placed[T], on: Callable[[T], U], off: Callable[[T], U]) -> Placed[U]:
        """Applies a stage to its share of the records, `off` to the others; the rejected leave."""
        started = time.perf_counter()
        share = self.shares.get(name, 1.0)
        passed: Placed[U] = []
        for place, item in items:
            try:
                if share == 1.0 or falls_in(share, self.message.records[place]):
                    passed.append((place, on(item)))
                else:
                    passed.append((place, off(item)))
            except Rejection as rejection:
                self.reject(place, rejection, item)
        if share:
            self.judged.seconds[name] = round(time.perf_counter() - started, 6)
        return passed

    def reject(self, place: int, rejection: Rejection, item: object) -> None:
        key = _key(item) if isinstance(item, dict) else item.key if isinstance(item, Accepted) else None
        # A list may have been changed by a contract's own validator, and is read anew.
        flat = isinstance(item, dict) and STRUCTURES.isdisjoint(map(type, item.values()))
        if isinstance(item, dict) and flat and self.items_are_parsed:
            content = content_of(item)
        else:
            content = said(self.message.records[place], self.message)
        self.judged.bad.append(Bad(place, rejection.faults, content, key))


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
    passage = Passage(message, shares, adapting=judge.adapter.changes_records)
    clock = Clock.at(judge, watermark, now)
    judged = passage.judged
    started = time.perf_counter()
    quick, places = _quickly(message, judge, clock, shares)
    quick_seconds = time.perf_counter() - started
    records = [(place, message.records[place]) for place in places]
    raw = passage.stage("parse", records, lambda each: parse(each, message), _never)
    if judge.adapter.changes_records:
        raw = passage.stage("adapt", raw, judge.adapter.adapt, _as_it_is)
    elif shares.get("adapt", 1.0):
        judged.seconds["adapt"] = 0.0
    check = judge.validator
    valid = passage.stage(
        "validate",
        raw,
        lambda each: clock.not_later(check.validate(each)),
        lambda each: clock.not_later(check.accept_unvalidated(each)),
    )
    if "validate" in judged.seconds:
        judged.seconds["validate"] = round(judged.seconds["validate"] + quick_seconds, 6)
    valid = sorted([*quick, *valid], key=itemgetter(0)) if valid else quick
    _flag(passage, clock, judge, valid)
    judged.bad.sort(key=lambda bad: bad.place)
    return judged


def _quickly(
    message: Message, judge: Judge, clock: Clock, shares: Mapping[str, float]
) -> tuple[Placed[Accepted], Sequence[int]]:
    """Plain records, accepted, and the places of those that the stages look at one by one."""
    whole = shares.get("adapt", 1.0) == shares.get("validate", 1.0) == 1.0
    if judge.plain is None or message.format != "json" or not whole:
        return [], range(len(message.records))
    return judge.plain.judge(message.records, clock.latest)


def _flag(passage: Passage, clock: Clock, judge: Judge, valid: Placed[Accepted]) -> None:
    """The stage freshness, for the records that are old enough to be late or stale; mostly none is."""
    limit, judged = clock.oldest_untouched, passage.judged
    old = [each for each in valid if each[1].ts <= limit] if limit else []
    flagged = passage.stage("freshness", old, lambda each: (each, clock.flags(each)), lambda each: (each, 0))
    new = tuple.__new__
    young = [each for each in valid if each[1].ts > limit] if old else valid
    judged.valid = [new(Valid, (place, record, 0)) for place, record in young]
    for place, (record, flags) in flagged:
        judged.late += bool(flags & LATE)
        judged.stale += bool(flags & STALE)
        skips = flags & LATE and judge.source.late == "skip"
        (judged.skipped if skips else judged.valid).append(Valid(place, record, flags))
    if old:
        judged.valid.sort(key=itemgetter(0))


def _as_it_is(raw: dict[str, Any]) -> dict[str, Any]:
    return raw


def _never(record: RawRecord) -> dict[str, Any]:
    raise AssertionError("a record is always parsed")


def poisoned(message: Message) -> Judged:
    """A batch whose records killed whoever judged them: rejected unread."""
    fault = Fault("poison", None, "judging it killed the worker, or took too long, again and again")
    return Judged(
        bad=[Bad(place, (fault,), as_bytes(each), None) for place, each in enumerate(message.records)]
    )


def parse(record: RawRecord, message: Message) -> dict[str, Any]:
    """One raw record as a dictionary. Raises Rejection."""
    if isinstance(record, Opaque):
        if record.digest:
            raise Rejection(Fault("too_large", None, f"{record.size} bytes are more than max_record_bytes"))
        raise Rejection(Fault("undecodable", None, "bytes that are not UTF-8"))
    if message.format == "csv":
        return parse_csv(record, message.header or [], message.delimiter)
    return parse_json(record)


def said(record: RawRecord, message: Message) -> str:
    """The rejected record's content for the digest: what it says where it can be read, else its bytes."""
    try:
        return content_of(parse(record, message))
    except Rejection:
        return as_bytes(record)


def as_bytes(record: RawRecord) -> str:
    """The content of a record that cannot, or must not, be read: the hash of its bytes."""
    if isinstance(record, Opaque):
        return hashing.hexdigest(record.content + (record.digest or "").encode())
    return hashing.hexdigest(encode(record))


def encode(record: str) -> bytes:
    return record.encode("utf-8", "surrogatepass")


def _key(raw: dict[str, Any] | None) -> str | None:
    key = raw.get("key") if raw else None
    return key[:1000] if isinstance(key, str) and "\0" not in key and key.isprintable() else None


@dataclass(frozen=True)
class Clock:
    """What is too new, late or stale for one batch, as stored text: comparing text compares time."""

    latest: str
    late_before: str | None
    late_includes: bool  # the skip policy: at or before the watermark means seen
    late_rejects: bool
    stale_before: str | None
    stale_rejects: bool

    @classmethod
    def at(cls, judge: Judge, watermark: str | None, now: datetime) -> Clock:
        source = judge.source
        return cls(
            latest=timestamps.to_text(now + judge.max_future_skew),
            late_before=before(timestamps.from_text(watermark), source.allowed_lateness)
            if watermark
            else None,
            late_includes=source.late == "skip",
            late_rejects=source.late == "dead_letter",
            stale_before=before(now, source.max_age) if source.max_age is not None else None,
            stale_rejects=source.stale == "dead_letter",
        )

    @property
    def oldest_untouched(self) -> str:
        """A record later than this is neither late nor stale; "" where none can be."""
        return max(self.late_before or "", self.stale_before or "")

    def not_later(self, record: Accepted) -> Accepted:
        """The record, unless it lies in the future: no stage that is off lets such a one move a watermark."""
        if record.ts > self.latest:
            raise Rejection(Fault("future_timestamp", "ts", "later than now and max_future_skew"))
        return record

    def flags(self, record: Accepted) -> int:
        """LATE and STALE. Raises Rejection for what time alone makes a dead letter."""
        flags = 0
        if self.late_before and (
            record.ts < self.late_before or (self.late_includes and record.ts == self.late_before)
        ):
            if self.late_rejects:
                raise Rejection(
                    Fault("late", "ts", "older than the source's watermark minus allowed_lateness")
                )
            flags |= LATE
        if self.stale_before and record.ts < self.stale_before:
            if self.stale_rejects:
                raise Rejection(Fault("stale", "ts", "older than the source's max_age"))
            flags |= STALE
        return flags


def before(moment: datetime, span: timedelta) -> str:
    """`moment` minus `span` as stored text; the beginning of time where that lies before it."""
    try:
        return timestamps.to_text(moment - span)
    except OverflowError:
        return timestamps.to_text(datetime.min.replace(tzinfo=UTC))


class Repeat(NamedTuple):
    """A record that is not staged, and the staged id of what it repeats or is beaten by."""

    valid: Valid
    of: int | None  # None: of one at an earlier place in the same batch, `of_place`
    of_place: int | None


@dataclass(frozen=True, slots=True)
class Deduped:
    """A batch's valid records, each with its outcome."""

    staged: list[Valid]
    duplicates: list[Repeat]
    superseded: list[Repeat]


def dedupe(
    valid: list[Valid],
    held: Mapping[str, tuple[str, bytes, int]],
    staged: Mapping[tuple[str, bytes], int],
    share: Callable[[Valid], bool],
) -> Deduped:
    """Sorts out what is already in the target (`held`), in staging, or earlier in the batch.

    Outside its share a record is not held against the target; staging holds one row a content in any case.
    """
    outcome = Deduped([], [], [])
    met = Counter(each.record.content_hash for each in valid)
    repeated = {content for content, times in met.items() if times > 1} if len(met) < len(valid) else set()
    known = held.keys() | {key for key, _ in staged}
    seen: dict[tuple[str, bytes], int] = {}  # content -> place
    for each in valid:
        record = each.record
        if record.key not in known and record.content_hash not in repeated:
            outcome.staged.append(each)
            continue
        content = (record.key, record.content_hash)
        current = held.get(record.key) if share(each) else None
        if content in seen:
            outcome.duplicates.append(Repeat(each, None, seen[content]))
        elif content in staged:
            outcome.duplicates.append(Repeat(each, staged[content], None))
        elif current is not None and current[1] == record.content_hash:
            outcome.duplicates.append(Repeat(each, current[2], None))
        elif current is not None and current[:2] > (record.ts, record.content_hash):
            outcome.superseded.append(Repeat(each, current[2], None))
        else:
            seen[content] = each.place
            outcome.staged.append(each)
    return outcome


def kept_payload(record: RawRecord) -> tuple[str, str, int, str | None]:
    """(payload, encoding, size in bytes, digest) of a raw record as a dead letter keeps it, byte for byte."""
    if isinstance(record, Opaque):
        return *payload.to_text(record.content), record.size, record.digest
    content = encode(record)
    return *payload.to_text(content), len(content), None
