"""`worker page`, and the page of `worker up`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from store.cli.command import examples
from store.errors import ConfigError, UsageError
from worker.cli import listening

if TYPE_CHECKING:
    from worker.listening import Options
    from worker.processes.children import Child

PORT = 8321
EXAMPLES = examples(
    "worker page",
    "worker page --allow-actions",
    "worker page --host 0.0.0.0 --name sluice.example --tls-certificate cert.pem --tls-key key.pem --token-file token",
    "worker page --behind-proxy --name sluice.example --by-header X-Forwarded-User --token-file token",
)


class Asked(NamedTuple):
    """The options of a page as they are given."""

    host: str = "127.0.0.1"
    port: int = PORT
    allow_actions: bool = False
    names: tuple[str, ...] = ()
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    by_header: str | None = None

    @property
    def options(self) -> Options:
        """For the server."""
        from worker.listening import Options

        return Options(*self)


def page(
    host: listening.Host = "127.0.0.1",
    port: listening.Port = PORT,
    allow_actions: listening.AllowActions = False,
    name: listening.Names = None,
    token_file: listening.TokenFile = None,
    tls_certificate: listening.Certificate = None,
    tls_key: listening.Key = None,
    behind_proxy: listening.BehindProxy = False,
    by_header: listening.ByHeader = None,
) -> None:
    """Show what the store holds in a browser. Reads only, unless --allow-actions.

    On another --host, everything needs a token, and TLS or a proxy.
    """
    server, names = page_server(), tuple(name or ())
    asked = Asked(
        host, port, allow_actions, names, token_file, tls_certificate, tls_key, behind_proxy, by_header
    )
    with server.opened(asked.options) as door:
        server.serve(door, say)


def page_server() -> Any:
    """The server of the page. Raises ConfigError where something that it needs is not installed."""
    try:
        from worker.page import server
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the page needs {error.name!r}, which is not installed: pip install 'sluice[page]'"
        ) from error
    return server


def say(line: str) -> None:
    """What the page prints, at once: somebody waits for its address."""
    print(line, flush=True)


# --- the page of `worker up` ---


def check(is_wanted: bool, burst: bool, asked: Asked) -> None:
    """Raises UsageError for options of a page that is not served."""
    if is_wanted and burst:
        raise UsageError(
            "--page and --burst: a burst ends, and its page with it: run `worker page` beside it"
        )
    if not is_wanted and asked != Asked():
        given = [
            name for name, value, usual in zip(Asked._fields, asked, Asked(), strict=True) if value != usual
        ]
        raise UsageError(f"{', '.join(map(_option, given))}: only with --page, which serves the page too")


def _option(name: str) -> str:
    """A field of `Asked` as it is typed."""
    typed = {"names": "name", "certificate": "tls-certificate", "key": "tls-key"}.get(name, name)
    return f"--{typed.replace('_', '-')}"


@contextmanager
def beside(is_wanted: bool, asked: Asked) -> Iterator[list[Child]]:
    """The page as a process of `worker up`, if it is wanted. It listens before anything starts: a port may be taken."""
    if not is_wanted:
        yield []
        return
    from worker.processes.children import Child, begin_child

    server = page_server()
    with server.opened(asked.options) as door:

        def run() -> None:
            begin_child()
            server.serve(door, say)

        yield [Child("page", run)]
