"""`producer replay`: dead letters back to the queue."""

from __future__ import annotations

import time
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import Engine

from producer.cli.command import Resources, batch_counts, record, send_batches, wait_for_outcome
from store import database
from store.errors import ConfigError
from store.tables import dead_letters, deliveries
from store.tables.dead_letters import DeadLetter
from store.terminal import counted, print_json, warn
from worker.dead_letters import replay
from worker.dead_letters.replay import Edit
from worker.queue import wait as waiting
from worker.queue.message import Message
from worker.queue.send import Sent


def replay_letters(
    *,
    ids: list[str],
    reasons: list[str],
    source: str | None,
    changes: list[str],
    payload: str | None,
    dry_run: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Sends the open letters that match back to the queue, or shows what would become of them."""
    edit = Edit(parse_changes(changes), payload)
    if payload is not None and len(ids) != 1:
        raise ConfigError("--payload replaces the payload of one letter: give its --id")
    with Resources.open() as resources:
        contract, worker = resources.contract, resources.worker
        chosen = choose(resources.engine, ids, reasons, source)
        ready, refused = replay.prepare(chosen, edit)
        messages = list(replay.messages(ready, contract, worker, resources.settings.batch_records))
        for letter, why in refused:
            warn(f"letter {letter.id[:12]} ({letter.reason}) cannot be replayed: {why}")
        if dry_run:
            show_dry_run(replay.dry_run(messages, contract, worker), len(refused), as_json)
            return
        if wait:
            waiting.need_workers(resources.broker)
        by_source = groupby(messages, key=lambda message: message.source)  # they are sorted by source
        total = Sent.total(send_letters(list(group), resources) for _, group in by_source)
        outcome = wait_for_outcome(total.ids, resources) if wait and total.ids else None
    show_summary(total, len(refused), outcome, as_json)


def parse_changes(changes: list[str]) -> dict[str, Any]:
    """`FIELD=VALUE` options as fields; a VALUE that is not JSON is text."""
    fields: dict[str, Any] = {}
    for change in changes:
        name, separator, value = change.partition("=")
        if not separator or not name:
            raise ConfigError(f"--set {change!r} should be FIELD=VALUE, like --set value=4.2")
        try:
            fields[name] = orjson.loads(value)
        except orjson.JSONDecodeError:
            fields[name] = value
    return fields


def choose(engine: Engine, ids: list[str], reasons: list[str], source: str | None) -> list[DeadLetter]:
    """The open letters that match; an id may be shortened to a beginning that no other id has."""
    with database.reading(engine) as connection:
        full: list[str] = []
        for id in ids:
            matching = dead_letters.ids_that_begin(connection, id, limit=2)
            if len(matching) != 1:
                number = "several dead letters" if matching else "no dead letter"
                raise ConfigError(f"--id {id!r} matches {number}: see `store dead-letters`")
            full += matching
        return dead_letters.select_letters(connection, ids=full, reasons=reasons, source=source)


def show_dry_run(verdicts: dict[str, str | None], refused: int, as_json: bool) -> None:
    """What would become of each letter."""
    accepted = sum(reason is None for reason in verdicts.values())
    if as_json:
        print_json({"dry_run": True, "would_accept": accepted, "refused": refused, "letters": verdicts})
        return
    for id, reason in verdicts.items():
        print(f"{id[:12]}  {'would be accepted' if reason is None else f'would be rejected: {reason}'}")
    print(f"{accepted} of {len(verdicts)} would be accepted; nothing was sent")


def send_letters(messages: list[Message], resources: Resources) -> Sent:
    """Sends the letters of one source back."""
    started = time.monotonic()
    delivery = messages[0].delivery
    with database.transaction(resources.engine) as connection:
        deliveries.begin(connection, delivery)
    sent = send_batches(messages, resources)
    record(
        sent,
        resources.engine,
        delivery,
        format=", ".join(sorted({message.format for message in messages})),
        bytes=sum(message.size for message in messages),
        seconds=time.monotonic() - started,
    )
    return sent


def show_summary(sent: Sent, refused: int, outcome: dict[str, Any] | None, as_json: bool) -> None:
    """How many letters were sent back; with `--wait`, how many of them are resolved."""
    if as_json:
        report = {"letters": sent.records, **batch_counts(sent), "refused": refused}
        print_json(report if outcome is None else {**report, "outcome": outcome})
        return
    if not sent.records:
        print("no open dead letters match: nothing to replay")
        return
    batches = counted(sent.sent_batches, "batch", "batches")
    print(f"{counted(sent.records, 'dead letter')} sent back in {batches}")
    if outcome is not None:
        resolved = outcome["received"] - outcome["rejected"]
        print(f"resolved {resolved:,}, rejected again {outcome['rejected']:,}")
