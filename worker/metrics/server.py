"""`worker metrics`: a server of one address, `/metrics`, from the standard library alone."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from worker.listening import Options, bears, listen, read_token
from worker.metrics.collector import Collector

CONTENT_TYPE = "text/plain; charset=utf-8"
ANSWER_SECONDS = 10.0  # how long somebody who says nothing holds a thread

Answer = tuple[str, str, bytes]  # status, content type, body


class _Handler(WSGIRequestHandler):
    """A request; what is asked is not logged."""

    timeout = ANSWER_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: scrapes come every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        raise AssertionError("the socket is bound")


def answer(
    request: Mapping[str, Any], collector: Collector, hosts: Iterable[str], token: str | None
) -> Answer:
    """What a WSGI request gets."""
    if request.get("HTTP_HOST", "").lower() not in hosts:
        return "421 Misdirected Request", CONTENT_TYPE, b"Ask by the address that `worker metrics` printed.\n"
    if request["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return "405 Method Not Allowed", CONTENT_TYPE, b"Only GET is known.\n"
    if not bears(request.get("HTTP_AUTHORIZATION", ""), token):
        return "401 Unauthorized", CONTENT_TYPE, b"Send the token: `Authorization: Bearer TOKEN`.\n"
    if request["PATH_INFO"] != "/metrics":
        return "404 Not Found", CONTENT_TYPE, b"The metrics are at /metrics.\n"
    text, content_type = collector.exposed(request.get("HTTP_ACCEPT", ""))
    return "200 OK", content_type, text


@contextmanager
def server(options: Options, collector: Collector) -> Iterator[WSGIServer]:
    """A server that listens. Raises UsageError for one that others could read without leave."""
    token = read_token(options.token_file)
    options.check(token)
    with listen(options) as bound:
        port = int(bound.getsockname()[1])
        hosts = options.hosts(port)

        def application(request: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
            status, content_type, body = answer(request, collector, hosts, token)
            extra = [("WWW-Authenticate", "Bearer")] if status.startswith("401") else []
            start(status, [("Content-Type", content_type), ("Cache-Control", "no-store"), *extra])
            return [body if request["REQUEST_METHOD"] == "GET" else b""]

        made = _Server((options.host, port), _Handler, bind_and_activate=False)
        made.socket.close()
        made.socket = _with_tls(bound, options)
        made.server_name, made.server_port = options.host, port
        made.setup_environ()
        made.set_app(application)
        try:
            yield made
        finally:
            made.server_close()


def _with_tls(bound: socket.socket, options: Options) -> socket.socket:
    if options.certificate is None:
        return bound
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    # In the thread of the request: who says nothing keeps nobody else waiting.
    return context.wrap_socket(bound, server_side=True, do_handshake_on_connect=False)
