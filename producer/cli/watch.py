"""`producer watch`: what arrives in a folder, to the queue, once."""

from __future__ import annotations

from typing import Annotated

import typer

from store.cli.command import Json, examples

EPILOG = examples(
    "producer watch /srv/incoming --source shop",
    "producer watch /srv/incoming --source shop --pattern 'orders-*.csv' --every 30",
    "producer watch /srv/incoming --source shop --once --json",
)


def watch(
    folder: Annotated[str, typer.Argument(help="Where files arrive; folders in it are not entered.")],
    source: Annotated[str, typer.Option(help="The feed these records belong to.")] = "default",
    pattern: Annotated[str, typer.Option(help="Only names like this: * and ? stand for any.")] = "*",
    format: Annotated[
        str | None, typer.Option(help="json, ndjson, csv, parquet or xlsx, if names do not show it.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Send what is there now, and end.")] = False,
    every: Annotated[float, typer.Option(min=0.01, help="Seconds between two looks.")] = 5.0,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds for which a file must be unchanged before it is read.")
    ] = 2.0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a source without an entry in the configuration.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send the files that arrive in a folder, each content once.

    The store knows what was sent: started again, it goes on where it was. A file is read when nothing has changed it
    for a while; what takes longer is written under a name like x.csv.part, and renamed. SIGTERM ends it after the batch
    that is sent.
    """
    from producer.cli.watching import watch_folder  # the libraries of queue and database are slow to import

    watch_folder(
        folder,
        source,
        pattern=pattern,
        format=format,
        once=once,
        every=every,
        settle=settle,
        strict=strict,
        as_json=as_json,
    )
