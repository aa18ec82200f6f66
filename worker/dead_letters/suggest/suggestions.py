"""What would fix a group: its letters under the candidates for its faults, the best first.

sample --(candidates of each faulty field, tried)--> those that help --(texts of the whole group)--> those that are
not ambiguous --(the whole group, tried)--> suggestions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement

from store import paths
from store.database.letters import dead_letters
from store.errors import UsageError
from worker.dead_letters.names import Names
from worker.dead_letters.suggest import candidates as proposing
from worker.dead_letters.suggest.always import Always, always
from worker.dead_letters.suggest.candidates import AS_THEY_ARE, Candidate, Faulty
from worker.dead_letters.suggest.readings import Verdict
from worker.dead_letters.suggest.trial import (
    Context,
    Sample,
    Texts,
    Trial,
    combined,
    read_all,
    sample_of,
    shown_change,
    tried,
)

MOST_JUDGED = 5  # candidates over all letters of a group


@dataclass
class Suggestion:
    """One edit that helps."""

    trial: Trial
    change: dict[str, Any] | None  # of one letter: id, before, after
    always: Always | None = None  # the same for every later file, where that was asked for

    @property
    def would_accept(self) -> int:
        return self.trial.proof.would_accept


@dataclass
class Found:
    """What was found for one group."""

    group: dict[str, Any]
    letters: int  # open ones
    tried: int  # of which all candidates were tried on so many
    suggestions: list[Suggestion] = field(default_factory=list)  # the best first
    ambiguous: list[dict[str, str]] = field(default_factory=list)  # field, casts, why
    notes: list[str] = field(default_factory=list)  # why a field has no candidate


def open_letters(group: str) -> list[ColumnElement[bool]]:
    """The letters that a replay of a group takes."""
    return [dead_letters.c.group_id == group, dead_letters.c.status == "open"]


def suggest(
    context: Context, group: dict[str, Any], *, whole: bool = True, for_always: bool = False
) -> Found:
    """What would fix the open letters of a group; tried on all of them, or else on the sample alone.

    `for_always`, the best one is also tried as the mapping of the source.
    """
    chosen = open_letters(group["id"])
    sample = sample_of(context.connection, chosen)
    found = Found(group, group["open"], len(sample.letters))
    if not sample.letters:
        return found
    names = Names(context.contract, context.settings.source(group["source"]), sample.present)
    [baseline] = tried(context, sample, names, [(None, AS_THEY_ARE)])
    trials = tried(context, sample, names, _candidates(context, group, sample, names, found.notes))
    helping = [each for each in trials if helps(each, baseline)]
    usable = _unambiguous(context, chosen if whole else sample, helping, found)
    if both := combined(context, sample, usable, baseline):
        usable.insert(0, both)
    accepted = baseline.on_sample.would_accept
    best = [each for each in usable if each.on_sample.would_accept > accepted]
    best = sorted(best, key=lambda each: -each.on_sample.would_accept)[:MOST_JUDGED]
    if accepted:
        best.insert(0, baseline)
    for trial in best if whole else ():
        trial.whole = context.prove(chosen, trial.edit)
    best = _distinct(sorted(best, key=lambda each: -each.proof.would_accept))
    found.suggestions = [
        Suggestion(each, shown_change(sample, each)) for each in best if each.proof.would_accept
    ]
    for first in found.suggestions[:for_always]:
        first.always = always(context, group["source"], first.trial, sample, chosen)
    return found


def helps(trial: Trial, baseline: Trial) -> bool:
    """Whether more letters would be accepted, or more have no fault at the field."""
    name = trial.candidate.field
    more = trial.on_sample.would_accept > baseline.on_sample.would_accept
    return more or (name is not None and trial.repaired(name) > baseline.repaired(name))


def _unambiguous(
    context: Context, letters: Sample | Sequence[ColumnElement[bool]], trials: Sequence[Trial], found: Found
) -> list[Trial]:
    """The candidates that read the texts in the only way there is; what is ambiguous is noted."""
    texts = Texts.of(trials)
    if isinstance(letters, Sample):
        for body in letters.bodies:
            texts.add(body)
    else:
        read_all(context, letters, texts)
    usable = []
    for trial in trials:
        if trial.raw in texts.no_null_word and trial.candidate.needs_null_words:
            continue
        verdict = texts.verdict(trial)
        if verdict is None or may_be_used(trial.candidate, verdict):
            if verdict is not None:
                trial.evidence = verdict.casts.get(trial.candidate.how or "", "")
                trial.is_decided = verdict.is_decided
            usable.append(trial)
        elif verdict.ambiguous:
            rivals = [proposing.name_of(how) for how in trial.candidate.rivals]
            note = {
                "field": trial.candidate.field or "",
                "readings": ", ".join(rivals),
                "why": verdict.ambiguous,
            }
            if note not in found.ambiguous:
                found.ambiguous.append(note)
    return usable


WIDER = {"number": "thousands", "currency": "currency-thousands"}  # cast -> one that reads the same, and more


def may_be_used(candidate: Candidate, verdict: Verdict) -> bool:
    """Whether the texts allow a cast."""
    how = candidate.how or ""
    return WIDER.get(how, how) in verdict.casts or (
        how in WIDER and not verdict.casts and not verdict.ambiguous
    )


def _distinct(trials: Sequence[Trial]) -> list[Trial]:
    """Without casts of a field that do no more than an earlier one."""
    seen = set()
    distinct = []
    for trial in trials:
        key = (trial.candidate.field, trial.proof.would_accept)
        if trial.candidate.how and key in seen:
            continue
        seen.add(key)
        distinct.append(trial)
    return distinct


def _candidates(
    context: Context, group: dict[str, Any], sample: Sample, names: Names, notes: list[str]
) -> list[tuple[str | None, Candidate]]:
    """(raw field, candidate) of each faulty field."""
    free = _free(context, group["source"], sample, names)
    if not sample.bodies:
        notes.append("no payload has fields that can be read: `producer replay --payload` replaces one whole")
    found: list[tuple[str | None, Candidate]] = []
    for fault in {each["field"]: each for each in group["faults"] if each.get("field")}.values():
        try:
            faulty = faulty_of(context, fault, names)
        except UsageError as error:
            notes.append(str(error))
            continue
        values = sample.values(faulty.raw)
        given = list(context.contract.inputs)
        found += [(faulty.raw, each) for each in proposing.candidates(faulty, values, free, given)]
    return found


def _free(context: Context, source: str, sample: Sample, names: Names) -> dict[str, int]:
    """The fields that nothing else uses, of at least half of the payloads; within objects those with a value."""
    adapter = context.judge(source).adapter
    used = {*context.contract.inputs, *adapter.consumed, *adapter.read_besides}
    objects = {paths.joined(paths.split(name)[:-1]) for name in sample.present}
    found = {}
    for name, number in sample.present.items():
        path = paths.split(name)
        within = len(path) > 1 and path[0] in adapter.consumed and name not in objects
        is_free = path[0] not in used if len(path) == 1 else within and not names.is_read(path)
        if is_free and 2 * number >= len(sample.bodies):
            found[name] = number
    return found


def faulty_of(context: Context, fault: dict[str, str], names: Names) -> Faulty:
    """A faulty field as candidates need it. Raises UsageError where no edit can change it."""
    field, contract = fault["field"], context.contract
    is_beyond = field not in contract.kinds
    typed = f"raw.{field}" if is_beyond else field
    if not is_beyond and names.source.adapter and field in names.present:
        typed = f"raw.{field}"  # the function may read it under this name
    raw = names.raw(typed)
    if is_beyond and fault.get("reason") != "unexpected_field":
        raise UsageError(f"{field}: it is beyond the contract, and no edit of it is known to help")
    info = None if is_beyond else contract.model.model_fields[field]
    may_be_absent = info is not None and raw_is_optional(contract, field)
    return Faulty(
        field,
        typed,
        raw,
        None if is_beyond else contract.kinds[field],
        fault.get("rule") or "",
        fault.get("shape") or "",
        may_be_absent,
        default_in_words(info) if may_be_absent else "",
    )


def raw_is_optional(contract: Any, field: str) -> bool:
    """Whether a record may be without a field."""
    return not contract.model.model_fields[field].is_required()


def default_in_words(info: Any) -> str:
    """What a field without a value becomes."""
    value = None if info.default_factory else info.default
    if info.default_factory:
        return "the contract's default"
    return "null" if value is None else f"the contract's default, {value!r}"
