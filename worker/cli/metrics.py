"""`worker metrics`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from store.cli.command import examples

EXAMPLES = examples(
    "worker metrics",
    "worker metrics --host 0.0.0.0 --name sluice.example --behind-proxy --token-file token",
)


def metrics(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port.", min=0, max=65535)] = 9321,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST[:PORT]", help="A name by which others reach it; may be repeated."),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token that others send.", show_default="SLUICE_PAGE_TOKEN"),
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Serve https with this certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The key of the certificate.")] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy ends TLS, and keeps the header Host.")
    ] = False,
) -> None:
    """Serve metrics of store and queue for Prometheus.

    At /metrics of this host and port.

    On another --host they need a token, as `Authorization: Bearer TOKEN`, and TLS or a proxy.
    """
    from store.settings import StoreSettings
    from worker.listening import Options
    from worker.metrics.collector import Collector, read_all
    from worker.metrics.server import server
    from worker.settings import WorkerSettings

    store, settings = StoreSettings.load(), WorkerSettings.load()
    collector = Collector(partial(read_all, store, settings))
    collector.exposed()  # what is not installed is said before anybody asks
    options = Options(
        host, port, False, tuple(name or ()), token_file, tls_certificate, tls_key, behind_proxy,
        what="the server of metrics",
    )  # fmt: skip
    with server(options, collector) as made:
        scheme = "https" if tls_certificate else "http"
        shown = f"[{host}]" if ":" in host else host
        print(f"the metrics are at {scheme}://{shown}:{made.server_port}/metrics", flush=True)
        made.serve_forever()
