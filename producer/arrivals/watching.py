"""Which files of a folder are ready to be sent. What is sent, the store knows: nothing is kept here on disk."""

from __future__ import annotations

from dataclasses import dataclass, field

from producer.arrivals.folder import Entry, Refusal, entries

# inode, size, the times of the last change of the content and of the rights: others show another state of a file
Signature = tuple[int, int, int, int]


@dataclass(frozen=True)
class Look:
    """What one look at the folder has found."""

    ready: list[Entry]
    unsettled: list[Entry]  # new or changed, and perhaps still being written
    others: list[Entry]  # no data files, those that earlier looks have not found


@dataclass
class Watch:
    """The states of the files in one folder, as far as they were seen."""

    folder: str
    refusal: Refusal
    pattern: str
    settle_seconds: float
    _since: dict[str, tuple[Signature, float]] = field(default_factory=dict)  # when a state was seen first
    _done: dict[str, Signature] = field(default_factory=dict)
    _named: set[str] = field(default_factory=set)  # the others

    def look(self, now: float) -> Look:
        """`now` is of a clock that is never put back. Raises InputError for a folder that cannot be read.

        A file is ready when two looks, so many seconds apart, have found it in the same state: no clock of a file
        system is trusted. One whose name is that of an unfinished file is not there until it is renamed.
        """
        found = [each for each in entries(self.folder, self.refusal, self.pattern) if not each.is_unfinished]
        files = [
            each for each in found if each.refused is None and self._done.get(each.path) != _signature(each)
        ]
        waits = [each for each in files if now - self._first_seen(each, now) < self.settle_seconds]
        others = [each for each in found if each.refused is not None and each.path not in self._named]
        self._forget({each.path for each in found})
        self._named.update(each.path for each in others)
        return Look([each for each in files if each not in waits], waits, others)

    def _first_seen(self, entry: Entry, now: float) -> float:
        """When it was first seen in this state."""
        state, since = self._since.get(entry.path, (None, now))
        signature = _signature(entry)
        if state != signature:
            since = now
            self._since[entry.path] = (signature, now)
        return since

    def _forget(self, there: set[str]) -> None:
        """What is gone: its name may come again."""
        self._since = {path: state for path, state in self._since.items() if path in there}
        self._done = {path: state for path, state in self._done.items() if path in there}
        self._named &= there

    def done(self, entry: Entry) -> None:
        """Nothing is to be done for this state of a file any more, whether it was sent or has a fault."""
        self._done[entry.path] = _signature(entry)
        self._since.pop(entry.path, None)


def _signature(entry: Entry) -> Signature:
    status = entry.status
    if not status:
        return (0, 0, 0, 0)
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
