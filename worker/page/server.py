"""The server of the page: where it listens, what it refuses to be, and what it prints."""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import uvicorn
from sqlalchemy import Engine, event

from store import database, trust
from store.database import install
from store.errors import ConfigError, UsageError
from store.settings import StoreSettings
from worker.page.app import build
from worker.page.session import Sessions
from worker.page.settings import PageSettings
from worker.page.site import Site
from worker.settings import WorkerSettings

PORT = 8321
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
TOKEN = "SLUICE_PAGE_TOKEN"  # noqa: S105 - the name of the variable
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Options:
    """How `worker page` was started."""

    host: str = "127.0.0.1"
    port: int = PORT
    allow_actions: bool = False
    names: tuple[str, ...] = ()  # others than its address, by which it is reached
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    by_header: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it by https."""
        return self.certificate is not None or self.behind_proxy

    def check(self, token: str | None) -> None:
        """Raises UsageError for a page that others could read or use without leave."""
        if (self.certificate is None) != (self.key is None):
            raise UsageError("--tls-certificate and --tls-key belong together: give both")
        if self.by_header and not self.behind_proxy:
            raise UsageError(
                "--by-header needs --behind-proxy: without a proxy that sets it, anybody may set the header"
            )
        if self.is_local and not self.behind_proxy:
            return
        reached = f"--host {self.host}" if not self.is_local else "--behind-proxy"
        if token is None:
            raise UsageError(
                f"{reached} lets others reach the page: give a token with --token-file or the variable {TOKEN}"
            )
        if not self.is_secure:
            raise UsageError(
                f"{reached} would send the token in the clear: give --tls-certificate and --tls-key, or --behind-proxy "
                "where a proxy ends TLS"
            )
        if not self.names:
            raise UsageError(f"{reached}: give the name by which browsers reach the page with --name")

    def hosts(self, port: int) -> set[str]:
        """What a browser may call it: with the port, which it leaves out where that is the usual one."""
        own = {*LOOPBACK, *(() if self.is_local else (self.host,))}
        found = {f"{each}:{port}" for each in (*own, *self.names)} | set(self.names)
        return found | own if port in (80, 443) else found


def read_token(file: Path | None) -> str | None:
    """The token of a file, or of the variable. Raises ConfigError for one that is easily guessed."""
    if file is not None:
        try:
            text = trust.read_code(file).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--token-file {file} cannot be read: {error}") from error
    else:
        text = os.environ.get(TOKEN, "").strip()
    if not text and file is None:
        return None
    if len(text) < SHORTEST_TOKEN:
        raise ConfigError(
            f"the token has less than {SHORTEST_TOKEN} characters: make one with `openssl rand -hex 24`"
        )
    return text


def listen(options: Options) -> socket.socket:
    """The socket of the page. Raises UsageError."""
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        return socket.create_server((options.host, options.port), family=family)
    except OSError as error:
        raise UsageError(
            f"the page cannot listen at {options.host}:{options.port} ({error.strerror}): give another --port"
        ) from error


def serve(options: Options, say: Callable[[str], None]) -> None:
    """Serves the page until it is interrupted."""
    token = read_token(options.token_file)
    options.check(token)
    store = StoreSettings.load()
    install.prepare(store).dispose()
    engine = read_only(database.existing(store))
    try:
        with listen(options) as bound:
            port = int(bound.getsockname()[1])
            scheme = "https" if options.certificate else "http"
            host = f"[{options.host}]" if ":" in options.host else options.host
            base = f"{scheme}://{host}:{port}"
            sessions = Sessions(
                token, options.allow_actions, lambda key: say(f"to act, once: {base}/login?key={key}")
            )
            site = Site(
                store,
                WorkerSettings.load(),
                PageSettings.load(),
                engine,
                sessions,
                options.by_header,
                options.is_secure,
            )
            say(f"the page is at {base}/ ({'it may act' if options.allow_actions else 'it only reads'})")
            if options.allow_actions and token is None:
                sessions.new_key()
            config = uvicorn.Config(
                build(site, options.hosts(port)),
                log_level="warning",
                access_log=False,  # a login key is in an address
                server_header=False,
                proxy_headers=False,
                ssl_certfile=options.certificate,
                ssl_keyfile=options.key,
                timeout_graceful_shutdown=5,
            )
            uvicorn.Server(config).run(sockets=[bound])
    finally:
        engine.dispose()


def read_only(engine: Engine) -> Engine:
    """Connections that cannot write, whatever a screen does; PostgreSQL's are so by their transactions."""

    @event.listens_for(engine, "connect")
    def refuse_to_write(connection: object, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA query_only = ON")

    return engine
