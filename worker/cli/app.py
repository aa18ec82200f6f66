"""`worker up`, `worker down`, `worker load`, `worker status`.

The libraries of queue and database are slow to import, so each command imports them itself.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from store import logs, terminal
from store.cli.command import Json, examples, opened, program, run
from store.terminal import Exit, counted, print_json
from worker.cli import contract, doctor, flags, listening, metrics, page, sources

app = program("worker", "Process queued batches and load staged records.")

app.add_typer(flags.app)
app.command(epilog=sources.EPILOG)(sources.sources)
app.add_typer(contract.app)
app.command(epilog=metrics.EXAMPLES)(metrics.metrics)
app.command(epilog=page.EXAMPLES)(page.page)
app.command(epilog=doctor.EXAMPLES)(doctor.doctor)


@app.command(
    epilog=examples(
        "worker up",
        "worker up --burst --workers 2",
        "worker up --page",
        "worker up --log-format json 2> worker.log",
    )
)
def up(
    workers: Annotated[int | None, typer.Option(help="Number of worker processes.", min=1, max=64)] = None,
    loaders: Annotated[
        int | None,
        typer.Option(
            help="Number of loader processes; more than one helps a store in partitions.", min=1, max=64
        ),
    ] = None,
    burst: Annotated[
        bool, typer.Option("--burst", help="Process and load everything queued, then stop.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every batch.")] = False,
    log_format: Annotated[
        Literal["text", "json"] | None,
        typer.Option(
            help="How log lines are written: json is one object a line, with the name of its event.",
            show_default="that of the configuration: text",
        ),
    ] = None,
    with_page: Annotated[
        bool,
        typer.Option("--page", help="Serve the page too: see `worker page`. The options below are of it."),
    ] = False,
    host: listening.Host = "127.0.0.1",
    port: listening.Port = page.PORT,
    allow_actions: listening.AllowActions = False,
    name: listening.Names = None,
    token_file: listening.TokenFile = None,
    tls_certificate: listening.Certificate = None,
    tls_key: listening.Key = None,
    behind_proxy: listening.BehindProxy = False,
    by_header: listening.ByHeader = None,
    as_json: Json = False,
) -> None:
    """Run workers, the loader and its schedule.

    Also a private Redis, if none is configured, and with --page the page.

    Ctrl-C or SIGTERM stops them all; they finish the batches that they have begun. On standard error it says when
    all of them take work, what goes wrong, and at the end what came of it; with --verbose, all that they do.
    """
    from store.errors import UsageError
    from worker.processes.supervisor import Supervisor
    from worker.queue import lost
    from worker.settings import WorkerSettings

    names = tuple(name or ())
    options = page.Asked(
        host, port, allow_actions, names, token_file, tls_certificate, tls_key, behind_proxy, by_header
    )
    page.check(with_page, burst, options)
    level, settings = "INFO" if verbose else "WARNING", WorkerSettings.load()
    log_to_stderr(level, log_format or settings.log_format)
    if burst and loaders:
        raise UsageError("--burst loads itself: --loaders is for workers that stay up")
    supervisor = Supervisor(workers or settings.workers, level, loaders or settings.loaders)
    if not burst:
        with page.beside(with_page, options) as children:
            supervisor.up(children)
        if as_json and supervisor.done:
            print_json(asdict(supervisor.done))
        return
    done = supervisor.burst()
    if as_json:
        print_json(asdict(done))
    else:
        processed = f"{counted(done.records, 'record')} of {counted(done.batches, 'batch', 'batches')}"
        print(
            f"processed {processed}: {done.staged:,} staged, {done.rejected:,} rejected; loaded {done.loaded:,}"
        )
    if done.failed_batches:
        terminal.fail(
            f"{done.failed_batches} batches failed for good: see the log above; repair the cause, then "
            "`rq requeue --all --queue records` or send the file again"
        )
    if done.lost_batches:
        terminal.fail(
            f"{done.lost_batches} batches were on the queue without their records, and are not processed: "
            f"{lost.WHAT_TO_DO}"
        )
    for id, why in done.held_batches.items():
        terminal.fail(f"batch {id} stays on the queue: {why}")
    if done.gave_up:
        waiting = counted(done.waiting_batches, "batch", "batches")
        terminal.fail(f"{done.gave_up}; {waiting} left on the queue")
    if done.not_loaded:
        terminal.fail(f"staged records are not loaded: {done.not_loaded}")
    if done.failed_batches or done.lost_batches or done.held_batches or done.gave_up or done.not_loaded:
        raise typer.Exit(Exit.FAILED)
    if done.stopped_early:
        raise typer.Exit(Exit.INTERRUPTED)


def log_to_stderr(level: str, format: logs.Format) -> None:
    """Sluice's own log lines, and RQ's, to standard error."""
    logging.basicConfig(level=level, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # at INFO it reports each start
    logs.use(format)


@app.command(epilog=examples("worker down"))
def down(as_json: Json = False) -> None:
    """Stop the private Redis. Queued batches stay in its append-only file."""
    from store.settings import StoreSettings
    from worker.queue.server import private_server

    home = StoreSettings.load().home
    stopped = private_server.stop(home)
    if as_json:
        print_json({"stopped": stopped})
    else:
        print("stopped the private Redis" if stopped else "no private Redis is running: nothing to stop")


@app.command(epilog=examples("worker load", "worker load --json"))
def load(as_json: Json = False) -> None:
    """Load all staged records into the target now."""
    from worker import jobs, loader
    from worker.dead_letters import mirror
    from worker.queue import client
    from worker.settings import WorkerSettings
    from worker.workplace import workplace

    log_to_stderr("WARNING", WorkerSettings.load().log_format)
    here = workplace()
    with here.database(jobs.LOADER_PAGE_CACHE_MB) as engine:
        run = loader.load(engine, here.worker, idle_after=here.store.idle_after)
        redis = client.connect(here.worker, here.store.home)
        with mirror.tolerated():
            mirror.flush_outbox(redis, engine)
    if as_json:
        print_json(asdict(run))
    elif run.number is None:
        print("nothing is staged: nothing to load")
    else:
        print(
            f"run {run.number}: loaded {run.rows:,} ({run.inserted:,} inserted, {run.updated:,} updated, "
            f"{run.duplicates:,} duplicates, {run.superseded:,} superseded) in {run.seconds:.1f} s; "
            f"watermark {run.watermark_after}"
        )


@app.command(epilog=examples("worker status", "worker status --json"))
def status(as_json: Json = False) -> None:
    """Show the queue, the workers and what is not done. That is: failed jobs, staged records, dead letters."""
    from store.cli.command import show

    show(overview(), as_json, status_table)


def status_table(found: dict[str, Any]) -> list[Any]:
    """The overview for people."""
    from store.cli.render.elements import table

    rows = [(name.replace("_", " "), "none" if value is None else value) for name, value in found.items()]
    return [table("Worker status", {"what": "fixed", "now": "text"}, rows)]


def overview() -> dict[str, Any]:
    """The state of the queue and of the store."""
    from store import database
    from store.dead_letters import groups
    from store.settings import StoreSettings
    from store.tables import leases, staging
    from worker.dead_letters import mirror
    from worker.queue import client, lost, quarantine
    from worker.queue.client import Broker
    from worker.queue.names import LOADER_QUEUE, RECORDS_QUEUE
    from worker.settings import WorkerSettings

    store, settings = StoreSettings.load(), WorkerSettings.load()
    with (
        opened() as engine,
        client.connect(settings, store.home) as redis,
        database.reading(engine) as connection,
    ):
        queue = Broker(redis, settings)
        return {
            "redis": client.at_address(client.redis_url(settings, store.home)).removeprefix(" at "),
            "queued_batches": queue.waiting(),
            "failed_batches": queue.failed_count(),
            "lost_batches": len(lost.unsettled(redis, engine)),
            "held_batches": queue.held_count(),
            "quarantined": quarantine.count(redis),
            "failed_loads": queue.failed_count(LOADER_QUEUE),
            "workers": queue.workers(RECORDS_QUEUE),
            "loaders": queue.workers(LOADER_QUEUE),
            "loading_now": ", ".join(leases.loaders(connection)) or None,
            "staged": staging.count(connection),
            "dead_letters": groups.count_open(connection),
            "dead_letter_queue": mirror.count(redis),
        }


def main() -> None:
    """The command's entry point."""
    run(app)
