"""Sluice as its users run it: `worker up` at work, then `producer enqueue FILE --wait`."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import URL, create_engine, make_url, text
from watch import Watch

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
    processor: dict[str, float] = field(default_factory=dict)  # kind of process -> microseconds a record
    stages: dict[str, float] = field(default_factory=dict)  # microseconds a record, waits included

    @property
    def rate(self) -> float:
        return self.records / self.seconds

    @property
    def processor_us(self) -> float:
        """Microseconds of processor time a record, of all processes together."""
        return sum(self.processor.values())


class Site:
    """A home of its own, with nobody's settings but those given: a sluice.toml, and single keys."""

    server: int | None = None  # the process of a database server

    def __init__(self, config: str = "", **settings: str | float) -> None:
        self.home = Path(tempfile.mkdtemp())
        file = self.home / "sluice.toml"
        file.write_text(config)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLUICE_", "REDIS_", "DATABASE_"))}
        given = {f"SLUICE_{name.upper()}": str(value) for name, value in settings.items()}
        own = {"SLUICE_HOME": str(self.home), "SLUICE_CONFIG": str(file), "SLUICE_LOAD_ON_IDLE": "true"}
        # The contracts of these shapes are modules of this folder.
        self.env = kept | own | {"PYTHONPATH": str(Path(__file__).parent)} | given

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

    def use(self, url: str, server: int) -> None:
        """Another database than the file in the home, and the process of its server."""
        self.env["DATABASE_URL"], self.server = url, server

    @property
    def url(self) -> URL:
        return make_url(self.env.get("DATABASE_URL", f"sqlite:///{self.database}"))

    def disk_bytes(self) -> int:
        """What the database takes on disk."""
        if self.server is None:
            return sum(path.stat().st_size for path in self.home.glob("sluice.db*"))
        engine = create_engine(self.url)
        with engine.connect() as connection:
            size: int = connection.scalar(text("SELECT pg_database_size(current_database())"))
        engine.dispose()
        return size

    def redis(self) -> Redis:
        """A connection to the private Redis, which runs."""
        from worker.queue.server import private_server

        return Redis.from_url(private_server.url(self.home))

    @contextmanager
    def working(self, workers: int) -> Iterator[Watch]:
        """`worker up` beside what is done here; its processes are watched."""
        command = [str(COMMANDS / "worker"), "up", "--workers", str(workers)]
        up_log = self.home / "up.log"
        with up_log.open("w") as log:
            up = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
            try:
                self._until_ready()
                redis = int(self.redis().info("server")["process_id"])
                takers = self._takers("records", "workers") | self._takers("loader", "loader")
                with Watch(up.pid, takers, redis, self.server) as watch:
                    yield watch
            finally:
                up.send_signal(signal.SIGTERM)
                up.wait(30)

    def _until_ready(self) -> None:
        log = self.home / "up.log"
        deadline = time.monotonic() + READY_SECONDS
        while " ready: " not in log.read_text():
            if time.monotonic() > deadline:
                raise TimeoutError(log.read_text()[-2000:])
            time.sleep(0.1)

    def _takers(self, queue: str, kind: str) -> dict[int, str]:
        """The processes that take work from a queue, each with this name of what it does."""
        with self.redis() as redis:
            members: Any = redis.smembers(f"rq:workers:{queue}")
            pids: Any = [redis.hget(member, "pid") for member in members]
            return {int(pid): kind for pid in pids}

    def stage_times(self) -> dict[str, float]:
        """Microseconds a record of each stage, from the receipts of batches and runs, and of the jobs as a whole."""
        spent: Counter[str] = Counter()
        engine = create_engine(self.url)
        with engine.connect() as connection:
            records = int(connection.scalar(text("SELECT sum(received) FROM batches")))
            for (found,) in connection.execute(text("SELECT seconds FROM batches")):
                spent.update({f"worker: {name}": each for name, each in json.loads(found).items()})
            for (found,) in connection.execute(text("SELECT stage_seconds FROM run_log")):
                spent.update({f"loader: {name}": each for name, each in json.loads(found).items()})
            for seconds, waited in connection.execute(text("SELECT seconds, waited_seconds FROM deliveries")):
                spent.update(
                    {
                        "producer: read, cut, encode, send": seconds - waited,
                        "producer: waits for room": waited,
                    }
                )
        engine.dispose()
        return {name: seconds / records * 1e6 for name, seconds in spent.items()}


def run(file: Path, workers: int = 2, site: Site | None = None, **settings: str | float) -> Run:
    """A file from its first byte to its last row in the target, everything on."""
    if site is None:
        with Site("", **settings) as new:
            return run(file, workers, new)
    with site.working(workers) as watch:
        started, producer_before = time.perf_counter(), ended_children_seconds()
        sent = site.json("producer", "enqueue", str(file), "--wait")
        seconds = time.perf_counter() - started
        processor = watch.processor_seconds() | {"producer": ended_children_seconds() - producer_before}
    site.run("store", "check")  # no figure without the laws
    records = sent["records"]
    each = {kind: spent / records * 1e6 for kind, spent in processor.items()}
    return Run(records, seconds, sent, site.disk_bytes(), watch.peak_mb, each, site.stage_times())


def ended_children_seconds() -> float:
    """Processor time of this process' children that have ended, `producer` among them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
