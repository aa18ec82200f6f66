"""`producer enqueue`: files to the queue."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import typer

from producer.arrivals.address import is_address
from producer.arrivals.folder import Expanded
from producer.budget import AHEAD, Budget, Limits
from producer.cli.command import Resources, batch_counts, record, send_batches, wait_for_outcome, working
from producer.cli.file_table import print_files
from producer.cli.opening import name_of, opened, shown
from producer.feed import Feed, until_fault
from producer.files.open import RecordFile
from producer.files.source import STDIN, missing
from producer.resources import registered
from store import database
from store.cli.render.progress import Bar
from store.errors import ConfigError, InputError
from store.tables import deliveries
from store.tables.deliveries import Delivery, Receipt
from store.terminal import Exit, counted, fail, print_json, warn
from store.text import shown_path
from worker.queue import wait as waiting
from worker.queue.names import RECORDS_QUEUE
from worker.queue.send import Sent
from worker.settings import WorkerSettings

DEFAULT_SOURCE = "default"
OUTCOMES = ("inserted", "updated", "duplicates", "superseded", "rejected", "skipped")

Status = Literal["sent", "sent in part", "not sent", "known"]


@dataclass(frozen=True)
class FileReceipt:
    """What became of one file."""

    sent: Sent
    status: Status
    facts: dict[str, Any]  # for `--json`

    @classmethod
    def of(cls, path: str, source: str, sent: Sent, counts: Mapping[str, Any]) -> FileReceipt:
        """`counts` has under `error` what was wrong with the file, or null."""
        status: Status = "sent" if not counts["error"] else "sent in part" if sent.records else "not sent"
        return cls(sent, status, {"file": shown(path), "source": source, "status": status, **counts})

    @classmethod
    def known(cls, path: str, source: str, before: Receipt) -> FileReceipt:
        """A file whose content was sent and processed before: nothing of it is read."""
        facts = {"file": shown(path), "source": source, "status": "known", **asdict(before)}
        none_sent = {
            "sent_batches": 0,
            "known_batches": before.batches,
            "seconds": 0.0,
            "waited_seconds": 0.0,
        }
        return cls(Sent(), "known", {**facts, **none_sent})


def enqueue_files(
    files: list[str],
    source: str,
    *,
    format: str | None,
    records: str | None,
    sheet: str | None,
    again: bool,
    stream: str | None,
    dialect: Mapping[str, Any],
    overrides: Mapping[str, int | None],
    max_rejects: int | None,
    max_reject_ratio: str | None,
    strict: bool,
    wait: bool,
    run_now: bool,
    as_json: bool,
) -> None:
    """Sends files one after another. The fault of one is told, and the others are sent all the same.

    What is wrong with the command itself, a path that does not exist included, is told before anything is sent.
    """
    refuse_unclear(files, stream)
    wait = wait or run_now
    with working(run_now), Resources.open(**overrides) as resources:
        worker = resources.worker
        feed = feed_of(resources, source, dialect, format=format, records=records, sheet=sheet)
        note_unknown_source(source, worker, strict=strict)
        for path in files:
            refuse_missing(path)
        inputs = Expanded.of(files, feed.refusal)
        refuse_unclear(inputs.files, stream)
        for path in inputs.files:
            if path not in inputs.faults:
                feed.check_options(name_of(path))
        if wait:
            waiting.need_workers(resources.broker)
        limits = Limits.of(worker.source(source), max_rejects, max_reject_ratio)
        budget = Budget(resources.engine, limits, source)
        paced = near_the_workers(resources, overrides) if limits else resources
        send = partial(send_file, feed, resources=paced, quiet=as_json, again=again, stream=stream)
        done = [
            not_sent(path, source, why)
            if (why := budget.spent or refused(inputs, path))
            else send(path, budget)
            for path in inputs.files
        ]
        total = Sent.total(each.sent for each in done)
        outcome = wait_for_outcome(total.ids, resources) if wait else None
        stopped = budget.spent
        others = [{"file": shown_path(each.path), "why": each.refused} for each in inputs.others]
        if budget.is_spent(at_the_end=True):
            advice = budget.advice(all_sent=stopped is None)
            fail(advice if stopped else f"{budget.spent}; {advice}")  # a file that was cut short has said why
    if as_json:
        print_json(
            {
                "records": total.records,
                **batch_counts(total),
                "over_budget": budget.spent,
                **({"outcome": outcome} if outcome is not None else {}),
                "files": [each.facts for each in done],
                "others": others,
            }
        )
    elif inputs.folders or others:
        print_files([each.facts for each in done], others)
    if outcome is not None and not as_json:
        print(f"processed and loaded: {outcome_text(outcome)}")
    if code := Exit.FAILED if budget.spent else exit_code(done):
        raise typer.Exit(code)


def refuse_unclear(files: list[str], stream: str | None) -> None:
    """Raises ConfigError where one name would be that of several files, or standard input would be read twice."""
    if stream is not None and len(files) > 1:
        raise ConfigError(
            f"--name {stream} names one delivery, and {len(files)} files were given: send each with a name of its own"
        )
    if files.count(STDIN) > 1:
        raise ConfigError("- is given twice, but standard input can be read only once: give it once")


def feed_of(
    resources: Resources,
    source: str,
    dialect: Mapping[str, Any],
    *,
    format: str | None = None,
    records: str | None = None,
    sheet: str | None = None,
) -> Feed:
    """How the files of this command are read and cut."""
    return Feed(
        source,
        resources.worker.source(source),
        resources.contract,
        resources.settings,
        format,
        records,
        resources.stage_shares(),
        {name: value for name, value in dialect.items() if value is not None},
        sheet,
    )


def near_the_workers(resources: Resources, overrides: Mapping[str, int | None]) -> Resources:
    """Lets few batches wait, so that sending is not far ahead of judging; warns where nobody judges."""
    if not resources.broker.workers(RECORDS_QUEUE):
        warn("no worker is running, so no record is judged, and no budget can stop what is sent")
        return resources
    if overrides.get("max_pending_batches") is not None:
        return resources
    most = min(AHEAD, resources.settings.max_pending_batches)
    return replace(resources, settings=resources.settings.model_copy(update={"max_pending_batches": most}))


def refused(inputs: Expanded, path: str) -> str | None:
    """Why nothing of a folder can be sent; prints it."""
    if why := inputs.faults.get(path):
        fail(why)
    return why


def not_sent(path: str, source: str, why: str | None) -> FileReceipt:
    """A file that is not opened any more."""
    counts = {"records": 0, **batch_counts(Sent()), "error": why}
    return FileReceipt.of(path, source, Sent(), counts)


def exit_code(done: list[FileReceipt]) -> Exit:
    """That of a usage error if nothing was sent, for then the user can simply try again."""
    statuses = {each.status for each in done}
    if statuses == {"sent"}:
        return Exit.OK
    return Exit.USAGE if statuses == {"not sent"} else Exit.FAILED


def refuse_missing(path: str) -> None:
    """Raises InputError for a path that does not exist: the command may be mistyped. Opens nothing."""
    if path != STDIN and not is_address(path) and not os.path.lexists(path):
        raise InputError(f"{missing(shown_path(path))}; nothing was sent")


def note_unknown_source(source: str, worker: WorkerSettings, *, strict: bool) -> None:
    """Records of a source without an entry are sent unchanged; if others have one, its name may be mistyped.

    Raises ConfigError where that is to be an error.
    """
    if source in worker.sources or (not strict and (source == DEFAULT_SOURCE or not worker.sources)):
        return
    if strict:
        raise ConfigError(f"{worker.without_entry(source)}; --strict refuses it; nothing was sent")
    warn(f"{worker.without_entry(source)}; its records are not mapped")


def send_file(
    feed: Feed,
    path: str,
    budget: Budget,
    *,
    resources: Resources,
    quiet: bool,
    again: bool,
    stream: str | None,
    skip_processed: bool = False,
    while_waiting: Callable[[], None] = lambda: None,
) -> FileReceipt:
    """Opens a file, once, and sends it. Prints what was wrong with it and, unless it is quiet, what was sent.

    With `skip_processed` no record is read of what was sent and processed before; `while_waiting` as in `send_all`.
    """
    started = time.monotonic()
    try:
        with opened(feed, path) as file:
            warn_of_lacking_columns(feed, file)
            delivery = registered(
                lambda times: feed.delivery(file, stream=stream, again=times),
                resources.engine,
                warn,
                again=again,
            )
            if skip_processed and (before := processed(delivery, resources)):
                return FileReceipt.known(path, feed.name, before)
            sent, error = send_records(feed, file, delivery, resources, budget, while_waiting)
            receipt = record(
                sent,
                resources.engine,
                delivery,
                format=file.format,
                bytes=file.bytes_read,
                seconds=time.monotonic() - started,
                error=error,
            )
    except InputError as refused:
        fail(str(refused))
        return not_sent(path, feed.name, str(refused))
    if not quiet:
        known = f", {sent.known_batches:,} known already" if sent.known_batches else ""
        amount = f"{counted(sent.records, 'record')} in {counted(sent.batches, 'batch', 'batches')}"
        print(f"{shown(path)}: {amount} to source {feed.name}{known}")
    if error:
        fail(error)
    return FileReceipt.of(path, feed.name, sent, asdict(receipt))


def processed(delivery: Delivery, resources: Resources) -> Receipt | None:
    """The receipt of a delivery of which every record was sent and processed."""
    with database.reading(resources.engine) as connection:
        return deliveries.processed(connection, delivery.id)


def send_records(
    feed: Feed,
    file: RecordFile,
    delivery: Delivery,
    resources: Resources,
    budget: Budget,
    while_waiting: Callable[[], None] = lambda: None,
) -> tuple[Sent, str | None]:
    """Sends all whole records of a file; what was sent, and why not all of the file was."""
    faults: list[InputError] = []
    with Bar(file.name, file.size) as bar:
        sent = send_batches(
            budget.within(until_fault(feed.messages(file, delivery), faults), delivery.id),
            resources,
            on_sent=lambda so_far: bar.update(file.bytes_read, so_far.records),
            while_waiting=while_waiting,
        )
    amount = f"{counted(sent.records, 'record')} of it {'was' if sent.records == 1 else 'were'} sent"
    if budget.spent:
        return sent, f"{file.name}: sending stopped, for {budget.spent}. {amount}"
    return sent, f"{faults[0]}. {amount}" if faults else None


def warn_of_lacking_columns(feed: Feed, file: RecordFile) -> None:
    """Every row of a file without a column for a required field is rejected. Raises InputError if it has none."""
    lacking = feed.check_header(file)
    if lacking:
        near = [f"{name!r} for {field}" for field, name in feed.needed.near(file.columns or [], lacking)]
        hint = f" (the nearest: {', '.join(near)})" if near else ""
        warn(
            f"{file.name}: the header has no column for {' and '.join(map(feed.needed.wanted, lacking))}{hint}, which "
            "the contract requires: every row will be rejected"
        )


def outcome_text(outcome: Mapping[str, Any]) -> str:
    """`5 inserted, 0 updated, … (2 invalid_value)`."""
    counts = ", ".join(f"{outcome[name]:,} {name}" for name in OUTCOMES)
    reasons = ", ".join(f"{number} {reason}" for reason, number in outcome["reasons"].items())
    return f"{counts} ({reasons})" if reasons else counts
