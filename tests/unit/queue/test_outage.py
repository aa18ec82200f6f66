"""A Redis that answers that it is not ready is away: waited for, said once, and gone on after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fakeredis
import pytest
from redis import Redis
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    ExecAbortError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from rq.exceptions import StopRequested

from worker.queue import outage
from worker.queue.outage import make_patient, state_of, wait_until_ready

IN_A_TRANSACTION = "Command # 1 (HSET rq:job:MISCONF status queued) of pipeline caused error: "
ERRORS = {
    "MISCONF": ResponseError(
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to"
    ),
    "MISCONF in a transaction": ResponseError(IN_A_TRANSACTION + "MISCONF Errors writing to the AOF file"),
    "NOREPLICAS": ResponseError("NOREPLICAS Not enough good replicas to write."),
    "NOREPLICAS in a transaction": ResponseError(IN_A_TRANSACTION + "NOREPLICAS Not enough good replicas"),
    "READONLY": ReadOnlyError("You can't write against a read only replica."),
    "UNBLOCKED": ResponseError("UNBLOCKED force unblock from blocking operation, instance state changed"),
    "LOADING": BusyLoadingError("Redis is loading the dataset in memory"),
    "BUSY": ResponseError("BUSY Redis is busy running a script."),
    "OOM": OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
    "EXECABORT": ExecAbortError("Transaction discarded because of previous errors."),
    "MASTERDOWN": MasterDownError("Link with MASTER is down"),
    "TRYAGAIN": TryAgainError("Multiple keys request during rehashing of slot"),
}
OTHERS = [
    ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
    ResponseError(IN_A_TRANSACTION + "WRONGTYPE Operation against a key"),
    ResponseError("ERR MISCONF"),
    ResponseError("BUSYGROUP Consumer Group name already exists"),
    ConnectionError("MISCONF refused"),
    ValueError("OOM"),
]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr(outage.time, "sleep", made.append)
    return made


def failing(times: int, error: Exception, client: Redis | None = None) -> Callable[[], Any]:
    """A command that fails so often, and then succeeds."""
    left = iter(range(times))

    def do() -> str:
        if next(left, None) is not None:
            raise error
        return "done"

    return do


@pytest.mark.parametrize("name", ERRORS)
def test_every_state_in_which_redis_cannot_work_is_known(name: str) -> None:
    assert state_of(ERRORS[name]) == name.split(maxsplit=1)[0]


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_no_other_error_is_taken_for_such_a_state(error: Exception) -> None:
    assert state_of(error) is None


@pytest.mark.parametrize("prepare", [make_patient, wait_until_ready])
@pytest.mark.parametrize("name", ERRORS)
def test_a_redis_that_is_not_ready_is_waited_for_and_reported_once(
    name: str, prepare: Callable[..., Any], pauses: list[float]
) -> None:
    reported: list[str] = []
    client = fakeredis.FakeRedis()
    prepare(client, reported.append)
    retry = client.connection_pool.connection_kwargs["retry"]

    assert retry.call_with_retry(failing(9, ERRORS[name]), lambda *_: None) == "done"

    assert len(pauses) == 9
    assert pauses == sorted(pauses)
    assert max(pauses) <= outage.LONGEST_SECONDS
    state = name.split(maxsplit=1)[0]
    meaning = outage.STATES[state]
    assert reported == [
        f"Redis is not ready, {meaning} ({state}): waiting until it is",
        "Redis is ready again",
    ]


def test_a_long_wait_is_reported_again_but_seldom(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    reported: list[str] = []
    clock = iter(range(0, 10**6, 20))
    monkeypatch.setattr(outage.time, "monotonic", lambda: next(clock))
    client = fakeredis.FakeRedis()
    make_patient(client, reported.append)
    retry = client.connection_pool.connection_kwargs["retry"]
    retry.call_with_retry(failing(12, ERRORS["MISCONF"]), lambda *_: None)
    assert 2 < len(reported) < 12


def test_a_server_that_does_not_answer_is_waited_for_only_by_who_is_patient(pauses: list[float]) -> None:
    client = fakeredis.FakeRedis()
    wait_until_ready(client)
    retry = client.connection_pool.connection_kwargs["retry"]
    with pytest.raises(ConnectionError):
        retry.call_with_retry(failing(1, ConnectionError("refused")), lambda *_: None)
    make_patient(client)
    retry = client.connection_pool.connection_kwargs["retry"]
    assert retry.call_with_retry(failing(3, ConnectionError("refused")), lambda *_: None) == "done"
    assert len(pauses) == 3


def test_whoever_waits_for_a_redis_that_is_not_ready_can_be_stopped(pauses: list[float]) -> None:
    client = fakeredis.FakeRedis()
    patience = make_patient(client)
    patience.give_up = True
    retry = client.connection_pool.connection_kwargs["retry"]
    with pytest.raises(StopRequested):
        retry.call_with_retry(failing(9, ERRORS["MISCONF"]), lambda *_: None)


@pytest.mark.parametrize("name", ["READONLY", "LOADING"])
def test_a_server_that_was_replaced_is_connected_to_anew(name: str, pauses: list[float]) -> None:
    cut: list[Exception] = []
    client = fakeredis.FakeRedis()
    make_patient(client)
    retry = client.connection_pool.connection_kwargs["retry"]
    retry.call_with_retry(failing(2, ERRORS[name]), cut.append)
    assert len(cut) == 2
