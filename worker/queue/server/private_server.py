"""A private redis-server, for when no REDIS_URL is given.

All of it lies in `<home>/redis`, mode 0700: append-only file, log, pid file, socket, and two locks:

    start.lock   held by whoever starts or stops the server, so that several commands make one server
    life.lock    inherited by the server, which holds it until it dies, however it dies

so whether a server lives is never guessed from a process id; its process id only tells whom to stop if its
socket was deleted. A socket's path holds about 100 bytes;
below a deeper home it lies in a private folder of the runtime or temporary directory, and `socket`
says where.
"""

from __future__ import annotations

import enum
import logging
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError, TimeoutError
from redis.retry import Retry

from store.errors import QueueUnavailable
from store.logs import event
from store.text import printable
from worker.queue.server.folder import choose_socket, folder_of, is_locked, locked, make_private, socket_of
from worker.queue.server.server_program import NAMES, find_server

START_SECONDS = 10.0
LOAD_SECONDS = 60.0  # replaying a long append-only file
STOP_SECONDS = 30.0  # flushing one
ANSWER_SECONDS = 2.0
POLL_SECONDS = 0.02
PROCESSES = Path("/proc")  # Linux alone has it
FIND_SECONDS = 5.0  # for the process of a server without a socket; one that ends has removed its pid file

log = logging.getLogger("sluice.redis")


class _Answer(enum.Enum):
    NONE = "nobody listens"
    BUSY = "accepts, but does not answer in time"
    LOADING = "replays its append-only file"
    READY = "answers"


def ensure_running(home: Path) -> str:
    """The URL of the server of `home`, started first where none runs."""
    folder = folder_of(home)
    if _probe(socket_of(home)) is _Answer.READY:
        return url(home)
    make_private(home, folder)
    with locked(folder / "start.lock"):
        if _lost_its_socket(home, folder):
            log.warning(
                "the socket %s of the private Redis was deleted: the server is stopped and started again, and what is "
                "queued stays", printable(str(socket_of(home))),
                extra=event("socket_deleted"),
            )  # fmt: skip
            _shut_down(folder, socket_of(home))
        if not (_alive(folder) and _becomes_ready(folder, socket_of(home))):
            _start(home, folder)
            if not _becomes_ready(folder, socket_of(home)):
                raise _failure("The private redis-server ended while it started", folder)
    return url(home)


def stop(home: Path) -> bool:
    """Flush the append-only file and end the server; False where none ran."""
    folder = folder_of(home)
    if not folder.is_dir():
        return False
    with locked(folder / "start.lock"):
        if not _alive(folder):
            return False
        socket = socket_of(home)
        _shut_down(folder, socket)
        if socket.parent != folder:
            with suppress(OSError):  # where it is not empty, it is not ours alone, and stays
                socket.parent.rmdir()
    return True


def url(home: Path) -> str:
    """Where the server of `home` listens, or would."""
    return "unix://" + quote(os.fsencode(socket_of(home)))


def is_running(home: Path) -> bool:
    """Whether somebody listens there, even one still loading or busy, or one that has lost its socket."""
    return _probe(socket_of(home)) is not _Answer.NONE or _lost_its_socket(home, folder_of(home))


def was_killed(home: Path) -> bool:
    """Whether the server is gone without a goodbye, or out of reach: one that was stopped took its socket with it."""
    socket = socket_of(home)
    return (socket.exists() and _probe(socket) is _Answer.NONE) or _lost_its_socket(home, folder_of(home))


def tend(home: Path) -> str | None:
    """Starts the server again if it was killed or lost its socket; why there is none if it was stopped."""
    if _probe(socket_of(home)) is not _Answer.NONE:
        return None
    if not was_killed(home):
        return (
            "the private Redis was stopped, as by `worker down`, while this command used it. What was queued is in its "
            "file: run the command again, and what is missing is sent"
        )
    ensure_running(home)
    return None


def _start(home: Path, folder: Path) -> None:
    server = find_server(folder).path
    socket = choose_socket(home, folder)
    (folder / "redis.pid").unlink(missing_ok=True)
    with locked(folder / "life.lock") as life:
        _run(server, folder, socket, life)


def _run(server: Path, folder: Path, socket: Path, life: int) -> None:
    """Start the server; it leaves our session and takes `life` with it."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "daemonize": "yes",
        "dir": str(folder),
        "logfile": str(folder / "redis.log"),
        "pidfile": str(folder / "redis.pid"),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "aof-load-truncated": "yes",
        # As commands, which every server reads. The other form has a version, and Redis and Valkey each have
        # theirs: a server of the other kind, or an older one, would refuse it.
        "aof-use-rdb-preamble": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    try:
        done = subprocess.run(
            [str(server), *(word for name, value in options.items() for word in ("--" + name, value))],
            pass_fds=(life,),
            umask=0o077,
            env=os.environ | {"LC_ALL": "C"},  # a locale that is not installed stops Redis 7.2
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=START_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QueueUnavailable(f"{server} does not start: {error}") from error
    if done.returncode != 0:
        reported = done.stdout.decode(errors="replace").strip().splitlines()
        raise _failure(f"{server} does not start", folder, reported)


def _becomes_ready(folder: Path, socket: Path) -> bool:
    """Wait until it answers; False as soon as it is no more."""
    began, limit = time.monotonic(), START_SECONDS
    while (answer := _probe(socket)) is not _Answer.READY:
        if answer is _Answer.LOADING:
            limit = LOAD_SECONDS
        if not _alive(folder):
            return False
        if time.monotonic() - began > limit:
            raise _failure(f"The private redis-server{_pid(folder)} did not answer in {limit:g} s", folder)
        time.sleep(POLL_SECONDS)
    return True


def _shut_down(folder: Path, socket: Path) -> None:
    began = time.monotonic()
    while _alive(folder):
        try:
            if socket.exists():
                with _client(socket) as client:
                    client.shutdown()
            elif not _ask_by_its_pid(folder) and time.monotonic() - began > FIND_SECONDS:
                raise _failure(
                    "The private redis-server has lost its socket and its pid file: end the process that works in "
                    f"{folder} with `kill`", folder,
                )  # fmt: skip
        except TimeoutError:
            pass  # it is flushing
        except RedisError as error:
            raise _failure(f"The private redis-server refuses to stop ({error})", folder) from error
        if time.monotonic() - began > STOP_SECONDS:
            late = f"did not stop in {STOP_SECONDS:g} s: end it with `kill`"
            raise _failure(f"The private redis-server{_pid(folder)} {late}", folder)
        time.sleep(POLL_SECONDS)


def _ask_by_its_pid(folder: Path) -> bool:
    """SIGTERM, at which a server flushes its file and ends, as at SHUTDOWN; False where its process is not found."""
    if pid := _server_pid(folder):
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGTERM)
    return pid is not None


def _server_pid(folder: Path) -> int | None:
    """The server's process: it works in its folder, so no other process with an old number is taken for it."""
    found = []
    with suppress(OSError, ValueError):  # its processes tell it too
        found.append(int((folder / "redis.pid").read_text()))
    if not PROCESSES.is_dir():
        return found[0] if found else None
    found += [int(each.name) for each in PROCESSES.iterdir() if each.name.isdigit()]
    for pid in found:
        with suppress(OSError):  # it has ended, or is another user's
            works_there = (PROCESSES / str(pid) / "cwd").samefile(folder)
            if works_there and (PROCESSES / str(pid) / "comm").read_text().startswith(NAMES):
                return pid
    return None


def _lost_its_socket(home: Path, folder: Path) -> bool:
    """Whether a server lives that nobody can reach, as after a cleaning of temporary folders."""
    return folder.is_dir() and not socket_of(home).exists() and _alive(folder)


def _probe(socket: Path) -> _Answer:
    try:
        with _client(socket) as client:
            client.ping()
    except BusyLoadingError:
        return _Answer.LOADING
    except TimeoutError:
        return _Answer.BUSY
    except RedisError:
        return _Answer.NONE
    return _Answer.READY


def _client(socket: Path) -> Redis:
    once = Retry(NoBackoff(), 0)
    return Redis(unix_socket_path=str(socket), socket_timeout=ANSWER_SECONDS, retry=once)


def _alive(folder: Path) -> bool:
    """Whether a server holds its life lock; or works in its folder, where the lock's file was deleted."""
    return is_locked(folder / "life.lock") or (PROCESSES.is_dir() and _server_pid(folder) is not None)


def _failure(what: str, folder: Path, reported: list[str] | None = None) -> QueueUnavailable:
    log = folder / "redis.log"
    with suppress(OSError):  # no log to read from: the message says so
        reported = reported or log.read_text(errors="replace").strip().splitlines()
    last = reported[-1].strip() if reported else "nothing"
    return QueueUnavailable(f"{what}. Its last word: {last} (log: {log})")


def _pid(folder: Path) -> str:
    """For a message only."""
    with suppress(OSError):  # it has none yet
        return f" (process {(folder / 'redis.pid').read_text().strip()})"
    return ""
