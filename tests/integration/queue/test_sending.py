"""Sending: not faster than the workers, and no batch twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError, OutOfMemoryError

from store.errors import NoWorker, QueueUnavailable
from worker.batch import receive
from worker.queue import send as sending
from worker.queue import wait
from worker.queue.message import Message
from worker.queue.wait import BatchesFailed, Progress

from ..plant import Plant, ndjson, row


def five(plant: Plant) -> list[Message]:
    path = plant.file(ndjson(*(row(f"k{n}") for n in range(5))))
    return plant.messages(path, batch_records=1)


def send(plant: Plant, messages: list[Message] | Iterator[Message], max_pending: int = 1000) -> sending.Sent:
    return sending.send_all(messages, plant.broker, plant.engine, max_pending, lambda _: None, lambda _: None)


class Pauses:
    """Stands for `time.sleep`: a worker takes one batch at every pause."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.queued: list[int] = []

    def __call__(self, _: float) -> None:
        self.queued.append(self.plant.broker.waiting())
        assert self.plant.redis.lpop("rq:queue:records") is not None


@pytest.mark.parametrize("most", [1, 2, 4])
def test_the_queue_never_holds_more_than_max_pending(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    pauses = Pauses(plant)
    monkeypatch.setattr(sending.time, "sleep", pauses)
    result = send(plant, five(plant), most)
    assert result.sent_batches == 5
    assert max(pauses.queued) == most
    assert plant.broker.waiting() <= most
    assert result.waited_seconds >= 0


def test_sending_does_not_wait_while_there_is_room(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = Pauses(plant)
    monkeypatch.setattr(sending.time, "sleep", pauses)
    send(plant, five(plant), 5)
    assert pauses.queued == []


def test_a_long_wait_without_a_worker_says_how_to_start_one(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices: list[str] = []
    monkeypatch.setattr(sending, "NOTICE_AFTER_SECONDS", -1)
    monkeypatch.setattr(sending.time, "sleep", Pauses(plant))
    sending.send_all(five(plant), plant.broker, plant.engine, 2, lambda _: None, notices.append)
    assert notices
    assert all("worker up" in each for each in notices)


def test_batches_on_the_queue_are_not_sent_again(plant: Plant) -> None:
    first, second = send(plant, five(plant)), send(plant, five(plant))
    assert (first.sent_batches, first.known_batches) == (5, 0)
    assert (second.sent_batches, second.known_batches, second.ids) == (0, 5, first.ids)
    assert plant.broker.waiting() == 5


def test_processed_batches_are_not_sent_again_even_if_redis_is_empty(plant: Plant) -> None:
    send(plant, five(plant))
    plant.work()
    plant.redis.flushall()
    again = send(plant, five(plant))
    assert (again.sent_batches, again.known_batches) == (0, 5)
    assert plant.broker.waiting() == 0


def test_batches_that_redis_lost_before_they_were_processed_are_sent_again(plant: Plant) -> None:
    send(plant, five(plant))
    plant.redis.flushall()
    assert send(plant, five(plant)).sent_batches == 5


def test_sending_after_an_interruption_sends_the_rest(plant: Plant) -> None:
    messages = five(plant)

    def interrupted() -> Iterator[Message]:
        yield from messages[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send(plant, interrupted(), max_pending=2)
    sent = plant.broker.waiting()
    assert sent == 2  # a group is sent at once or not at all
    result = send(plant, messages)
    assert (result.sent_batches, result.known_batches) == (5 - sent, sent)
    plant.work()
    plant.load()
    assert plant.report()["input_records"] == plant.report()["target_rows"] == 5


def test_progress_is_reported_after_every_group(plant: Plant) -> None:
    reported: list[tuple[int, int]] = []
    sending.send_all(
        five(plant), plant.broker, plant.engine, 2,
        lambda so_far: reported.append((so_far.sent_batches, so_far.records)) or plant.redis.delete("rq:queue:records"),
        lambda _: None,
    )  # fmt: skip
    assert reported == [(2, 2), (4, 4), (5, 5)]


def test_a_group_is_limited_by_bytes_too(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "GROUP_BYTES", 1)
    assert [len(group) for group in sending.grouped(five(plant), 8)] == [1] * 5


@pytest.mark.parametrize(
    ("error", "message"), [(ConnectionError("refused"), "cannot be reached"), (OutOfMemoryError(), "full")]
)
def test_a_redis_that_refuses_is_an_error_that_says_what_to_do(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    broker = plant.broker

    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(broker.redis, "pipeline", refuse)
    with pytest.raises(QueueUnavailable, match=message):
        broker.send(five(plant))


# Waiting for what was sent


def test_waiting_needs_a_worker_and_a_loader(plant: Plant) -> None:
    with pytest.raises(NoWorker, match=r"needs a running worker and a running loader.*worker up"):
        wait.need_workers(plant.broker)


def test_waiting_ends_when_all_is_loaded(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = send(plant, five(plant))
    steps = [plant.work, plant.load]
    monkeypatch.setattr(wait.time, "sleep", lambda _: steps.pop(0)())
    reported: list[Progress] = []
    wait.wait_until_loaded(sent.ids, plant.broker, plant.engine, reported.append)
    assert reported == [Progress(0, False), Progress(5, False), Progress(5, True)]
    outcome = wait.summary(sent.ids, plant.engine)
    assert (outcome["received"], outcome["staged"], outcome["reasons"]) == (5, 5, {})


def test_waiting_ends_with_an_error_when_a_batch_has_failed_for_good(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_RETRY_INTERVALS_SECONDS", "[0]")
    sent = send(plant, five(plant)[:1])

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(receive, "store", fail)
    plant.work()
    with pytest.raises(BatchesFailed, match="1 of 1 batches failed"):
        wait.wait_until_loaded(sent.ids, plant.broker, plant.engine, lambda _: None)


def test_waiting_ends_with_an_error_when_the_workers_have_stopped(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = send(plant, five(plant))
    clock = iter(range(0, 1000, 15))
    monkeypatch.setattr(wait.time, "sleep", lambda _: None)
    monkeypatch.setattr(wait.time, "monotonic", lambda: next(clock))
    with pytest.raises(NoWorker, match="the batches stay queued"):
        wait.wait_until_loaded(sent.ids, plant.broker, plant.engine, lambda _: None)
    assert plant.broker.waiting() == 5


def test_a_queued_batch_has_retries_and_time_limits(plant: Plant) -> None:
    (message, *_) = five(plant)
    before = time.time()
    plant.broker.send([message])
    job = plant.broker.queue().fetch_job(message.id)
    assert job is not None
    assert job.retries_left and job.retries_left >= len(plant.settings.retry_intervals_seconds)
    assert job.retry_intervals == plant.settings.retry_intervals_seconds
    assert (job.failure_ttl, job.result_ttl) == (365 * 86400, 3600)
    assert job.description == "1 records of default"
    assert job.created_at.timestamp() >= before - 1
    assert Path(message.file).exists()


def test_a_batch_that_is_handed_over_twice_at_once_is_sent_once(plant: Plant) -> None:
    messages = five(plant)
    sent = send(plant, [*messages, *messages[:2]])
    assert (sent.sent_batches, sent.known_batches) == (5, 2)
    assert plant.broker.waiting() == 5
