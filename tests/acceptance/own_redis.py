"""A redis-server of the test's own, which can be killed, hung, filled and emptied."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from worker.queue.server.server_program import find_server

from .commands import DEADLINE_SECONDS, until


class OwnRedis:
    """An append-only server on a unix socket; what it has acknowledged outlives a SIGKILL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def client(self, seconds: float = 60.0) -> Redis:
        """A connection that never tries twice."""
        once = Retry(NoBackoff(), 0)
        return Redis(unix_socket_path=str(self.socket), socket_timeout=seconds, retry=once)

    def answers(self) -> bool:
        try:
            with self.client(0.5) as client:
                return bool(client.ping())
        except RedisError:
            return False

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, *options: str) -> None:
        """Starts it and waits until it answers, its append-only file read."""
        settings = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(find_server().path), *settings, *durable, *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self.answers, "the redis-server answers")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)
            self.process.wait(DEADLINE_SECONDS)

    def hang(self) -> None:
        """It accepts connections, or its kernel does, and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def lose_everything(self) -> None:
        """Removes the append-only file, one file or a folder of parts."""
        for found in self.folder.glob("appendonly*"):
            shutil.rmtree(found) if found.is_dir() else found.unlink()


@contextmanager
def own_redis(*options: str) -> Iterator[OwnRedis]:
    """A running server, ended and removed at the end; its path is short, for a socket's must be."""
    server = OwnRedis(Path(tempfile.mkdtemp(prefix="sl-r")))
    try:
        server.start(*options)
        yield server
    finally:
        if server.is_alive:
            server.resume()
            server.kill()
        shutil.rmtree(server.folder, ignore_errors=True)
