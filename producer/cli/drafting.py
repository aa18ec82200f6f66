"""`producer draft`: a contract and the settings of a source, drafted from a file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.cli.command import Json, examples
from store.errors import ConfigError, InputError, UsageError
from store.terminal import Exit, counted, print_json, warn
from store.text import shown_path

if TYPE_CHECKING:
    from producer.draft.draft import Draft

EPILOG = examples(
    "producer draft orders.csv",
    "producer draft export.txt --format csv --source shop --out drafted",
    "producer draft big.ndjson.gz --sample 100000 --json",
)


def draft(
    file: Annotated[str, typer.Argument(help="JSON, NDJSON or CSV in any dialect, also .gz.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.", show_default="this one")] = Path(),
    source: Annotated[
        str | None, typer.Option(help="The name of the feed.", show_default="the file's")
    ] = None,
    sample: Annotated[int, typer.Option(help="Look at so many records, from the first.", min=1)] = 10_000,
    format: Annotated[
        str | None, typer.Option(help="json, ndjson or csv, if the name does not show it.")
    ] = None,
    records: Annotated[
        str | None, typer.Option(help="Path of the array of records in a JSON document.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Draft a contract and the settings of a source from a file.

    Writes a Python module with the contract, and a sluice.toml, both with comments. Where values can be read in two
    ways, such as 04/05/2025, nothing is chosen: the ways stand there as comments.

    Ends with 0 where the draft can be tried, 1 where you have to choose something first.
    """
    from producer.draft.draft import draft_of, facts
    from producer.draft.look import look_at
    from producer.draft.names import source_name
    from producer.files.names import FORMATS
    from store.text import SOURCE_NAME

    if format is not None and format not in FORMATS.values():
        raise ConfigError(f"format {format!r} is unknown; give --format json, ndjson or csv")
    name = source or source_name(file)
    if not SOURCE_NAME.fullmatch(name):
        raise ConfigError(
            f"source {name!r}: a source's name is up to 64 letters, digits, dots, dashes and underscores"
        )
    look = look_at(file, format, records, sample)  # type: ignore[arg-type]
    if not look.records:
        raise InputError(look.fault or f"{look.name}: has no records to look at; nothing was written")
    made = draft_of(look, name)
    files = {str(out / f"{made.module}.py"): made.contract, str(out / "sluice.toml"): made.section}
    write(files, out, force=force)
    if look.fault:
        warn(look.fault)
    if as_json:
        print_json(facts(made, files))
    else:
        put_draft(made, file, list(files))
    if made.undecided:
        raise typer.Exit(Exit.FAILED)


def write(files: dict[str, str], out: Path, *, force: bool) -> None:
    """Writes all files, or none. Raises UsageError where one is there."""
    there = [name for name in files if os.path.lexists(name)]
    if there and not force:
        listed = " and ".join(map(shown_path, there))
        raise UsageError(
            f"{listed} {'is' if len(there) == 1 else 'are'} there already: give --out FOLDER to draft beside "
            f"{'it' if len(there) == 1 else 'them'}, or --force to overwrite; nothing was written"
        )
    folder = next((name for name in there if Path(name).is_dir()), None)
    if folder:
        raise UsageError(f"{shown_path(folder)} is a folder: remove it, or give --out; nothing was written")
    beside = {name: f"{name}.{os.getpid()}.new" for name in files}
    name = str(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with Path(beside[name]).open("x", encoding="utf-8") as file:
                file.write(text)
        for name in files:
            Path(beside[name]).replace(name)
    except OSError as error:
        raise UsageError(f"{shown_path(name)} cannot be written: {error.strerror or error}") from error
    finally:
        for each in beside.values():
            with suppress(OSError):  # where it became the file, or never was there
                Path(each).unlink()


def put_draft(made: Draft, file: str, files: list[str]) -> None:
    """A draft for people."""
    from store.cli.render.elements import put, table

    look = made.look
    amount = "all of it" if look.is_whole else "from the first one"
    dialect = ", ".join(f"{name} {value!r}" for name, value in look.written.keys.items())
    about = f"{shown_path(file)}: {counted(look.records, 'record')} looked at, {amount}; {look.format}"
    rows: list[tuple[Any, ...]] = []
    for number, each in enumerate(made.keys[:1]):
        unique = "unique" if each.is_unique else f"{each.distinct:,} values"
        rows.append((".".join(each.column.path), "key" if not number else "", made.key_type, unique))
    for column, time in made.times[:1]:
        how = "ambiguous" if time.ambiguous else next(iter(time.keys.values()), "ISO 8601")
        rows.append((".".join(column.path), "ts", "datetime", how))
    for field in made.fields:
        empty = "may be empty" if field.is_optional else ""
        notes = "; ".join(filter(None, [empty, field.kind.why, *field.notes]))
        rows.append((".".join(field.column.path), field.name, field.kind.type, notes))
    kinds: Any = {"column": "text", "field": "text", "type": "text", "what was found": "text"}
    things: list[Any] = [about + (f" with {dialect}" if dialect else "")]
    things.append(table("Columns", kinds, rows, names=1))
    if look.unreadable:
        things.append(f"\n{counted(look.unreadable, 'record')} could not be read")
    others = [f"{'.'.join(each.column.path)} ({each.distinct:,} values)" for each in made.keys[1:4]]
    if others:
        things.append(f"\nOther columns that may be the key: {', '.join(others)}")
    things += [f"\nChoose: {each}" for each in made.undecided]
    things.append(f"\nWrote {' and '.join(map(shown_path, files))}. Try it: {_next(made, file, files)}")
    put(*things)


def _next(made: Draft, file: str, files: list[str]) -> str:
    folder = Path(files[-1]).parent
    command = f"producer try {shown_path(os.path.relpath(file, folder))} --source {made.source}"
    return command if folder == Path() else f"cd {shown_path(str(folder))} && {command}"
