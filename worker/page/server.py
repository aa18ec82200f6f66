"""The server of the page, and what it prints."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import socket

import uvicorn

from store import database
from store.database import install
from store.settings import StoreSettings
from worker.listening import Options, listen, read_token
from worker.page.app import build
from worker.page.following import Feed
from worker.page.session import Sessions
from worker.page.settings import PageSettings
from worker.page.site import Site
from worker.settings import WorkerSettings


@dataclass(frozen=True)
class Door:
    """Where the page listens already, and what it was started with."""

    options: Options
    token: str | None
    bound: socket


@contextmanager
def opened(options: Options) -> Iterator[Door]:
    """Listens. Raises UsageError, and ConfigError for a token that is none."""
    token = read_token(options.token_file)
    options.check(token)
    with listen(options) as bound:
        yield Door(options, token, bound)


def serve(door: Door, say: Callable[[str], None]) -> None:
    """Serves the page until it is interrupted."""
    options = door.options
    store = StoreSettings.load()
    install.prepare(store).dispose()
    engine = database.open_for_reading(store)
    try:
        port = int(door.bound.getsockname()[1])
        scheme = "https" if options.certificate else "http"
        host = f"[{options.host}]" if ":" in options.host else options.host
        base = f"{scheme}://{host}:{port}"
        sessions = Sessions(
            door.token, options.allow_actions, lambda key: say(f"to act, once: {base}/login?key={key}")
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
        if options.allow_actions and door.token is None:
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
        server = Server(config, site.feed)
        gc.collect()
        gc.freeze()  # else every some dozen answers look through all that was imported: 130 ms
        server.run(sockets=[door.bound])
    finally:
        engine.dispose()


class Server(uvicorn.Server):
    """Ends the answers that would not end by themselves, so that it stops at once."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self.feed = feed

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Of a server that was asked to stop."""
        self.feed.end()
        await super().shutdown(sockets)
