"""Whoever may write to Redis may send records, but must not be able to cost others theirs."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from store import database
from store.dead_letters import actions
from store.dead_letters.edits import Edit
from store.tables import deliveries
from store.tables.deliveries import Delivery
from worker.queue import packing
from worker.queue.client import Broker
from worker.queue.identity import halves, identified
from worker.queue.message import Letter, Message
from worker.queue.names import PROCESS_BATCH
from worker.queue.quarantine import SET_ASIDE_KEY
from worker.queue.rq_jobs import SluiceJob
from worker.queue.upkeep.maintenance import recover_abandoned
from worker.workplace import workplace

from ..plant import Plant, ndjson, row

TRUE = ndjson(row("a"), row("b"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_RETRY_INTERVALS_SECONDS", "[0]")


def deliver(plant: Plant, message: Message) -> None:
    """A stranger puts a message on the queue, and a worker takes it."""
    Broker.send(plant.broker, [message])
    plant.work()


def assert_refused(plant: Plant, id: str, caplog: pytest.LogCaptureFixture) -> None:
    assert plant.broker.failed([id]) == {id}
    assert id.encode() in plant.redis.lrange(SET_ASIDE_KEY, 0, -1)
    assert "is refused" in "".join(
        each.getMessage() for each in caplog.records if each.levelno == logging.ERROR
    )
    job = plant.broker.queue().fetch_job(id)
    assert job is not None
    assert len(job.results()) == 1  # another attempt would find the same


FORGERIES: dict[str, Callable[[Message], Message]] = {
    "other records": lambda true: replace(true, records=['{"key": "x"}', '{"key": "y"}']),
    "other lines": lambda true: replace(true, lines=range(7, 9)),
    "another format": lambda true: replace(true, format="csv", header=["key"]),
    "letters": lambda true: replace(true, letters=[Letter("a" * 32, 1, False)] * 2),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_message_does_not_make_a_true_batch_look_processed(
    plant: Plant, caplog: pytest.LogCaptureFixture, forge: Callable[[Message], Message]
) -> None:
    [true] = plant.messages(plant.file(TRUE))

    deliver(plant, forge(true))

    assert plant.rows("batches", "seq") == []
    assert plant.letters() == []
    assert_refused(plant, true.id, caplog)
    assert plant.send_messages([true]).sent_batches == 1
    plant.work()
    plant.load()
    assert [each["key"] for each in plant.rows()] == ["a", "b"]
    assert plant.broker.failed([true.id]) == set()


def test_a_forged_half_does_not_make_a_true_one_look_processed(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    [true] = plant.messages(plant.file(TRUE))
    half = halves(true)[0]

    deliver(plant, replace(half, records=['{"key": "x"}']))

    assert plant.rows("batches", "seq") == []
    assert_refused(plant, half.id, caplog)


def test_the_message_of_another_batch_in_the_job_of_a_true_one_is_refused(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    [true] = plant.messages(plant.file(TRUE))
    [other] = plant.messages(plant.file(ndjson(row("x")), "other.ndjson"))
    plant.send_messages([true])
    job = plant.broker.queue().fetch_job(true.id)
    assert job is not None
    job.data = orjson.dumps((PROCESS_BATCH, None, [other.to_wire()], {}))
    job.save()

    plant.work()

    assert plant.rows("batches", "seq") == []
    assert_refused(plant, true.id, caplog)


# Letters


def letters_as_messages(plant: Plant, edit: Edit | None = None) -> list[Message]:
    """What `producer replay` would send, registered and not sent."""
    sending = plant.action(edit)
    assert sending is not None
    return list(sending.messages())


def begun(plant: Plant, message: Message) -> Message:
    """Registered, as a stranger cannot do it."""
    with database.transaction(plant.engine) as connection:
        deliveries.begin(connection, message.delivery)
        action = actions.number_of(connection, str(message.delivery.content))
        assert action is not None
        actions.register(connection, action, message.id, [letter.id for letter in message.letters])
    return message


def other_payloads(message: Message) -> Message:
    good = orjson.dumps(row("evil")).decode()
    return identified(replace(message, records=[good] * len(message.records)))


CLAIMS: dict[str, tuple[Callable[[Message], Message], str]] = {
    "another payload": (other_payloads, "has another payload"),
    "no letter of the store": (
        lambda true: identified(replace(true, letters=[replace(true.letters[0], id="0" * 32)])),
        "not any more, in this batch",
    ),
    "a letter of another source": (
        lambda true: with_source(true, "other"),
        "has no letter",
    ),
    "a letter twice": (
        lambda true: identified(
            replace(
                true, records=true.records * 2, letters=true.letters * 2, lines=[*true.lines, *true.lines]
            )
        ),
        "names a letter twice",
    ),
}


def with_source(true: Message, source: str) -> Message:
    old = true.delivery
    delivery = Delivery.of("replay", source, old.file, str(old.content), old.fingerprint)
    return identified(replace(true, source=source, delivery=delivery))


@pytest.mark.parametrize(("forge", "why"), CLAIMS.values(), ids=CLAIMS)
def test_a_replay_that_the_store_does_not_know_closes_no_letter(
    plant: Plant, caplog: pytest.LogCaptureFixture, forge: Callable[[Message], Message], why: str
) -> None:
    plant.run(ndjson(row(value="x")))
    [true] = letters_as_messages(plant)
    forged = begun(plant, forge(begun(plant, true)))

    deliver(plant, forged)
    plant.load()

    assert why in caplog.text
    assert_refused(plant, forged.id, caplog)
    assert [letter.replays for letter in plant.letters("replaying")] == [0]
    assert plant.rows() == []
    assert len(plant.rows("batches", "seq")) == 1


@pytest.mark.parametrize("edit", [Edit(), Edit(set={"value": 4})], ids=["unchanged", "edited"])
def test_a_replay_of_an_action_that_is_not_known_is_refused(
    plant: Plant, caplog: pytest.LogCaptureFixture, edit: Edit
) -> None:
    plant.run(ndjson(row(value="x")))
    [true] = letters_as_messages(plant, edit)
    old = true.delivery
    forged = identified(
        replace(true, delivery=Delivery.of("replay", old.source, old.file, "0" * 32, old.fingerprint))
    )

    deliver(plant, forged)

    assert_refused(plant, forged.id, caplog)
    assert len(plant.letters("replaying")) == 1
    deliver(plant, true)
    assert len(plant.letters("open" if edit.is_empty else "resolved")) == 1


def test_an_edited_payload_that_was_exchanged_in_redis_closes_no_letter(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    plant.run(ndjson(row(value="x")))
    [true] = letters_as_messages(plant, Edit(set={"value": 4}))
    forged = other_payloads(true)

    deliver(plant, forged)
    plant.load()

    assert "not any more, in this batch" in caplog.text
    assert_refused(plant, forged.id, caplog)
    assert plant.rows() == []
    deliver(plant, true)
    assert len(plant.letters("resolved")) == 1


def test_a_replay_that_is_delivered_after_its_letters_were_withdrawn_closes_none(
    plant: Plant, caplog: pytest.LogCaptureFixture
) -> None:
    plant.run(ndjson(row(value="x")))
    [late] = letters_as_messages(plant, Edit(set={"value": 4}))
    with database.transaction(plant.engine) as connection:
        actions.give_back(connection, 1, [letter.id for letter in late.letters], "withdrawn")

    deliver(plant, late)

    assert_refused(plant, late.id, caplog)
    assert [letter.replays for letter in plant.letters()] == [0]


def test_letters_of_every_kind_are_known_again_when_they_are_replayed(plant: Plant) -> None:
    bad = b'{"key": "\xff"}\n' + b'{"a\0b": 1}\n' + "{é\n".encode() + ndjson(row(value="x"))
    plant.run(bad)
    plant.run(b"key,value,ts,name\na,x,2025-01-15T08:00:00Z,n\n", "b.csv", source="default")
    before = len(plant.letters())

    plant.replay()
    plant.work()

    assert [letter.replays for letter in plant.letters()] == [1] * before
    assert plant.redis.llen(SET_ASIDE_KEY) == 0


# What a job's hash says


def test_a_batch_is_on_its_way_only_where_a_queue_or_registry_has_it(plant: Plant) -> None:
    path = plant.file(TRUE)
    [id] = plant.send(path).ids
    for status in ("queued", "started", "scheduled"):
        plant.redis.hset(f"rq:job:{id}", "status", status)
        plant.redis.delete("rq:queue:records")
        assert plant.broker.on_their_way([id]) == set()
    plant.redis.hset(f"rq:job:{id}", "status", "finished")
    for key, member in (("rq:wip:records", f"{id}:e"), ("rq:scheduled:records", id)):
        plant.redis.zadd(key, {member: 1e10})
        assert plant.broker.on_their_way([id]) == {id}
        plant.redis.delete(key)
    for key in ("rq:queue:records:intermediate", "rq:queue:records"):
        plant.redis.rpush(key, id)
        assert plant.broker.on_their_way([id]) == {id}
        plant.redis.delete(key)
    assert plant.send(path).sent_batches == 1


TERMS: dict[str, Any] = {
    "timeout": 1,
    "result_ttl": 0,
    "failure_ttl": 1,
    "ttl": 1,
    "retries_left": 10**9,
    "retry_intervals": "[1000000000]",
    "repeats_left": 5,
    "repeat_intervals": "[1]",
    "number_of_retries": 10**9,
    "enqueue_at_front": 1,
    "enqueue_at_front_on_retry": 1,
    "dependency_ids": '["x"]',
    "dependency_id": "x",
    "allow_dependency_failures": 1,
    "group_id": "g",
    "success_callback_name": "os.mkdir",
    "failure_callback_name": "os.mkdir",
    "stopped_callback_name": "os.mkdir",
    "success_callback_timeout": -1,
    "failure_callback_timeout": -1,
    "rate_limit_key": "k",
    "rate_limit_concurrency": 1,
}


def test_a_job_has_the_terms_of_its_worker_whatever_its_hash_says(plant: Plant) -> None:
    [id] = plant.send(TRUE).ids
    workplace()
    before = plant.broker.queue().fetch_job(id)
    assert before is not None
    plant.redis.hset(f"rq:job:{id}", mapping=TERMS)

    job = plant.broker.queue().fetch_job(id)

    assert job is not None
    for name in ("timeout", "result_ttl", "failure_ttl", "retry_intervals", "retries_left", "ttl"):
        assert getattr(job, name) == getattr(before, name), name
    assert (job.repeats_left, job._dependency_ids, job.has_rate_limit, job.group_id) == (
        None,
        [],
        False,
        None,
    )
    assert (job._success_callback_name, job._success_callback_timeout) == (None, None)
    plant.work()
    plant.load()
    assert len(plant.rows()) == 2
    assert plant.redis.ttl(f"rq:job:{id}") > 60
    assert plant.broker.waiting() == 0


def test_an_abandoned_batch_comes_back_whatever_its_status_says(plant: Plant) -> None:
    [id] = plant.send(TRUE).ids
    plant.redis.delete("rq:queue:records")
    plant.redis.hset(f"rq:job:{id}", "status", "finished")
    plant.redis.zadd("rq:finished:records", {id: 1e10})  # by an earlier job with its id
    plant.redis.zadd("rq:wip:records", {f"{id}:execution": 1})

    assert recover_abandoned(plant.redis, plant.broker.queue(), 12) == 1

    assert plant.broker.on_their_way([id]) == {id}


@pytest.mark.parametrize("arguments", [[], [1], ["x"], [None], [{}, {}], [[1]]])
def test_forged_arguments_stop_no_worker(plant: Plant, arguments: list[Any]) -> None:
    for number in range(6):
        job = SluiceJob.create(
            "worker.jobs.process_batch",
            args=arguments,
            id=f"job-{number}",
            connection=plant.redis,
            serializer=plant.broker.queue().serializer,
        )
        plant.broker.queue().enqueue_job(job)
    plant.work()
    assert len(plant.broker.failed([f"job-{number}" for number in range(6)])) == 6
    for number in range(6):
        reason = plant.redis.xrange(f"rq:results:job-{number}")
        assert reason


def test_a_job_that_unpacks_to_gigabytes_fails_and_stops_nobody(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MAX_MESSAGE_BYTES", 1 << 20)
    fields = {"data": zlib.compress(bytes(20 << 20)), "status": "queued", "origin": "records"}
    plant.redis.hset("rq:job:bomb", mapping=fields)
    plant.redis.rpush("rq:queue:records", "bomb")
    plant.send(TRUE)

    plant.work()

    assert plant.broker.failed(["bomb"]) == {"bomb"}
    assert len(plant.rows("batches", "seq")) == 1
