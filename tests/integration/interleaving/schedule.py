"""Schedules: what may happen to deliveries on their way, and what the model says after each step of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain, product
from typing import NamedTuple, Protocol

import orjson
from hypothesis import strategies as st

from . import model
from .model import Key, Position, Ties, Version
from .site import GROWN, MENDED, OUTCOMES, SOURCES, WHOLE, Parcel, Site

EDIT = {"v": 9.5, "w": 9.5}
BEFORE_THE_COMMIT = ("batch.begun", "batch.recorded", "batch.staged", "batch.dead_letters", "batch.written")
IN_A_CHUNK = (
    "load.chunk_begun", "load.judged", "load.lineage_written", "load.merged", "load.staging_cleared",
    "load.watermark_moved", "load.run_logged",
)  # fmt: skip


@dataclass
class Course:
    """A schedule that is carried out, and its record in the words of the model."""

    site: Site
    pending: list[Parcel] = field(default_factory=list)
    done: list[Parcel] = field(default_factory=list)
    processed: set[Position] = field(default_factory=set)
    staged: list[Version] = field(default_factory=list)  # in the order in which they are loaded
    loaded: list[Version] = field(default_factory=list)
    held: dict[Key, Version] = field(default_factory=dict)  # by the target
    outcomes: Counter[str] = field(default_factory=Counter)

    def process(self, parcel: Parcel, stop: str | None = None) -> None:
        """A batch, which then goes back to `pending` if the worker is stopped."""
        is_known = parcel.identity in {each.identity for each in self.done}
        result = self.site.process(parcel, stop)
        if result is None and stop in BEFORE_THE_COMMIT:
            self.pending.append(parcel)
            return
        self.done.append(parcel)
        if is_known:
            assert result and result["processed_before"]
            return
        self.processed.update(parcel.positions)
        accepted = self.accounts().accepted
        self.staged += [accepted[each] for each in parcel.positions if each in accepted]

    def load(self, chunk: int, stop: str | None = None) -> None:
        self.site.load(chunk, stop)
        rows = len(self.staged) if stop is None else chunk if stop == "load.committed" else 0
        for start in range(0, rows, chunk):
            self.held, outcomes = model.load(self.held, self.staged[start : start + chunk])
            self.outcomes.update(outcomes)
        self.loaded += self.staged[:rows]
        del self.staged[:rows]

    def finish(self) -> None:
        """All that is on its way is processed, what was sent last comes first, and loaded."""
        while self.pending:
            self.process(self.pending.pop())
        self.load(WHOLE)
        self.check()

    def is_replaying(self, source: str) -> bool:
        return any(each.message.kind == "replay" and each.message.source == source for each in self.pending)

    def accounts(self) -> model.Accounts:
        return model.accounts(self.site.sent.values(), self.processed, self.site.ties)

    def check(self) -> None:
        """The laws hold; target, letters and outcomes are those of the model."""
        assert self.site.plant.violations() == []
        found = self.site.seen()
        assert found.held == {key: each.shown for key, each in self.held.items()}
        assert found.letters == self.accounts().letters
        assert found.staged == len(self.staged) + len(self.loaded)
        assert found.outcomes == {each: self.outcomes[each] for each in OUTCOMES}
        for source, (least, most) in model.conflicts(self.loaded).items():
            assert least <= found.conflicts[0].get(source, 0) <= most
        assert found.conflicts[1:] == [found.conflicts[0]] * 2


# The steps, each of which tells whether there was anything to do. A number counts round: it is one of those there are.


class Step(Protocol):
    def take(self, course: Course) -> bool: ...


class Record(NamedTuple):
    """A record of `log`, which has the sequence n, or of `clock`, whose sequence is the last digit of its time."""

    id: str
    at: str
    n: int
    v: float | str
    w: float | str
    note: str | None = None
    gone: bool | None = None

    def __str__(self) -> str:
        body = {"title": "pump", **self._asdict()}
        return orjson.dumps({name: value for name, value in body.items() if value is not None}).decode()


class Send(NamedTuple):
    """A file; none of a source whose letters are replayed, for then the state depends on what is processed first."""

    source: str
    records: list[Record | None]  # None: a line that is not JSON
    cut: int

    def take(self, course: Course) -> bool:
        if course.is_replaying(self.source):
            return False
        texts = [str(each) if each else "not JSON" for each in self.records]
        course.pending += course.site.send(self.source, texts, self.cut)
        return True


class SendAgain(NamedTuple):
    """A file that was sent: the same delivery, or `anew` another one, as also after a change."""

    file: int
    cut: int
    anew: bool

    def take(self, course: Course) -> bool:
        source, records = course.site.files[self.file % len(course.site.files)]
        if course.is_replaying(source):
            return False
        course.pending += course.site.send(source, records, self.cut, anew=self.anew)
        return True


class Change(NamedTuple):
    """Another mapping, or a contract with one more column."""

    of_contract: bool

    def take(self, course: Course) -> bool:
        course.site.change(GROWN if self.of_contract else MENDED)
        return True


class Process(NamedTuple):
    """A batch, from whichever delivery; the worker is stopped at a point, or goes through."""

    batch: int
    stop: str | None

    def take(self, course: Course) -> bool:
        if not course.pending:
            return False
        course.process(course.pending.pop(self.batch % len(course.pending)), self.stop)
        return True


class Repeat(NamedTuple):
    """A batch that was processed, once more."""

    batch: int

    def take(self, course: Course) -> bool:
        if not course.done:
            return False
        course.process(course.done[self.batch % len(course.done)])
        return True


class Split(NamedTuple):
    """A batch of several records crashes its workers, which leave it to others as two halves."""

    batch: int

    def take(self, course: Course) -> bool:
        known = {each.identity for each in course.done}
        whole = [each for each in course.pending if len(each.records) > 1 and each.identity not in known]
        if not whole:
            return False
        parcel = whole[self.batch % len(whole)]
        course.pending.remove(parcel)
        course.pending += course.site.split(parcel)
        course.done.append(parcel)
        return True


class Load(NamedTuple):
    """A run of the loader, in chunks of this size; it is stopped at a point of the first, or goes through."""

    chunk: int
    stop: str | None

    def take(self, course: Course) -> bool:
        if not course.staged:
            return False
        course.load(self.chunk, self.stop)
        return True


class Replay(NamedTuple):
    """Some open letters of a source, the latest records of which have been processed: later ones reopen a letter."""

    letter: int
    letters: int
    is_edited: bool
    cut: int

    def take(self, course: Course) -> bool:
        latest = {
            (sent.source, record.text): (sent.number, line)
            for _, sent in sorted(course.site.sent.items())
            for line, record in enumerate(sent.records)
            if not record.letter
        }
        letters = [
            each
            for each in course.site.plant.letters()
            if each.payload.startswith("{")
            and not course.is_replaying(each.source)
            and latest[each.source, each.payload] in course.processed
        ]
        if not letters:
            return False
        source = letters[self.letter % len(letters)].source
        ids = [each.id for each in letters if each.source == source][: self.letters]
        course.pending += course.site.replay(source, ids, EDIT if self.is_edited else {}, self.cut)
        return True


# Few records, so that ties, corrections and repeats are the rule. The others of their keys are older, by their time or
# by their sequence alone.
TIE = ("2025-01-15T08:00:00.0000001Z", 1)
OLDER = (("2025-01-15T08:00:00.0000000Z", 0), ("2025-01-15T07:00:00.0000009Z", 9))
TIED = [Record(key, *TIE, *values) for key, values in product("ab", ((1.5, 3.5), (2.5, 3.5), (2.5, "n/a")))]
NOTED = [Record(key, *TIE, 1.5, 3.5, note="new") for key in "ab"]
GONE = [Record(key, *TIE, "n/a", "n/a", gone=True) for key in "ab"]
APART = [Record(key, *time, v, 3.5) for key, time, v in product("ab", OLDER, (1.5, 2.5))]
REJECTED = [*(Record(key, *TIE, "n/a", w) for key, w in product("ab", (4.5, "n/a"))), None]
POOL = [*TIED, *TIED, *NOTED, *GONE, *APART, *REJECTED, *REJECTED]

NUMBERS, CUTS = st.integers(0, 99), st.integers(1, 4)
FILES = st.lists(st.sampled_from(POOL), min_size=2, max_size=6)
STEPS: dict[type[Step], st.SearchStrategy[Step]] = {
    Send: st.builds(Send, st.sampled_from(SOURCES), FILES, CUTS),
    SendAgain: st.builds(SendAgain, NUMBERS, CUTS, st.booleans()),
    Process: st.builds(
        Process, NUMBERS, st.sampled_from((*[None] * 8, *BEFORE_THE_COMMIT, "batch.committed"))
    ),
    Split: st.builds(Split, NUMBERS),
    Repeat: st.builds(Repeat, NUMBERS),
    Load: st.builds(
        Load,
        st.sampled_from((1, 2, 3, WHOLE)),
        st.sampled_from((*[None] * 10, *IN_A_CHUNK, "load.committed")),
    ),
    Change: st.builds(Change, st.booleans()),
    Replay: st.builds(Replay, NUMBERS, st.integers(1, 3), st.booleans(), CUTS),
}


def drawn(*kinds: type[Step]) -> st.SearchStrategy[Step]:
    """A step of one of these kinds; one that is named more often is drawn more often."""
    return st.sampled_from(kinds).flatmap(STEPS.__getitem__)


# Files are sent, some of their batches are processed, and there is a load: in every round, so that schedules are dense.
ROUND = st.tuples(
    st.lists(drawn(Send, Send, SendAgain), min_size=1, max_size=2),
    st.lists(drawn(*[Process] * 6, Split, Repeat, Load), min_size=4, max_size=8),
    st.lists(drawn(Load, Replay, Replay, Replay, Change, Process), min_size=2, max_size=5),
)


class Schedule(NamedTuple):
    ties: Ties
    steps: list[Step]


TIES = st.fixed_dictionaries({source: st.sampled_from(("delivery", "hash")) for source in SOURCES})
SCHEDULES = st.builds(
    lambda ties, first, rounds: Schedule(ties, [first, *chain.from_iterable(chain.from_iterable(rounds))]),
    TIES,
    STEPS[Send],
    st.lists(ROUND, min_size=2, max_size=4),
)
