"""A redis-server for one contestant: append-only file, an fsync each second, nothing but a unix socket."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from contestants.race import wait_until
from worker.queue.server.server_program import find_server

START_SECONDS = 10.0


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Its URL; it is empty, and killed at the end."""
    socket = folder / "redis.sock"
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
    }
    words = [word for name, value in settings.items() for word in ("--" + name, value)]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [str(find_server().path), *words], stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(lambda: _answers(socket), "the redis-server answers", START_SECONDS)
        yield f"unix://{socket}"
    finally:
        process.kill()
        process.wait()


def version() -> str:
    """Name and version of the server that contestants get."""
    found = find_server()
    kind = "Valkey" if found.path.name.startswith("valkey") else "Redis"
    return f"{kind} {'.'.join(map(str, found.version or ()))}"


def _answers(socket: Path) -> bool:
    try:
        with Redis(unix_socket_path=str(socket)) as client:
            return bool(client.ping())
    except RedisError:
        return False
