"""`producer replay`: dead letters back to the queue, by an action: proved, permitted, sent; resumed and stopped.

prove --(asked on a terminal)--> begin: the action, over just the letters of the proof --> send
a stored proof --(its letters, edit and contract are still the same)-----^
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import typer

from producer.cli import replay_report as report
from producer.cli.command import Resources, wait_for_outcome
from producer.replays import actions as replays
from producer.replays import permits
from producer.replays.actions import Decision
from producer.replays.permits import Asked
from producer.replays.sending import Reporting
from store import database
from store.cli.render.progress import Bar
from store.database.letters import dead_letters as letters_table
from store.dead_letters import actions, proofs, sending
from store.dead_letters.actions import Action
from store.dead_letters.edits import Edit
from store.dead_letters.filters import Filter
from store.dead_letters.proofs import Letters
from store.errors import UsageError
from store.tables import dead_letters, leases
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
    def asked(self) -> Asked:
        """Which letters, and their edit."""
        return Asked(self.which, self.edit, self.first)

    @property
    def decision(self) -> Decision:
        """Who sends them, and how."""
        return Decision(self.why, self.by, self.rate, self.stop_above)

    @property
    def asks(self) -> bool:
        """Whether somebody is there to be asked."""
        return is_terminal() and not (self.yes or self.as_json or self.proof)


def is_terminal() -> bool:
    """Whether input and output are a person's."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def replay_letters(options: Options) -> None:
    """Sends the open letters that match back to the queue, or shows what would become of them."""
    options.asked.check()
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
        permit = permits.permit(found, options.asked, written)
        if found.letters and not agreed(options, found):
            written.forget()
            raise typer.Exit(Exit.FAILED)
    holder = leases.new_holder()
    with database.transaction(resources.engine) as connection:
        permit = permit or permits.checked(connection, options.proof or "", options.asked, resources)
        action = replays.begin(
            connection,
            permit,
            options.decision,
            holder,
            edit=options.edit,
            is_stored=options.proof is not None,
        )
        chosen = options.which.conditions(connection)
        held = dead_letters.count(connection, [*chosen, letters_table.c.status == "replaying"])
    if action is None:
        report.show_nothing(held, options.as_json)
        return
    if gone := permit.counts["letters"] - action.letters:
        warn(f"{counted(gone, 'letter')} of the proof moved on meanwhile, and stay as they are")
    send_action(action, holder, resources, wait=options.wait, as_json=options.as_json)


def prove(options: Options, resources: Resources, written: Letters) -> Proof:
    """What would become of the letters that match, with a bar on a terminal."""
    with database.reading(resources.engine) as connection:
        chosen = proving.open_ones(options.which.conditions(connection))
        number = dead_letters.count(connection, chosen)
    with Bar("proving", min(number, options.first or number), unit="letters") as bar:
        return permits.prove(options.asked, resources, written, lambda done: bar.update(done, done))


def dry_run(options: Options, resources: Resources) -> None:
    """Shows what would become of the letters, and keeps that as a permit."""
    written = Letters(resources.engine)
    found = prove(options, resources, written)
    stored = permits.permit(found, options.asked, written)
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
            outcomes = actions.find(connection, seq).outcomes
    if as_json:
        print_json({"action": seq, "withdrawn": number, "outcomes": outcomes})
        return
    going = f"; {outcomes['waiting']:,} are on their way and go on" if outcomes.get("waiting") else ""
    print(f"action {seq} is stopped: {counted(number, 'letter')} open again{going}")


def running(resources: Resources, seq: int) -> Action:
    """A replay that is not done. Raises UsageError for another action."""
    with database.reading(resources.engine) as connection:
        action = actions.find(connection, seq)
    if action.verb != "replay" or not action.outcomes.get("waiting"):
        state = action.status if action.verb == "replay" else f"a {action.verb}"
        raise UsageError(f"action {seq} is {state}: nothing of it waits; `store letters actions` lists them")
    return action


def send_action(action: Action, holder: str, resources: Resources, *, wait: bool, as_json: bool) -> None:
    """Sends the letters of an action that no batch is registered for. This command has its lease."""
    with Bar("replaying", action.letters, unit="letters") as bar:
        reporting = Reporting(warn, lambda so_far: bar.update(so_far, so_far))
        done = replays.send(action, holder, resources, reporting)
    waits = wait and done.sent.ids and not done.paused
    outcome = wait_for_outcome(done.sent.ids, resources) if waits else None
    became = replays.now(action, done, resources)
    so_far = report.SoFar(done.before, became.sent, became.outcomes)
    report.show_summary(action, done.sent, so_far, done.going.refusals, outcome, became.stopped, as_json)
    if became.is_paused:
        fail(became.is_paused)
        raise typer.Exit(Exit.USAGE)
    if became.is_stopped:
        fail(became.is_stopped)
        raise typer.Exit(Exit.FAILED)
