"""Each check of `worker doctor` finds what is wrong, over a real database and a Redis that is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import fakeredis
import pytest
from redis.exceptions import ConnectionError, NoPermissionError, OutOfMemoryError
from rq import Worker

from store import database, timestamps
from store.database import schema
from store.errors import QueueUnavailable
from store.settings import StoreSettings
from store.tables import leases
from worker.doctor import redis_asked
from worker.doctor.examination import CHECKS
from worker.queue import client
from worker.queue.names import LOADER_QUEUE, RECORDS_QUEUE
from worker.queue.quarantine import SET_ASIDE_KEY
from worker.queue.upkeep import notes
from worker.rq_worker import SluiceWorker
from worker.workplace import Workplace

from ..plant import Plant, ndjson, row
from .conftest import Doctor


def worker_of(plant: Plant, queue: str = RECORDS_QUEUE) -> SluiceWorker:
    """A worker of ours that has told of itself."""
    worker = SluiceWorker([queue], connection=plant.redis, name=f"ours-{queue}")
    worker.register_birth()
    return worker


@pytest.fixture
def staffed(plant: Plant) -> Iterator[Plant]:
    """A plant where everything is as it should be."""
    plant.run(ndjson(row()))
    for name in (RECORDS_QUEUE, LOADER_QUEUE):
        worker_of(plant, name)
    plant.home.chmod(0o700)
    if plant.database.exists():
        plant.database.chmod(0o600)
    yield plant


def test_where_all_is_well_every_check_says_so_in_the_order_of_their_names(
    staffed: Plant, doctor: Doctor
) -> None:
    found = doctor(free_failed=0, free_warning=0)
    assert list(found) == list(CHECKS)
    # The servers of the tests do not wait for the disk.
    wrong = {name: each for name, each in found.items() if each.verdict != "ok"}
    assert set(wrong) <= {"database settings"}, wrong
    assert not any(each.verdict == "failed" for each in found.values())
    assert not staffed.redis.keys("*doctor*")


def test_a_policy_that_evicts_has_failed(staffed: Plant, doctor: Doctor, info: dict[str, Any]) -> None:
    info |= {"maxmemory_policy": "allkeys-lru", "maxmemory": 100 << 20}
    assert doctor()["redis memory"].verdict == "failed"


def test_a_worker_with_another_contract_has_failed(staffed: Plant, doctor: Doctor) -> None:
    assert doctor()["contract of workers"].verdict == "ok"
    staffed.configure('[sources.shop]\nfields = {value = "amount"}\n')
    found = doctor()["contract of workers"]
    assert found.verdict == "failed"
    assert "shop" in found.found and f"ours-{RECORDS_QUEUE}" in found.found


def test_a_worker_that_reads_its_contract_again_notes_it(staffed: Plant, doctor: Doctor) -> None:
    staffed.configure('[sources.shop]\nfields = {value = "amount"}\n')
    ours = Workplace.open().judges.fingerprints()
    for name in (RECORDS_QUEUE, LOADER_QUEUE):
        notes.renew(staffed.redis, f"ours-{name}", ours)
    assert doctor()["contract of workers"].verdict == "ok"


def test_a_worker_that_is_gone_does_not_come_back_by_a_note(plant: Plant) -> None:
    notes.renew(plant.redis, "gone", {"": "aa"})
    assert not plant.redis.exists("rq:worker:gone")


def test_the_notes_of_a_worker_end_with_its_heartbeats(plant: Plant) -> None:
    worker = worker_of(plant)
    assert 0 < plant.redis.ttl(worker.key) <= 120
    [note] = notes.of_workers(plant.redis, RECORDS_QUEUE)
    assert (note.sluice, set(note.fingerprints)) == (notes.our_version(), {""})
    plant.redis.delete(worker.key)
    assert notes.of_workers(plant.redis, RECORDS_QUEUE) == []


def test_a_worker_of_rqs_own_has_failed_and_notes_of_strangers_are_no_json(
    staffed: Plant, doctor: Doctor
) -> None:
    stock = Worker([RECORDS_QUEUE], connection=staffed.redis, name="stock")
    stock.register_birth()
    staffed.redis.hset(stock.key, "sluice_fingerprints", b"\xff{")
    found = doctor()["workers"]
    assert found.verdict == "failed"
    assert "stock" in found.found
    staffed.redis.hset(stock.key, "sluice_version", "\x1b[2J9")
    assert doctor()["workers"].verdict == "warning"
    assert "\x1b" not in doctor()["workers"].found


def test_a_worker_that_redis_has_forgotten_is_no_stranger_and_describes_itself_again(
    staffed: Plant, doctor: Doctor
) -> None:
    """A key expires while no server takes writes; the first command after that makes one that holds a state alone."""
    staffed.redis.delete(f"rq:worker:ours-{RECORDS_QUEUE}")
    worker = worker_of(staffed)
    staffed.redis.delete(worker.key)
    worker.set_state("idle")
    worker.heartbeat()
    found = doctor()
    assert found["workers"].verdict == "warning", found["workers"]
    assert worker.name in found["workers"].found
    assert found["contract of workers"].verdict == "ok"
    worker.run_maintenance_tasks()
    assert doctor()["workers"].verdict == "ok"


@pytest.mark.parametrize(("hours", "verdict"), [(0, "ok"), (-1, "failed"), (1, "failed")])
def test_a_clock_that_differs_from_redis_has_failed(
    staffed: Plant, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, hours: int, verdict: str
) -> None:
    right = timestamps.now
    monkeypatch.setattr(timestamps, "now", lambda: right() + timedelta(hours=hours))
    assert doctor()["redis clock"].verdict == verdict


def test_a_command_that_is_not_allowed_is_named(
    staffed: Plant, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = redis_asked._tried

    def refusing(redis: Any, key: str) -> dict[str, Exception]:
        return tried(redis, key) | {"BLMOVE": NoPermissionError("no permission")}

    monkeypatch.setattr(redis_asked, "_tried", refusing)
    found = doctor()["redis rights"]
    assert found.verdict == "failed"
    assert "BLMOVE on sluice:*, BLMOVE on rq:*" in found.found


def test_a_redis_that_refuses_to_write_has_failed(
    staffed: Plant, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_asked, "_tried", lambda *_: {"SET": OutOfMemoryError("OOM")})
    found = doctor()["redis rights"]
    assert found.verdict == "failed"
    assert "its memory is full" in found.found


def test_a_revision_that_is_not_ours_has_failed(staffed: Plant, doctor: Doctor) -> None:
    with database.transaction(staffed.engine) as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '0000'")  # noqa: S608
    found = doctor()["database schema"]
    assert found.verdict == "failed"
    assert "0000" in found.found


def test_a_disk_that_is_nearly_full_has_failed(staffed: Plant, doctor: Doctor) -> None:
    assert doctor(free_failed=1 << 60)["free disk"].verdict == "failed"
    assert doctor(free_failed=0, free_warning=1 << 60)["free disk"].verdict == "warning"


def test_a_lease_of_a_dead_process_is_a_warning(staffed: Plant, doctor: Doctor) -> None:
    host, _, nonce = leases.new_holder().rsplit(":", 2)
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    with database.transaction(staffed.engine) as connection:
        leases.acquire(connection, leases.LOADER, f"{host}:{child}:{nonce}", 60)
    assert doctor()["leases"].verdict == "warning"


def test_quarantined_and_failed_jobs_are_warnings(staffed: Plant, doctor: Doctor) -> None:
    staffed.redis.rpush(SET_ASIDE_KEY, "x")
    staffed.redis.zadd(f"rq:failed:{RECORDS_QUEUE}", {"x": 9e9})
    found = doctor()
    assert found["quarantine"].verdict == found["failed jobs"].verdict == "warning"


def test_without_redis_its_checks_have_failed_and_the_others_are_done(
    staffed: Plant, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise QueueUnavailable("Redis at host:1 cannot be reached (refused): start it")

    monkeypatch.setattr(client, "connect_once", away)
    found = doctor(free_failed=0, free_warning=0)
    assert found["redis server"].found == "Redis at host:1 cannot be reached (refused)"
    assert found["redis server"].next == "start it"
    failed = {name for name, each in found.items() if each.verdict == "failed"}
    redis_checks = {name for name in CHECKS if name.startswith("redis")}
    assert failed == redis_checks | {"workers", "contract of workers", "failed jobs", "quarantine"}


def test_a_redis_that_is_lost_in_between_does_not_end_the_checks(
    staffed: Plant, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> None:
        raise ConnectionError("Connection closed by server.")

    monkeypatch.setattr(staffed.redis, "ping", lost)
    found = doctor()
    assert found["redis latency"].verdict == "failed"
    assert found["quarantine"].verdict == "ok"


@pytest.mark.sqlite("a file that is not there")
def test_without_a_database_its_checks_have_failed_and_none_is_made(plant: Plant, doctor: Doctor) -> None:
    plant.close()
    plant.database.unlink()
    found = doctor()
    assert found["database server"].verdict == found["leases"].verdict == "failed"
    assert "store init" in found["database server"].next
    assert found["redis server"].verdict == "ok"
    assert not plant.database.exists()


@pytest.mark.sqlite("a lock of the whole file")
def test_a_lock_that_is_not_given_back_has_failed(
    staffed: Plant, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_BUSY_TIMEOUT_SECONDS", "0.01")
    with database.transaction(staffed.engine):
        found = doctor()
    assert found["database writing"].verdict == "failed"
    assert "locked" in found["database writing"].found
    assert found["database latency"].verdict == "ok"


@pytest.mark.postgresql("roles")
def test_a_role_without_rights_has_failed(
    staffed: Plant, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"bare_{os.getpid()}"
    staffed.engine.dispose()
    with database.transaction(staffed.engine, "change") as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN")
        connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    url = str(StoreSettings.load().database_url)
    try:
        monkeypatch.setenv("DATABASE_URL", url.replace("//postgres@", f"//{name}@"))
        found = doctor()
        assert found["database rights"].verdict == "failed"
        assert "INSERT on " in found["database rights"].found
        assert found["database schema"].verdict == "ok"
    finally:
        with database.transaction(staffed.engine, "change") as connection:
            connection.exec_driver_sql(f"DROP OWNED BY {name}")
            connection.exec_driver_sql(f"DROP ROLE {name}")


@pytest.mark.postgresql("it has a clock of its own")
def test_a_clock_that_differs_from_the_database_has_failed(
    staffed: Plant, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = timestamps.now
    monkeypatch.setattr(timestamps, "now", lambda: right() + timedelta(hours=1))
    assert doctor()["database clock"].verdict == "failed"


def test_no_version_is_known_of_a_redis_that_may_not_be_asked(
    staffed: Plant, doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise NoPermissionError("this user has no permissions to run the 'info' command")

    assert isinstance(staffed.redis, fakeredis.FakeRedis)
    monkeypatch.setattr(staffed.redis, "info", refused)
    found = doctor()
    assert found["redis server"].verdict == found["redis memory"].verdict == "failed"
    assert found["redis clock"].verdict == "ok"
