"""A process is killed at every named point of a record's way; afterwards nothing is lost, doubled or made up.

Each test kills one process once: the producer, a worker's parent or its horse, the loader, the cron, or
the replayer. The system runs on as its users run it, and must come to the undisturbed state by itself.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from store import database
from store.checks import conservation
from store.crash_points import POINTS
from store.dead_letters import groups
from store.settings import StoreSettings
from store.tables import lineage
from worker.dead_letters import mirror

from ..sandbox import HURRIED, Sandbox, sandbox
from .databases import new_database

SETTINGS = {
    "SLUICE_BATCH_RECORDS": "20",
    "SLUICE_ABANDONED_AFTER_SECONDS": "2",
    "SLUICE_LOAD_EVERY_SECONDS": "1",
    "SLUICE_RETRY_INTERVALS_SECONDS": "[1]",
    "SLUICE_CONTRACT": "contract:Guarded",
}
AT_ONCE = {
    "SLUICE_RETRY_INTERVALS_SECONDS": "[0]"
}  # of some twenty attempts at a poisoned batch, each would wait
CONTRACT = """
import os
from pydantic import field_validator
from worker.contract import Event

class Guarded(Event):
    @field_validator("name")
    @classmethod
    def not_deadly(cls, name):
        if name == "deadly":
            os._exit(7)
        return name
"""
EDIT = ["--reason", "invalid_value", "--set", "value=5"]
PRODUCER_POINTS = [point for point in POINTS if point.startswith("send.")]
POISON_POINTS = ["split.sent"]
# What a replay passes; the loader knows nothing of replays.
REPLAY_POINTS = [
    point
    for point in POINTS
    if point.split(".")[0] in ("send", "job", "batch", "outbox") and point != "batch.dead_letters"
]


# On PostgreSQL where a transaction is broken off; with SLUICE_TEST_BACKEND=postgresql all.
TELLING = ("batch.staged", "batch.dead_letters", "load.judged", "load.staging_cleared")
IS_WHOLE = os.environ.get("SLUICE_TEST_BACKEND") == "postgresql"
Origin = Callable[[str], Sandbox]


def on_both(points: list[str]) -> list[Any]:
    """Each point on SQLite, and some or all on PostgreSQL."""
    chosen = [("sqlite", point) for point in points if not IS_WHOLE]
    chosen += [("postgresql", point) for point in points if IS_WHOLE or point in TELLING]
    return [pytest.param(*each, id="-".join(each)) for each in chosen]


def lines(*, deadly: bool = False) -> str:
    """Forty-four records: valid ones, repeats, older and newer versions of a key, and four bad ones."""
    records = [
        {
            "key": f"k{number % 30}",
            "name": "n",
            "value": number,
            "ts": f"2025-01-{1 + number % 17:02d}T00:00:00Z",
        }
        for number in range(39)
    ]
    records.append(records[3])
    if deadly:
        records[5] |= {"name": "deadly"}
    bad = [
        {"key": "b1", "name": "n", "value": "x", "ts": "2025-01-01"},
        {"key": "b2", "name": "n", "value": 1},
    ]
    return "".join(json.dumps(record) + "\n" for record in [*records, *bad]) + "{broken\n[1]\n"


@contextmanager
def a_site(server: str | None, template: str = "template0", **env: str) -> Iterator[Sandbox]:
    """A sandbox over SQLite, or over a new database of a server."""
    if server is None:
        with sandbox(**SETTINGS | env) as site:
            site.file("contract.py", CONTRACT)
            yield site
        return
    with new_database(server, template) as url, sandbox(**SETTINGS | env, DATABASE_URL=url) as site:
        site.file("contract.py", CONTRACT)
        yield site


def server_of(request: pytest.FixtureRequest, backend: str) -> str | None:
    return request.getfixturevalue("server") if backend == "postgresql" else None


@pytest.fixture
def site(request: pytest.FixtureRequest, backend: str) -> Iterator[Sandbox]:
    with a_site(server_of(request, backend)) as box:
        yield box


def crash(site: Sandbox, point: str) -> dict[str, str]:
    """The environment in which whoever reaches the point first is killed there."""
    return {"SLUICE_CRASH_AT": point, "SLUICE_CRASH_TOKEN": site.file("token", "")}


def has_crashed(site: Sandbox) -> bool:
    return not (site.folder / "token").exists()


def send(site: Sandbox, words: list[str], point: str, again: list[str] | None = None) -> None:
    """Runs a producer command; where it was killed, then the one that goes on."""
    if point in PRODUCER_POINTS:
        assert site.run(*words, env=crash(site, point)).code == -signal.SIGKILL
        words = again or words
    if point != "send.sent" or again is None:  # there is nothing left to go on with
        site.ok_here(*words)


def run_until_settled(site: Sandbox, received: int, point: str) -> None:
    """`worker up`, one of whose processes is killed at the point, until all is processed, loaded and mirrored."""
    env = {} if point in PRODUCER_POINTS else crash(site, point)
    site.start_up("--workers", "2", env=env, **HURRIED)
    site.until(lambda: has_crashed(site), f"a death at {point}")
    site.until(
        lambda: settled(site) == received, f"{received} records received and loaded, after a death at {point}"
    )
    with site.redis() as redis, store_of(site) as engine:
        site.until(
            lambda: mirror.drift(redis, engine) == (set(), set()),
            "the DLQ equals the open letters",
        )
        with database.reading(engine) as connection:
            assert conservation.violations(connection) == []


def settled(site: Sandbox) -> int:
    """How many records were received, once nothing is queued or staged; -1 before."""
    rows = site.select("SELECT (SELECT sum(received) FROM batches), (SELECT count(*) FROM staging)")
    return rows[0][0] if rows and rows[0][1] == 0 and not site.queued() else -1


@contextmanager
def store_of(site: Sandbox) -> Iterator[Engine]:
    engine = database.existing(StoreSettings(home=site.home, database_url=site.env.get("DATABASE_URL")))
    yield engine
    engine.dispose()


def state(site: Sandbox) -> tuple[str, dict[str, int], int]:
    """What must be as if nobody had died: the digest, the open letters by reason, the replays."""
    with store_of(site) as engine, database.reading(engine) as connection:
        reasons = groups.open_by_reason(connection)
        return conservation.digest(connection), reasons, lineage.count_by_step(connection)["replay"]


def undisturbed(site: Sandbox, *, deadly: bool = False) -> None:
    """The same records without a death."""
    site.enqueue(site.file("in.ndjson", lines(deadly=deadly)))
    site.ok("worker", "up", "--burst")


@pytest.fixture(scope="module")
def loaded(request: pytest.FixtureRequest) -> Iterator[Origin]:
    """backend -> a site where all was loaded without a death; its Redis is stopped, so that it can be copied."""
    with ExitStack() as stack:

        @cache
        def made(backend: str) -> Sandbox:
            site = stack.enter_context(a_site(server_of(request, backend)))
            undisturbed(site)
            site.ok_here("worker", "down")
            return site

        yield made


@pytest.fixture(scope="module")
def replayed(request: pytest.FixtureRequest, loaded: Origin) -> Iterator[Origin]:
    """backend -> a site where a letter was replayed without a death."""
    with ExitStack() as stack:

        @cache
        def made(backend: str) -> Sandbox:
            site = stack.enter_context(copied(loaded(backend), server_of(request, backend)))
            site.ok_here("producer", "replay", *EDIT)
            site.ok("worker", "up", "--burst")
            return site

        yield made


@contextmanager
def copied(origin: Sandbox, server: str | None) -> Iterator[Sandbox]:
    template = make_url(origin.env["DATABASE_URL"]).database if server else None
    with a_site(server, template or "") as site:
        shutil.copytree(
            origin.folder, site.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock", "logs")
        )
        yield site


@pytest.mark.parametrize(
    ("backend", "point"), on_both([point for point in POINTS if point not in POISON_POINTS])
)
def test_a_death_on_the_way_from_file_to_target_changes_nothing(
    site: Sandbox, backend: str, point: str, loaded: Origin
) -> None:
    send(site, ["producer", "enqueue", site.file("in.ndjson", lines())], point)
    run_until_settled(site, 44, point)
    assert state(site) == state(loaded(backend))


@pytest.mark.parametrize(("backend", "point"), on_both(REPLAY_POINTS))
def test_a_death_on_the_way_of_a_replay_changes_nothing(
    request: pytest.FixtureRequest, loaded: Origin, backend: str, point: str, replayed: Origin
) -> None:
    with copied(loaded(backend), server_of(request, backend)) as site:
        send(site, ["producer", "replay", *EDIT], point, ["producer", "replay", "--resume", "1"])
        run_until_settled(site, 45, point)
        assert state(site) == state(replayed(backend))


@pytest.mark.parametrize(("backend", "point"), on_both(POISON_POINTS))
def test_a_death_while_a_poisoned_batch_is_cut_changes_nothing(
    request: pytest.FixtureRequest, site: Sandbox, backend: str, point: str
) -> None:
    site.env |= AT_ONCE
    site.enqueue(site.file("in.ndjson", lines(deadly=True)))
    run_until_settled(site, 44, point)
    with a_site(server_of(request, backend), **AT_ONCE) as calm:
        undisturbed(calm, deadly=True)
        assert state(site) == state(calm)
    assert state(site)[1]["poison"] == 1


def test_on_either_backend_the_undisturbed_state_is_the_same(loaded: Origin) -> None:
    assert state(loaded("sqlite")) == state(loaded("postgresql"))


def test_every_point_in_the_code_is_in_the_list_and_every_listed_one_is_in_the_code() -> None:
    root = Path(__file__).parents[3]
    files = [path for room in ("producer", "worker", "store") for path in (root / room).rglob("*.py")]
    reached = {
        line.split('reach("')[1].split('"')[0]
        for path in files
        for line in path.read_text().splitlines()
        if 'reach("' in line
    }
    assert reached == set(POINTS)
