"""A death while records are judged is the records': the worker goes on, and their batch is cut until they are found."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from rq import Queue
from rq.job import Job

from worker.batch import poison
from worker.queue.process.endings import DEATH, ENDINGS, WorkerStuck
from worker.queue.rq_internals import HardenedWorker
from worker.rq_worker import SluiceWorker

from ..plant import Plant, ndjson, row


@pytest.fixture
def worker(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> SluiceWorker:
    """A worker whose process for the jobs dies of each."""

    def die(self: HardenedWorker, job: Job, queue: Queue) -> None:
        self.how_the_job_ended = DEATH + "by SIGSEGV"

    monkeypatch.setattr(HardenedWorker, "execute_job", die)
    return SluiceWorker(["records"], connection=plant.redis)


@pytest.fixture
def looping(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Iterator[SluiceWorker]:
    """A worker whose loop may be run in this process: without a thread, and its handlers of signals are undone."""
    worker = SluiceWorker(["records"], connection=plant.redis)
    monkeypatch.setattr(worker, "subscribe", lambda: None)
    monkeypatch.setattr(worker, "unsubscribe", lambda: None)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield worker
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_loop_that_ends_at_an_error_ends_the_process_with_1(
    looping: SluiceWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_queue: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(looping, "maintain", fail)
    with pytest.raises(SystemExit) as end:
        looping.work()
    assert end.value.code == 1
    assert "found an unhandled exception" in caplog.text


def test_a_loop_that_is_asked_to_stop_ends_well(
    looping: SluiceWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looping, "maintain", lambda _queue: looping.request_stop(signal.SIGTERM, None))
    assert looping.work() is False


def test_deaths_while_judging_are_counted_for_the_batch_and_not_against_the_worker(
    plant: Plant, worker: SluiceWorker
) -> None:
    (message,) = plant.messages(plant.file(ndjson(row())))
    plant.send_messages([message])
    job = Job.fetch(message.id, connection=plant.redis, serializer=worker.serializer)
    for deaths in range(3 * ENDINGS):
        assert poison.begin(plant.redis, message) == deaths
        worker.execute_job(job, worker.queues[0])


def test_deaths_at_any_other_time_end_the_worker(
    plant: Plant, worker: SluiceWorker, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = plant.send(ndjson(*(row(f"k{n}") for n in range(ENDINGS))), batch_records=1)
    jobs = [Job.fetch(id, connection=plant.redis, serializer=worker.serializer) for id in sent.ids]
    for job in jobs[:-1]:
        worker.execute_job(job, worker.queues[0])
    with pytest.raises(SystemExit) as end:
        worker.execute_job(jobs[-1], worker.queues[0])
    assert end.value.code == WorkerStuck.exit_code
    assert "its process ended by SIGSEGV" in capsys.readouterr().err
