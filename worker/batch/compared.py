"""A batch's records held against what staging and the target have: which are new, and which are known."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from store.tables import batches, load_runs, staging, target
from worker.judge import stages
from worker.judge.stages import Deduped, Valid
from worker.queue.message import Message

MOST_LOOKED_UP = 2000  # keys, with the write lock held


@dataclass(frozen=True, slots=True)
class Compared:
    """A batch's records, each with its outcome by what staging and the target held at a moment.

    Compared before the write lock is asked for; under the lock only what came since is looked at, so that
    batches are compared side by side and written one after the other.
    """

    message: Message
    valid: list[Valid]
    share: float
    last_batch: int
    loaded: tuple[int, int]
    held: dict[str, tuple[str, bytes, int]]
    staged: dict[tuple[str, bytes], int]
    deduped: Deduped

    @classmethod
    def to(cls, connection: Connection, message: Message, valid: list[Valid], share: float) -> Compared:
        """To what is there now."""
        keys = sorted({each.record.key for each in valid})
        last, loaded = batches.last_number(connection), load_runs.progress(connection)
        held = target.current(connection, message.source, keys) if share else {}
        staged = staging.contents(connection, message.source, keys)
        deduped = _deduped(message, valid, share, held, staged)
        return cls(message, valid, share, last, loaded, held, staged, deduped)

    @property
    def known(self) -> set[str]:
        """The keys of the batch that the target or staging held then."""
        return self.held.keys() | {key for key, _ in self.staged}

    def is_outdated(self, connection: Connection) -> bool:
        """Whether the loader has moved rows from staging to the target since, and it is not plain which.

        What came since came in batches of higher numbers. While these are all in staging, a key that nobody
        held then is not in the target now, and only the known ones need be looked up again: mostly few.
        """
        if not self._was_loaded(connection):
            return False
        since = batches.staged_since(connection, self.last_batch)
        return len(self.known) > MOST_LOOKED_UP or since != staging.count_since(connection, self.last_batch)

    def _was_loaded(self, connection: Connection) -> bool:
        return load_runs.progress(connection) != self.loaded

    def brought_up_to_date(self, connection: Connection) -> Deduped:
        """Each record's outcome by what is there now, with the write lock held."""
        if self.is_outdated(connection):
            return self.to(connection, self.message, self.valid, self.share).deduped
        source, held, staged = self.message.source, self.held, self.staged
        if loaded := self._was_loaded(connection):
            keys = sorted(self.known)
            held = target.current(connection, source, keys) if self.share else {}
            staged = staging.contents(connection, source, keys)
        if batches.last_number(connection) != self.last_batch:
            since = staging.contents_since(connection, source, self.last_batch)
            met = sorted({each.record.key for each in self.valid if each.record.content_hash in since})
            if met:
                return self._again(held, staged | staging.contents(connection, source, met))
        return self._again(held, staged) if loaded and self.known else self.deduped

    def _again(
        self, held: dict[str, tuple[str, bytes, int]], staged: dict[tuple[str, bytes], int]
    ) -> Deduped:
        return _deduped(self.message, self.valid, self.share, held, staged)


def _deduped(
    message: Message,
    valid: list[Valid],
    share: float,
    held: dict[str, tuple[str, bytes, int]],
    staged: dict[tuple[str, bytes], int],
) -> Deduped:
    return stages.dedupe(
        valid, held, staged, lambda each: share == 1.0 or stages.falls_in(share, message.records[each.place])
    )
