"""What a worker would make of a file: every record is judged, a few are shown, and nothing is sent or stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from producer.feed import Feed, until_fault
from producer.files.open import RecordFile
from store import timestamps
from store.errors import InputError
from store.text import encodable
from worker.judge.faults import Fault, Rejection
from worker.judge.parse import Unusable
from worker.judge.stages import Judge, judge_batch, judge_for, parse
from worker.queue.message import Message, RawRecord
from worker.verdict import as_stored

MOST_KINDS = 1_000  # of faults that are counted apart: a file may have a field of another name in each record
OTHERS = Fault("others", None, "faults of other kinds")


class Chosen(NamedTuple):
    """Which records are shown."""

    number: int = 10
    rejected_only: bool = False
    first: int | None = None  # only so many records are judged


class Shown(NamedTuple):
    """One record: raw, as the contract would have it, and what is wrong with it."""

    line: int
    raw: str
    fields: dict[str, Any] | None  # of the raw record; None where it has none
    adapted: dict[str, Any] | None  # as the target would hold it, or as the mapping made it
    outcome: str  # accepted, rejected or skipped
    faults: tuple[Fault, ...]


@dataclass
class Count:
    """How often a kind of fault occurs, and where first."""

    number: int = 0
    first_line: int = 0


@dataclass
class Trial:
    """What would become of the records of a file, in constant memory."""

    file: str
    source: str
    records: int = 0
    rejected: int = 0
    skipped: int = 0
    stale: int = 0
    is_whole: bool = True  # all records of the file were judged
    reasons: dict[str, int] = field(default_factory=dict)  # of the first fault of each rejected record
    kinds: dict[tuple[str, str | None, str, str], Count] = field(default_factory=dict)
    shown: list[Shown] = field(default_factory=list)
    error: str | None = None  # why the file could not be read to its end

    @property
    def accepted(self) -> int:
        return self.records - self.rejected - self.skipped

    def count(self, faults: tuple[Fault, ...], line: int) -> None:
        """Counts a rejected record and all of its faults."""
        self.rejected += 1
        reason = faults[0].reason
        if reason not in self.reasons and len(self.reasons) >= MOST_KINDS:
            reason = OTHERS.reason
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        for each in faults:
            kind = (each.reason, each.field, each.rule, each.message)
            if kind not in self.kinds and len(self.kinds) >= MOST_KINDS:
                kind = (OTHERS.reason, None, "", OTHERS.message)
            found = self.kinds.setdefault(kind, Count(first_line=line))
            found.number += 1


def try_file(
    feed: Feed,
    file: RecordFile,
    chosen: Chosen,
    shares: Mapping[str, float],
    max_future_skew: Any,
    on_records: Callable[[int], None] = lambda _: None,
) -> Trial:
    """Judges the records of an open file as a worker would, late ones apart: those only a store knows."""
    judge = judge_for(feed.contract, feed.source, max_future_skew)
    trial, now = Trial(file.name, feed.name), timestamps.now()
    faults: list[InputError] = []
    messages = until_fault(feed.messages(file, feed.stream(file.name, None)), faults)
    for message in messages:
        left = len(message.records) if chosen.first is None else chosen.first - trial.records
        trial.is_whole = left >= len(message.records)
        if left <= 0:
            break
        _judge(_first(message, left), judge, chosen, shares, now, trial)
        on_records(trial.records)
    trial.error = str(faults[0]) if faults else None
    return trial


def _first(message: Message, number: int) -> Message:
    return replace(message, records=message.records[:number], lines=message.lines[:number])


def _judge(
    message: Message, judge: Judge, chosen: Chosen, shares: Mapping[str, float], now: datetime, trial: Trial
) -> None:
    judged = judge_batch(message, judge, None, now, shares)
    trial.records += len(message.records)
    trial.skipped += len(judged.skipped)
    trial.stale += judged.stale
    for bad in judged.bad:
        trial.count(bad.faults, message.lines[bad.position])
    wanted = chosen.number - len(trial.shown)
    if wanted <= 0:
        return
    rejected = {bad.position: bad.faults for bad in judged.bad}
    positions = list(rejected) if chosen.rejected_only else list(range(len(message.records)))
    for position in positions[:wanted]:
        trial.shown.append(_shown(message, position, judge, shares, now, rejected.get(position, ())))


def _shown(
    message: Message,
    position: int,
    judge: Judge,
    shares: Mapping[str, float],
    now: datetime,
    faults: tuple[Fault, ...],
) -> Shown:
    record = message.records[position]
    raw, fields = raw_text(record), None
    judge = judge.of(message)
    with suppress(Rejection):  # the faults say why
        fields = parse(record, message)
    line = message.lines[position]
    if faults:
        return Shown(line, raw, as_json(fields), as_json(_adapted(fields, judge)), "rejected", faults)
    one = replace(message, records=[record], lines=[line], letters=[], size=0)
    judged = judge_batch(one, judge, None, now, shares)
    (accepted,) = judged.valid or judged.skipped
    outcome = "accepted" if judged.valid else "skipped"
    return Shown(line, raw, as_json(fields), as_json(_in_words(as_stored(accepted, judge))), outcome, ())


def _adapted(fields: dict[str, Any] | None, judge: Judge) -> dict[str, Any] | None:
    """A rejected record under the contract's names, its time in UTC where it can be read."""
    if fields is None:
        return None
    try:
        adapted = dict(judge.adapter.adapt(fields))
    except Rejection:  # the faults say why
        return None
    given = next(name for name, each in judge.contract.inputs.items() if each == "ts")
    with suppress(ValueError, TypeError):  # it is shown as it is, and the faults say why
        if given in adapted:
            adapted[given] = timestamps.to_iso(timestamps.to_text(judge.adapter.read_time(adapted[given])))
    return {name: value for name, value in adapted.items() if value is not None}


def _in_words(stored: dict[str, Any]) -> dict[str, Any]:
    """A record of the target without what it does not have; its time as text."""
    found = {name: value for name, value in stored.items() if value is not None}
    return found | {"ts": timestamps.to_iso(timestamps.to_text(found["ts"]))}


def raw_text(record: RawRecord) -> str:
    """A raw record as text; bytes that are none are written out."""
    text = record if isinstance(record, str) else record.content.decode("utf-8", "backslashreplace")
    return encodable(text)


def as_json(value: Any) -> Any:
    """A value that JSON can hold; for a value that no column can hold, the reason."""
    if isinstance(value, Unusable):
        return f"({value.why})"
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {as_json(name): as_json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_json(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else encodable(str(value))


def facts(trial: Trial) -> dict[str, Any]:
    """A trial, for `--json`."""
    return {
        "file": trial.file,
        "source": trial.source,
        "records": trial.records,
        "accepted": trial.accepted,
        "rejected": trial.rejected,
        "skipped": trial.skipped,
        "stale": trial.stale,
        "is_whole": trial.is_whole,
        "error": trial.error,
        "reasons": trial.reasons,
        "faults": list(_kinds(trial)),
        "shown": [
            each._asdict() | {"faults": [_fault(fault) for fault in each.faults]} for each in trial.shown
        ],
    }


def _kinds(trial: Trial) -> Iterator[dict[str, Any]]:
    ordered = sorted(trial.kinds.items(), key=lambda each: (-each[1].number, each[1].first_line))
    for (reason, name, rule, message), count in ordered:
        yield {
            "records": count.number,
            "first_line": count.first_line,
            **_fault(Fault(reason, name, message, rule)),
        }


def _fault(fault: Fault) -> dict[str, Any]:
    return {"reason": fault.reason, "field": fault.field, "rule": fault.rule, "message": fault.message}
