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
import fcntl
import hashlib
import logging
import os
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError, TimeoutError
from redis.retry import Retry

from store import trust
from store.errors import QueueUnavailable
from store.text import printable
from worker.queue.server_program import NAMES, find_server

SOCKET_PATH_BYTES = 100  # sun_path holds 104 to 108, with its closing NUL
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
    folder = _folder(home)
    if _probe(_socket(home)) is _Answer.READY:
        return url(home)
    _make_private(home, folder)
    with _locked(folder / "start.lock"):
        if _lost_its_socket(home, folder):
            log.warning(
                "the socket %s of the private Redis was deleted: the server is stopped and started again, and what is "
                "queued stays", printable(str(_socket(home))),
            )  # fmt: skip
            _shut_down(folder, _socket(home))
        if not (_alive(folder) and _becomes_ready(folder, _socket(home))):
            _start(home, folder)
            if not _becomes_ready(folder, _socket(home)):
                raise _failure("The private redis-server ended while it started", folder)
    return url(home)


def stop(home: Path) -> bool:
    """Flush the append-only file and end the server; False where none ran."""
    folder = _folder(home)
    if not folder.is_dir():
        return False
    with _locked(folder / "start.lock"):
        if not _alive(folder):
            return False
        socket = _socket(home)
        _shut_down(folder, socket)
        if socket.parent != folder:
            with suppress(OSError):  # where it is not empty, it is not ours alone, and stays
                socket.parent.rmdir()
    return True


def url(home: Path) -> str:
    """Where the server of `home` listens, or would."""
    return "unix://" + quote(os.fsencode(_socket(home)))


def is_running(home: Path) -> bool:
    """Whether somebody listens there, even one still loading or busy, or one that has lost its socket."""
    return _probe(_socket(home)) is not _Answer.NONE or _lost_its_socket(home, _folder(home))


def was_killed(home: Path) -> bool:
    """Whether the server is gone without a goodbye, or out of reach: one that was stopped took its socket with it."""
    socket = _socket(home)
    return (socket.exists() and _probe(socket) is _Answer.NONE) or _lost_its_socket(home, _folder(home))


def tend(home: Path) -> str | None:
    """Starts the server again if it was killed or lost its socket; why there is none if it was stopped."""
    if _probe(_socket(home)) is not _Answer.NONE:
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
    socket = _choose_socket(home, folder)
    (folder / "redis.pid").unlink(missing_ok=True)
    with _locked(folder / "life.lock") as life:
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
    return folder.is_dir() and not _socket(home).exists() and _alive(folder)


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


def _folder(home: Path) -> Path:
    trust.check_folder(home.absolute())
    return home.absolute() / "redis"


def _socket(home: Path) -> Path:
    """Where the socket is, or would be; refuses one that somebody else could have put there."""
    folder = _folder(home)
    _refuse_unless_private(folder)
    if _fits(beside := folder / "redis.sock"):
        return beside
    try:
        elsewhere = Path(os.fsdecode((folder / "socket").read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        elsewhere = _short_socket(folder)
    _refuse_unless_private(elsewhere.parent)
    return elsewhere


def _choose_socket(home: Path, folder: Path) -> Path:
    """As `_socket`, from this process' environment; makes its folder and leaves the note."""
    note = folder / "socket"
    note.unlink(missing_ok=True)
    socket = _socket(home)
    if socket.parent != folder:
        _make_private(socket.parent)
        note.write_bytes(os.fsencode(socket))
    return socket


def _short_socket(folder: Path) -> Path:
    name = hashlib.blake2b(os.fsencode(folder), digest_size=8).hexdigest()
    for base in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        socket = Path(base) / f"sluice-{os.geteuid()}-{name}" / "redis.sock"
        if base and socket.is_absolute() and _fits(socket):
            return socket
    raise QueueUnavailable(
        f"{folder} and {tempfile.gettempdir()} are both too deep for a socket "
        f"(under {SOCKET_PATH_BYTES} bytes): set SLUICE_HOME or TMPDIR to a shorter path."
    )


def _fits(socket: Path) -> bool:
    return len(os.fsencode(socket)) < SOCKET_PATH_BYTES


def _make_private(*folders: Path) -> None:
    try:
        for folder in folders:
            with suppress(FileExistsError):  # whoever made it: it is checked
                folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise _unusable(folder, error) from error
    _refuse_unless_private(folders[-1])


def _refuse_unless_private(folder: Path) -> None:
    try:
        found = folder.lstat()
    except (FileNotFoundError, NotADirectoryError):  # who makes it makes it private
        return
    except OSError as error:
        raise _unusable(folder, error) from error
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or mode & 0o077:
        raise QueueUnavailable(
            f"{folder} is not a folder of this user alone (owner {found.st_uid}, mode {mode:04o}): look who "
            f"made it, then `chmod 700` or remove it, or set SLUICE_HOME to another folder."
        )


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold the lock, waiting for it; closed, never unlocked: a child that inherited it keeps it."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _alive(folder: Path) -> bool:
    """Whether a server holds its life lock; or works in its folder, where the lock's file was deleted."""
    return _is_locked(folder / "life.lock") or (PROCESSES.is_dir() and _server_pid(folder) is not None)


def _is_locked(path: Path) -> bool:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: several may ask at once
    except BlockingIOError:  # that is the answer
        return True
    finally:
        os.close(lock)
    return False


def _unusable(path: Path, error: OSError) -> QueueUnavailable:
    return QueueUnavailable(
        f"{path} cannot be used ({error.strerror}): set SLUICE_HOME to a folder you may write in."
    )


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
