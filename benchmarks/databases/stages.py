"""Staging alone, loading alone, and a file from its first byte to its last row in the target, on one database."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pipeline
import psutil
from watch import DATABASE, seconds_of

STAGED_A_SECOND = 100_000
AS_FAST, ON_ITS_OWN_HOST = 0.8, 1.5
AS_RQ_DOES = {"RQ_CONFIG": "worker.rq_worker", "RQ_WORKER_CLASS": "worker.rq_worker.SluiceWorker"}


@dataclass
class Spent:
    """Seconds by the clock, and of processor time of our processes and of the database's server."""

    clock: float = 0.0
    ours: float = 0.0
    server: float = 0.0

    def without(self, other: Spent) -> Spent:
        return Spent(self.clock - other.clock, self.ours - other.ours, self.server - other.server)


@dataclass
class Found:
    """One turn on one database."""

    staging: Spent
    loading: Spent
    whole: pipeline.Run
    digest: str
    is_on_server: bool

    @property
    def ours_us(self) -> float:
        """Processor time a record of all processes but the database's server, from file to target."""
        return self.whole.processor_us - self.whole.processor.get(DATABASE, 0.0)


def measure(file: Path, workers: int, url: str | None, server: int, partitions: int = 1) -> Found:
    """One turn; without a URL on SQLite. Tables in partitions have as many loaders where all of it runs."""
    process = None if url is None else server
    with pipeline.Site(max_pending_batches=1_000_000, load_on_idle="false", partitions=partitions) as site:
        if url is not None:
            site.use(url, server)
        # Without work first: what the start of the commands takes is no stage.
        site.run("producer", "enqueue", os.devnull, "--format", "ndjson")
        start_of_workers, start_of_load = stage(site, workers, process), load(site, process)
        site.run("producer", "enqueue", str(file))
        staging = stage(site, workers, process).without(start_of_workers)
        loading = load(site, process).without(start_of_load)
        site.run("store", "check")
    with pipeline.Site(partitions=partitions, loaders=partitions) as site:
        if url is not None:
            site.use(another(url), server)
        whole = pipeline.run(file, workers, site)
        digest = site.run("store", "digest").strip()
    return Found(staging, loading, whole, digest, url is not None)


def another(url: str) -> str:
    """The URL of the second database of a turn."""
    return url.replace("?", "b?")


@contextmanager
def spending(server: int | None) -> Iterator[Spent]:
    """What is spent within."""
    spent = Spent()
    began, ours, theirs = time.perf_counter(), pipeline.ended_children_seconds(), seconds_of_server(server)
    yield spent
    spent.clock = time.perf_counter() - began
    spent.ours = pipeline.ended_children_seconds() - ours
    spent.server = seconds_of_server(server) - theirs


def seconds_of_server(server: int | None) -> float:
    if server is None:
        return 0.0
    main = psutil.Process(server)
    return seconds_of(main) + sum(map(seconds_of, main.children(recursive=True)))


def stage(site: pipeline.Site, workers: int, server: int | None) -> Spent:
    """Workers of RQ's own command, until the queue is empty; nobody loads."""
    command = [str(pipeline.COMMANDS / "rq"), "worker", "--burst"]
    nothing = subprocess.DEVNULL
    with spending(server) as spent:
        started = [
            subprocess.Popen(command, env=site.env | AS_RQ_DOES, stdout=nothing, stderr=nothing)
            for _ in range(workers)
        ]
        codes = [process.wait() for process in started]
    if any(codes):
        raise SystemExit(f"a worker ended with {codes}")
    return spent


def load(site: pipeline.Site, server: int | None) -> Spent:
    """One run of the loader over all that is staged."""
    with spending(server) as spent:
        site.run("worker", "load")
    return spent


Say = Callable[..., None]
IN_PARTITIONS = ((1, 1), (4, 1), (4, 2), (4, 4))  # partitions of staging and target, and loaders


def loaders(file: Path, workers: int, url: str, server: int, partitions: int, number: int) -> Spent:
    """So many loaders at the same time, over tables of so many partitions, when all is staged."""
    with pipeline.Site(max_pending_batches=1_000_000, load_on_idle="false", partitions=partitions) as site:
        site.use(url, server)
        site.run("producer", "enqueue", str(file))
        stage(site, workers, server)
        with spending(server) as spent:
            started = [
                subprocess.Popen(
                    [str(pipeline.COMMANDS / "worker"), "load"], env=site.env, stdout=subprocess.DEVNULL
                )
                for _ in range(number)
            ]
            codes = [process.wait() for process in started]
        if any(codes):
            raise SystemExit(f"a loader ended with {codes}")
        site.run("store", "check")
    return spent


def report(say: Say, found: dict[str, list[Found]], records: int) -> None:
    """Each stage of each database, the best of its turns; then one beside the other."""
    best: dict[str, Found] = {}
    for name, runs in found.items():
        best[name] = min(runs, key=lambda each: each.whole.seconds)
        staging = min((each.staging for each in runs), key=lambda each: each.clock)
        loading = min((each.loading for each in runs), key=lambda each: each.clock)
        rate = records / staging.clock
        is_server = runs[0].is_on_server
        say(f"{name}: staged by the workers, alone", rate, "records/s",
            f">= {STAGED_A_SECOND:,}" if is_server else "", rate >= STAGED_A_SECOND if is_server else None)  # fmt: skip
        say(f"{name}: loaded by one loader, alone", records / loading.clock, "records/s")
        for what, spent in (("staging", staging), ("loading", loading)):
            say(f"{name}: {what}, processor time of our processes", spent.ours / records * 1e6, "us/record")
            if is_server:
                say(f"{name}: {what}, of the server", spent.server / records * 1e6, "us/record")
        whole = best[name].whole
        say(f"{name}: file to target", whole.rate, "records/s")
        say(f"{name}: file to target, processor time of our processes", best[name].ours_us, "us/record")
        if is_server:
            say(f"{name}: file to target, of the server", whole.processor[DATABASE], "us/record")
        say(f"{name}: disk", whole.disk_bytes / records, "bytes/record")
    sqlite = best["SQLite"]
    for name, postgresql in best.items():
        if postgresql is sqlite:
            continue
        ratio = postgresql.whole.rate / sqlite.whole.rate
        say(f"{name} by SQLite, file to target on one machine", ratio, "x", f">= {AS_FAST}", ratio >= AS_FAST)
        # With the server on another host, this one has its processor for the rest.
        elsewhere = sqlite.whole.processor_us / postgresql.ours_us
        say(f"{name}, by processor time of our processes alone", elsewhere, "x", f">= {ON_ITS_OWN_HOST}",
            elsewhere >= ON_ITS_OWN_HOST)  # fmt: skip
