"""The folder of the private server: private to this user, with locks and the address of the socket."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from store import trust
from store.errors import QueueUnavailable

SOCKET_PATH_BYTES = 100  # sun_path holds 104 to 108, with its closing NUL


def folder_of(home: Path) -> Path:
    """The server's folder, in a home that is trusted. Raises NotTrusted."""
    trust.check_folder(home.absolute())
    return home.absolute() / "redis"


def socket_of(home: Path) -> Path:
    """Where the socket is, or would be; refuses one that somebody else could have put there."""
    folder = folder_of(home)
    _refuse_unless_private(folder)
    if _fits(beside := folder / "redis.sock"):
        return beside
    try:
        elsewhere = Path(os.fsdecode((folder / "socket").read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        elsewhere = _short_socket(folder)
    _refuse_unless_private(elsewhere.parent)
    return elsewhere


def choose_socket(home: Path, folder: Path) -> Path:
    """As `socket_of`, from this process' environment; makes its folder and leaves the note."""
    note = folder / "socket"
    note.unlink(missing_ok=True)
    socket = socket_of(home)
    if socket.parent != folder:
        make_private(socket.parent)
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


def make_private(*folders: Path) -> None:
    """Makes folders for this user alone; the last is checked. Raises QueueUnavailable."""
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
def locked(path: Path) -> Iterator[int]:
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


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock."""
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
