"""`producer enqueue` and `producer replay`: their options.

The libraries of queue and database are slow to import, so each command imports its module itself.
"""

from __future__ import annotations

from typing import Annotated

import typer

from store.cli.command import Json, examples, program, run

app = program("producer", "Send records from files to the queue, and dead letters back to it.")
Wait = Annotated[bool, typer.Option("--wait", help="Return when everything sent is processed and loaded.")]


@app.command(
    epilog=examples(
        "producer enqueue data/earthquakes.json --source usgs",
        "producer enqueue orders-*.csv.gz --source shop --wait",
        "curl -s https://example.com/feed | producer enqueue - --format ndjson --source feed --json",
    )
)
def enqueue(
    files: Annotated[
        list[str], typer.Argument(help="JSON, NDJSON or CSV, each also .gz; - is standard input.")
    ],
    source: Annotated[str, typer.Option(help="The feed these records belong to.")] = "default",
    format: Annotated[
        str | None, typer.Option(help="json, ndjson or csv, if the name does not show it.")
    ] = None,
    records: Annotated[
        str | None, typer.Option(help="Path of the array of records in a JSON document.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of the text: utf-8, utf-16, cp1252, latin-1 and others.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="CSV: the character between cells.")] = None,
    quotechar: Annotated[str | None, typer.Option(help="CSV: the character around a cell.")] = None,
    escapechar: Annotated[str | None, typer.Option(help="CSV: the character after it is text.")] = None,
    trim: Annotated[bool | None, typer.Option(help="CSV: blanks around a cell are not part of it.")] = None,
    skip_rows: Annotated[int | None, typer.Option(help="CSV: lines before the header.")] = None,
    comment: Annotated[str | None, typer.Option(help="CSV: lines that begin with it are ignored.")] = None,
    decimal: Annotated[str | None, typer.Option(help="CSV: the decimal mark of numbers.")] = None,
    thousands: Annotated[
        str | None, typer.Option(help="CSV: the mark between groups of three digits.")
    ] = None,
    null_values: Annotated[
        list[str] | None, typer.Option(help="CSV: a cell that is this is empty; may be given several times.")
    ] = None,
    batch_records: Annotated[int | None, typer.Option(help="Records in a batch, at most.")] = None,
    max_pending_batches: Annotated[
        int | None, typer.Option(help="Wait while more batches than this are queued.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="A new delivery, though the same content was sent before.")
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="A stream's name: sent again under it, it is the same delivery.")
    ] = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Send the records of files to the queue, in batches.

    A file that is sent again, or again after an interruption, has no second effect.
    """
    from producer.cli.enqueue import enqueue_files

    enqueue_files(
        files,
        source,
        format=format,
        records=records,
        again=again,
        stream=name,
        dialect={
            "encoding": encoding,
            "delimiter": delimiter,
            "quotechar": quotechar,
            "escapechar": escapechar,
            "trim": trim,
            "skip_rows": skip_rows,
            "comment": comment,
            "decimal": decimal,
            "thousands": thousands,
            "null_values": null_values or None,
        },
        overrides={"batch_records": batch_records, "max_pending_batches": max_pending_batches},
        wait=wait,
        as_json=as_json,
    )


@app.command(
    epilog=examples(
        "producer replay --dry-run",
        "producer replay --reason invalid_value --source usgs",
        "producer replay --id 3f2a… --set value=4.2 --set name=pump",
        'producer replay --id 3f2a… --payload \'{"key": "a", "ts": "2025-01-15T12:00:00Z"}\'',
    )
)
def replay(
    id: Annotated[
        list[str] | None, typer.Option(help="Only this letter: its id, or a beginning that no other id has.")
    ] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Only letters with this reason.")] = None,
    source: Annotated[str | None, typer.Option(help="Only letters of this source.")] = None,
    set: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE: change a field first (VALUE is JSON or text).")
    ] = None,
    payload: Annotated[str | None, typer.Option(help="Replace the whole payload; with one --id.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Validate them now, and send nothing.")] = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Send open dead letters back to the queue. A letter that is accepted is resolved."""
    from producer.cli.replay import replay_letters

    replay_letters(
        ids=id or [],
        reasons=reason or [],
        source=source,
        changes=set or [],
        payload=payload,
        dry_run=dry_run,
        wait=wait,
        as_json=as_json,
    )


def main() -> None:
    """The command's entry point."""
    run(app)
