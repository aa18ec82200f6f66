"""`worker page`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from store.cli.command import examples
from store.errors import ConfigError

EXAMPLES = examples(
    "worker page",
    "worker page --allow-actions",
    "worker page --host 0.0.0.0 --name sluice.example --tls-certificate cert.pem --tls-key key.pem --token-file token",
    "worker page --behind-proxy --name sluice.example --by-header X-Forwarded-User --token-file token",
)


def page(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port.", min=0, max=65535)] = 8321,
    allow_actions: Annotated[
        bool, typer.Option("--allow-actions", help="Let those who log in replay, park, discard and undo.")
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST[:PORT]", help="A name by which browsers reach the page; may be repeated."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token that others log in with.", show_default="SLUICE_PAGE_TOKEN"),
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Serve https with this certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The key of the certificate.")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy ends TLS, and keeps the header Host.")
    ] = False,
    by_header: Annotated[
        str | None, typer.Option(metavar="HEADER", help="The proxy's header that names who acts.")
    ] = None,
) -> None:
    """Show what the store holds in a browser. Reads only, unless --allow-actions.

    On another --host, everything needs a token, and TLS or a proxy.
    """
    try:
        from worker.listening import Options
        from worker.page.server import serve
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the page needs {error.name!r}, which is not installed: pip install 'sluice[page]'"
        ) from error
    options = Options(
        host,
        port,
        allow_actions,
        tuple(name or ()),
        token_file,
        tls_certificate,
        tls_key,
        behind_proxy,
        by_header,
    )
    serve(options, lambda line: print(line, flush=True))
