"""Half speed and a kill every few seconds, for minutes: does anything grow that should not?

    python -m tests.chaos.soak --minutes 10

One worker and the loader's are spared, so that a leak has the time to show; their job processes live as long as
job processes do. "Before" is measured after a warm-up, when the first finished jobs have been forgotten again.
"""

from __future__ import annotations

import argparse
import random
import secrets
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import psutil
from redis import Redis

from tests.acceptance.own_redis import OwnRedis, own_redis
from tests.acceptance.sandbox import Sandbox, sandbox

from . import records
from .cast import CONTRACT, Cast, Restarted

KILL_EVERY_SECONDS = 5.0
KINDS = ("job_process", "worker", "whole_worker", "loader_process", "cron", "producer", "redis")
FILE_SECONDS = 5.0  # a file holds what is sent in this time
CALIBRATION_RECORDS = 20_000
FASTEST_PER_SECOND = 2000.0
WARM_UP_SHARE = 0.25
SETTLE_SECONDS = 300.0
PREFIXES = ("rq:job:", "rq:results:", "rq:execution:", "rq:executions:", "rq:worker:", "rq:", "sluice:")
REGISTRIES = (
    "rq:workers",
    "rq:cron_schedulers",
    "rq:wip:records",
    "rq:finished:records",
    "rq:failed:records",
)
MB = 1 << 20
# What each figure may be at the end, given what it was before: this many times as much, and so much more.
BOUNDS = {
    "rss": (1.25, 40 * MB),
    "files": (1.0, 6),
    "keys": (1.5, 60),
    "members": (1.5, 60),
    "used_memory": (1.5, 8 * MB),
    "wal": (1.0, 64 * MB),
}
SETTINGS = {
    "SLUICE_CONTRACT": "contract:Slowed",
    "SLUICE_BATCH_RECORDS": "500",
    "SLUICE_ABANDONED_AFTER_SECONDS": "5",
    "SLUICE_LOAD_EVERY_SECONDS": "2",
    "SLUICE_RESULT_TTL_SECONDS": "30",  # else jobs would pile up for an hour before they are forgotten
}


@dataclass
class Soak:
    """One soak."""

    site: Sandbox
    redis: OwnRedis
    cast: Cast
    seed: int
    sent: int = 0
    files: int = 0
    longest_wal: int = 0
    order: random.Random = field(default_factory=random.Random)

    def add_file(self, number: int) -> None:
        """One more file for the producer."""
        self.files += 1
        lines, _ = records.generate(number, self.seed + self.files)
        # The batches of a file differ from every other's: the same content again would be known already.
        lines = [line.replace('"key": "', f'"n": {self.files}, "key": "', 1) for line in lines]
        path = self.site.file(f"{self.files}.ndjson", "\n".join(lines) + "\n")
        self.cast.producer.waiting.append(path)
        self.sent += number

    def wait_until_settled(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.cast.tend(may_begin=True)
            if not self.cast.producer.waiting and self.cast.settled(self.sent):
                return True
            time.sleep(0.05)
        return False

    def calibrate(self) -> float:
        """Half of the records a second that this machine can do now."""
        self.add_file(CALIBRATION_RECORDS)
        began = time.monotonic()
        assert self.wait_until_settled(120), "the first file was not processed"
        return min(CALIBRATION_RECORDS / (time.monotonic() - began) / 2, FASTEST_PER_SECOND)

    def run_load(self, seconds: float, per_second: float) -> None:
        """Files at that pace, and a kill every few seconds."""
        end = time.monotonic() + seconds
        next_file = next_kill = time.monotonic()
        while (now := time.monotonic()) < end:
            self.cast.tend(may_begin=True)
            if now >= next_file and len(self.cast.producer.waiting) < 4:
                self.add_file(int(per_second * FILE_SECONDS))
                next_file = now + FILE_SECONDS
            if now >= next_kill and self.cast.kill(self.order.choice(KINDS)):
                next_kill += KILL_EVERY_SECONDS
            self.longest_wal = max(self.longest_wal, size_of_wal(self.site))
            time.sleep(0.05)

    def measure(self) -> dict[str, float]:
        """All that should not grow."""
        self.wait_until_settled(SETTLE_SECONDS)
        found: dict[str, float] = {}
        for name, command in (("worker", self.cast.workers[0]), ("loader", self.cast.loader)):
            found |= of_processes(name, command)
        with self.redis.client(10) as client:
            found |= of_redis(client)
        found["wal"], self.longest_wal = self.longest_wal, 0
        return found


def size_of_wal(site: Sandbox) -> int:
    wal = site.home / "sluice.db-wal"
    return wal.stat().st_size if wal.exists() else 0


def of_processes(name: str, command: Restarted) -> dict[str, float]:
    found: dict[str, float] = {}
    for role, process in ((name, command.process()), (f"{name}'s job process", command.job_process())):
        if process is not None:
            try:
                found |= {f"rss {role}": process.memory_info().rss, f"files {role}": process.num_fds()}
            except psutil.Error:
                continue
    return found


def of_redis(client: Redis) -> dict[str, float]:
    counts = Counter(
        next((prefix for prefix in PREFIXES if key.startswith(prefix)), "other")
        for key in (raw.decode() for raw in client.scan_iter(count=1000))
    )
    found: dict[str, float] = {f"keys {prefix}*": counts[prefix] for prefix in (*PREFIXES, "other")}
    for key in REGISTRIES:
        count = client.scard if client.type(key) == b"set" else client.zcard
        found[f"members {key}"] = count(key)
    return found | {"used_memory": client.info("memory")["used_memory"]}


def grown(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """What is beyond its bound at the end."""
    beyond = []
    for name, value in after.items():
        times, more = BOUNDS[name.split()[0]]
        if name in before and value > before[name] * times + more:
            beyond.append(f"{name} grew from {shown(name, before[name])} to {shown(name, value)}")
    return beyond


def shown(name: str, value: float) -> str:
    return f"{value / MB:.1f} MB" if name.startswith(("rss", "used_memory", "wal")) else f"{value:.0f}"


def soak(site: Sandbox, redis: OwnRedis, minutes: float, seed: int) -> list[str]:
    """Everything that went wrong, as sentences."""
    site.file("contract.py", CONTRACT)
    site.env["REDIS_URL"] = redis.url
    site.ok("store", "init")
    cast = Cast.of(site, redis, 3, 0.0, [], seed)
    cast.spared = 1
    it = Soak(site, redis, cast, seed, order=random.Random(seed))
    per_second = it.calibrate()
    print(f"half speed is {per_second:.0f} records/s", flush=True)
    it.run_load(minutes * 60 * WARM_UP_SHARE, per_second)
    before = it.measure()
    it.run_load(minutes * 60 * (1 - WARM_UP_SHARE), per_second)
    after = it.measure()
    for name in after:
        old = shown(name, before[name]) if name in before else "-"
        print(f"{name:26} {old:>10} -> {shown(name, after[name])}")
    print(
        f"kills: {cast.kills.total()} ({', '.join(f'{kind} {n}' for kind, n in sorted(cast.kills.items()))})"
    )
    wrong = grown(before, after)
    if not cast.settled(it.sent):
        wrong.append(f"not all of {it.sent} records were received and loaded in {SETTLE_SECONDS:.0f} s")
    received = cast.rows("SELECT sum(received) FROM batches")[0][0]
    print(f"records: sent {it.sent}, received {received}")
    if received != it.sent:
        wrong.append(f"{it.sent} records were sent, and {received} received")
    wrong += cast.unmet_laws(SETTLE_SECONDS)
    cast.stop()
    return wrong


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    given = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and clears away
    print(f"seed {given.seed}: {given.minutes:g} minutes", flush=True)
    with own_redis() as redis, sandbox(**SETTINGS) as site:
        wrong = soak(site, redis, given.minutes, given.seed)
    for sentence in wrong:
        print(f"BROKEN: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
