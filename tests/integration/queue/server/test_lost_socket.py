"""A private server whose socket was deleted, as cleaners of temporary folders do, is found by its lock and its pid."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from store.errors import QueueUnavailable
from worker.queue.client import Broker
from worker.queue.outage import QUIET_TRIES, Patience
from worker.queue.server import folder, private_server
from worker.settings import WorkerSettings


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home with a running server that has one key."""
    home = tmp_path / "h"
    with Redis.from_url(private_server.ensure_running(home)) as client:
        client.set("kept", 1)
    yield home
    private_server.stop(home)


def socket(home: Path) -> Path:
    return folder.socket_of(home)


@pytest.mark.parametrize(
    "gone",
    [["redis.sock"], ["redis.sock", "redis.pid"], ["redis.sock", "redis.pid", "life.lock", "start.lock"]],
)
def test_the_next_command_has_a_server_with_the_same_data_and_says_what_happened(
    home: Path, caplog: pytest.LogCaptureFixture, gone: list[str]
) -> None:
    socket(home).unlink()
    for name in gone[1:]:
        (home / "redis" / name).unlink()
    with caplog.at_level(logging.WARNING), Redis.from_url(private_server.ensure_running(home)) as client:
        assert client.get("kept") == b"1"
    assert "of the private Redis was deleted" in caplog.text


def test_it_is_running_and_the_supervisor_restarts_it(home: Path) -> None:
    assert not private_server.was_killed(home)
    socket(home).unlink()
    assert private_server.is_running(home)
    assert private_server.was_killed(home)


def test_stopping_it_stops_it(home: Path) -> None:
    pid = private_server._server_pid(home / "redis")
    assert pid is not None
    socket(home).unlink()
    assert private_server.stop(home)
    assert not private_server.is_running(home)
    assert not Path(f"/proc/{pid}/cwd").exists()
    assert not private_server.stop(home)


def test_who_waits_for_a_stopped_server_learns_it_and_a_lost_one_is_started_again(home: Path) -> None:
    broker = Broker(Redis(), WorkerSettings.load(), home)
    assert broker.tend() is None
    socket(home).unlink()
    assert broker.tend() is None
    assert socket(home).exists()
    private_server.stop(home)
    assert "was stopped, as by `worker down`" in str(broker.tend())


def test_a_configured_redis_is_not_tended(home: Path) -> None:
    private_server.stop(home)
    settings = WorkerSettings.load(redis_url="redis://127.0.0.1:9")
    assert Broker(Redis(), settings, home).tend() is None


def test_waiting_ends_where_it_does_not_help() -> None:
    patience = Patience(lambda _: None)
    patience.tend = lambda: "it was stopped"
    assert patience.compute(QUIET_TRIES) > 0
    with pytest.raises(QueueUnavailable, match="it was stopped"):
        patience.compute(QUIET_TRIES + 1)
