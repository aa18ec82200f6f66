"""An edit under the names that the payloads have, and as the options that give it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, select

from producer.resources import Resources
from store.database.letters import dead_letters as letters_table
from store.dead_letters.edits import Edit
from store.dead_letters.payloads import OwnPayloads
from store.errors import InputError, UsageError
from store.tables import dead_letters
from worker.dead_letters import proof as proving
from worker.dead_letters import replay
from worker.dead_letters.names import RAW, Names, names_in

LOOKED_AT = 200  # letters whose fields an edit may name


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
