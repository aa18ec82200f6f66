"""`judge`: what a worker would make of one record, without queue and database."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import orjson

from store import timestamps
from store.csv_reader import Dialect
from store.settings import config_path
from store.tables.deliveries import Delivery
from store.tables.rows import Shape
from store.tables.staging import STALE
from worker import modules
from worker.contract import forget, load_contract
from worker.encoding import Record, encoded
from worker.judge.faults import Fault
from worker.judge.records import Valid
from worker.judge.stages import Judge, judge_batch, judge_for
from worker.queue.message import Message, Opaque, RawRecord
from worker.settings import WorkerSettings


@dataclass(frozen=True)
class Verdict:
    """Whether a record is accepted, and as what; or what is wrong with it."""

    outcome: Literal["staged", "rejected", "skipped"]
    record: dict[str, Any] | None  # key, ts and the contract's fields, as the target would hold them; extra
    faults: tuple[Fault, ...]  # none where it is accepted; the first gives the reason
    stale: bool = False  # older than its source's `max_age`, and accepted all the same
    deleted: bool = False  # it says that its key was deleted

    @property
    def accepted(self) -> bool:
        """Whether it would be staged."""
        return self.outcome == "staged"

    @property
    def reason(self) -> str | None:
        """The reason that its letter would have; None where it is not rejected."""
        return self.faults[0].reason if self.faults else None


def judge(record: Record, source: str = "default", *, at: datetime | None = None) -> Verdict:
    """What would become of a record: a dictionary, or the text or bytes of a JSON object.

    Configuration and contract are those of the working directory. Whether it is late, only a database can say. `at` is
    when it is judged, by default now.
    """
    payload = encoded(record, 1)
    found = _current().judge(source)
    raw: RawRecord
    try:
        raw = payload.decode()
    except UnicodeDecodeError:
        raw = Opaque(payload, len(payload), None)
    judged = judge_batch(one_record(raw, source, found), found, None, at or timestamps.now())
    if judged.bad:
        return Verdict("rejected", None, judged.bad[0].faults)
    (accepted,) = judged.valid or judged.skipped
    outcome: Literal["staged", "skipped"] = "staged" if judged.valid else "skipped"
    return Verdict(
        outcome, as_stored(accepted, found), (), bool(accepted.flags & STALE), accepted.record.deleted
    )


@dataclass(frozen=True)
class _Judges:
    """The judges of one state of configuration and modules: to compile one takes as long as to judge 1,000 records."""

    state: tuple[object, ...]
    settings: WorkerSettings
    compiled: dict[str, Judge] = field(default_factory=dict)

    def judge(self, source: str) -> Judge:
        if source not in self.compiled:
            settings = self.settings
            self.compiled[source] = judge_for(
                load_contract(settings), settings.source(source), settings.max_future_skew
            )
        return self.compiled[source]


_judges: _Judges | None = None


def _current() -> _Judges:
    """The judges of configuration and modules as they are now, read again where a file or a variable has changed."""
    global _judges  # noqa: PLW0603 - a cache
    if _judges is None or _judges.state != _state():
        forget()
        settings = WorkerSettings.load()
        made = _Judges((), settings)
        for source in settings.sources:
            made.judge(source)  # imports the modules whose files are part of the state
        _judges = replace(made, state=_state())
    return _judges


def _state() -> tuple[object, ...]:
    variables = tuple((name, value) for name, value in os.environ.items() if name.startswith("SLUICE_"))
    return (Path.cwd(), variables, *map(_file_state, (config_path(), *modules.files())))


def _file_state(path: Path) -> tuple[object, ...]:
    try:
        found = path.stat()
    except OSError:  # it is gone, or was never there: that is a state too
        return (path,)
    return path, found.st_mtime_ns, found.st_size, found.st_ino


def one_record(raw: RawRecord, source: str, judge: Judge) -> Message:
    """A batch of this record alone."""
    return Message(
        id="one",
        kind="file",
        delivery=Delivery.of("file", source, "one", "one", judge.fingerprint),
        first=0,
        source=source,
        file="one",
        format="json",
        header=None,
        dialect=Dialect(),
        records=[raw],
        lines=[1],
        fingerprint=judge.fingerprint,
        letters=[],
        size=len(raw),
    )


def as_stored(accepted: Valid, judge: Judge) -> dict[str, Any]:
    """An accepted record as the target would hold it."""
    record, shape = accepted.record, Shape(judge.contract.columns)
    names = [name for name, _ in shape.fields]
    fields = dict(zip(names, shape.values(record.values), strict=True))
    extra = orjson.loads(record.extra) if record.extra else None
    return {"key": record.key, "ts": timestamps.from_text(record.ts), **fields, "extra": extra}
