"""Open and discarded letters under a contract and mapping as they would be: judged as a replay would judge them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, select

from store import database
from store.database.letters import DISCARDED, OPEN, dead_letters
from store.dead_letters.actions import ORDER
from store.dead_letters.edits import Edit
from store.errors import InputError
from store.tables.dead_letters import COLUMNS, DeadLetter, letter_of
from worker.backtest.findings import SAMPLES, Failures
from worker.contract import Contract
from worker.dead_letters.replay import Cut, Replayable, batches_of, delivery_of, message_of, prepared
from worker.judge.stages import Judge, judge_batch, judge_for
from worker.settings import WorkerSettings

PAGE = Cut(2_000, 4 << 20)
AS_IT_IS = Edit()


@dataclass
class Passing:
    """Letters of one group, in one state, that would be accepted."""

    group: str
    status: str
    source: str
    reason: str
    faults: list[dict[str, str]]  # for which they were rejected
    letters: int = 0
    samples: list[str] = field(default_factory=list)


@dataclass
class LetterTest:
    """What would become of the letters."""

    letters: int = 0
    passing: dict[tuple[str, str], Passing] = field(default_factory=dict)
    skipped: int = 0  # late, and the policy of the source skips late records
    failures: Failures = field(default_factory=Failures)
    not_judged: dict[str, int] = field(default_factory=dict)  # why -> letters that cannot be sent back

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        passing = sorted(self.passing.values(), key=lambda each: -each.letters)
        return {
            "letters": self.letters,
            "newly_pass": sum(each.letters for each in passing),
            "skipped": self.skipped,
            "still_fail": sum(each.records for each in self.failures.found.values()),
            "not_judged": sum(self.not_judged.values()),
            "passing": [vars(each) for each in passing],
            "failing": self.failures.largest_first(),
            "why_not_judged": self.not_judged,
        }


def judge_letters(
    connection: Connection,
    contract: Contract,
    settings: WorkerSettings,
    source: str | None,
    watermarks: dict[str, str],
    on_letters: Callable[[int], None],
) -> LetterTest:
    """Judges the open and the discarded letters, unchanged; streamed."""
    test, judges = LetterTest(), dict[str, Judge]()
    chosen: list[ColumnElement[bool]] = [dead_letters.c.status.in_((OPEN, DISCARDED))]
    if source is not None:
        chosen.append(dead_letters.c.source == source)
    statement = select(*COLUMNS).where(*chosen).order_by(*ORDER).execution_options(yield_per=500)
    letters = (letter_of(row) for row in connection.execute(statement).mappings())
    for group in batches_of(_ready(letters, test), PAGE):
        name = group[0].letter.source
        if name not in judges:
            judges[name] = judge_for(contract, settings.source(name), settings.max_future_skew)
        delivery = delivery_of("0" * 32, name, judges[name].fingerprint)
        now = database.now(connection)
        judged = judge_batch(message_of(group, delivery), judges[name], watermarks.get(name), now)
        for position in judged.valid.positions:
            _passes(test, cast("DeadLetter", group[position].letter))
        test.skipped += len(judged.skipped)
        for bad in judged.bad:
            test.failures.add(name, bad.faults, group[bad.position].letter.id)
        on_letters(len(group))
    return test


def _ready(letters: Iterator[DeadLetter], test: LetterTest) -> Iterator[Replayable]:
    for position, letter in enumerate(letters):
        test.letters += 1
        try:
            yield prepared(letter, AS_IT_IS, position)
        except InputError as error:
            why = str(error)
            test.not_judged[why] = test.not_judged.get(why, 0) + 1


def _passes(test: LetterTest, letter: DeadLetter) -> None:
    key = letter.group_id, letter.status
    if key not in test.passing:
        test.passing[key] = Passing(
            letter.group_id, letter.status, letter.source, letter.reason, faults_of(letter.errors)
        )
    passing = test.passing[key]
    passing.letters += 1
    if len(passing.samples) < SAMPLES:
        passing.samples.append(letter.id)


def faults_of(errors: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """The faults of a letter as its group has them."""
    return [{name: each.get(name) or "" for name in ("field", "rule", "shape")} for each in errors]
