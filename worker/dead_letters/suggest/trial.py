"""Candidates tried: their letters judged by the contract as a replay would judge them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, select

from store import database, paths
from store.database.letters import dead_letters
from store.dead_letters.edits import Edit, json_body, text_to_cast
from store.errors import InputError, UsageError
from store.tables.dead_letters import COLUMNS, DeadLetter, letter_of
from worker.contract import Contract
from worker.dead_letters import proof as proving
from worker.dead_letters.names import Names, names_in
from worker.dead_letters.proof import Proof
from worker.dead_letters.replay import body_of
from worker.dead_letters.suggest.candidates import Candidate, is_null_word
from worker.dead_letters.suggest.readings import Readings, Verdict
from worker.judge.stages import Judge, judge_for
from worker.settings import WorkerSettings

LOOKED_AT = 200

Body = dict[str, Any]
Chosen = Sequence[ColumnElement[bool]]


@dataclass(frozen=True)
class Context:
    """What the letters are judged by: today's contract, mapping and target."""

    connection: Connection
    contract: Contract
    settings: WorkerSettings
    watermarks: dict[str, str]
    on_letters: Callable[[int], None] = lambda _: None  # so many more were judged

    def judge(self, source: str) -> Judge:
        return judge_for(self.contract, self.settings.source(source), self.settings.max_future_skew)

    def prove(self, chosen: Chosen, edit: Edit) -> Proof:
        """What would become of the letters under an edit with raw names."""
        by = proving.JudgedBy(self.contract, self.settings, self.watermarks)
        found = proving.prove(self.connection, chosen, edit, by)
        self.on_letters(found.letters)
        return found


@dataclass(frozen=True)
class Sample:
    """Some letters of a group, any of them as likely as any other: their ids are hashes."""

    letters: list[DeadLetter]
    bodies: list[Body]  # of those that have fields

    @property
    def ids(self) -> list[str]:
        return [letter.id for letter in self.letters]

    @property
    def present(self) -> dict[str, int]:
        """Field of the payloads -> how many have it."""
        found: dict[str, int] = {}
        for body in self.bodies:
            for name in names_in(body):
                found[name] = found.get(name, 0) + 1
        return found

    def values(self, raw: str) -> list[Any]:
        """What they have in a field; the name is a path: see `store.paths`."""
        path = paths.split(raw)
        return [value for body in self.bodies if (value := paths.value_at(body, path)) is not paths.ABSENT]


def sample_of(connection: Connection, chosen: Chosen) -> Sample:
    """Letters that meet these conditions, LOOKED_AT at most."""
    statement = select(*COLUMNS).where(*chosen).order_by(dead_letters.c.id).limit(LOOKED_AT)
    letters = [letter_of(row) for row in connection.execute(statement).mappings()]
    return Sample(letters, [body for letter in letters if (body := fields_of(letter)) is not None])


def fields_of(letter: DeadLetter) -> Body | None:
    """The fields of a payload; None where it has none that can be read."""
    if letter.payload_digest:
        return None
    try:
        return body_of(letter)
    except InputError:  # a replay says so of each letter
        return None


@dataclass
class Trial:
    """One candidate."""

    candidate: Candidate
    edit: Edit  # with raw names
    raw: str | None  # the field that it is for, in payloads
    on_sample: Proof
    whole: Proof | None = None
    evidence: str = ""
    is_decided: bool = True
    parts: list[Trial] = field(default_factory=list)  # of a combined one

    @property
    def proof(self) -> Proof:
        return self.whole or self.on_sample

    def repaired(self, field: str) -> int:
        """How many letters of the sample would have no fault at this field."""
        proof = self.on_sample
        still = sum(
            each.letters for each in proof.failures if any(fault["field"] == field for fault in each.faults)
        )
        return proof.letters - proof.refused - still


def tried(
    context: Context, sample: Sample, names: Names, candidates: Sequence[tuple[str | None, Candidate]]
) -> list[Trial]:
    """(raw field, candidate) judged on the sample; one that names what cannot be edited is left out."""
    chosen = [database.member_of(context.connection, dead_letters.c.id, sample.ids)]
    found = []
    for raw, candidate in candidates:
        try:
            edit = names.resolved(candidate.edit)
        except UsageError:  # the mapping does not use the field: no edit of it can help
            continue
        found.append(Trial(candidate, edit, raw, context.prove(chosen, edit), evidence=candidate.because))
    return found


def combined(context: Context, sample: Sample, trials: Sequence[Trial], baseline: Trial) -> Trial | None:
    """Each field's best candidate, together; None where fewer than two fields have one."""
    best: dict[str, Trial] = {}
    for trial in trials:
        name = trial.candidate.field
        if name is None or trial.repaired(name) <= baseline.repaired(name):
            continue
        if name not in best or trial.repaired(name) > best[name].repaired(name):
            best[name] = trial
    if len(best) < 2:
        return None
    parts = list(best.values())
    typed, edit = Edit(), Edit()
    for part in parts:
        typed, edit = merged(typed, part.candidate.edit), merged(edit, part.edit)
    candidate = Candidate(
        " and ".join(f"{part.candidate.name} ({part.candidate.field})" for part in parts), typed
    )
    chosen = [database.member_of(context.connection, dead_letters.c.id, sample.ids)]
    evidence = "; ".join(part.evidence for part in parts if part.evidence)
    decided = all(part.is_decided for part in parts)
    return Trial(candidate, edit, None, context.prove(chosen, edit), None, evidence, decided, parts)


def merged(one: Edit, other: Edit) -> Edit:
    """Both edits in one."""
    return replace(
        one,
        set=one.set | other.set,
        default=one.default | other.default,
        rename=one.rename | other.rename,
        cast=one.cast | other.cast,
        drop=tuple(dict.fromkeys((*one.drop, *other.drop))),
    )


@dataclass
class Texts:
    """What the texts of a group's fields show, of all of its letters."""

    readings: dict[tuple[str, tuple[str, ...]], Readings] = field(default_factory=dict)
    no_null_word: dict[str, str] = field(default_factory=dict)  # raw field -> a text that is none
    _null_fields: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> Texts:
        """Those that decide about these candidates."""
        made = cls()
        for trial in trials:
            if trial.raw is not None and trial.candidate.rivals:
                key = (trial.raw, trial.candidate.rivals)
                made.readings.setdefault(key, Readings(trial.candidate.rivals))
            if trial.raw is not None and trial.candidate.needs_null_words:
                made._null_fields.add(trial.raw)
        return made

    @property
    def are_needed(self) -> bool:
        return bool(self.readings or self._null_fields)

    def add(self, body: Body) -> None:
        """Notes the texts of one payload."""
        for (raw, rivals), readings in self.readings.items():
            how = "epoch" if rivals[0].startswith(("epoch", "time:")) else rivals[0]
            if (text := text_to_cast(paths.value_at(body, paths.split(raw)), how)) is not None:
                readings.add(text)
        for raw in self._null_fields:
            text = text_to_cast(paths.value_at(body, paths.split(raw)), "text")
            if text is not None and not is_null_word(text):
                self.no_null_word.setdefault(raw, text)

    def verdict(self, trial: Trial) -> Verdict | None:
        """What they show about a candidate; None where there is nothing to show."""
        key = (trial.raw or "", trial.candidate.rivals)
        return self.readings[key].verdict() if key in self.readings else None


def read_all(context: Context, chosen: Chosen, texts: Texts) -> None:
    """Notes the texts of all letters that meet these conditions; streamed."""
    if not texts.are_needed:
        return
    statement = select(*COLUMNS).where(*chosen).execution_options(yield_per=500)
    for number, row in enumerate(context.connection.execute(statement).mappings(), 1):
        if (body := fields_of(letter_of(row))) is not None:
            texts.add(body)
        if number % 500 == 0:
            context.on_letters(500)


def shown_change(sample: Sample, trial: Trial) -> dict[str, Any] | None:
    """The first letter of the sample that would be accepted: the fields that the edit changes, before and after."""
    wanted = next((each["id"] for each in trial.on_sample.samples), None)
    for letter in sample.letters:
        body = fields_of(letter) if letter.id == wanted else None
        if body is None:
            continue
        before, after = _values(body), _values(json_body(trial.edit.apply(body).decode()))
        names = [
            name for name in {**before, **after} if text_of(before.get(name)) != text_of(after.get(name))
        ]
        return {
            "id": letter.id,
            "before": {name: before[name] for name in names if name in before},
            "after": {name: after[name] for name in names if name in after},
        }
    return None


def _values(body: Body) -> dict[str, Any]:
    """The fields of a payload that are no objects, with their paths as names."""
    every = paths.fields_within(body)
    return {paths.joined(path): value for path, value in every if not (value and isinstance(value, dict))}


def text_of(value: Any) -> str:
    """A value as JSON, its digits as they are."""
    return orjson.dumps(value).decode()
