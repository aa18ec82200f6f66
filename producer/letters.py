"""Dead letters for programs: `prove` says what an edit would make of them, `replay` sends just what was proved."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Unpack

from producer.replays import actions as replays
from producer.replays import permits
from producer.replays.actions import Decision, Replayed
from producer.replays.permits import Asked
from producer.replays.sending import Reporting
from producer.resources import Resources
from store import database
from store.api.opened import Which, filter_of
from store.dead_letters import proofs
from store.dead_letters.edits import Edit, json_body
from store.dead_letters.filters import Filter
from store.dead_letters.proofs import Letters
from store.errors import InputError, NoWorker, SluiceError, UsageError
from store.logs import event
from store.tables import leases
from worker.dead_letters import proof as proving
from worker.encoding import encoded
from worker.queue import wait as waiting

log = logging.getLogger("sluice.producer")

AS_IT_IS = Edit()


@dataclass(frozen=True)
class Failure:
    """Letters that would be rejected again for the same faults."""

    reason: str
    faults: tuple[dict[str, str], ...]  # field, rule, shape
    message: str
    letters: int
    sample: str  # the id of one of them


@dataclass(frozen=True)
class Sample:
    """A letter that would be accepted."""

    id: str
    before: str  # its payload, shortened
    after: str


@dataclass(frozen=True)
class Proof:
    """What would become of letters; for ten minutes it permits to send just these, with this edit."""

    digest: str
    letters: int
    would_load: int  # new keys, or newer than what the target holds
    superseded: int  # accepted, and the target holds something newer
    skipped: int  # late, where the source skips late records
    rejected: int
    refused: int  # that cannot be sent
    failures: tuple[Failure, ...]  # why so many would be rejected, the most letters first
    refusals: dict[str, int]  # why -> letters
    samples: tuple[Sample, ...]

    @property
    def would_accept(self) -> int:
        """Letters that would be resolved."""
        return self.would_load + self.superseded + self.skipped


@dataclass(frozen=True)
class ReplayOutcome:
    """What became of the letters that were sent."""

    resolved: int
    rejected: int  # again


@dataclass(frozen=True)
class ReplayReceipt:
    """What was sent of a proof."""

    action: int | None  # its number in `store letters actions`; None where no letter was there to send
    letters: int
    batches: int
    refused: int  # letters that cannot be sent: they are open
    outcome: ReplayOutcome | None = field(default=None)  # with `wait`


def prove(*, edit: Edit = AS_IT_IS, first: int | None = None, **chosen: Unpack[Which]) -> Proof:
    """Judges the open letters that match, or the first so many, as they would be sent with the edit; sends nothing.

    Raises UsageError for a field that the letters do not have, and for an edit or a filter that is none.
    """
    if not isinstance(edit, Edit):
        raise UsageError(
            f"edit is {edit!r}: give an Edit, such as Edit(cast={{'value': 'number'}}), or leave it out"
        )
    if first is not None and not (type(first) is int and first >= 1):
        raise UsageError(f"first is {first!r}: give a number of letters from 1 on, or leave it out")
    asked = Asked(filter_of(chosen, Which.__annotations__), _sound(edit), first)
    asked.check()
    with Resources.open() as resources:
        written = Letters(resources.engine)
        found = permits.prove(asked, resources, written)
        stored = permits.permit(found, asked, written)
        with database.transaction(resources.engine) as connection:
            proofs.store(connection, stored)
    return _shown(found, stored.digest)


def replay(
    proof: Proof | str,
    *,
    why: str = "",
    by: str | None = None,
    rate: float | None = None,
    stop_above: float | None = None,
    wait: bool = False,
) -> ReplayReceipt:
    """Sends the letters of a proof, or of its digest, with its edit; `rate` is letters a second, at most.

    Raises UsageError, and sends nothing, where letters came or left, the contract or the mapping is another, or ten
    minutes have passed; SluiceError where it stopped itself, because more than `stop_above` of the outcomes were
    rejected again. With `wait`, returns when all of it is loaded; raises NoWorker where nobody is there to do that.
    """
    if not isinstance(proof, Proof | str):
        raise UsageError(f"proof is {proof!r}: give what `prove` returned, or its digest")
    digest = proof if isinstance(proof, str) else proof.digest
    _check_terms(why, by, rate, stop_above)
    decision = Decision(why, by, rate, stop_above)
    with Resources.open() as resources:
        if wait:
            waiting.need_workers(resources.broker)
        holder = leases.new_holder()
        with database.transaction(resources.engine) as connection:
            permit = permits.checked(connection, digest, Asked(Filter(), AS_IT_IS), resources)
            action = replays.begin(connection, permit, decision, holder, edit=AS_IT_IS, is_stored=True)
        if action is None:
            return ReplayReceipt(None, 0, 0, 0)
        done = replays.send(action, holder, resources, Reporting(_notice))
        outcome = _outcome(done.sent.ids, resources) if wait and done.sent.ids and not done.paused else None
        return _receipt(replays.now(action, done, resources), outcome)


def _check_terms(why: Any, by: Any, rate: Any, stop_above: Any) -> None:
    """Raises UsageError for terms of a replay that are none."""
    if not isinstance(why, str):
        raise UsageError(f"why is {why!r}: give a text, or leave it out")
    if not isinstance(by, str | None):
        raise UsageError(f"by is {by!r}: give a name as text, or leave it out")
    if rate is not None and not (isinstance(rate, int | float) and 0 < rate < float("inf")):
        raise UsageError(f"rate is {rate!r}: give letters a second, more than 0")
    if stop_above is not None and not (isinstance(stop_above, int | float) and 0 <= stop_above <= 1):
        raise UsageError(f"stop_above is {stop_above!r}: give a part of the outcomes, from 0 to 1")


def _notice(message: str) -> None:
    log.warning("%s", message, extra=event("sending"))


def _sound(edit: Edit) -> Edit:
    """An edit whose values are JSON with all of their digits. Raises UsageError for what is none."""
    given = {each.name: value for each in fields(Edit) if (value := getattr(edit, each.name)) or value == 0}
    for name in ("set", "default"):
        if isinstance(values := given.get(name), Mapping):
            try:
                given[name] = json_body(encoded(values, 1).decode())
            except InputError as error:
                raise UsageError(f"the edit's {name} cannot be written as JSON: {error}") from error
    return Edit.of(given)


def _shown(found: proving.Proof, digest: str) -> Proof:
    failures = (
        Failure(each.reason, tuple(each.faults), each.message, each.letters, each.sample)
        for each in found.failures
    )
    samples = (Sample(**each) for each in found.samples)
    return Proof(
        digest, **found.counts, failures=tuple(failures), refusals=found.refusals, samples=tuple(samples)
    )


def _outcome(ids: list[str], resources: Resources) -> ReplayOutcome:
    waiting.wait_until_loaded(ids, resources.broker, resources.engine, lambda _: None)
    counts: dict[str, Any] = waiting.summary(ids, resources.engine)
    return ReplayOutcome(counts["received"] - counts["rejected"], counts["rejected"])


def _receipt(became: Replayed, outcome: ReplayOutcome | None) -> ReplayReceipt:
    if became.is_paused:
        raise NoWorker(became.is_paused)
    if became.is_stopped:
        raise SluiceError(became.is_stopped)
    sent = became.done.sent
    return ReplayReceipt(became.action.seq, sent.records, sent.batches, became.done.going.refusals, outcome)
