"""The database is locked, full, read-only, gone or damaged: never a dead letter, never half a batch.

The means are real, and the same for root and everybody else: a lock held by another connection, a limit on
the size of the worker's files (SQLite is then refused its writes half way), a file whose header says that
this version of SQLite may not write it, a file moved away, a page overwritten with garbage.
"""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path

import psutil
import pytest

from ..commands import OWN_TERMINALS, Running
from ..own_redis import own_redis
from ..sandbox import Sandbox, sandbox

RECORDS, BAD = 2000, 4
SETTINGS = {
    "SLUICE_BUSY_TIMEOUT_SECONDS": "0.2",
    "SLUICE_PATIENCE_SECONDS": "1",
    "SLUICE_RETRY_INTERVALS_SECONDS": "[1]",
}
WRITE_VERSION = 18  # the offset in SQLite's header; above 2 means: read it, but do not write it
FILE_LIMIT = 64 << 10

Outage = Callable[[Sandbox, Running], Iterator[None]]


@pytest.fixture
def site() -> Iterator[Sandbox]:
    with own_redis() as redis, sandbox(REDIS_URL=redis.url, **SETTINGS) as box:
        yield box


@contextmanager
def on_a_small_disk(site: Sandbox) -> Iterator[None]:
    """The state directory on a disk of a few megabytes, where this user may mount one."""
    site.home.mkdir(mode=0o700)
    mount, umount = (shutil.which(name) or "false" for name in ("mount", "umount"))
    words = [mount, "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(site.home)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk; the limit on the size of files stands in for it")
    try:
        yield
    finally:
        subprocess.run([umount, "-l", str(site.home)], check=False, capture_output=True)


def lines(prefix: str) -> str:
    """One batch, four of whose records are bad."""
    rows = [
        {"key": f"{prefix}{n}", "name": "n", "ts": "2025-01-15T08:00:00Z"}
        | ({"value": n} if n >= BAD else {})
        for n in range(RECORDS)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def received(site: Sandbox) -> int:
    """Records in batches that were processed; -1 where the database cannot say."""
    try:
        rows = site.select("SELECT coalesce(sum(received), 0) FROM batches")
    except sqlite3.DatabaseError:
        return -1
    return int(rows[0][0]) if rows else -1


def path(site: Sandbox) -> Path:
    return site.home / "sluice.db"


def settle_files(site: Sandbox) -> None:
    """Brings what is in the write-ahead log into the file."""
    with closing(sqlite3.connect(path(site))) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# --- the outages: each begins, yields, and ends ---


def locked(site: Sandbox, _: Running) -> Iterator[None]:
    with closing(sqlite3.connect(path(site), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def may_not_grow(_: Sandbox, running: Running) -> Iterator[None]:
    parent = psutil.Process(running.process.pid)
    processes = [parent, *parent.children()]
    hard = resource.RLIM_INFINITY
    for process in processes:
        process.rlimit(psutil.RLIMIT_FSIZE, (FILE_LIMIT, hard))
    yield
    for process in [parent, *parent.children()]:
        process.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))


def gone(site: Sandbox, _: Running) -> Iterator[None]:
    away = site.folder / "away"
    away.mkdir()
    files = list(site.home.glob("sluice.db*"))
    for file in files:
        file.rename(away / file.name)
    yield
    assert not path(site).exists(), "it came back empty"
    for file in files:
        (away / file.name).rename(file)


def read_only(site: Sandbox, running: Running) -> Iterator[None]:
    settle_files(site)
    write(path(site), WRITE_VERSION, b"\3")
    for job_process in psutil.Process(running.process.pid).children():
        job_process.kill()  # the next one reads the header
    yield
    write(path(site), WRITE_VERSION, b"\2")


def disk_full(site: Sandbox, _: Running) -> Iterator[None]:
    settle_files(site)
    ballast = path(site).with_name("ballast")
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    yield
    ballast.unlink()


def write(file: Path, offset: int, what: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(what)


OUTAGES = {
    "locked": (locked, "another process holds the write lock"),
    "files may not grow": (may_not_grow, "check it, restore from a backup if"),
    "disk full": (disk_full, "the disk is full: free some space"),
    "read-only": (read_only, "it is read-only: check the file's"),
    "gone": (gone, "restore it, or run `store init`"),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_batch_waits_until_the_database_is_back(site: Sandbox, outage: str) -> None:
    with on_a_small_disk(site) if outage == "disk full" else nullcontext():
        the_second_batch_waits(site, *OUTAGES[outage])


def the_second_batch_waits(site: Sandbox, how: Outage, advice: str) -> None:
    """One batch is processed; the next is taken while the database is away, and again when it is back."""
    site.enqueue(site.file("first.ndjson", lines("a")))
    running = site.start("rq", "worker", env=OWN_TERMINALS)
    site.until(lambda: received(site) == RECORDS, "the first batch is processed")
    with site.redis() as redis:  # a horse frozen while it holds the database would be an outage of its own
        site.until(lambda: not redis.zcard("rq:wip:records"), "and acknowledged")
    everyone = [process := psutil.Process(running.process.pid), *process.children()]
    for each in everyone:
        each.suspend()
    site.enqueue(site.file("second.ndjson", lines("b")))

    with contextmanager(how)(site, running):
        for each in everyone:
            with suppress(psutil.NoSuchProcess):
                each.resume()
        site.until(lambda: advice in running.err, "the worker says what to do")
        site.until(lambda: "goes back to the queue" in running.err, "its patience has an end")
        assert received(site) in (RECORDS, -1)

    site.until(lambda: received(site) == 2 * RECORDS, "the batch is processed")
    assert "Traceback" not in running.err
    assert_whole(site)
    assert running.stop().code == 0


def assert_whole(site: Sandbox) -> None:
    """All is loaded; the bad records are letters, for their own faults, and nothing else is."""
    site.ok_here("worker", "load")
    site.check()
    found = site.report()
    assert (found["loaded"], found["dead_letters"]) == (2 * (RECORDS - BAD), 2 * BAD)
    assert site.select("SELECT DISTINCT reason FROM dead_letters") == [("missing_value",)]


def test_a_damaged_database_takes_no_record_and_after_its_restoration_the_files_bring_all_back(
    site: Sandbox,
) -> None:
    site.enqueue(site.file("first.ndjson", lines("a")))
    site.ok("rq", "worker", "--burst", env=OWN_TERMINALS)
    with closing(sqlite3.connect(path(site))) as connection:
        connection.execute("VACUUM INTO ?", (str(site.folder / "backup.db"),))
    site.ok_here("worker", "load")
    site.enqueue(site.file("second.ndjson", lines("b")))
    settle_files(site)
    size = site.select("PRAGMA page_size")[0][0]
    # The index in which each batch looks for itself.
    [(page,)] = site.select("SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_batches_1'")
    write(path(site), (page - 1) * size, b"\x5a" * size)

    running = [site.start("rq", "worker", *queue, env=OWN_TERMINALS) for queue in ([], ["loader"])]
    site.until(
        lambda: "the file is damaged: stop the workers" in running[0].err, "the worker says what to do"
    )
    site.until(lambda: "goes back to the queue" in running[0].err, "its patience has an end")
    site.until(lambda: site.workers("loader") == 1, "the loader handles signals")
    assert site.select("SELECT count(*), sum(received), sum(rejected) FROM batches") == [(1, RECORDS, BAD)]
    assert [each.stop().code for each in running] == [0, 0]
    assert "Traceback" not in running[0].err

    for file in site.home.glob("sluice.db*"):
        file.unlink()
    (site.folder / "backup.db").rename(path(site))
    site.start("rq", "worker", env=OWN_TERMINALS)
    site.until(lambda: received(site) == 2 * RECORDS, "what was queued is processed")
    site.enqueue(str(site.folder / "first.ndjson"), str(site.folder / "second.ndjson"))
    assert_whole(site)
