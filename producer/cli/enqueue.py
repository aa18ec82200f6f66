"""`producer enqueue`: files to the queue."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Engine

from producer.cli.command import Resources, batch_counts, record, send_batches, wait_for_outcome
from producer.cli.progress import Bar
from producer.feed import Feed
from store import database
from store.errors import ConfigError
from store.tables import deliveries
from store.tables.deliveries import Delivery
from store.terminal import counted, print_json, warn
from store.text import printable
from worker.queue import wait as waiting
from worker.queue.send import Sent
from worker.settings import WorkerSettings

DEFAULT_SOURCE = "default"
OUTCOMES = ("inserted", "updated", "duplicates", "superseded", "rejected", "skipped")


def enqueue_files(
    files: list[str],
    source: str,
    *,
    format: str | None,
    records: str | None,
    again: bool,
    stream: str | None,
    overrides: Mapping[str, int | None],
    wait: bool,
    as_json: bool,
) -> None:
    """Sends files one after another. Every file is opened once first: an unreadable one stops it all."""
    if stream is not None and len(files) > 1:
        raise ConfigError(
            f"--name {stream} names one delivery, and {len(files)} files were given: send each with a name of its own"
        )
    with Resources.open(**overrides) as resources:
        worker = resources.worker
        feed = Feed(source, worker.source(source), resources.contract, resources.settings, format, records)
        warn_of_unknown_source(source, worker)
        for path in files:
            if path != "-":
                feed.open(path).close()
        if wait:
            waiting.need_workers(resources.broker)
        done = [send_file(feed, path, resources, quiet=as_json, again=again, stream=stream) for path in files]
        total = Sent.total(sent for sent, _ in done)
        outcome = wait_for_outcome(total.ids, resources) if wait else None
    if as_json:
        report: dict[str, Any] = {"records": total.records, **batch_counts(total)}
        report |= {"outcome": outcome} if outcome is not None else {}
        print_json({**report, "files": [facts for _, facts in done]})
    elif outcome is not None:
        print(f"processed and loaded: {outcome_text(outcome)}")


def warn_of_unknown_source(source: str, worker: WorkerSettings) -> None:
    """Records of a source without an entry are sent unchanged; if others have one, its name may be mistyped."""
    if source != DEFAULT_SOURCE and worker.sources and source not in worker.sources:
        known = ", ".join(sorted(worker.sources))
        warn(
            f"source {source!r} has no entry in the configuration, so its records are not mapped; "
            f"sources with an entry: {known}"
        )


def registered(feed: Feed, path: str, engine: Engine, *, again: bool, stream: str | None) -> Delivery:
    """The delivery of a file, with its number in the store; warns where a later one of its content wins."""
    delivery = feed.delivery(path, stream=stream)
    with database.transaction(engine) as connection:
        if delivery.content is not None:
            times = deliveries.times_again(connection, feed.name, delivery.content, delivery.fingerprint)
            if times is not None:
                delivery = feed.delivery(path, stream=stream, again=times + again)
        number = deliveries.begin(connection, delivery)
        later = deliveries.later_under_another(connection, delivery)
    if later:
        warn(
            f"{printable(path)} was sent before, as delivery {number}, and under another contract or mapping later, "
            f"as delivery {later}, whose records win: to make this one the latest, send it with --again"
        )
    return delivery


def send_file(
    feed: Feed, path: str, resources: Resources, *, quiet: bool, again: bool, stream: str | None
) -> tuple[Sent, dict[str, Any]]:
    """Sends one file and, unless it is quiet, prints one line about it; what was sent, and facts for `--json`."""
    started = time.monotonic()
    delivery = registered(feed, path, resources.engine, again=again, stream=stream)
    with feed.open(path) as file, Bar(printable(path), file.size) as bar:
        sent = send_batches(
            feed.messages(file, delivery),
            resources,
            on_sent=lambda so_far: bar.update(file.bytes_read, so_far.records),
        )
    receipt = record(
        sent,
        resources.engine,
        delivery,
        format=file.format,
        bytes=file.bytes_read,
        seconds=time.monotonic() - started,
    )
    if not quiet:
        known = f", {sent.known_batches:,} known already" if sent.known_batches else ""
        counts = f"{counted(sent.records, 'record')} in {counted(sent.batches, 'batch', 'batches')}"
        print(f"{printable(path)}: {counts} to source {feed.name}{known}")
    return sent, {"file": path, "source": feed.name, **asdict(receipt)}


def outcome_text(outcome: Mapping[str, Any]) -> str:
    """`5 inserted, 0 updated, … (2 invalid_value)`."""
    counts = ", ".join(f"{outcome[name]:,} {name}" for name in OUTCOMES)
    reasons = ", ".join(f"{number} {reason}" for reason, number in outcome["reasons"].items())
    return f"{counts} ({reasons})" if reasons else counts
