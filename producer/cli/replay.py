"""`producer replay`: dead letters back to the queue, by an action; what that would do; and an action's end."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, select

from producer.cli.command import Resources, batch_counts, record, send_batches, wait_for_outcome
from store import database
from store.cli.render.progress import Bar
from store.database.letters import dead_letters as letters_table
from store.dead_letters import actions
from store.dead_letters.actions import Action, Order
from store.dead_letters.edits import Edit, json_body
from store.dead_letters.filters import Filter
from store.errors import ConfigError, InputError, UsageError
from store.load.watermark_moves import who
from store.tables import dead_letters, watermarks
from store.tables.deliveries import Delivery
from store.terminal import counted, print_json, warn
from worker.dead_letters import mirror, replay
from worker.dead_letters import proof as proving
from worker.dead_letters.names import Names
from worker.dead_letters.proof import Proof
from worker.dead_letters.replay import Cut, Sending
from worker.queue import wait as waiting
from worker.queue.message import Message
from worker.queue.send import Sent

LOOKED_AT = 200  # letters whose fields an edit may name


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


class Tally:
    """What the messages of one delivery amount to, as they pass."""

    def __init__(self) -> None:
        self.formats: set[str] = set()
        self.bytes = 0
        self.delivery: Delivery

    def noting(self, messages: Iterator[Message]) -> Iterator[Message]:
        for message in messages:
            self.delivery = message.delivery
            self.formats.add(message.format)
            self.bytes += message.size
            yield message


def replay_letters(options: Options) -> None:
    """Sends the open letters that match back to the queue, or shows what would become of them."""
    if options.edit.payload is not None and len(options.which.ids) != 1:
        raise ConfigError("--payload replaces the payload of one letter: give its --id")
    with Resources.open() as resources:
        if options.dry_run:
            with database.reading(resources.engine) as connection:
                chosen = options.which.conditions(connection)
                found = prove(connection, chosen, options.edit, resources)
            show_proof(found, options.as_json)
            return
        if options.wait:
            waiting.need_workers(resources.broker)
        with database.transaction(resources.engine) as connection:
            chosen = options.which.conditions(connection)
            edit = resolved(connection, chosen, options.edit, resources)
            order = Order(
                "replay", options.which.to_json(), options.why.strip(), options.by or who(), edit.to_text()
            )
            action = actions.begin(connection, order, chosen)
            held = dead_letters.count(connection, [*chosen, letters_table.c.status == "replaying"])
        if action is None:
            show_nothing(held, options.as_json)
            return
        send_action(action, resources, wait=options.wait, as_json=options.as_json)


def resume(seq: int, *, wait: bool, as_json: bool) -> None:
    """Sends what a replay that was interrupted has not sent, or what Redis has lost of it."""
    with Resources.open() as resources:
        action = running(resources, seq)
        if wait:
            waiting.need_workers(resources.broker)
        replay.forget_lost_batches(resources.engine, resources.broker, seq)
        send_action(action, resources, wait=wait, as_json=as_json)


def stop(seq: int, *, as_json: bool) -> None:
    """Opens the letters of a replay again that were not sent; those on their way go on."""
    with Resources.open() as resources:
        running(resources, seq)
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


def parse_pairs(option: str, pairs: Sequence[str], example: str) -> dict[str, str]:
    """`NAME=TEXT` options. Raises ConfigError for one that is none."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise ConfigError(f"{option} {pair!r} should be {example}")
        found[name] = value
    return found


def parse_values(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """`FIELD=VALUE` options; a VALUE that is not JSON is text, and numbers keep their digits."""
    found = parse_pairs(option, pairs, f"FIELD=VALUE, like {option} value=4.2")
    return {name: _value(text) for name, text in found.items()}


def _value(text: str) -> Any:
    try:
        return json_body(f'{{"value":{text}}}')["value"]
    except (InputError, KeyError):
        return text


def read_edit(file: Path | None, given: Edit) -> Edit:
    """The edit of a file, and what the options add to it. Raises ConfigError, UsageError."""
    if file is None:
        given.check()
        return given
    try:
        stored = Edit.of(tomllib.loads(file.read_text(), parse_float=orjson.Fragment))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"--edit {file}: {error}") from error
    both = replace(
        stored,
        set=stored.set | given.set,
        default=stored.default | given.default,
        rename=stored.rename | given.rename,
        cast=stored.cast | given.cast,
        drop=(*stored.drop, *given.drop),
        payload=given.payload or stored.payload,
    )
    both.check()
    return both


def resolved(
    connection: Connection, chosen: Sequence[ColumnElement[bool]], edit: Edit, resources: Resources
) -> Edit:
    """The edit with raw names. Raises UsageError for a name that the letters of a source do not have."""
    if edit.is_empty or edit.payload is not None:
        return edit
    chosen = proving.open_ones(chosen)
    statement = select(letters_table.c.source).where(*chosen).distinct().order_by(letters_table.c.source)
    edits: dict[str, Edit] = {}
    for source in connection.execute(statement).scalars():
        some = dead_letters.select_matching(
            connection, [*chosen, letters_table.c.source == source], LOOKED_AT
        )
        present: set[str] = set()
        for letter in some:
            try:
                present |= replay.body_of(letter).keys()
            except InputError:  # it has no fields: the others tell theirs
                continue
        names = Names(resources.contract, resources.worker.source(source), present)
        edits[source] = names.resolved(edit)
    first = next(iter(edits.values()), edit)
    if other := next((source for source, each in edits.items() if each != first), None):
        raise UsageError(
            f"the fields of this edit have other raw names in source {other}: give --source, or raw names (raw.FIELD)"
        )
    return first


def prove(
    connection: Connection, chosen: Sequence[ColumnElement[bool]], edit: Edit, resources: Resources
) -> Proof:
    """What would become of the letters that match."""
    edit = resolved(connection, chosen, edit, resources)
    reached = watermarks.read_all(connection, resources.worker.max_future_skew).sound
    open_ones = proving.open_ones(chosen)
    return proving.prove(connection, open_ones, edit, resources.contract, resources.worker, reached)


def send_action(action: Action, resources: Resources, *, wait: bool, as_json: bool) -> None:
    """Sends the letters of an action that no batch is registered for."""
    with mirror.tolerated():
        mirror.flush_outbox(resources.broker.redis, resources.engine)
    settings = resources.settings
    cut = Cut(settings.batch_records, settings.batch_bytes)
    sending = Sending(resources.engine, action, resources.contract, resources.worker, cut, [])
    try:
        with Bar("replaying", action.letters, unit="letters") as bar:
            total = Sent.total(_by_delivery(sending, resources, bar))
    except BaseException:
        warn(
            f"action {action.seq} is not sent to its end: `producer replay --resume {action.seq}` sends the rest, "
            f"--stop {action.seq} opens its letters again"
        )
        raise
    for letter, why in sending.refused[:20]:
        warn(f"letter {letter.id[:12]} ({letter.reason}) cannot be replayed: {why}")
    if len(sending.refused) > 20:
        warn(f"and {len(sending.refused) - 20:,} more letters cannot be replayed")
    outcome = wait_for_outcome(total.ids, resources) if wait and total.ids else None
    show_summary(action, total, len(sending.refused), outcome, as_json)


def _by_delivery(sending: Sending, resources: Resources, bar: Bar) -> Iterator[Sent]:
    """Sends the messages of each source, which are one delivery, and writes its receipt."""
    done = 0
    for _, of_source in groupby(sending.messages(), key=lambda message: message.delivery.id):
        started, tally = time.monotonic(), Tally()
        sent = send_batches(tally.noting(of_source), resources, partial(_advance, bar, done))
        done += sent.records
        record(
            sent,
            resources.engine,
            tally.delivery,
            format=", ".join(sorted(tally.formats)),
            bytes=tally.bytes,
            seconds=time.monotonic() - started,
        )
        yield sent


def _advance(bar: Bar, before: int, so_far: Sent) -> None:
    done = before + so_far.records
    bar.update(done, done)


def show_proof(found: Proof, as_json: bool) -> None:
    """What would become of the letters."""
    if as_json:
        print_json(found.to_json())
        return
    if not found.letters:
        print("no open dead letters match: nothing would be replayed")
        return
    print(f"{found.would_accept:,} of {found.letters:,} would be accepted; nothing was sent")
    for number, what in (
        (found.would_load, "would load"),
        (found.superseded, "would be superseded by something newer in the target"),
        (found.skipped, "would be skipped as late"),
        (found.rejected, "would be rejected again"),
        (found.refused, "cannot be sent"),
    ):
        if number:
            print(f"{number:>10,}  {what}")
    for failure in found.failures[:20]:
        where = "; ".join(" ".join(filter(None, fault.values())) for fault in failure.faults)
        print(f"{failure.letters:>10,}  still {failure.reason}: {where} (like {failure.sample[:8]})")
    for why, number in found.refusals.items():
        print(f"{number:>10,}  {why}")


def show_nothing(held: int, as_json: bool) -> None:
    """No letter could be sent."""
    if as_json:
        print_json({"action": None, "letters": 0, "in_other_actions": held})
        return
    others = (
        f"; {counted(held, 'letter')} of them in an action already: `store letters actions`" if held else ""
    )
    print(f"no open dead letters match: nothing to replay{others}")


def show_summary(
    action: Action, sent: Sent, refused: int, outcome: dict[str, Any] | None, as_json: bool
) -> None:
    """How many letters were sent back; with `--wait`, how many of them are resolved."""
    if as_json:
        report = {"action": action.seq, "letters": sent.records, **batch_counts(sent), "refused": refused}
        print_json(report if outcome is None else {**report, "outcome": outcome})
        return
    batches = counted(sent.sent_batches, "batch", "batches")
    print(f"{counted(sent.records, 'dead letter')} sent back in {batches} (action {action.seq})")
    if outcome is not None:
        resolved = outcome["received"] - outcome["rejected"]
        print(f"resolved {resolved:,}, rejected again {outcome['rejected']:,}")
