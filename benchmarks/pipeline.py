"""Sluice as its users run it: `worker up` at work, then `producer enqueue FILE --wait`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from redis import Redis

COMMANDS = Path(sys.executable).parent
READY_SECONDS = 30.0


@dataclass
class Run:
    """One file's way to the target."""

    records: int
    seconds: float  # from the producer's start to its return, when all is loaded
    counts: dict[str, Any]
    disk_bytes: int
    peak_mb: dict[str, float]  # process -> resident memory, at most
    stages: dict[str, float] = field(default_factory=dict)  # microseconds a record

    @property
    def rate(self) -> float:
        return self.records / self.seconds


class Site:
    """A home of its own, with nobody's settings."""

    def __init__(self, **settings: object) -> None:
        self.home = Path(tempfile.mkdtemp())
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLUICE_", "REDIS_", "DATABASE_"))}
        given = {f"SLUICE_{name.upper()}": str(value) for name, value in settings.items()}
        self.env = kept | {"SLUICE_HOME": str(self.home), "SLUICE_LOAD_ON_IDLE": "true"} | given

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.run("worker", "down")
        shutil.rmtree(self.home)

    def run(self, *command: str) -> str:
        """A command, to its end; what it printed."""
        done = subprocess.run(
            [str(COMMANDS / command[0]), *command[1:]],
            env=self.env,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def json(self, *command: str) -> Any:
        return json.loads(self.run(*command, "--json"))

    @property
    def database(self) -> Path:
        return self.home / "sluice.db"

    def redis(self) -> Redis:
        """A connection to the private Redis, which runs."""
        from worker.queue import private_server

        return Redis.from_url(private_server.url(self.home))

    @contextmanager
    def working(self, workers: int) -> Iterator[Memory]:
        """`worker up` beside what is done here; its memory is watched."""
        command = [str(COMMANDS / "worker"), "up", "--workers", str(workers)]
        with Path(self.home, "up.log").open("w") as log:
            up = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
            try:
                self._until_ready(workers)
                with Memory(up.pid) as memory:
                    yield memory
            finally:
                up.send_signal(signal.SIGTERM)
                up.wait(30)

    def _until_ready(self, workers: int) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            status = self.json("worker", "status")
            if status["workers"] >= workers and status["loaders"]:
                return
            time.sleep(0.1)
        raise TimeoutError(Path(self.home, "up.log").read_text()[-2000:])

    def stage_times(self) -> dict[str, float]:
        """Microseconds a record of each stage, from the receipts of batches and runs, and of the jobs as a whole."""
        spent: Counter[str] = Counter()
        connection = sqlite3.connect(self.database)
        (records,) = connection.execute("SELECT sum(received) FROM batches").fetchone()
        for (text,) in connection.execute("SELECT seconds FROM batches"):
            spent.update({f"worker: {name}": each for name, each in json.loads(text).items()})
        for (text,) in connection.execute("SELECT stage_seconds FROM run_log"):
            spent.update({f"loader: {name}": each for name, each in json.loads(text).items()})
        for seconds, waited in connection.execute("SELECT seconds, waited_seconds FROM deliveries"):
            spent.update(
                {"producer: read, cut, encode, send": seconds - waited, "producer: waits for room": waited}
            )
        connection.close()
        return {name: seconds / records * 1e6 for name, seconds in spent.items()}


def run(file: Path, workers: int = 2, site: Site | None = None, **settings: object) -> Run:
    """A file from its first byte to its last row in the target, everything on."""
    if site is None:
        with Site(**settings) as new:
            return run(file, workers, new)
    with site.working(workers) as memory:
        started = time.perf_counter()
        sent = site.json("producer", "enqueue", str(file), "--wait")
        seconds = time.perf_counter() - started
    site.run("store", "check")  # no figure without the laws
    disk = sum(path.stat().st_size for path in site.home.glob("sluice.db*"))
    return Run(sent["records"], seconds, sent, disk, memory.peak_mb, site.stage_times())


def producer_alone(file: Path) -> tuple[float, float]:
    """(seconds of `producer enqueue`, start-up included; its peak memory in MB), with room for all of it."""
    with Site(max_pending_batches=1_000_000) as site:
        site.run("store", "init")
        site.run("producer", "enqueue", os.devnull, "--format", "ndjson")  # starts the private Redis
        code = (
            "import resource, subprocess, sys, time; started = time.perf_counter(); "
            "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
            "print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
        )
        command = [sys.executable, "-c", code, str(COMMANDS / "producer"), "enqueue", str(file)]
        said = subprocess.run(command, env=site.env, check=True, capture_output=True, text=True).stdout
        seconds, peak = map(float, said.split())
        return seconds, peak


def redis_share(file: Path) -> float:
    """Redis' memory for a queued file, by the bytes of its records."""
    with Site(max_pending_batches=1_000_000) as site:
        site.run("producer", "enqueue", os.devnull, "--format", "ndjson")
        redis = site.redis()
        before = int(redis.info("memory")["used_memory"])
        site.run("producer", "enqueue", str(file))
        return (int(redis.info("memory")["used_memory"]) - before) / file.stat().st_size


class Memory(threading.Thread):
    """Watches the resident memory of a process' descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._done = threading.Event()
        self._peak: dict[int, float] = {}

    def __enter__(self) -> Memory:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        while not self._done.wait(0.25):
            for process in self._root.children(recursive=True):
                try:
                    used = process.memory_info().rss / 2**20
                except psutil.Error:
                    continue
                self._peak[process.pid] = max(used, self._peak.get(process.pid, 0.0))

    @property
    def peak_mb(self) -> dict[str, float]:
        return {str(pid): peak for pid, peak in self._peak.items()}
