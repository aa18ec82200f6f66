"""A master, a replica and a Sentinel: a failover under load, after which every record is in the target once."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from worker.queue.server.server_program import find_server

from ..commands import OWN_TERMINALS, until
from ..sandbox import Sandbox, sandbox
from ..servers import answers, free_port, redis_server

RECORDS = 3000
BATCH = 50


@contextmanager
def program(folder: Path, *words: str) -> Iterator[int]:
    """The port of a server that answers, ended at the end."""
    folder.mkdir()
    server, port = until(lambda: started(folder, *words), "a server answers on a port that was free")
    try:
        yield port
    finally:
        server.kill()
        server.wait()


def started(folder: Path, *words: str) -> tuple[subprocess.Popen[bytes], int] | None:
    """A server and its port; None where another process took the port meanwhile."""
    port = free_port()
    own = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([str(find_server().path), *words, *own], stdout=log, stderr=log)
    until(lambda: answers(port, "") or server.poll() is not None, "the server answers, or ends")
    if server.poll() is None:
        return server, port
    why = (folder / "log").read_text()
    assert "Address already in use" in why, why
    return None


class Watch:
    """What the Sentinel knows and does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"redis+sentinel://127.0.0.1:{port}/main/0"

    def ask(self, *words: str) -> Any:
        with suppress(RedisError), Redis(port=self.port, decode_responses=True) as client:
            return client.execute_command("SENTINEL", *words)
        return None

    @property
    def master(self) -> int:
        with Redis(port=self.port) as client:
            return int(client.sentinel_get_master_addr_by_name("main")[1])

    def fail_over(self) -> None:
        before = self.master
        with Redis(port=self.port) as client:

            def begun() -> bool:
                try:
                    return bool(client.execute_command("SENTINEL", "FAILOVER", "main"))
                except ResponseError:  # the replica is not known to be good yet
                    return False

            until(begun, "the Sentinel begins a failover")
        until(lambda: self.master != before, "the replica is the master")


@contextmanager
def watched_pair() -> Iterator[Watch]:
    """A master with a replica, and a Sentinel that watches them and knows both."""
    folder = Path(tempfile.mkdtemp(prefix="sl-s"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        usual = ("--save", "", "--appendonly", "yes", "--repl-diskless-sync-delay", "0")
        first = stack.enter_context(program(folder / "one", *usual))
        second = stack.enter_context(program(folder / "two", *usual, "--replicaof", "127.0.0.1", str(first)))
        with Redis(port=second) as replica:
            until(lambda: replica.info("replication")["master_link_status"] == "up", "the replica follows")
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor main 127.0.0.1 {first} 1\n"
            "sentinel down-after-milliseconds main 2000\nsentinel failover-timeout main 10000\n"
        )
        third = stack.enter_context(program(folder / "three", str(configuration), "--sentinel"))
        watch = Watch(third)
        until(lambda: watch.ask("REPLICAS", "main"), "the Sentinel knows the replica")
        yield watch


def file_of_records(box: Sandbox) -> str:
    rows = (
        {"key": f"k{number}", "name": "pump", "value": number, "ts": "2025-01-15T08:00:00Z"}
        for number in range(RECORDS)
    )
    return box.file("many.ndjson", "".join(json.dumps(each) + "\n" for each in rows))


def loaded(box: Sandbox) -> int:
    return box.count("target") if box.select("SELECT 1 FROM sqlite_master WHERE name = 'target'") else 0


def test_after_a_failover_under_load_every_record_is_in_the_target_once() -> None:
    with (
        watched_pair() as watch,
        sandbox(REDIS_URL=watch.url, SLUICE_BATCH_RECORDS=str(BATCH), **OWN_TERMINALS) as box,
    ):
        file = file_of_records(box)
        own = box.start("rq", "worker")  # RQ's own command, which reads SENTINEL of our module
        up = box.start("worker", "up", "--workers", "1")
        box.until(lambda: box.workers() == 2, "both take jobs")
        sending = box.start("producer", "enqueue", file, "--max-pending-batches", "10")
        box.until(lambda: box.count("batches") >= 3, "some batches are processed")

        watch.fail_over()
        assert sending.end().code == 0, sending.err
        # Replication is asynchronous: what the old master had alone is sent again, and what is there is not.
        box.until(lambda: box.queued() == 0 and box.workers() == 2, "the queue of the new master is done")
        box.ok("producer", "enqueue", file)
        box.until(lambda: loaded(box) == RECORDS, "all is loaded")

        assert box.select("SELECT sum(staged), sum(rejected) FROM batches") == [(RECORDS, 0)]
        box.check()
        box.ok_here("worker", "doctor", "--least-free-mb", "0")
        for running in (own, up):
            done = running.stop()
            assert done.code == 0, done.err[-6000:]
        assert "Traceback" not in box.all_output()


def test_sentinels_that_do_not_answer_are_named_and_a_cluster_is_refused(tmp_path: Path) -> None:
    nobody = f"redis+sentinel://:secret-7@127.0.0.1:{free_port()}/main/0"
    with sandbox(REDIS_URL=nobody) as box:
        done = box.run_here("worker", "status")
        assert done.code == 2
        assert "No master found for 'main'" in done.err
        assert "secret-7" not in done.err
    options = ("cluster-enabled yes", f"dir {tmp_path}", "cluster-config-file nodes.conf")
    with redis_server("pw", *options) as port, sandbox(REDIS_URL=f"redis://:pw@127.0.0.1:{port}/0") as box:
        done = box.run_here("worker", "status")
        assert done.code == 2
        assert "it is a Redis Cluster" in done.err
