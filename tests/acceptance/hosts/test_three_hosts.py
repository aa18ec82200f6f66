"""Three hosts beside a PostgreSQL and a Redis: one is cut off in mid-transaction, one killed, their clocks wrong."""

from __future__ import annotations

import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis

from tests import postgresql
from worker.queue.server.server_program import find_server

from ..commands import Done, Running, until
from ..sandbox import Sandbox, sandbox
from .network import SERVER, Network, NotAllowed, network

RECORDS, BATCH = 3000, 50
HOSTS = {"a": 300, "b": -300, "c": 0}  # how many seconds the clock of a host is ahead
STALL_SECONDS = 15.0
PASSWORD = secrets.token_hex(8)

# `worker up` on a host with another clock, whose first batch that has its turn is held in it as long as HOLD is there:
# others wait for it as soon as their batches have letters.
UP = """
import sys, time
from datetime import timedelta
from pathlib import Path
import rq.utils
from store import timestamps
from worker.batch import receive
from worker.cli.app import main

ahead, hold = timedelta(seconds={ahead}), Path({hold!r})
of_store, of_rq, of_python, reach = timestamps.now, rq.utils.now, time.time, receive.reach
timestamps.now = lambda: of_store() + ahead
time.time = lambda: of_python() + ahead.total_seconds()
for module in list(sys.modules.values()):
    if getattr(module, "now", None) is of_rq:
        module.now = lambda: of_rq() + ahead

turns, take_turn = [], receive.database.take_turn

def turn_taken(connection):
    take_turn(connection)
    turns.append(connection)

def held(point):
    if point == "batch.begun":
        turns.clear()
    if point == "batch.dead_letters" and turns and hold.exists():
        hold.with_name("held").touch()
        while hold.exists():
            time.sleep(0.02)
    reach(point)

receive.reach, receive.database.take_turn = held, turn_taken
main()
"""


@dataclass
class Site:
    """The network, its servers and a home on each host."""

    network: Network
    sockets: Path  # of PostgreSQL
    redis: Redis
    homes: dict[str, Sandbox]

    def up(self, host: str, hold: Path | None = None) -> Running:
        """`worker up` with one worker and a loader."""
        code = UP.format(ahead=HOSTS[host], hold=str(hold or "/nowhere"))
        box = self.homes[host]
        return self.network.on(
            host, lambda: box.start("python", "-c", code, "up", "--workers", "1", cold=True)
        )

    def run(self, host: str, *words: str) -> Done:
        """A command on a host, which must succeed."""
        return self.network.on(host, lambda: self.homes[host].ok(*words, cold=True))

    def batches(self) -> int:
        """How many are stored, past the network."""
        with psycopg.connect(host=str(self.sockets), user="postgres", dbname="hosts") as connection:
            return int(connection.execute("SELECT count(*) FROM batches").fetchall()[0][0])

    def workers(self) -> int:
        return int(self.redis.scard("rq:workers:records"))


@contextmanager
def site() -> Iterator[Site]:
    """Raises NotAllowed."""
    with ExitStack() as stack:
        made = stack.enter_context(network(*HOSTS))
        sockets = Path(tempfile.mkdtemp(prefix="sluice-pg-"))
        stack.callback(postgresql.stop, sockets)
        made.on("", lambda: postgresql.start(sockets, settings={"listen_addresses": SERVER}))
        with (sockets / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.77.0.0/24 trust\n")
        server = f"postgresql+psycopg://postgres@/?host={sockets}"
        postgresql.create(server, "hosts")
        with postgresql.administration(server) as connection:
            connection.execute("SELECT pg_reload_conf()")
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sl-r"))
        redis = made.on("", lambda: redis_at(Path(folder)))
        stack.callback(redis.wait)
        stack.callback(redis.kill)
        client = stack.enter_context(Redis(unix_socket_path=f"{folder}/s", password=PASSWORD))
        until(lambda: Path(folder, "s").exists() and client.ping(), "Redis answers")
        env = {
            "REDIS_URL": f"redis://:{PASSWORD}@{SERVER}:6379/0",
            "DATABASE_URL": f"postgresql+psycopg://postgres@{SERVER}/hosts",
            "SLUICE_BATCH_RECORDS": str(BATCH),
        }
        homes = {host: stack.enter_context(sandbox(**env)) for host in HOSTS}
        yield Site(made, sockets, client, homes)


def redis_at(folder: Path) -> subprocess.Popen[bytes]:
    """A server on the network, with a socket for the test."""
    words = ["--bind", SERVER, "--port", "6379", "--requirepass", PASSWORD, "--unixsocket", str(folder / "s")]
    nothing = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([str(find_server().path), *words, "--save", "", "--dir", str(folder)], **nothing)  # type: ignore[call-overload, no-any-return]


def lines(first: int) -> str:
    """Records, of which each hundredth is invalid, and each fiftieth corrects the one before."""
    rows = (
        {
            "key": f"k{number - (number % 50 == 0)}",
            "name": "pump",
            "value": "much" if number % 100 == 7 else number,
            "ts": f"2025-01-{15 + number % 50 // 25}T08:00:00Z",
        }
        for number in range(first, first + RECORDS)
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


def on_one_host(*texts: str) -> tuple[str, Any]:
    """The digest and the totals of the same files with SQLite."""
    with sandbox(SLUICE_BATCH_RECORDS="1000") as box:
        for number, text in enumerate(texts):
            box.enqueue(box.file(f"{number}.ndjson", text))
        box.ok("worker", "up", "--burst")
        return box.digest(), totals(box.report())


def totals(report: Any) -> Any:
    return {
        name: report[name]
        for name in ("input_records", "staged", "loaded", "rejected", "dead_letters", "pending")
    }


def test_a_host_that_is_cut_off_or_killed_stops_nobody_for_long_and_loses_nothing() -> None:
    try:
        with site() as hosts:
            play(hosts)
    except NotAllowed as error:
        pytest.skip(str(error))


def play(hosts: Site) -> None:
    """All of it, on one network."""
    texts = [lines(0), lines(RECORDS)]
    home = hosts.homes["c"]
    files = [home.file(f"{number}.ndjson", text) for number, text in enumerate(texts)]
    hold = hosts.homes["a"].folder / "hold"
    hold.touch()
    hosts.run("c", "store", "init")
    cut_off, killed, lasting = hosts.up("a", hold), hosts.up("b"), hosts.up("c")
    until(lambda: hosts.workers() == 3, "all hosts take jobs")

    sending = hosts.network.on("c", lambda: home.start("producer", "enqueue", files[0], cold=True))
    until(hold.with_name("held").exists, "a batch is held in its turn")
    hosts.network.cut("a")
    before, began = hosts.batches(), time.monotonic()
    until(lambda: hosts.batches() > before + 4, "others store batches")  # more than have no letters
    assert time.monotonic() - began < STALL_SECONDS

    until(lambda: hosts.batches() > before + 10, "more batches are stored")
    for process in hosts.homes["b"].processes():
        process.kill()
    assert killed.process.wait(60) != 0
    hold.unlink()
    hosts.network.mend("a")
    assert sending.end().code == 0, sending.err
    until(lambda: hosts.batches() == RECORDS // BATCH, "all batches are stored")

    assert lasting.stop().code == 0, lasting.err[-3000:]
    hosts.run("c", "producer", "enqueue", files[1])  # now the host that was cut off is alone
    until(lambda: hosts.batches() == 2 * RECORDS // BATCH, "the host that came back takes jobs")
    until(
        lambda: json.loads(hosts.run("c", "store", "report", "--json").out)["pending"] == 0, "all is loaded"
    )
    assert cut_off.is_alive

    hosts.run("c", "store", "check")
    digest, counts = on_one_host(*texts)
    assert totals(json.loads(hosts.run("c", "store", "report", "--json").out)) == counts
    assert hosts.run("c", "store", "digest").out.strip() == digest
    assert cut_off.stop().code == 0, cut_off.err[-3000:]
    assert "Traceback" not in cut_off.err + lasting.err
