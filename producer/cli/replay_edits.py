"""The options of `producer replay` that edit payloads, and what edits look like as options."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, select

from producer.cli.command import Resources
from store.database.letters import dead_letters as letters_table
from store.dead_letters.edits import Edit, json_body
from store.dead_letters.payloads import OwnPayloads
from store.errors import ConfigError, InputError, UsageError
from store.tables import dead_letters
from worker.dead_letters import proof as proving
from worker.dead_letters import replay
from worker.dead_letters.names import RAW, Names, names_in

SECONDS_OF = {"s": 1, "min": 60, "h": 3600}
LOOKED_AT = 200  # letters whose fields an edit may name


def parse_pairs(option: str, pairs: Sequence[str], example: str) -> dict[str, str]:
    """`NAME=TEXT` options. Raises ConfigError for one that is none."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise ConfigError(f"{option} {pair!r} should be {example}")
        found[name] = value
    return found


def parse_values(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """`FIELD=VALUE` options; a VALUE that is not JSON is text, and numbers keep their digits."""
    found = parse_pairs(option, pairs, f"FIELD=VALUE, like {option} value=4.2")
    return {name: _value(text) for name, text in found.items()}


def _value(text: str) -> Any:
    try:
        return json_body(f'{{"value":{text}}}')["value"]
    except (InputError, KeyError):
        return text


def read_edit(file: Path | None, given: Edit) -> Edit:
    """The edit of a file, and what the options add to it. Raises ConfigError, UsageError."""
    if file is None:
        given.check()
        return given
    try:
        stored = Edit.of(tomllib.loads(file.read_text(), parse_float=orjson.Fragment))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"--edit {file}: {error}") from error
    both = replace(
        stored,
        set=stored.set | given.set,
        default=stored.default | given.default,
        rename=stored.rename | given.rename,
        cast=stored.cast | given.cast,
        drop=(*stored.drop, *given.drop),
        payload=given.payload or stored.payload,
    )
    both.check()
    return both


def resolved(
    connection: Connection, chosen: Sequence[ColumnElement[bool]], edit: Edit, resources: Resources
) -> Edit:
    """The edit with raw names. Raises UsageError for a name that the letters of a source do not have."""
    if edit.is_empty or edit.payload is not None or isinstance(edit, OwnPayloads):
        return edit
    chosen = proving.open_ones(chosen)
    statement = select(letters_table.c.source).where(*chosen).distinct().order_by(letters_table.c.source)
    edits: dict[str, Edit] = {}
    for source in connection.execute(statement).scalars():
        some = dead_letters.select_matching(
            connection, [*chosen, letters_table.c.source == source], LOOKED_AT
        )
        present: set[str] = set()
        for letter in some:
            try:
                present |= names_in(replay.body_of(letter))
            except InputError:  # it has no fields: the others tell theirs
                continue
        names = Names(resources.contract, resources.worker.source(source), present)
        edits[source] = names.resolved(edit)
    first = next(iter(edits.values()), edit)
    if other := next((source for source, each in edits.items() if each != first), None):
        raise UsageError(
            f"the fields of this edit have other raw names in source {other}: give --source, or raw names (raw.FIELD)"
        )
    return first


def command(filter: dict[str, Any], edit: Edit, first: int | None, *more: str) -> str:
    """`producer replay` with these options, for a shell."""
    words = ["producer", "replay"]
    for name, value in filter.items():
        option = f"--{name.removesuffix('s') if isinstance(value, list) else name}".replace("_", "-")
        for each in value if isinstance(value, list) else [value]:
            words += [option, str(each)]
    words += _as_options(edit)
    if first is not None:
        words += ["--first", str(first)]
    return shlex.join([*words, *more])


def parse_rate(text: str | None) -> float | None:
    """Letters a second. Raises ConfigError for what is none."""
    if text is None:
        return None
    number, _, unit = text.partition("/")
    try:
        rate = float(number) / SECONDS_OF[unit or "s"]
    except (ValueError, KeyError):
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise ConfigError(f"--rate {text!r} should be letters a second, like 200/s, or 600/min")
    return rate


def _as_options(edit: Edit) -> Iterator[str]:
    for option, pairs in (("--rename", edit.rename), ("--cast", edit.cast)):
        for name, how in pairs.items():
            yield from (option, f"{RAW}{name}={how}")
    for name in edit.drop:
        yield from ("--drop", f"{RAW}{name}")
    for option, values in (("--default", edit.default), ("--set", edit.set)):
        for name, value in values.items():
            yield from (option, f"{RAW}{name}={orjson.dumps(value).decode()}")
    if edit.payload is not None:
        yield from ("--payload", edit.payload)
