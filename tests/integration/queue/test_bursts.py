"""`worker up --burst` ends where what is left cannot proceed, and says what waits, why, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Callable
from datetime import timedelta

import pytest

from store import database
from store.database import schema
from store.tables import watermarks
from worker.processes import children, supervisor
from worker.processes.children import Child
from worker.processes.supervisor import Burst, Supervisor
from worker.queue import client

from ..plant import Plant, ndjson, row


@pytest.fixture
def burst(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Burst]:
    """A burst whose workers run in this process."""
    monkeypatch.setattr(client, "connect", lambda *_, **__: plant.redis)
    monkeypatch.setattr(plant.redis, "close", lambda: None)
    monkeypatch.setattr(Supervisor, "_burst_round", lambda *_: plant.work())
    monkeypatch.setattr(supervisor, "LONGEST_NAP_SECONDS", 0.05)
    return lambda: Supervisor(1, "WARNING").burst()


def break_watermark(plant: Plant, source: str) -> None:
    with database.transaction(plant.engine) as connection:
        of_source = schema.watermarks.update().where(schema.watermarks.c.source == source)
        connection.execute(of_source.values(value="2099-01-01T00:00:00.000000Z"))


def test_one_refused_watermark_holds_its_own_batches_and_rows_and_no_others(
    plant: Plant, burst: Callable[[], Burst]
) -> None:
    for source in ("good", "bad"):
        plant.run(ndjson(row("a")), f"{source}-1.ndjson", source=source)
    for source in ("good", "bad"):
        plant.send(ndjson(row("b")), f"{source}-2.ndjson", source=source)
    plant.work()
    break_watermark(plant, "bad")
    plant.send(ndjson(row("c")), "good-3.ndjson", source="good")
    [waits] = plant.send(ndjson(row("c")), "bad-3.ndjson", source="bad").ids

    done = burst()

    assert list(done.held_batches) == [waits]
    assert "store watermark repair" in done.held_batches[waits]
    assert done.not_loaded is not None
    assert "'bad'" in done.not_loaded
    assert [(each["source"], each["key"]) for each in plant.rows() if each["key"] != "a"] == [
        ("good", "b"), ("good", "c"),
    ]  # fmt: skip

    with database.transaction(plant.engine) as connection:
        watermarks.repair(connection, timedelta(hours=1))
    done = burst()  # does not wait until the batch would be tried again
    assert (done.held_batches, done.not_loaded, done.loaded) == ({}, None, 2)


def test_a_batch_that_is_held_is_tried_at_once_however_long_it_would_wait(
    plant: Plant, burst: Callable[[], Burst], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_RETRY_INTERVALS_SECONDS", "[300]")
    plant.configure('[sources.s]\nfields.key = "id"\n')
    [id] = plant.send(
        ndjson({"id": "a", "name": "x", "value": 4, "ts": "2025-01-15T08:00:00Z"}), source="s"
    ).ids
    plant.configure("")
    assert list(burst().held_batches) == [id]
    assert list(burst().held_batches) == [id]
    plant.configure('[sources.s]\nfields.key = "id"\n')
    assert burst().loaded == 1


def test_workers_that_are_suspended_end_it(plant: Plant, burst: Callable[[], Burst]) -> None:
    plant.send(ndjson(row()))
    plant.redis.set("rq:suspended", 1)

    done = burst()

    assert (done.waiting_batches, done.batches) == (1, 0)
    assert done.gave_up is not None
    assert "rq resume" in done.gave_up
    plant.redis.delete("rq:suspended")
    assert burst().loaded == 1


def test_workers_that_end_before_they_take_a_batch_end_it_and_what_is_staged_is_loaded(
    plant: Plant, burst: Callable[[], Burst], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant.send(ndjson(row("a")), "a.ndjson")
    plant.work()
    [next] = plant.send(ndjson(row("b")), "b.ndjson").ids
    monkeypatch.setattr(Supervisor, "_burst_round", lambda *_: None)

    done = burst()

    assert (done.waiting_batches, done.loaded) == (1, 1)
    assert done.gave_up is not None
    assert next in done.gave_up


def test_a_child_that_cannot_be_forked_has_died(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(children.processes.Process, "start", refuse)
    child = Child("worker 1", lambda: None)
    for _ in range(children.DEATHS_TO_GIVE_UP - 1):
        child.start()
        assert child.process is None
    with pytest.raises(children.GaveUp, match="could not be started: Resource temporarily unavailable"):
        child.start()
