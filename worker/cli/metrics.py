"""`worker metrics`."""

from __future__ import annotations

from functools import partial

from store.cli.command import examples
from worker.cli import listening

EXAMPLES = examples(
    "worker metrics",
    "worker metrics --host 0.0.0.0 --name sluice.example --behind-proxy --token-file token",
)


def metrics(
    host: listening.Host = "127.0.0.1",
    port: listening.Port = 9321,
    name: listening.Names = None,
    token_file: listening.TokenFile = None,
    tls_certificate: listening.Certificate = None,
    tls_key: listening.Key = None,
    behind_proxy: listening.BehindProxy = False,
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
