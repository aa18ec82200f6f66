"""`producer enqueue` and `producer replay`: their options.

The libraries of queue and database are slow to import, so each command imports its module itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from producer.cli import drafting, trying, watch
from store.cli.choosing import choosing
from store.cli.command import Json, examples, program, run
from store.dead_letters.filters import Filter
from store.errors import UsageError

app = program("producer", "Send records from files to the queue, and dead letters back to it.")
Wait = Annotated[bool, typer.Option("--wait", help="Return when everything sent is processed and loaded.")]
Run = Annotated[
    bool, typer.Option("--run", help="--wait, with workers and a loader of its own where none are running.")
]


@app.command(
    epilog=examples(
        "producer enqueue data/earthquakes.json --source usgs",
        "producer enqueue orders.csv --source shop --run",
        "producer enqueue orders-*.csv.gz --source shop --wait",
        "producer enqueue https://example.com/orders.csv --source shop --run",
        "producer enqueue big.csv --source shop --max-reject-ratio 5% --max-rejects 100 --wait",
        "curl -s https://example.com/feed | producer enqueue - --format ndjson --source feed --json",
    )
)
def enqueue(
    files: Annotated[
        list[str],
        typer.Argument(
            help="JSON, NDJSON, CSV, each also .gz; Parquet; .xlsx; a folder; a URL; - is standard input."
        ),
    ],
    source: Annotated[str, typer.Option(help="The feed these records belong to.")] = "default",
    format: Annotated[
        str | None, typer.Option(help="json, ndjson, csv, parquet or xlsx, if the name does not show it.")
    ] = None,
    records: Annotated[
        str | None, typer.Option(help="Path of the array of records in a JSON document.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="Excel: which sheet, if there are several.")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of the text: utf-8, utf-16, cp1252, latin-1 and others.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="CSV: the character between cells.")] = None,
    quotechar: Annotated[str | None, typer.Option(help="CSV: the character around a cell.")] = None,
    escapechar: Annotated[str | None, typer.Option(help="CSV: the character after it is text.")] = None,
    trim: Annotated[bool | None, typer.Option(help="CSV: blanks around a cell are not part of it.")] = None,
    skip_rows: Annotated[int | None, typer.Option(help="CSV, Excel: lines before the header.")] = None,
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
    max_rejects: Annotated[
        int | None, typer.Option(min=0, help="Stop sending when more records are rejected.")
    ] = None,
    max_reject_ratio: Annotated[
        str | None, typer.Option(help="Stop when a greater share is rejected: 5% or 0.05.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a source without an entry in the configuration.")
    ] = False,
    wait: Wait = False,
    run_now: Run = False,
    as_json: Json = False,
) -> None:
    """Send the records of files to the queue, in batches.

    A file that is sent again, or again after an interruption, has no second effect. A budget for rejected records is
    approximate: workers judge while the producer sends.
    """
    from producer.cli.enqueue import enqueue_files

    enqueue_files(
        files,
        source,
        format=format,
        records=records,
        sheet=sheet,
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
        max_rejects=max_rejects,
        max_reject_ratio=max_reject_ratio,
        strict=strict,
        wait=wait,
        run_now=run_now,
        as_json=as_json,
    )


@app.command(
    epilog=examples(
        "producer replay --dry-run",
        "producer replay --reason invalid_value --source usgs --run",
        "producer replay --group 9c01 --cast amount=decimal-comma --dry-run",
        "producer replay --proof 5b1f",
        "producer replay --source shop --first 500 --stop-above 0.1 --rate 200/s",
        "producer replay --id 3f2a… --set value=4.2 --set name=pump",
        'producer replay --id 3f2a… --payload \'{"key": "a", "ts": "2025-01-15T12:00:00Z"}\'',
        "producer replay --from fixed.csv --dry-run",
        "producer replay --resume 7",
    )
)
@choosing()
def replay(
    which: Filter,
    set: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE: change a field first (VALUE is JSON or text).")
    ] = None,
    default: Annotated[
        list[str] | None, typer.Option(help="FIELD=VALUE: where the field is absent, null or blank.")
    ] = None,
    rename: Annotated[list[str] | None, typer.Option(help="OLD=NEW: rename a field.")] = None,
    cast: Annotated[
        list[str] | None,
        typer.Option(
            help="FIELD=HOW: read its text as trim, number, decimal-comma, thousands, currency, currency-comma, "
            "currency-thousands, epoch, epoch-ms, text, divide:100, or time:FORMAT like time:%d.%m.%Y."
        ),
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Remove this field.")] = None,
    edit: Annotated[
        Path | None, typer.Option(help="A TOML file with set, default, rename, cast and drop.")
    ] = None,
    payload: Annotated[str | None, typer.Option(help="Replace the whole payload; with one --id.")] = None,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", help="A file of `store letters export`, with its fields corrected."),
    ] = None,
    skip_refused: Annotated[
        bool, typer.Option("--skip-refused", help="With --from: send the other rows where some are refused.")
    ] = False,
    why: Annotated[str, typer.Option(help="The reason; it is stored with the action.")] = "",
    by: Annotated[str | None, typer.Option(help="Who decides it.", show_default="user@host")] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Validate them now, say what would become of them, send nothing."),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="On a terminal: send what was proved without a question.")
    ] = False,
    proof: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST",
            help="Send the letters of this proof of --dry-run, if it is at most ten minutes old and still holds.",
        ),
    ] = None,
    first: Annotated[
        int | None, typer.Option(help="Only so many of the letters; the others stay open.", min=1)
    ] = None,
    stop_above: Annotated[
        float | None,
        typer.Option(
            metavar="RATIO",
            help="Stop if more than this part of at least 20 outcomes is rejected again. Needs workers: at most 2,000 "
            "letters are ahead of the outcomes.",
            min=0,
            max=1,
            show_default="0.5, not counting what the proof foresaw",
        ),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="N/s", help="Send at most so many letters a second.")
    ] = None,
    resume: Annotated[
        int | None, typer.Option(help="Send what this action, interrupted, has not sent.")
    ] = None,
    stop: Annotated[int | None, typer.Option(help="Send no more of this action.")] = None,
    wait: Wait = False,
    run_now: Run = False,
    as_json: Json = False,
) -> None:
    """Send open dead letters back to the queue. A letter that is accepted is resolved.

    They are validated first, and what would become of them is shown. On a terminal you are asked before they are
    sent; without one they are sent at once.

    FIELD is a name of the contract's, or `raw.NAME` for one of the payload's.
    """
    from producer.cli import replay as replaying
    from producer.cli import replay_edits as options
    from producer.cli.command import working
    from store.dead_letters.edits import Edit

    edits = [set, default, rename, cast, drop, edit, payload]
    if resume is not None or stop is not None:
        others = (dry_run, yes, proof, first, rate, stop_above is not None, from_file, skip_refused)
        if not which.is_empty or any(edits) or any(others) or (resume is not None and stop is not None):
            raise UsageError("--resume and --stop take the letters of an action: give nothing else")
        if stop is not None and run_now:
            raise UsageError("--stop sends nothing: give it without --run")
        if resume is not None:
            with working(run_now):
                replaying.resume(resume, wait=wait or run_now, as_json=as_json)
        elif stop is not None:
            replaying.stop(stop, as_json=as_json)
        return
    if dry_run and (yes or proof or run_now):
        raise UsageError("--dry-run sends nothing: give it without --yes, --proof and --run")
    if from_file is not None and (any(edits) or not which.is_empty):
        raise UsageError("--from takes the letters and their fields from a file: give no filter and no edit")
    if skip_refused and from_file is None:
        raise UsageError("--skip-refused is for the rows of a file: give --from too")
    given = Edit(
        set=options.parse_values("--set", set or []),
        default=options.parse_values("--default", default or []),
        rename=options.parse_pairs("--rename", rename or [], "OLD=NEW"),
        cast=options.parse_pairs("--cast", cast or [], "FIELD=HOW, like --cast amount=decimal-comma"),
        drop=tuple(drop or ()),
        payload=payload,
    )
    full = options.read_edit(edit, given)
    asked = replaying.Options(
        which,
        full,
        why,
        by,
        dry_run,
        wait or run_now,
        as_json,
        yes,
        proof,
        first,
        options.parse_rate(rate),
        stop_above,
    )
    with working(run_now):
        if from_file is None:
            replaying.replay_letters(asked)
            return
        from producer.cli import fixed

        fixed.replay_file(from_file, asked, skip_refused=skip_refused)


@app.command(
    epilog=examples(
        "producer suggest",
        "producer suggest 9c01",
        "producer suggest 9c01 --always",
    )
)
def suggest(
    group: Annotated[
        str | None,
        typer.Argument(
            help="A group of letters: its id, or the first digits of it.", show_default="the largest"
        ),
    ] = None,
    source: Annotated[str | None, typer.Option(help="Without GROUP: only groups of this source.")] = None,
    limit: Annotated[int, typer.Option(help="Without GROUP: how many groups.", min=1)] = 10,
    always: Annotated[
        bool,
        typer.Option("--always", help="Also as lines of sluice.toml, for every later file of the source."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what would fix dead letters. Each edit was tried on them.

    Each is judged on all open letters of the group, and shown with its `producer replay` command; nothing is sent.
    Where a value could be read in two ways, such as 04/05/2025, nothing is chosen.
    """
    from producer.cli.suggest import suggest_for

    suggest_for(group, source, limit, for_always=always, as_json=as_json)


app.command("watch", epilog=watch.EPILOG)(watch.watch)
app.command(epilog=drafting.EPILOG)(drafting.draft)
app.command("try", epilog=trying.EPILOG)(trying.try_records)


def main() -> None:
    """The command's entry point."""
    run(app)
