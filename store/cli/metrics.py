"""`store metrics`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from store.cli.command import examples
from store.errors import UsageError
from store.terminal import Exit, fail

EXAMPLES = examples("store metrics", "store metrics --textfile /var/lib/prometheus/node-exporter/sluice.prom")


def metrics(
    textfile: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write to this file, which is replaced as a whole.")
    ] = None,
) -> None:
    """Print the store's metrics for Prometheus. Those of the queue are at `worker metrics` and the page alone.

    With --textfile for the textfile collector of node_exporter, from cron.

    Ends with 1 where a part could not be read.
    """
    from store.reports.exposition import exposed
    from store.reports.metrics import METRICS, store_values
    from store.settings import StoreSettings

    problems: list[str] = []
    text, _ = exposed(METRICS, store_values(StoreSettings.load(), problems.append))
    if textfile is None:
        sys.stdout.write(text.decode())
    else:
        replace(textfile, text)
    for problem in problems:
        fail(problem)
    if problems:
        raise typer.Exit(Exit.FAILED)


def replace(path: Path, content: bytes) -> None:
    """Replaces a file, which others may read, as a whole. Raises UsageError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")  # the collector reads what ends in .prom
    try:
        beside.write_bytes(content)
        beside.chmod(0o644)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise UsageError(f"--textfile {path} cannot be written ({error.strerror})") from error
