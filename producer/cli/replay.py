"""`producer replay`: dead letters back to the queue, by an action: proved, permitted, sent; resumed and stopped.

prove --(asked on a terminal)--> begin: the action, over just the letters of the proof --> send
a stored proof --(its letters, edit and contract are still the same)-----^
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import typer
from sqlalchemy import Connection

from producer.cli import replay_report as report
from producer.cli import replay_sending as outgoing
from producer.cli.command import Resources, wait_for_outcome
from producer.cli.replay_edits import command, resolved
from store import database
from store.cli.render.progress import Bar
from store.database.letters import dead_letters as letters_table
from store.dead_letters import actions, payloads, proofs, sending
from store.dead_letters.actions import Action, Order
from store.dead_letters.edits import Edit
from store.dead_letters.filters import Filter
from store.dead_letters.payloads import OwnPayloads
from store.dead_letters.proofs import Letters, StoredProof
from store.dead_letters.terms import AHEAD, STOP_ABOVE, Terms
from store.errors import ConfigError, UsageError
from store.load.watermark_moves import who
from store.tables import dead_letters, leases, watermarks
from store.terminal import Exit, counted, fail, print_json, warn
from worker.dead_letters import proof as proving
from worker.dead_letters import replay
from worker.dead_letters.proof import Proof
from worker.queue import wait as waiting


@dataclass(frozen=True)
class Options:
    """What `producer replay` was asked for."""

    which: Filter
    edit: Edit
    why: str
    by: str | None
    dry_run: bool
    wait: bool
    as_json: bool
    yes: bool = False  # the question is answered
    proof: str | None = None  # digest of a stored proof
    first: int | None = None
    rate: float | None = None
    stop_above: float | None = None

    @property
    def asks(self) -> bool:
        """Whether somebody is there to be asked."""
        return is_terminal() and not (self.yes or self.as_json or self.proof)


def is_terminal() -> bool:
    """Whether input and output are a person's."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def replay_letters(options: Options) -> None:
    """Sends the open letters that match back to the queue, or shows what would become of them."""
    if options.edit.payload is not None and len(options.which.ids) != 1:
        raise ConfigError("--payload replaces the payload of one letter: give its --id")
    with Resources.open() as resources:
        if options.dry_run:
            dry_run(options, resources)
        else:
            send_letters(options, resources)


def send_letters(options: Options, resources: Resources) -> None:
    """Proves the letters that match, or takes a stored proof, and sends them, where whoever is asked agrees."""
    if options.wait:
        waiting.need_workers(resources.broker)
    permit = None
    if options.proof is None:
        written = Letters(resources.engine)
        found = prove(options, resources, written)
        permit = found.stored(options.which.to_json(), options.first, written)
        if found.letters and not agreed(options, found):
            written.forget()
            raise typer.Exit(Exit.FAILED)
    holder = leases.new_holder()
    with database.transaction(resources.engine) as connection:
        permit = permit or checked(connection, options, resources)
        action = begin(connection, options, permit, holder)
        chosen = options.which.conditions(connection)
        held = dead_letters.count(connection, [*chosen, letters_table.c.status == "replaying"])
    if action is None:
        report.show_nothing(held, options.as_json)
        return
    if gone := permit.counts["letters"] - action.letters:
        warn(f"{counted(gone, 'letter')} of the proof moved on meanwhile, and stay as they are")
    send_action(action, holder, resources, wait=options.wait, as_json=options.as_json)


def prove(options: Options, resources: Resources, written: Letters) -> Proof:
    """What would become of the letters that match; they are `written` down, to be sent."""
    with database.reading(resources.engine) as connection:
        chosen = proving.open_ones(options.which.conditions(connection))
        edit = resolved(connection, chosen, options.edit, resources)
        reached = watermarks.read_all(connection, resources.worker.max_future_skew).sound
        number = dead_letters.count(connection, chosen)
        with Bar("proving", min(number, options.first or number), unit="letters") as bar:
            return proving.prove(
                connection,
                chosen,
                edit,
                proving.JudgedBy(resources.contract, resources.worker, reached),
                options.first,
                lambda done: bar.update(done, done),
                written,
            )


def dry_run(options: Options, resources: Resources) -> None:
    """Shows what would become of the letters, and keeps that as a permit."""
    written = Letters(resources.engine)
    found = prove(options, resources, written)
    stored = found.stored(options.which.to_json(), options.first, written)
    if found.letters:
        with database.transaction(resources.engine) as connection:
            proofs.store(connection, stored)
    report.show_dry_run(
        found, stored.digest, f"producer replay --proof {stored.digest[:12]}", options.as_json
    )


def agreed(options: Options, found: Proof) -> bool:
    """Shows the proof; whether whoever sits at the terminal agrees, or nobody does and that is meant."""
    if options.as_json:
        return True
    report.show_proof(found)
    if not options.asks:
        return True
    report.show_samples(found)
    these = "this letter" if found.letters == 1 else f"these {found.letters:,}"
    print(f"send {these}? [y/N] ", end="", flush=True)  # `input` would write it to standard error at times
    try:
        answer = input()
    except EOFError:
        answer = ""
    if answer.strip().lower() in ("y", "yes"):
        return True
    print("nothing was sent")
    return False


def checked(connection: Connection, options: Options, resources: Resources) -> StoredProof:
    """The stored proof, if it holds. Raises UsageError with what has changed since."""
    stored = proofs.find(connection, options.proof or "")
    given = (options.which.to_json(), options.first)
    if options.edit.is_empty and given == ({}, None):  # it names them itself
        if payloads.FROM in stored.filter:
            raise UsageError(f"proof {stored.digest[:12]} is of a file: give --from FILE too")
        which, first, edit = Filter(**stored.filter), stored.first, Edit.from_text(stored.edit)
    else:
        which, first = options.which, options.first
        edit = resolved(connection, which.conditions(connection), options.edit, resources)
    changes = changes_since(connection, stored, which, first, edit, resources)
    if changes:
        again = command(which.to_json(), edit, first, "--dry-run")
        raise UsageError(
            f"proof {stored.digest[:12]} does not hold any more: {'; '.join(changes)}; nothing was sent: "
            f"make a new one with `{again}`"
        )
    return stored


def changes_since(
    connection: Connection,
    stored: StoredProof,
    which: Filter,
    first: int | None,
    edit: Edit,
    resources: Resources,
) -> list[str]:
    """What is not as it was when the proof was made."""
    changes = []
    chosen = proving.open_ones(which.conditions(connection))
    came, left = proofs.difference(connection, stored, chosen, first)
    if came:
        changes.append(f"{counted(came, 'letter')} came")
    if left:
        changes.append(f"{counted(left, 'letter')} left")
    if edit.to_text() != stored.edit:
        changes.append(f"the edit is {edit.to_text() or 'none'}, and was {stored.edit or 'none'}")
    for source, fingerprint in stored.fingerprints.items():
        if resources.contract.fingerprint(resources.worker.source(source)) != fingerprint:
            changes.append(f"source {source} has another contract or mapping")
    minutes = proofs.minutes_old(connection, stored)
    if not 0 <= minutes <= proofs.VALID_MINUTES:
        changes.append(f"it is {minutes:,.0f} minutes old ({proofs.VALID_MINUTES} are allowed)")
    return changes


def begin(connection: Connection, options: Options, permit: StoredProof, holder: str) -> Action | None:
    """The action over the letters of the proof that are still open; this command has its lease."""
    foreseen = permit.counts["rejected"] if options.stop_above is None else 0
    stop_above = STOP_ABOVE if options.stop_above is None else options.stop_above
    ahead = None if options.stop_above is None else AHEAD
    terms = Terms(permit.first, options.rate, stop_above, ahead=ahead, foreseen=foreseen)
    order = Order(
        "replay",
        permit.filter,
        options.why.strip(),
        options.by or who(),
        permit.edit,
        permit.of_action(),
        terms.to_json(),
    )
    action = sending.begin(connection, order, proofs.pages(connection, permit.token))
    if options.proof is None:  # nobody can name it
        proofs.forget(connection, permit.token)
    if action:
        sending.take(connection, action.seq, holder)
        if isinstance(options.edit, OwnPayloads):
            payloads.add(connection, action.seq, options.edit)
    return action


def resume(seq: int, *, wait: bool, as_json: bool) -> None:
    """Sends what a replay that was interrupted has not sent, or what Redis has lost of it."""
    with Resources.open() as resources:
        action = running(resources, seq)
        if wait:
            waiting.need_workers(resources.broker)
        holder = leases.new_holder()
        with database.transaction(resources.engine) as connection:
            sending.take(connection, seq, holder)
        send_action(action, holder, resources, wait=wait, as_json=as_json)


def stop(seq: int, *, as_json: bool) -> None:
    """Opens the letters of a replay again that were not sent; those on their way go on."""
    with Resources.open() as resources:
        running(resources, seq)
        with database.reading(resources.engine) as connection:
            sender = sending.sender(connection, seq)
        if sender is None:  # what it has just registered is about to be sent
            replay.forget_lost_batches(resources.engine, resources.broker, seq)
        with database.transaction(resources.engine) as connection:
            number = actions.withdraw_unsent(connection, seq)
            actions.stop(connection, seq)
            outcomes = actions.outcomes(connection, seq)
    if as_json:
        print_json({"action": seq, "withdrawn": number, "outcomes": outcomes})
        return
    going = f"; {outcomes['waiting']:,} are on their way and go on" if outcomes.get("waiting") else ""
    print(f"action {seq} is stopped: {counted(number, 'letter')} open again{going}")


def running(resources: Resources, seq: int) -> Action:
    """A replay that is not done. Raises UsageError for another action."""
    with database.reading(resources.engine) as connection:
        action = actions.find(connection, seq)
        waits = actions.outcomes(connection, seq).get("waiting", 0)
    if action.verb != "replay" or not waits:
        state = action.status if action.verb == "replay" else f"a {action.verb}"
        raise UsageError(f"action {seq} is {state}: nothing of it waits; `store letters actions` lists them")
    return action


def send_action(action: Action, holder: str, resources: Resources, *, wait: bool, as_json: bool) -> None:
    """Sends the letters of an action that no batch is registered for. This command has its lease."""
    try:
        with outgoing.under_lease(resources.engine, action.seq, holder) as lease:
            replay.forget_lost_batches(resources.engine, resources.broker, action.seq)
            done = outgoing.send(action, holder, resources)
            lease.is_sent = done.paused is None
    except BaseException:
        warn(
            f"action {action.seq} is not sent to its end: `producer replay --resume {action.seq}` sends the rest, "
            f"--stop {action.seq} opens its letters again"
        )
        raise
    for letter, why in done.going.refused:
        warn(f"letter {letter.id[:12]} ({letter.reason}) cannot be replayed: {why}")
    if more := done.going.refusals - len(done.going.refused):
        warn(f"and {more:,} more letters cannot be replayed")
    waits = wait and done.sent.ids and not done.paused
    outcome = wait_for_outcome(done.sent.ids, resources) if waits else None
    with database.reading(resources.engine) as connection:
        stopped = Terms.of(actions.find(connection, action.seq)).why_stopped
        so_far = report.SoFar(
            done.before, sending.totals(connection, action.seq), actions.outcomes(connection, action.seq)
        )
    report.show_summary(action, done.sent, so_far, done.going.refusals, outcome, stopped, as_json)
    if done.paused:
        fail(
            f"{done.paused}: start workers with `worker up`, then `producer replay --resume {action.seq}` within "
            f"{sending.RESUMABLE_SECONDS / 60:g} minutes; --stop {action.seq} opens again what was not sent"
        )
        raise typer.Exit(Exit.USAGE)
    if stopped:
        fail(
            f"action {action.seq} has stopped itself: {stopped}; the letters that were not sent are open again"
        )
        raise typer.Exit(Exit.FAILED)
