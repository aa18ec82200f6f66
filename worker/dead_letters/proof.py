"""What a replay would do, judged now against today's contract and today's target; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, select

from store import database
from store.database.letters import dead_letters
from store.database.records import record_tables
from store.dead_letters import sending
from store.dead_letters.actions import ORDER
from store.dead_letters.edits import Edit
from store.dead_letters.proofs import Letters, StoredProof
from store.errors import InputError
from store.payload import to_text
from worker.contract import Contract
from worker.dead_letters.replay import Cut, Replayable, batches_of, delivery_of, message_of, prepared
from worker.judge.stages import Judge, judge_batch, judge_for
from worker.settings import WorkerSettings

PAGE = Cut(2_000, 4 << 20)
SAMPLES = 5
COUNTS = ("letters", "would_load", "superseded", "skipped", "rejected", "refused")


@dataclass
class Failure:
    """Letters that would be rejected again for the same faults."""

    reason: str
    faults: list[dict[str, str]]  # field, rule, shape
    message: str
    letters: int = 0
    sample: str = ""  # a letter's id


@dataclass
class Proof:
    """What would become of the letters."""

    letters: int = 0
    would_load: int = 0  # new keys, or newer than what the target holds
    superseded: int = 0  # accepted, but the target holds something newer: nothing would be overwritten
    skipped: int = 0  # late, and the policy of the source skips late records
    rejected: int = 0
    refused: int = 0  # that cannot be sent
    failures: list[Failure] = field(default_factory=list)  # the most letters first
    refusals: dict[str, int] = field(default_factory=dict)  # why -> letters
    samples: list[dict[str, str]] = field(default_factory=list)  # id, before, after
    edit: Edit = field(default_factory=Edit)  # that they were judged with
    fingerprints: dict[str, str] = field(default_factory=dict)  # source -> contract and mapping

    @property
    def would_accept(self) -> int:
        """Letters that would be resolved."""
        return self.would_load + self.superseded + self.skipped

    @property
    def counts(self) -> dict[str, int]:
        """What would become of how many."""
        return {name: getattr(self, name) for name in COUNTS}

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        found = {
            "failures": [asdict(each) for each in self.failures],
            "refusals": self.refusals,
            "samples": self.samples,
        }
        return {"would_accept": self.would_accept, **self.counts, **found}

    def stored(self, filter: dict[str, Any], first: int | None, letters: Letters) -> StoredProof:
        """As the table has it, over the letters that were written there."""
        described = (filter, first, self.edit.to_text(), self.fingerprints, self.counts)
        return StoredProof(letters.digest_with(described), *described, letters.token)


class JudgedBy(NamedTuple):
    """What letters are judged by."""

    contract: Contract
    settings: WorkerSettings
    watermarks: dict[str, str]


@dataclass
class _Trial:
    connection: Connection
    by: JudgedBy
    proof: Proof = field(default_factory=Proof)
    written: Letters | None = None
    failures: dict[tuple[Any, ...], Failure] = field(default_factory=dict)
    judges: dict[str, Judge] = field(default_factory=dict)

    def judge(self, source: str) -> Judge:
        if source not in self.judges:
            self.judges[source] = judge_for(
                self.by.contract, self.by.settings.source(source), self.by.settings.max_future_skew
            )
        return self.judges[source]

    def ready(self, chosen: Sequence[ColumnElement[bool]], first: int | None) -> Iterator[Replayable]:
        edit = self.proof.edit
        statement = select(*sending.COLUMNS).where(*chosen).order_by(*ORDER).limit(first)
        statement = statement.execution_options(yield_per=500)
        rows = chain.from_iterable(self.connection.execute(statement).partitions())
        for position, row in enumerate(rows):
            letter = sending.outgoing(list(row))
            self.proof.letters += 1
            if self.written:
                self.written.add(bytes.fromhex(letter.id))
            if letter.source not in self.proof.fingerprints:
                self.proof.fingerprints[letter.source] = self.judge(letter.source).fingerprint
            try:
                yield prepared(letter, edit, position)
            except InputError as error:
                self.proof.refused += 1
                why = str(error)
                self.proof.refusals[why] = self.proof.refusals.get(why, 0) + 1

    def add(self, group: Sequence[Replayable]) -> None:
        source = group[0].letter.source
        judge = self.judge(source)
        message = message_of(group, delivery_of("0" * 32, source, judge.fingerprint))
        judged = judge_batch(message, judge, self.by.watermarks.get(source), database.now(self.connection))
        proof, valid = self.proof, judged.valid
        newer = self._newer(source, list(zip(valid.keys, valid.times, valid.sequences, strict=True)))
        proof.superseded += newer
        proof.would_load += len(valid) - newer
        proof.skipped += len(judged.skipped)
        proof.rejected += len(judged.bad)
        for bad in judged.bad:
            faults = tuple((each.field or "", each.rule or each.reason, each.shape) for each in bad.faults)
            if faults not in self.failures:
                first = bad.faults[0]
                named = [dict(zip(("field", "rule", "shape"), each, strict=True)) for each in faults]
                self.failures[faults] = Failure(
                    first.reason, named, first.message, 0, group[bad.position].letter.id
                )
            self.failures[faults].letters += 1
        for position in valid.positions[: SAMPLES - len(proof.samples)]:
            each = group[position]
            after = each.record if isinstance(each.record, str) else to_text(each.record.content)[0]
            proof.samples.append(
                {"id": each.letter.id, "before": each.letter.payload[:500], "after": after[:500]}
            )

    def _newer(self, source: str, versions: list[tuple[str, str, int]]) -> int:
        """How many of these the target holds something newer for."""
        target = record_tables().target
        keys = [key for key, _, _ in versions]
        condition = database.member_of(self.connection, target.c.key, keys)
        rows = self.connection.execute(
            select(target.c.key, target.c.ts, target.c.sequence).where(target.c.source == source, condition)
        )
        held = {key: (ts, sequence) for key, ts, sequence in rows}
        return sum(key in held and held[key] > (ts, sequence) for key, ts, sequence in versions)


def prove(
    connection: Connection,
    chosen: Sequence[ColumnElement[bool]],
    edit: Edit,
    by: JudgedBy,
    first: int | None = None,
    progress: Callable[[int], None] = lambda _: None,
    written: Letters | None = None,
) -> Proof:
    """Judges the letters that match, or the first so many, as they would be sent; streamed, over one view.

    Their ids are `written`, where somebody may send them.
    """
    trial = _Trial(connection, by, Proof(edit=edit), written)
    for group in batches_of(trial.ready(chosen, first), PAGE):
        trial.add(group)
        progress(trial.proof.letters)
    proof = trial.proof
    proof.failures = sorted(trial.failures.values(), key=lambda each: -each.letters)
    return proof


def open_ones(chosen: Sequence[ColumnElement[bool]]) -> list[ColumnElement[bool]]:
    """Of the letters that match, those that a replay takes."""
    return [*chosen, dead_letters.c.status == "open"]
