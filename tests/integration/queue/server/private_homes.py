"""What tests ask of a private server, and do to it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from redis import Redis

from worker.queue.server import private_server


def stopped_afterwards(home: Path) -> Iterator[Path]:
    yield home
    if data_of(home).is_dir():
        private_server.stop(home)


def data_of(home: Path) -> Path:
    return home / "redis"


def server_id(home: Path) -> int:
    """The server's process id, by its own word."""
    with redis_of(home) as client:
        return int(client.info("server")["process_id"])


def redis_of(home: Path) -> Redis:
    return Redis.from_url(private_server.url(home))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


def kill(home: Path) -> None:
    """SIGKILL, once all it was told has reached the append-only file; returns when it is gone."""
    with redis_of(home) as client:
        until(lambda: client.info("persistence")["aof_buffer_length"] == 0)
        process = int(client.info("server")["process_id"])
        os.kill(process, signal.SIGKILL)
    until(lambda: not private_server.is_running(home))


def append_only_file(home: Path) -> Path:
    """The part that is being written to, by Redis 6 or 7."""
    parts = [*data_of(home).glob("appendonlydir/*.incr.aof"), data_of(home) / "appendonly.aof"]
    return parts[0]


VERSION = "[ \"$1\" = --version ] && echo 'Redis server v=7.0.0' && exit\n"


def program(path: Path, text: str) -> Path:
    """A stand-in for a server, which tells a version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + VERSION + text)
    path.chmod(0o755)
    return path
