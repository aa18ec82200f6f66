"""Every screen of the page over 1,000,000 letters and 10,000,000 rows of the target, with warm and cold caches.

PYTHONPATH=benchmarks python -m letters.screens --home /var/tmp/sluice-screens
PYTHONPATH=benchmarks python -m letters.screens --home FOLDER --letters 100000 --rows 1000000 --times 10
PYTHONPATH=benchmarks python -m letters.screens --home FOLDER --only today

Filled once: later runs ask the same store. What all viewers share is read anew for each answer,
but for the rhythms of the sources, which hold for a minute. Cold: the file is
not in the memory of the system, and no connection has pages of it.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import machine
import orjson
from letters import scrape
from letters.asking import Took, at, timed
from letters.filling import act, build, load
from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from store import database
from store.database import install
from store.reports.account import accounts
from store.settings import StoreSettings
from worker.listening import Options
from worker.page.app import build as application
from worker.page.commands import Done
from worker.page.session import Sessions
from worker.page.settings import PageSettings
from worker.page.site import Site
from worker.settings import WorkerSettings

BASE = "http://127.0.0.1:8321"
GROUPS, ACTIONS, LETTERS_EACH = 300, 5, 100_000
TARGET_MS, SCRAPE_MS = 150, 100
COUNTS = 3  # of an account, for which a command reads the whole target while its screen says so
LATEST_DELIVERY = "SELECT max(seq) FROM deliveries"
FILLED = "filled.json"  # in the state directory: with how much


ALL_HOLDS = Done(0, '{"laws": []}', "")


@dataclass(frozen=True)
class Ended:
    """A command of the page that has ended at once: it is a process of its own, and keeps no screen waiting."""

    done: Done = ALL_HOLDS

    def wait(self, seconds: float | None = None) -> Done | None:
        """How it ended."""
        del seconds
        return self.done


def fill(settings: StoreSettings, letters: int, rows: int) -> Engine:
    """The store, as large as asked for."""
    engine = install.prepare(settings)
    noted, asked = settings.home / FILLED, {"letters": letters, "rows": rows}
    if noted.exists():
        assert orjson.loads(noted.read_bytes()) == asked, (
            f"{settings.home} is of another size: give another --home"
        )
        return engine
    took = [timed(partial(build, engine, letters, GROUPS), 1), timed(partial(load, engine, rows), 1)]
    took.append(timed(partial(act, engine, ACTIONS, min(LETTERS_EACH, letters // ACTIONS // 2)), 1))
    noted.write_bytes(orjson.dumps(asked))
    print(
        f"filled in {sum(each.wall[0] for each in took):.0f} s, {sum(each.cpu[0] for each in took):.0f} s of CPU"
    )
    return engine


def screens(engine: Engine, site: Site) -> dict[str, str]:
    """The address of each; of those that show one thing, of a large one."""
    with database.reading(engine) as connection:

        def one(statement: str) -> Any:
            return connection.execute(text(statement)).scalar_one()

        largest = one("SELECT id FROM letter_groups ORDER BY open DESC LIMIT 1")
        middle = connection.execute(
            text("SELECT id, first_seen_at FROM dead_letters WHERE status = 'open' ORDER BY first_seen_at, id LIMIT 1 "
                 "OFFSET (SELECT count(*) / 2 FROM dead_letters)")
        ).one()  # fmt: skip
        letter, file = (
            middle.id,
            "orders-0050.ndjson",
        )
        delivery, last = one(LATEST_DELIVERY), one("SELECT max(seq) FROM batches")
        account = Done(0, orjson.dumps(accounts(connection, delivery=delivery)).decode(), "")
        samples = connection.execute(
            text("SELECT id FROM dead_letters WHERE group_id = :group LIMIT 5"), {"group": largest}
        ).scalars()
        proof = {"letters": 800_000, "would_load": 800_000, "superseded": 0, "skipped": 0, "rejected": 0,
                 "would_accept": 800_000, "digest": "0" * 64, "failures": [], "refused": 0, "refusals": {},
                 "samples": [{"id": id, "before": {"value": "1,5"}, "after": {"value": 1.5}, "outcome": "loads"}
                             for id in samples]}  # fmt: skip
    site.works.start = lambda _: Ended()  # type: ignore[assignment,return-value]
    site.accounts.start = lambda _: Ended(account)  # type: ignore[assignment,return-value]
    work = site.works.begin(["producer", "replay"], largest)
    site.works.find(work).done = Done(0, orjson.dumps(proof).decode(), "")  # type: ignore[union-attr]
    cursor = f"{middle.first_seen_at},{middle.id}"
    return {
        "today": "/", "groups": "/groups", "groups, all states": "/groups?status=all",
        "groups of a source": "/groups?source=feed-3", "group": f"/groups/{largest}",
        "group, all states": f"/groups/{largest}?status=all", "proof": f"/trials/{work}",
        "letters": "/letters", "letters, all states": "/letters?status=all",
        "letters behind the middle": f"/letters?after={cursor}",
        "letters of a source and field": "/letters?source=feed-3&field=value",
        "letters of a file": f"/letters?file={file}", "letter": f"/letters/{letter}",
        "payload": f"/letters/{letter}/payload", "actions": "/actions", "action": f"/actions/{2 * ACTIONS}",
        "action, all letters": f"/actions/{2 * ACTIONS + 1}",
        "runs": "/runs", "runs, older": "/runs?before=100", "batches": "/batches",
        "batches, older": f"/batches?before={last // 2}", "deliveries": "/deliveries",
        "delivery": f"/deliveries/{delivery}", "delivery, counted": f"/deliveries/{delivery}/count",
        "watermarks": "/watermarks", "records": "/records",
        "records, a key": "/records?key=k7", "records, a key of a source": "/records?key=k7&source=shop-03",
        "records, no key": "/records?key=nobody",
    }  # fmt: skip


def forget(file: Path, site: Site) -> None:
    """No page of the database in memory."""
    site.engine.dispose()
    for each in (file, file.with_name(f"{file.name}-wal")):
        if each.exists():
            handle = os.open(each, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def ask_all(site: Site, client: TestClient, found: dict[str, str], options: argparse.Namespace) -> None:
    """A line a screen."""
    database_file = site.store.home / "sluice.db"
    print(f"{'ms':32}{Took.HEADER}   with cold caches{Took.HEADER}")
    for name, path in found.items():
        if options.only and name not in options.only:
            continue

        def ask(path: str = path, name: str = name) -> None:
            answer = client.get(path)
            assert answer.status_code == 200 or "no key" in name, answer.text

        ask()
        warm = timed(ask, options.times)
        cold = timed(ask, options.times, partial(forget, database_file, site))
        slow = "   too slow" if at(warm.wall, 95) * 1000 > TARGET_MS else ""
        print(f"{name:32}{warm.in_words}                   {cold.in_words}{slow}", flush=True)


def count(engine: Engine) -> None:
    """What the account of a delivery reads, record by record."""
    with database.reading(engine) as connection:
        delivery = connection.execute(text(LATEST_DELIVERY)).scalar_one()
        took = timed(partial(accounts, connection, delivery=delivery), COUNTS)
    print(f"{'its command meanwhile counts':32}{took.in_words}")


def main() -> None:
    """Fills the store, if that was not done before, and asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True, help="the state directory; it is left filled")
    parser.add_argument("--letters", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--times", type=int, default=40, help="how often each screen is asked for")
    parser.add_argument("--only", nargs="*", help="screens by their names")
    options = parser.parse_args()
    print(machine.in_words(machine.describe("starlette", "jinja2")))
    options.home.mkdir(parents=True, exist_ok=True)
    store, worker = StoreSettings(home=options.home, database_url=None), WorkerSettings(redis_url=None)
    fill(store, options.letters, options.rows).dispose()
    engine = database.open_for_reading(store)
    site = Site(store, worker, PageSettings(), engine, Sessions(), start=lambda _: Ended())  # type: ignore[arg-type,return-value]
    site.today.seconds = site.queue.seconds = 0.0
    with (
        scrape.queued(store, worker),
        TestClient(application(site, Options().hosts(8321)), BASE, follow_redirects=False) as client,
    ):
        ask_all(site, client, screens(engine, site), options)
        if not options.only or "delivery, counted" in options.only:
            count(engine)
        if not options.only or "metrics" in options.only:
            took = scrape.scraped(store, worker)
            slow = "   too slow" if at(took.wall, 95) * 1000 > SCRAPE_MS else ""
            print(f"{'metrics':32}{took.in_words}{slow}")
    engine.dispose()


if __name__ == "__main__":
    main()
