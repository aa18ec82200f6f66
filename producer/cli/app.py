"""`producer enqueue` and `producer replay`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import groupby
from types import TracebackType
from typing import Annotated, Any, Self

import orjson
import typer
from sqlalchemy import Engine

from producer import feed as feeds
from producer.cli.progress import Bar
from producer.cli.receipt import Receipt, keep
from producer.settings import ProducerSettings
from store import database, terminal
from store.database import install
from store.errors import ConfigError
from store.settings import StoreSettings
from store.tables import dead_letters
from store.terminal import counted, print_json, shown, warn
from worker.contract import Contract, load_contract
from worker.dead_letters import replay as letters_back
from worker.queue import client, send
from worker.queue import wait as waiting
from worker.queue.client import Broker
from worker.queue.message import Message
from worker.settings import WorkerSettings

app = typer.Typer(
    name="producer",
    help="Send records from files to the queue, and dead letters back to it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    add_completion=False,
    pretty_exceptions_enable=False,
)

DEFAULT_SOURCE = "default"
DEAD_LETTERS = "dead_letters"  # where a replay's records come from, as lineage calls it

Json = Annotated[bool, typer.Option("--json", help="The summary as JSON on standard output.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return when all of it is processed and loaded.")]


@dataclass(frozen=True)
class Office:
    """What both commands need: settings, contract, queue and database, all known to work."""

    settings: ProducerSettings
    worker: WorkerSettings
    contract: Contract
    broker: Broker
    engine: Engine

    @classmethod
    def open(cls, **overrides: Any) -> Office:
        """Raises UsageError or Unavailable before anything is sent."""
        store, worker = StoreSettings.load(), WorkerSettings.load()
        settings = ProducerSettings.load(**overrides)
        contract = load_contract(worker)
        engine = install.prepare(store)
        return cls(settings, worker, contract, Broker(client.connect(worker, store.home), worker), engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.dispose()


@app.callback()
def producer() -> None:
    """Send records from files to the queue, and dead letters back to it."""


@app.command(
    epilog="Examples:\n\n"
    "  producer enqueue data/earthquakes.json --source usgs\n\n"
    "  producer enqueue orders-*.csv.gz --source shop --wait\n\n"
    "  curl -s https://example.com/feed | producer enqueue - --format ndjson --source feed --json"
)
def enqueue(
    files: Annotated[
        list[str], typer.Argument(help="JSON, NDJSON or CSV, each also .gz; - is standard input.")
    ],
    source: Annotated[str, typer.Option(help="The feed these records belong to.")] = DEFAULT_SOURCE,
    format: Annotated[
        str | None, typer.Option(help="json, ndjson or csv, where the name does not tell.")
    ] = None,
    records: Annotated[
        str | None, typer.Option(help="Path of the array of records in a JSON document.")
    ] = None,
    batch_records: Annotated[int | None, typer.Option(help="Records in a batch, at most.")] = None,
    max_pending_batches: Annotated[int | None, typer.Option(help="Wait while more are queued.")] = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Send the records of files to the queue, in batches.

    Sending a file again, or going on after an interruption, sends nothing twice in effect.
    """
    with Office.open(batch_records=batch_records, max_pending_batches=max_pending_batches) as office:
        feed = feeds.Feed(
            source, office.worker.source(source), office.contract, office.settings, format, records
        )
        warn_of_unknown(source, office.worker)
        for path in files:
            if path != "-":
                feed.open(path).close()
        if wait:
            waiting.need_workers(office.broker)
        receipts = [send_file(feed, path, office, quiet=as_json) for path in files]
        report(receipts, office, wait, as_json)


def warn_of_unknown(source: str, worker: WorkerSettings) -> None:
    """A source without an entry is a passthrough; among others that have one, it may be a slip."""
    if source != DEFAULT_SOURCE and worker.sources and source not in worker.sources:
        known = ", ".join(sorted(worker.sources))
        warn(
            f"source {source!r} has no entry in the configuration, so records are taken as they are; it has: {known}"
        )


def send_file(feed: feeds.Feed, path: str, office: Office, *, quiet: bool) -> Receipt:
    """Sends one file and says so."""
    started = time.monotonic()
    with feed.open(path) as file, Bar(shown(path), file.size) as bar:
        sent = send.send_all(
            feed.messages(file, path),
            office.broker,
            office.engine,
            office.settings.max_pending_batches,
            on_sent=lambda so_far: bar.update(file.bytes_read, so_far.records),
            notice=warn,
        )
        seconds = time.monotonic() - started
        read = file.bytes_read
        receipt = Receipt.of(
            sent, file=path, source=feed.name, format=file.format, bytes=read, seconds=seconds
        )
    keep(office.engine, receipt, "file")
    if not quiet:
        known = f", {receipt.known_batches:,} known already" if receipt.known_batches else ""
        counts = f"{counted(receipt.records, 'record')} in {counted(receipt.batches, 'batch', 'batches')}"
        print(f"{shown(path)}: {counts} to source {feed.name}{known}")
    return receipt


def report(receipts: list[Receipt], office: Office, wait: bool, as_json: bool) -> None:
    """The summary of all files; with --wait, of what became of their records."""
    ids = [id for receipt in receipts for id in receipt.ids]
    totals: dict[str, Any] = {"records": sum(receipt.records for receipt in receipts), **batches_of(receipts)}
    if wait:
        wait_for(ids, office)
        totals["outcome"] = waiting.summary(ids, office.engine)
    if as_json:
        print_json({**totals, "files": [receipt.facts for receipt in receipts]})
    elif wait:
        outcome = totals["outcome"]
        reasons = ", ".join(f"{number} {reason}" for reason, number in outcome["reasons"].items())
        parts = [
            f"{outcome[name]:,} {name}"
            for name in ("staged", "duplicates", "superseded", "rejected", "skipped")
        ]
        print(f"processed and loaded: {', '.join(parts)}" + (f" ({reasons})" if reasons else ""))


def batches_of(receipts: list[Receipt]) -> dict[str, int]:
    """The batches of several receipts, by what became of them."""
    return {
        "batches": sum(receipt.batches for receipt in receipts),
        "sent_batches": sum(receipt.sent_batches for receipt in receipts),
        "known_batches": sum(receipt.known_batches for receipt in receipts),
    }


def wait_for(ids: list[str], office: Office) -> None:
    """Waits with a bar on a terminal."""
    with Bar("waiting", len(ids), unit="batches") as bar:
        waiting.wait_until_loaded(
            ids, office.broker, office.engine, lambda so_far: bar.update(so_far.processed, so_far.processed)
        )


@app.command(
    epilog="Examples:\n\n"
    "  producer replay --dry-run\n\n"
    "  producer replay --reason invalid_value --source usgs\n\n"
    "  producer replay --id 3f2a… --set value=4.2 --set name=pump\n\n"
    '  producer replay --id 3f2a… --payload \'{"key": "a", "ts": "2025-01-15T12:00:00Z"}\''
)
def replay(
    id: Annotated[
        list[str] | None, typer.Option(help="Only this letter (or the only one it begins).")
    ] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Only letters with this reason.")] = None,
    source: Annotated[str | None, typer.Option(help="Only letters of this source.")] = None,
    set: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE: change a field first (VALUE is JSON or text).")
    ] = None,
    payload: Annotated[str | None, typer.Option(help="The whole payload anew; with one --id.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge them now, send nothing.")] = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Send open dead letters back through the queue; those accepted now are resolved."""
    edit = letters_back.Edit(parse_changes(set or []), payload)
    if payload is not None and len(id or []) != 1:
        raise ConfigError("--payload replaces the payload of one letter: name it with --id")
    with Office.open() as office:
        chosen = choose(office.engine, id or [], reason or [], source)
        ready, refused = letters_back.prepare(chosen, edit)
        sent = list(
            letters_back.messages(ready, office.contract, office.worker, office.settings.batch_records)
        )
        for letter, why in refused:
            warn(f"letter {letter.id[:12]} ({letter.reason}) cannot be replayed: {why}")
        if dry_run:
            show_dry_run(letters_back.dry_run(sent, office.contract, office.worker), len(refused), as_json)
            return
        if wait:
            waiting.need_workers(office.broker)
        of_source = groupby(sent, key=lambda message: message.source)  # they come in the order of sources
        receipts = [send_letters(source, list(messages), office) for source, messages in of_source]
        finish_replay(receipts, len(refused), office, wait, as_json)


def parse_changes(changes: list[str]) -> dict[str, Any]:
    """`FIELD=VALUE` options as fields; a VALUE that is no JSON is text."""
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


def choose(
    engine: Engine, ids: list[str], reasons: list[str], source: str | None
) -> list[dead_letters.DeadLetter]:
    """The open letters that match; an id may be shortened as long as one letter alone begins so."""
    with database.reading(engine) as connection:
        full: list[str] = []
        for id in ids:
            matching = dead_letters.ids_that_begin(connection, id, limit=2)
            if len(matching) != 1:
                number = "several dead letters" if matching else "no dead letter"
                raise ConfigError(f"--id {id!r} is the beginning of {number}: see `store dead-letters`")
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


def send_letters(source: str, messages: list[Message], office: Office) -> Receipt:
    """Sends the letters of one source back."""
    started = time.monotonic()
    sent = send.send_all(
        messages, office.broker, office.engine, office.settings.max_pending_batches, lambda _: None, warn
    )
    receipt = Receipt.of(
        sent,
        file=DEAD_LETTERS,
        source=source,
        format=", ".join(sorted({message.format for message in messages})),
        bytes=sum(message.size for message in messages),
        seconds=time.monotonic() - started,
    )
    keep(office.engine, receipt, "replay")
    return receipt


def finish_replay(receipts: list[Receipt], refused: int, office: Office, wait: bool, as_json: bool) -> None:
    """The summary of a replay."""
    ids = [id for receipt in receipts for id in receipt.ids]
    letters = sum(receipt.records for receipt in receipts)
    totals: dict[str, Any] = {"letters": letters, **batches_of(receipts), "refused": refused}
    if wait and ids:
        wait_for(ids, office)
        totals["outcome"] = waiting.summary(ids, office.engine)
    if as_json:
        print_json(totals)
        return
    if not letters:
        print("no open dead letters match: nothing to replay")
        return
    print(
        f"{counted(letters, 'dead letter')} sent back in {counted(totals['sent_batches'], 'batch', 'batches')}"
    )
    if "outcome" in totals:
        outcome = totals["outcome"]
        print(
            f"resolved {outcome['received'] - outcome['rejected']:,}, rejected again {outcome['rejected']:,}"
        )


def main() -> None:
    """The command's entry point."""
    terminal.run(app)
