"""A Redis of the test's own on a port: with a password, with users, behind TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trustme
from redis import Redis
from redis.exceptions import RedisError

from worker.queue.server.server_program import find_server

from .commands import until


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def redis_server(password: str, *options: str) -> Iterator[int]:
    """The port of a server on 127.0.0.1; `options` are further lines of its configuration."""
    server, port = until(lambda: started(password, *options), "a Redis listens on a port that was free")
    with server:
        try:
            yield port
        finally:
            server.terminate()


def started(password: str, *options: str) -> tuple[subprocess.Popen[bytes], int] | None:
    """A server that answers, and its port; None where another process took the port meanwhile."""
    port = free_port()
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f"requirepass {password}",
        "save ''",
        "logfile /dev/null",
        *options,
    ]
    server = subprocess.Popen([str(find_server().path), "-"], stdin=subprocess.PIPE)
    assert server.stdin is not None
    server.stdin.write("\n".join(lines).encode())
    server.stdin.close()
    until(lambda: answers(port, password) or server.poll() is not None, "Redis listens, or ends")
    return (server, port) if server.poll() is None else None


def answers(port: int, password: str) -> bool:
    with suppress(RedisError), Redis(port=port, password=password) as client:
        return bool(client.ping())
    return False


@contextmanager
def behind_tls(port: int) -> Iterator[tuple[int, str]]:
    """A port of `localhost` that speaks TLS and hands on to `port`, and the file of who vouches for it.

    Not every redis-server is built with TLS.
    """
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with authority.cert_pem.tempfile() as file, socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, context, port), daemon=True).start()
        try:
            yield int(listener.getsockname()[1]), file
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(plain, context, port), daemon=True).start()


def _serve(plain: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with (
        suppress(OSError),
        plain,
        context.wrap_socket(plain, server_side=True) as outside,
        socket.create_connection(("127.0.0.1", port)) as inside,
    ):
        threading.Thread(target=_pump, args=(inside, outside), daemon=True).start()
        _pump(outside, inside)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
