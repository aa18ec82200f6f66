"""Whoever may write to Redis may send records, but must not be able to cost others theirs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import orjson
import pytest

from store import database
from store.dead_letters import actions
from store.dead_letters.edits import Edit
from store.tables import deliveries
from store.tables.deliveries import Delivery
from worker.queue.client import Broker
from worker.queue.identity import halves, identified
from worker.queue.message import Letter, Message
from worker.queue.names import PROCESS_BATCH
from worker.queue.quarantine import SET_ASIDE_KEY

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
