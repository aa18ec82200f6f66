"""A replay as an action: begun over the letters of a permit, sent under its lease, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from producer.replays import sending as outgoing
from producer.replays.sending import Done, Reporting
from producer.resources import Resources
from store import database
from store.dead_letters import actions, payloads, proofs, sending
from store.dead_letters.actions import Action, Order
from store.dead_letters.edits import Edit
from store.dead_letters.payloads import OwnPayloads
from store.dead_letters.proofs import StoredProof
from store.dead_letters.sending import Totals
from store.dead_letters.terms import AHEAD, STOP_ABOVE, Terms
from store.load.watermark_moves import who
from worker.dead_letters import replay


@dataclass(frozen=True)
class Decision:
    """Who sends the letters back, why, and how."""

    why: str = ""
    by: str | None = None
    rate: float | None = None
    stop_above: float | None = None


@dataclass(frozen=True)
class Replayed:
    """What was sent of an action, and how it stands."""

    action: Action
    done: Done
    sent: Totals  # by all commands together
    outcomes: dict[str, int]
    stopped: str | None  # why it stopped itself

    @property
    def is_stopped(self) -> str | None:
        """In words, where it stopped itself."""
        if self.stopped is None:
            return None
        return (
            f"action {self.action.seq} has stopped itself: {self.stopped}; the letters that were not sent are open "
            "again"
        )

    @property
    def is_paused(self) -> str | None:
        """In words, where not all is sent, and what to do."""
        if self.done.paused is None:
            return None
        seq = self.action.seq
        return (
            f"{self.done.paused}: start workers with `worker up`, then `producer replay --resume {seq}` within "
            f"{sending.RESUMABLE_SECONDS / 60:g} minutes; --stop {seq} opens again what was not sent"
        )


def begin(
    connection: Connection,
    permit: StoredProof,
    decision: Decision,
    holder: str,
    *,
    edit: Edit,
    is_stored: bool,
) -> Action | None:
    """The action over the letters of the proof that are still open; this command has its lease."""
    limit = decision.stop_above
    foreseen = permit.counts["rejected"] if limit is None else 0
    stop_above = STOP_ABOVE if limit is None else limit
    ahead = None if limit is None else AHEAD
    terms = Terms(permit.first, decision.rate, stop_above, ahead=ahead, foreseen=foreseen)
    order = Order(
        "replay",
        permit.filter,
        decision.why.strip(),
        decision.by or who(),
        permit.edit,
        permit.of_action(),
        terms.to_json(),
    )
    action = sending.begin(connection, order, proofs.pages(connection, permit.token))
    if not is_stored:  # nobody can name it
        proofs.forget(connection, permit.token)
    if action:
        sending.take(connection, action.seq, holder)
        if isinstance(edit, OwnPayloads):
            payloads.add(connection, action.seq, edit)
    return action


def send(action: Action, holder: str, resources: Resources, reporting: Reporting) -> Done:
    """Sends the letters of an action that no batch is registered for. This command has its lease."""
    try:
        with outgoing.under_lease(resources.engine, action.seq, holder) as lease:
            replay.forget_lost_batches(resources.engine, resources.broker, action.seq)
            done = outgoing.send(action, holder, resources, reporting)
            lease.is_sent = done.paused is None
    except BaseException:
        reporting.notice(
            f"action {action.seq} is not sent to its end: `producer replay --resume {action.seq}` sends the rest, "
            f"--stop {action.seq} opens its letters again"
        )
        raise
    for letter, why in done.going.refused:
        reporting.notice(f"letter {letter.id[:12]} ({letter.reason}) cannot be replayed: {why}")
    if more := done.going.refusals - len(done.going.refused):
        reporting.notice(f"and {more:,} more letters cannot be replayed")
    return done


def now(action: Action, done: Done, resources: Resources) -> Replayed:
    """How an action stands after this command has sent of it what it could."""
    with database.reading(resources.engine) as connection:
        found = actions.find(connection, action.seq)
        sent = sending.totals(connection, action.seq)
    return Replayed(action, done, sent, found.outcomes, Terms.of(found).why_stopped)
