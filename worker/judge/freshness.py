"""What is too new, late or stale for one batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from store import timestamps
from store.tables.staging import LATE, STALE
from worker.judge.faults import Fault, Rejection
from worker.judge.records import Accepted
from worker.settings import SourceSettings


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
    def at(
        cls, source: SourceSettings, max_future_skew: timedelta, watermark: str | None, now: datetime
    ) -> Clock:
        return cls(
            latest=timestamps.to_text(now + max_future_skew),
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

    def flags(self, ts: str) -> int:
        """LATE and STALE. Raises Rejection for what time alone makes a dead letter."""
        flags = 0
        if self.late_before and (ts < self.late_before or (self.late_includes and ts == self.late_before)):
            if self.late_rejects:
                raise Rejection(
                    Fault("late", "ts", "older than the source's watermark minus allowed_lateness")
                )
            flags |= LATE
        if self.stale_before and ts < self.stale_before:
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
