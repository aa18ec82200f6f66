"""Whatever lies in Redis: maintenance goes member by member, quarantines what it cannot read, and goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from tests.hostile_redis import ADD, KEYS, MEMBERS, SCORES, Stranger
from worker.batch import poison
from worker.dead_letters import mirror, mirror_check
from worker.queue import outage, quarantine
from worker.queue.names import LOADER_QUEUE, RECORDS_QUEUE
from worker.queue.outage import make_patient
from worker.queue.upkeep import key_types, maintenance
from worker.queue.upkeep.key_types import expected_type, set_misfits_aside
from worker.queue.upkeep.maintenance import maintain

from ..plant import Plant, ndjson, row

RECORDS = [row("a"), row("b"), row("bad", value="x"), row("c")]


def tend(plant: Plant) -> None:
    for queue in (RECORDS_QUEUE, LOADER_QUEUE):
        maintain(plant.redis, plant.broker.queue(queue), 0.0)


CLEAN: list[str] = []


@pytest.fixture
def clean_digest(make_plant: Callable[[], Plant]) -> str:
    """Without a stranger; found once a process."""
    if not CLEAN:
        plant = make_plant()
        for each in RECORDS:
            plant.run(ndjson(each), f"{each['key']}.ndjson")
        CLEAN.append(plant.digest())
    return CLEAN[0]


@pytest.mark.parametrize("seed", range(5))
def test_whatever_a_stranger_writes_all_our_records_load_and_the_digest_is_equal(
    clean_digest: str, make_plant: Callable[[], Plant], seed: int
) -> None:
    plant = make_plant()
    make_patient(plant.redis)
    stranger = Stranger(plant.redis, seed)

    for each in RECORDS:
        for _ in range(12):
            stranger.write()
        sent = plant.send(ndjson(each), f"{each['key']}.ndjson")
        for _ in range(12):
            stranger.write()
        tend(plant)
        plant.work()
        tend(plant)
        for _ in range(20):  # a stranger may have taken it off the queue: it is sent again
            if not plant.send(ndjson(each), f"{each['key']}.ndjson").sent_batches:
                break
            plant.work()
        assert plant.send(ndjson(each), f"{each['key']}.ndjson").known_batches == len(sent.ids)
    for _ in range(2):  # the first may have met a stranger's job
        plant.load()

    assert plant.digest() == clean_digest
    assert plant.violations() == []
    set_misfits_aside(plant.redis)
    mirror_check.repair(plant.redis, plant.engine, lambda _: None)
    assert mirror.drift(plant.redis, plant.engine) == (set(), set())
    assert stranger.written["another type"] > 5


@pytest.mark.parametrize("kind", sorted(ADD))
def test_keys_of_another_type_stop_nobody(plant: Plant, kind: str) -> None:
    make_patient(plant.redis)
    for key in KEYS:
        ADD[kind](plant.redis, key, b"\xff", 1.0)

    tend(plant)
    plant.run(ndjson(row(), {"key": "bad"}))
    plant.load()  # the first may have met a stranger's job
    tend(plant)

    assert len(plant.rows()) == 1
    assert plant.broker.workers(RECORDS_QUEUE) == 0
    assert len(plant.letters()) == 1


WATCHED = ("rq:wip:records", "rq:scheduled:records", "rq:workers:records", "rq:workers", "rq:queue:records")


@pytest.mark.parametrize(
    ("kind", "score"), [("set", 0.0), ("list", 0.0), ("hash", 0.0), *(("zset", score) for score in SCORES)]
)
def test_no_member_stops_maintenance_or_stays_where_jobs_and_workers_are_looked_for(
    plant: Plant, kind: str, score: float, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [key for key in KEYS if KEYS[key] == kind]
    for key, member in product(keys, MEMBERS):
        ADD[kind](plant.redis, key, member, score)

    tend(plant)
    plant.run(ndjson(row()))
    plant.load()
    tend(plant)

    assert len(plant.rows()) == 1
    assert not plant.broker.is_unfinished()
    assert plant.broker.workers(RECORDS_QUEUE) == plant.broker.workers(LOADER_QUEUE) == 0
    reported = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    for key in set(keys) & {*WATCHED}:
        assert [each for each in reported if "\\xff" in each and key in each]


def test_a_key_of_another_type_is_renamed_and_counted_and_nothing_is_dropped(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    plant.redis.set("rq:wip:records", "precious")
    plant.redis.set(quarantine.SET_ASIDE_KEY, "precious too")
    plant.redis.set("rq:unknown", "another's")

    assert set_misfits_aside(plant.redis) == 2

    [name] = plant.redis.lrange(quarantine.SET_ASIDE_KEY, 0, -1)
    assert plant.redis.get(name) == b"precious"
    assert b"rq:wip:records" in name
    assert plant.redis.get("rq:unknown") == b"another's"
    assert "has another type than it must" in caplog.text
    assert set_misfits_aside(plant.redis) == 0


def test_a_key_that_is_right_again_is_not_renamed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker renamed the stranger's key after it was looked at, and a job was queued meanwhile."""
    plant.redis.rpush("rq:queue:records", "a-job")
    monkeypatch.setattr(key_types, "misfits", lambda _redis: [b"rq:queue:records", b"rq:gone"])

    assert set_misfits_aside(plant.redis) == 0
    assert plant.redis.lrange("rq:queue:records", 0, -1) == [b"a-job"]


@pytest.mark.parametrize("key", ["rq:scheduled:records", "rq:workers:records"])
def test_a_member_is_set_aside_though_its_key_was_away_for_a_moment(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Another worker renames a key of another type, and a third makes the right one, while this one looks."""
    add = plant.redis.zadd if KEYS[key] == "zset" else plant.redis.sadd
    add(key, {b"a:b:c": 0.0} if KEYS[key] == "zset" else b"a:b:c")  # type: ignore[arg-type]
    monkeypatch.setattr(plant.redis, "type", lambda _key: b"none")

    quarantine.set_member_aside(plant.redis, key, b"a:b:c", "it is not ours", is_sorted=KEYS[key] == "zset")

    assert plant.redis.exists(key) == 0
    assert plant.redis.lrange(quarantine.SET_ASIDE_KEY, 0, -1) == [b"a:b:c"]


def test_a_command_goes_on_though_another_process_is_always_first_to_rename(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_patient(plant.redis)
    left = iter(range(8))

    def another_was_first(redis: Redis) -> int:
        redis.delete("rq:workers")
        if next(left, None) is not None:  # and the stranger is there again
            redis.set("rq:workers", "a stranger's")
        return 0

    monkeypatch.setattr(outage, "set_misfits_aside", another_was_first)
    plant.redis.set("rq:workers", "a stranger's")

    assert plant.redis.sadd("rq:workers", "rq:worker:a") == 1


def test_an_error_that_no_renaming_mends_is_raised(plant: Plant) -> None:
    make_patient(plant.redis)
    plant.redis.set("rq:unknown", 1)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        plant.redis.lpush("rq:unknown", 1)


def test_every_key_that_is_used_in_a_whole_run_has_the_type_that_is_expected(plant: Plant) -> None:
    plant.run(ndjson(*RECORDS))
    tend(plant)
    found = {key: plant.redis.type(key) for key in plant.redis.keys("*")}
    expected = {key: expected_type(key) for key in found}
    assert {key for key, kind in expected.items() if kind is None} == set()
    assert all(found[key] == kind for key, kind in expected.items() if kind)
    for key, kind in KEYS.items():
        assert expected_type(key.encode()) == (
            None if key.startswith(maintenance.LOCK_KEY) else kind.encode()
        )


@pytest.mark.parametrize("value", [b"\xff", b"x", b"9223372036854775807", b"-5"])
def test_a_count_of_attempts_that_is_not_ours_stops_no_batch(plant: Plant, value: bytes) -> None:
    [message] = plant.messages(plant.file(ndjson(row("a"), row("b"))))
    plant.redis.set(poison.KEY + message.id, value)
    plant.send_messages([message])
    plant.work()
    plant.load()
    assert len(plant.rows()) == 2


@pytest.mark.parametrize("expiry", [None, 10**6])
def test_a_lock_on_maintenance_that_would_not_end_is_made_to_end(plant: Plant, expiry: int | None) -> None:
    key = maintenance.LOCK_KEY + "records"
    plant.redis.set(key, "x", ex=expiry)
    maintain(plant.redis, plant.broker.queue(), 0.0)
    assert 0 < plant.redis.ttl(key) <= maintenance.LOCK_SECONDS


@pytest.mark.parametrize("broken", [ResponseError("WRONGTYPE"), ResponseError("ERR unknown")])
def test_a_broken_mirror_stops_neither_a_batch_nor_a_load(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, broken: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise broken

    with monkeypatch.context() as patched:
        patched.setattr(mirror, "publish", fail)
        [id] = plant.run(ndjson(row(), {"key": "bad"})).ids
        assert plant.status(id) == "finished"
        assert len(plant.rows()) == 1
        assert plant.mirrored() == set()
        assert "the Redis DLQ is not up to date" in caplog.text
    plant.run(ndjson(row("b")), "next.ndjson")
    assert plant.mirrored() == {letter.id for letter in plant.letters()}
