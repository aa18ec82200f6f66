"""A few megabytes may hold gigabytes: a job is unpacked only as far as a message may reach, and where it is done."""

from __future__ import annotations

import tracemalloc
import zlib
from typing import Any

import fakeredis
import orjson
import pytest

from store.errors import ConfigError
from worker.queue import packing, rq_jobs
from worker.queue.names import PROCESS_BATCH
from worker.queue.packing import pack, unpack
from worker.queue.quarantine import NotAJob
from worker.queue.rq_jobs import SluiceJob, SluiceQueue
from worker.queue.serializer import JsonSerializer

BOMB = zlib.compress(bytes(20 << 20), 9)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_MESSAGE_BYTES", 1 << 20)
    monkeypatch.setattr(packing, "AT_ONCE", 1 << 16)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("most", [0, 1, 1 << 20])
def test_what_is_packed_is_unpacked_up_to_the_greatest_message(most: int) -> None:
    assert unpack(pack(b"x" * most)) == b"x" * most


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("packed", [zlib.compress(b"x" * ((1 << 20) + 1)), BOMB, b"[" * ((1 << 20) + 1)])
def test_more_than_a_message_may_hold_is_not_unpacked(packed: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(NotAJob, match="more than 1,048,576 bytes"):
        unpack(packed)
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


@pytest.mark.usefixtures("small")
def test_more_than_a_worker_reads_is_not_sent() -> None:
    with pytest.raises(ConfigError, match="set batch_bytes or max_record_bytes to less"):
        pack(b"x" * ((1 << 20) + 1))


def test_what_was_packed_twice_is_unpacked_once() -> None:
    assert unpack(zlib.compress(BOMB)) == BOMB


def test_a_job_is_handed_on_without_being_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rq_jobs, "unpack", None)
    redis = fakeredis.FakeRedis()
    stored: dict[str, Any] = {
        "data": BOMB,
        "exc_info": BOMB,
        "status": "queued",
        "created_at": "2025-01-15T08:00:00Z",
    }
    redis.hset("rq:job:bomb", mapping=stored)

    job = SluiceJob.fetch("bomb", connection=redis, serializer=JsonSerializer)
    job.save()
    SluiceQueue("records", connection=redis)._persist_job(job, redis.pipeline())

    assert redis.hget("rq:job:bomb", "data") == BOMB


def test_what_is_changed_in_a_job_is_what_is_saved() -> None:
    redis = fakeredis.FakeRedis()
    job = SluiceJob.create(PROCESS_BATCH, args=[1], connection=redis, serializer=JsonSerializer, id="j")
    job.save()
    again = SluiceJob.fetch("j", connection=redis, serializer=JsonSerializer)
    assert (again.func_name, again.args) == (PROCESS_BATCH, [1])
    again.args = [2]
    again.save()
    assert orjson.loads(zlib.decompress(redis.hget("rq:job:j", "data")))[2] == [2]  # type: ignore[arg-type]
