"""Four workers and loaders on PostgreSQL: two cuts of the same files, the same bad payloads, and a server that dies.

    python -m tests.chaos.many_workers --times 20           two cuts to 4 workers, beside the loader
    python -m tests.chaos.many_workers --times 20 --kill    kill -9 of the server and all of its processes in mid-load
    python -m tests.chaos.many_workers --partitions 4 --loaders 3    the tables in four partitions, and three loaders

Each time the digest, the laws, the counts and the letters must be those of one worker on SQLite, where nothing dies.
Everybody is a thread with an engine of its own: what is tried is the database, not the queue.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from sqlalchemy import Engine

from producer import feed as feeds
from producer.settings import ProducerSettings
from store import database
from store.checks import conservation, contents
from store.checks import letters as letters_check
from store.database import install
from store.errors import LockHeld, StoreUnavailable
from store.reports import summary
from store.settings import StoreSettings
from store.tables import deliveries
from tests import postgresql as servers
from worker import loader
from worker.batch import receive
from worker.contract import load_contract
from worker.judge import stages
from worker.queue.message import Message
from worker.settings import WorkerSettings
from worker.workplace import Judges

from . import records

WORKERS = 4
CUTS = (7, 11)  # records of a batch
CHUNK = 60  # records of the loader's transactions
PAUSE_SECONDS = 0.05
LONGEST_SECONDS = 300.0
# A server that is killed, while its machine lives, loses what is not written to the operating system.
LASTING = {"synchronous_commit": "on"}
COUNTED = ("input_records", "staged", "loaded", "rejected", "dead_letters", "pending")

Found = dict[str, object]


@dataclass
class Site:
    """A database, and everything that is to be processed into it."""

    settings: StoreSettings
    messages: list[Message]
    judges: Judges
    away: int = 0  # how often somebody found the database away
    failed: list[str] = field(default_factory=list)

    def worker(self, waiting: SimpleQueue[Message]) -> None:
        """Processes batches until none waits; one that the database was away for waits again."""
        engine = database.open_engine(self.settings)
        with suppress(Empty):
            while True:
                message = waiting.get_nowait()
                try:
                    process(engine, message, self.judges.judge_for(message.source, message.fingerprint))
                except StoreUnavailable:
                    self.away += 1
                    waiting.put(message)
                    time.sleep(PAUSE_SECONDS)
                except Exception as error:
                    self.failed.append(repr(error))
                    raise
        engine.dispose()

    def load(self, engine: Engine) -> int:
        """One run of the loader; its rows. A run that the database was away for, or that is another's, has none."""
        settings = WorkerSettings.load().model_copy(update={"load_chunk_records": CHUNK})
        try:
            return loader.load(engine, settings).rows
        except (StoreUnavailable, LockHeld):
            self.away += 1
            time.sleep(PAUSE_SECONDS)
            return 0

    def other_loader(self, is_loaded: threading.Event) -> None:
        """Loads until all is loaded."""
        engine = database.open_engine(self.settings)
        try:
            while not is_loaded.is_set():
                if not self.load(engine):
                    time.sleep(PAUSE_SECONDS)
        except Exception as error:
            self.failed.append(repr(error))
            raise
        finally:
            engine.dispose()

    def process_all(
        self, workers: int, meanwhile: Callable[[], None] = lambda: None, loaders: int = 1
    ) -> None:
        """All batches, by so many workers, beside the loaders; `meanwhile` is done again and again."""
        waiting: SimpleQueue[Message] = SimpleQueue()
        for message in self.messages:
            waiting.put(message)
        threads = [threading.Thread(target=self.worker, args=(waiting,)) for _ in range(workers)]
        is_loaded = threading.Event()
        others = [threading.Thread(target=self.other_loader, args=(is_loaded,)) for _ in range(loaders - 1)]
        for thread in threads + others:
            thread.start()
        engine = database.open_engine(self.settings)
        deadline = time.monotonic() + LONGEST_SECONDS
        while any(thread.is_alive() for thread in threads):
            assert time.monotonic() < deadline, "the workers do not end"
            self.load(engine)
            meanwhile()
        while not self._is_loaded(engine):
            assert time.monotonic() < deadline, "not all is loaded"
            self.load(engine)
        engine.dispose()
        is_loaded.set()
        for thread in others:
            thread.join()
        assert not self.failed, self.failed

    def _is_loaded(self, engine: Engine) -> bool:
        try:
            with database.reading(engine) as connection:
                return bool(summary.report(connection)["pending"] == 0)
        except StoreUnavailable:
            return False

    def found(self) -> Found:
        """What must be alike: the digest, the counts, the letters and how often each was met; and that laws hold."""
        engine = database.open_engine(self.settings)
        with database.reading(engine) as connection:
            report = summary.report(connection)
            violations = conservation.violations(connection) + letters_check.law(connection).violations
            violations += contents.law(connection).violations
            asked = "SELECT id, occurrences FROM dead_letters ORDER BY id"
            letters = [tuple(row) for row in connection.exec_driver_sql(asked)]
            digest = conservation.digest(connection)
        engine.dispose()
        counts = {name: report[name] for name in COUNTED}
        return {"violations": violations, "digest": digest, "counts": counts, "letters": letters}


def process(engine: Engine, message: Message, judge: stages.Judge) -> None:
    """A batch, as a job does it."""
    settings = WorkerSettings.load()
    view = receive.look(engine, message, settings.max_future_skew)
    if view.processed:
        return
    shares = settings.stages.shares() | view.flags
    judged = stages.judge_batch(message, judge, view.watermark, view.now, shares)
    receive.store(engine, message, judge, receive.Verdict(judged, view.watermark, 0.0, view.letters_waiting))


def site_of(settings: StoreSettings, paths: Sequence[Path], dice: random.Random | None) -> Site:
    """A site with two cuts of each file waiting; in a random order, or in that of the files."""
    worker, engine = WorkerSettings.load(), install.prepare(settings)
    judges, found = Judges.of(worker), []
    source = worker.source("default")
    install.add_contract_columns(engine, judges.judge("default").contract.columns)
    for path in paths:
        for size in CUTS:
            feed = feeds.Feed(
                "default", source, load_contract(worker), ProducerSettings.load(batch_records=size)
            )
            with feed.open(str(path)) as file:
                feed.check_header(file)
                delivery = feed.delivery(file)
                with database.transaction(engine) as connection:
                    deliveries.begin(connection, delivery)
                found += list(feed.messages(file, delivery))
    engine.dispose()
    if dice:
        dice.shuffle(found)
    return Site(settings, found, judges)


def expected(home: Path, paths: Sequence[Path]) -> Found:
    """What one worker on SQLite makes of it."""
    settings = StoreSettings(home=home, synchronous="NORMAL")
    home.mkdir()
    site = site_of(settings, paths, None)
    site.process_all(1)
    return site.found()


def kills(folder: Path, most: int, dice: random.Random) -> Callable[[], None]:
    """What kills the server of a folder, a moment after it was asked for, and starts it again; so often at most."""
    done: list[int] = []

    def kill() -> None:
        if len(done) == most:
            return
        done.append(1)

        def later() -> None:
            process = int((folder / "data" / "postmaster.pid").read_text().split()[0])
            time.sleep(dice.uniform(0, 0.1))
            os.killpg(process, signal.SIGKILL)
            _end(process)
            servers.run(folder, settings=LASTING)

        killer = threading.Thread(target=later)
        killer.start()
        kill.killer = killer  # type: ignore[attr-defined]

    return kill


def _end(group: int) -> None:
    """Waits until no process of the group is left: only then may another server have its memory."""
    with suppress(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            with suppress(ChildProcessError):
                os.waitpid(-group, os.WNOHANG)
            time.sleep(0.01)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--records", type=int, default=600)
    parser.add_argument("--kill", action="store_true", help="kill the server in mid-load")
    parser.add_argument("--partitions", type=int, default=1, help="of staging and target")
    parser.add_argument("--loaders", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(words)
    os.environ.setdefault("SLUICE_HOME", tempfile.mkdtemp(prefix="sluice-many-"))
    server = Path(tempfile.mkdtemp(prefix="sluice-pg-"))
    servers.start(server, settings=LASTING)
    try:
        return campaign(
            server, given.times, given.records, given.kill, given.seed, given.partitions, given.loaders
        )
    finally:
        servers.stop(server)


def campaign(
    server: Path, times: int, number: int, kill: bool, seed: int, partitions: int = 1, loaders: int = 1
) -> int:
    """So many times, each with records of its own; 1 where anything was not as on SQLite."""
    wrong = away = 0
    root = f"postgresql+psycopg://postgres@/?host={server}"
    for turn in range(seed, seed + times):
        folder, dice = Path(tempfile.mkdtemp(prefix="sluice-many-")), random.Random(turn)
        paths = [Path(path) for path in records.write(records.generate(number, turn)[0], folder / "in", 3)]
        calm = expected(folder / "home", paths)
        url = servers.create(root, f"many_{turn}")
        there = StoreSettings(home=folder, database_url=url, busy_timeout_seconds=30, partitions=partitions)
        site = site_of(there, paths, dice)
        meanwhile = kills(server, 1, dice) if kill else lambda: None
        site.process_all(WORKERS, meanwhile, loaders)
        if killer := getattr(meanwhile, "killer", None):
            killer.join()
        found, away = site.found(), away + site.away
        same = found == calm and not calm["violations"] and (not kill or site.away > 0)
        wrong += not same
        print(
            f"{turn}: {'as on SQLite' if same else 'BROKEN'}; the database was away for {site.away}",
            flush=True,
        )
        if not same:
            print(f"expected {calm}\nfound    {found}")
    print(f"{times - wrong} of {times} as on SQLite")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
