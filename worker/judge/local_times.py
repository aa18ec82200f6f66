"""Local times without an offset, where a clock is put back or forward: those that exist twice, or do not exist.

What is meant by one cannot be known, and so the source says it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from store.tables.staging import AMBIGUOUS, SHIFTED
from worker.settings import SourceSettings


class LocalZone:
    """A source's time zone, and what its odd local times are read as."""

    def __init__(self, source: SourceSettings) -> None:
        self._zone = ZoneInfo(source.assume_tz)
        self._ambiguous, self._nonexistent = source.ambiguous, source.nonexistent
        self._changing: dict[int, bool] = {}  # a day's number -> whether the clock is changed on it

    def in_utc(self, moment: datetime) -> datetime:
        """A naive moment in UTC. Raises ValueError for one that the source rejects."""
        kind = self.kind(moment)
        if kind == AMBIGUOUS:
            if self._ambiguous == "reject":
                raise ValueError(
                    f"exists twice in {self._zone.key}, where the clock is put back: this source's ambiguous is reject"
                )
            moment = moment.replace(fold=int(self._ambiguous == "later"))
        elif kind == SHIFTED and self._nonexistent == "reject":
            raise ValueError(
                f"does not exist in {self._zone.key}, where the clock is put forward: is assume_tz right? "
                'nonexistent = "shift" takes the time that the clock shows then'
            )
        return moment.replace(tzinfo=self._zone).astimezone(UTC)

    def kind(self, moment: datetime) -> int:
        """AMBIGUOUS, SHIFTED, or 0 for a time that exists once."""
        day = moment.toordinal()
        is_changing = self._changing.get(day)
        if is_changing is None:
            is_changing = self._changing[day] = self._is_changing(moment)
        if not is_changing:
            return 0
        first, second = (moment.replace(tzinfo=self._zone, fold=fold).utcoffset() for fold in (0, 1))
        if first is None or second is None or first == second:
            return 0
        return AMBIGUOUS if first > second else SHIFTED

    def _is_changing(self, moment: datetime) -> bool:
        start = moment.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=self._zone)
        try:
            return start.utcoffset() != (start + timedelta(days=1)).utcoffset()
        except OverflowError:  # the last day that there is
            return False


class PlainTimes(LocalZone):
    """The same, for whoever leaves odd times to others."""

    def in_utc(self, moment: datetime) -> datetime:
        """Raises ValueError for an odd time too."""
        if self.kind(moment):
            raise ValueError("an odd time")
        return moment.replace(tzinfo=self._zone).astimezone(UTC)
