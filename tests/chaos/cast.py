"""A site as its users run it in terminals: plain RQ commands, each started again when it dies."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
from redis.exceptions import RedisError

from tests.acceptance.commands import DEADLINE_SECONDS, OWN_TERMINALS, Running
from tests.acceptance.own_redis import OwnRedis
from tests.acceptance.sandbox import Sandbox

CONTRACT = """
import os, time
from pydantic import field_validator
from worker.contract import Event

PAUSE = float(os.environ.get("CHAOS_PAUSE", "0"))

class Slowed(Event):
    @field_validator("name")
    @classmethod
    def after_a_pause(cls, name):
        time.sleep(PAUSE)
        return name
"""
RETRY_AFTER_SECONDS = 0.2
CHECK_EVERY_SECONDS = 0.5


@dataclass
class Restarted:
    """A command that is started again whenever it is dead."""

    site: Sandbox
    words: tuple[str, ...]
    pause: float = 0.0
    running: Running | None = None

    def tend(self) -> None:
        if self.running is None or not self.running.is_alive:
            env = OWN_TERMINALS | {"CHAOS_PAUSE": str(self.pause)}
            self.running = self.site.start(*self.words, env=env)

    def process(self) -> psutil.Process | None:
        if self.running is None or not self.running.is_alive:
            return None
        with suppress(psutil.Error):
            return psutil.Process(self.running.process.pid)
        return None

    def job_process(self) -> psutil.Process | None:
        """The process that does a worker's jobs, where it has one."""
        with suppress(psutil.Error):
            parent = self.process()
            return parent.children()[0] if parent and parent.children() else None
        return None


@dataclass
class Producer:
    """Sends one file after another, each until it is sent whole."""

    site: Sandbox
    waiting: list[str]
    running: Running | None = None
    sent: int = 0
    restart_at: float = 0.0
    refused: int = 0  # started while Redis was away

    def tend(self, may_begin: bool) -> None:
        """Starts what is next; what was killed is started again."""
        if self.running is not None and not self.running.is_alive:
            code, self.running = self.running.process.returncode, None
            assert code in (0, 2, -signal.SIGKILL), f"the producer ended with {code}"
            if code == 0:
                self.waiting.pop(0)
                self.sent += 1
            else:
                self.refused += code == 2
                self.restart_at = time.monotonic() + RETRY_AFTER_SECONDS
        elif self.running is None and self.waiting and may_begin and time.monotonic() > self.restart_at:
            self.running = self.site.start("producer", "enqueue", self.waiting[0])


@dataclass
class Cast:
    """Everybody on the site; `kill_…` are true where there was somebody to kill."""

    site: Sandbox
    redis: OwnRedis
    workers: list[Restarted]
    loader: Restarted
    cron: Restarted
    producer: Producer
    dice: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    redis_back_at: float | None = None
    abandoned: dict[str, float] = field(default_factory=dict)  # batch -> when its worker was killed whole
    recoveries: list[float] = field(default_factory=list)
    spared: int = 0  # so many of the workers are never killed

    @classmethod
    def of(
        cls, site: Sandbox, redis: OwnRedis, workers: int, pause: float, paths: list[str], seed: int
    ) -> Cast:
        return cls(
            site,
            redis,
            [Restarted(site, ("rq", "worker"), pause) for _ in range(workers)],
            Restarted(site, ("rq", "worker", "loader")),
            Restarted(site, ("rq", "cron", "worker.schedule")),
            Producer(site, list(paths)),
            random.Random(seed),
        )

    def tend(self, may_begin: bool) -> None:
        """Starts again what is dead, Redis after a moment; notes abandoned batches that are done."""
        if self.redis_back_at is not None and time.monotonic() > self.redis_back_at:
            self.redis_back_at = None
            self.redis.start()
        for command in (*self.workers, self.loader, self.cron):
            command.tend()
        self.producer.tend(may_begin)
        for id in self._processed(list(self.abandoned)):
            self.recoveries.append(time.monotonic() - self.abandoned.pop(id))

    def kill(self, kind: str) -> bool:
        """Kills one of that kind; False where there is none just now."""
        if getattr(self, f"kill_{kind}")():
            self.kills[kind] += 1
            return True
        return False

    def kill_job_process(self) -> bool:
        return end(self.dice.choice(self.workers[self.spared :]).job_process())

    def kill_worker(self) -> bool:
        return end(self.dice.choice(self.workers[self.spared :]).process())

    def kill_whole_worker(self) -> bool:
        """Parent and job process at once; both are frozen first, to see what batch they take with them."""
        command = self.dice.choice(self.workers[self.spared :])
        parent, job_process = command.process(), command.job_process()
        if parent is None or job_process is None:
            return False
        with suppress(psutil.Error):
            parent.suspend()
            job_process.suspend()
            held = self._batch_of(parent.pid)
            if held and held not in self._processed([held]):
                self.abandoned[held] = time.monotonic()
            end(job_process)
            return end(parent)
        return False

    def kill_loader(self) -> bool:
        end(self.loader.job_process())
        return end(self.loader.process())

    def kill_loader_process(self) -> bool:
        return end(self.loader.job_process())

    def kill_cron(self) -> bool:
        return end(self.cron.process())

    def kill_producer(self) -> bool:
        running = self.producer.running
        if running is None or not running.is_alive:
            return False
        os.kill(running.process.pid, signal.SIGKILL)
        return True

    def kill_redis(self) -> bool:
        if self.redis_back_at is not None:
            return False
        self.redis.kill()
        self.redis_back_at = time.monotonic() + self.dice.uniform(0.1, 2.0)
        return True

    def _batch_of(self, process: int) -> str | None:
        """The batch that the worker with this process id is at."""
        try:
            with self.redis.client() as client:
                for key in client.smembers("rq:workers:records"):
                    pid, job = client.hmget(key, "pid", "current_job")
                    if pid and int(pid) == process:
                        return job.decode() if job else None
        except RedisError:
            pass
        return None

    def _processed(self, ids: list[str]) -> list[str]:
        """Those of the batches that are in the table."""
        wanted = "SELECT id FROM batches WHERE id IN (SELECT value FROM json_each(?))"
        return [row[0] for row in self.rows(wanted, [json.dumps(ids)])] if ids else []

    def rows(self, statement: str, values: list[Any] | None = None) -> list[Any]:
        """Rows of the site's database; none where it is not there yet."""
        try:
            path = f"file:{self.site.home / 'sluice.db'}?mode=ro"
            with closing(sqlite3.connect(path, uri=True, timeout=DEADLINE_SECONDS)) as connection:
                return connection.execute(statement, values or []).fetchall()
        except sqlite3.OperationalError:
            return []

    def settled(self, records: int) -> bool:
        """Whether all was received, and is loaded."""
        rows = self.rows("SELECT (SELECT sum(received) FROM batches), (SELECT count(*) FROM staging)")
        return bool(rows) and (rows[0][0] or 0) >= records and rows[0][1] == 0

    def unmet_laws(self, seconds: float) -> list[str]:
        """What `store check` complains of, after waiting so long for the last letters to be published."""
        deadline = time.monotonic() + seconds
        while (check := self.site.run_here("store", "check")).code or "wait to be published" in check.out:
            if time.monotonic() > deadline:
                return [f"store check: {check.out}{check.err}"]
            self.tend(may_begin=True)
            time.sleep(CHECK_EVERY_SECONDS)
        return []

    def stop(self) -> None:
        """SIGTERM to all of them."""
        started = [each.running for each in (*self.workers, self.loader, self.cron) if each.running]
        for running in started:
            with suppress(ProcessLookupError):
                running.process.terminate()
        for running in started:
            running.end()


def end(process: psutil.Process | None) -> bool:
    """SIGKILL, which also ends what is frozen."""
    if process is None:
        return False
    try:
        process.kill()
    except psutil.Error:
        return False
    return True
