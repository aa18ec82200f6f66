"""Commands that start warm: forked from a process that has imported what they import.

A Python that imports SQLAlchemy, pydantic, Redis and RQ costs a second of processor time, and the tests start it
hundreds of times. The process that forks is a Python of its own, which opens nothing, has no threads and reads no
settings; one for each process of the tests. A forked command has the environment, working directory, streams, session
and `sys.argv` that it would have got, runs the same `main`, and ends as Python ends.

A command whose test is about starting starts cold, in a new Python: `Sandbox.run(..., cold=True)`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import io
import json
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

# All but what must be imported anew: `worker.rq_worker` asks, when it is imported, whether it is RQ's configuration.
IMPORTED = (
    "producer.cli.app",
    "producer.cli.enqueue",
    "producer.cli.replay",
    "producer.feed",
    "rq.cli",
    "rq.cli.cli",
    "rq.cron",
    "store.cli.app",
    "store.database.install",
    "store.reports.answers",
    "worker.cli.app",
    "worker.dead_letters.replay",
    "worker.jobs",
    "worker.queue.rq_internals",
    "worker.queue.wait",
)
COMMANDS = ("producer", "worker", "store", "rq")
SIZE = struct.Struct("!I")
CODE = struct.Struct("!i")


class WarmProcess:
    """A forked command, with the part of `subprocess.Popen`'s interface that the tests use."""

    def __init__(self, words: Sequence[str], pid: int, ended: int) -> None:
        self.args, self.pid = list(words), pid
        self.returncode: int | None = None
        self._ended = ended  # a pipe that holds how it ended, once it has

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            answer = os.read(self._ended, CODE.size)
            os.close(self._ended)
            assert answer, "the process that forks has died"
            (self.returncode,) = CODE.unpack(answer)
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    words: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: int, stdout: int, stderr: int
) -> WarmProcess:
    """Forks a command, in a session of its own, with these streams."""
    server = _server()
    ended, tell = os.pipe()
    order = json.dumps(
        {"words": [os.fsdecode(word) for word in words], "cwd": str(cwd), "env": dict(env)}
    ).encode()
    socket.send_fds(server, [SIZE.pack(len(order))], [stdin, stdout, stderr, tell])
    os.close(tell)
    server.sendall(order)
    (pid,) = SIZE.unpack(_exactly(server, SIZE.size))
    return WarmProcess(words, pid, ended)


def run(
    words: Sequence[str], cwd: Path, env: Mapping[str, str], stdin: str, seconds: float
) -> tuple[int, str, str]:
    """Runs a command to its end: (exit code, standard output, standard error)."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(stdin.encode())
        files[0].seek(0)
        process = start(words, cwd, env, *(file.fileno() for file in files))
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        texts = []
        for file in files[1:]:
            file.seek(0)
            texts.append(file.read().decode())
        return code, texts[0], texts[1]


@functools.cache
def _server() -> socket.socket:
    """The end for orders of the process that forks, which is started first; it ends with this one."""
    ours, theirs = socket.socketpair()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SLUICE_", "PYTEST_"))}
    process = subprocess.Popen(
        [sys.executable, "-P", __file__, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        cwd="/",
        env=env,
        start_new_session=True,  # whoever interrupts the tests does not interrupt this one, which ends after them
    )
    theirs.close()
    atexit.register(_end, ours, process)
    return ours


def _end(server: socket.socket, process: subprocess.Popen[bytes]) -> None:
    server.close()
    process.wait()


def _exactly(stream: socket.socket, size: int) -> bytes:
    """So many bytes; fewer where the other end is closed."""
    data = b""
    while len(data) < size and (piece := stream.recv(size - len(data))):
        data += piece
    return data


# --- the process that forks ---


def serve(orders: socket.socket) -> dict[str, Any]:
    """Forks for each order. Returns in the forked process, with its order; ends with the tests."""
    living: dict[int, int] = {}  # process -> the pipe that is told how it ended
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([orders.fileno(), woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            _tell_of_the_dead(living)
        if orders.fileno() not in readable:
            continue
        head, descriptors, _, _ = socket.recv_fds(orders, SIZE.size, 4)
        if not head:
            os._exit(0)
        order: dict[str, Any] = json.loads(_exactly(orders, *SIZE.unpack(head)))
        *streams, tell = descriptors
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, descriptor in enumerate(streams):
                os.dup2(descriptor, number)
            os.closerange(3, 4096)
            orders.detach()
            return order
        living[pid] = tell
        for descriptor in streams:
            os.close(descriptor)
        orders.sendall(SIZE.pack(pid))


def _tell_of_the_dead(living: dict[int, int]) -> None:
    while living:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        tell = living.pop(pid)
        with contextlib.suppress(BrokenPipeError):  # nobody asks
            os.write(tell, CODE.pack(os.waitstatus_to_exitcode(status)))
        os.close(tell)


def become(order: dict[str, Any]) -> Callable[[], Any]:
    """Makes this process the command; returns its `main`."""
    os.setsid()
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    random.seed()
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(number, "w", closefd=False)),
            encoding="utf-8",
            errors=errors,
            line_buffering=number == 2,
        )
        for number, errors in ((1, "strict"), (2, "backslashreplace"))
    )
    from store import crash_points

    crash_points._armed = os.environ.get("SLUICE_CRASH_AT")  # a command reads it when it starts
    name, *rest = order["words"]
    if name == "python":  # -c CODE
        sys.argv, sys.path[0] = ["-c", *rest[2:]], ""
        return lambda: exec(rest[1], {"__name__": "__main__"})  # noqa: S102 - the tests' own code
    binaries = Path(sys.executable).parent
    sys.argv, sys.path[0] = [str(binaries / name), *rest], str(binaries)
    module = importlib.import_module("rq.cli" if name == "rq" else f"{name}.cli.app")
    main: Callable[[], Any] = module.main
    return main


def _main() -> NoReturn:
    sys.path.insert(0, "")  # `-P` has left out the place of the script's folder
    for name in IMPORTED:
        importlib.import_module(name)
    import gc

    import typer.main

    # The options of all commands are read once, and not by each forked process.
    typer.main.get_group = functools.cache(typer.main.get_group)
    for name in ("producer", "worker", "store"):
        typer.main.get_group(importlib.import_module(f"{name}.cli.app").app)
    gc.collect()
    gc.freeze()
    sys.exit(become(serve(socket.socket(fileno=int(sys.argv[1]))))())


if __name__ == "__main__":
    _main()
