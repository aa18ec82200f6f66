"""An edit as lines of `sluice.toml`, so that every later file of the source is read so.

edit --(what the keys of a source can say)--> settings --(the same letters judged by them, unedited)-->
lines, where each letter becomes the very record that the edit makes of it; otherwise why not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, func, or_, select

from store import database, paths
from store.database.letters import dead_letters
from store.database.records import record_tables
from store.database.schema import SHIFT, batches
from store.dead_letters.actions import ORDER
from store.dead_letters.edits import Edit
from store.errors import ConfigError, InputError
from store.tables.dead_letters import COLUMNS, DeadLetter, letter_of
from worker.contract import IDENTITY
from worker.dead_letters.replay import Cut, Replayable, batches_of, delivery_of, message_of, prepared
from worker.dead_letters.suggest.trial import Chosen, Context, Sample, Trial
from worker.judge.adapt import path_of
from worker.judge.stages import Judge, judge_batch, judge_for
from worker.settings import SourceSettings

CUT = Cut(1_000, 4 << 20)
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OF_COMMAS = ("decimal-comma", "currency-comma")  # to which 1.234 is more than a thousand
OF_CSV = ("decimal", "thousands", "trim", "null_values")
GROUPS = (None, ".", " ", "'", "\u00a0", "\u202f")  # what may stand between groups of three digits
EXPLAINED = "an adapter can: a function of your own for this source, see docs/sources.md"

Keys = dict[str, Any]  # of [sources.NAME]; `fields` and `defaults` are tables


class CannotSayError(Exception):
    """Why the keys of a source cannot say what an edit does."""


@dataclass(frozen=True)
class Always:
    """The lines, or why there are none."""

    keys: Keys | None
    why_not: str = ""
    notes: tuple[str, ...] = ()

    def lines(self, source: str) -> list[str]:
        """For `sluice.toml`."""
        keys = self.keys or {}
        found = [f"[sources.{toml_key(source)}]"]
        for name, value in keys.items():
            inner = value.items() if isinstance(value, dict) else [("", value)]
            found += [f"{name}{'.' + toml_key(key) if key else ''} = {toml(each)}" for key, each in inner]
        return found


def toml(value: Any) -> str:
    """A value as TOML has it; its texts are written as JSON's are."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml(name)


def always(context: Context, name: str, trial: Trial, sample: Sample, chosen: Chosen) -> Always:
    """What makes a tried edit the mapping of a source."""
    source = context.settings.source(name)
    if trial.edit.is_empty:
        return Always(None, "the mapping reads them already")
    try:
        writer = _Writer(context, name, source, trial, sample, _is_csv(context, chosen))
        options = [*product(*writer.parts())]
        conflicts = None
        for option in options:
            keys = _merged(option)
            if why := writer.conflict(keys):
                conflicts = why
            elif _reads_the_same(context, name, trial.edit, chosen, keys):
                return Always(keys, notes=writer.notes(keys))
        if conflicts:
            raise CannotSayError(conflicts)
    except CannotSayError as error:
        return Always(None, f"{error}: {EXPLAINED}")
    return Always(None, f"no key of the source reads these letters as the edit does: {EXPLAINED}")


@dataclass(frozen=True)
class _Writer:
    context: Context
    name: str
    source: SourceSettings
    trial: Trial
    sample: Sample
    is_csv: bool

    def parts(self) -> Iterator[list[Keys]]:
        """For each part of the edit, the keys that may say it."""
        if self.source.adapter:
            raise CannotSayError(f"the source has a function, {self.source.adapter}, which has to read it")
        if not self.trial.is_decided:
            raise CannotSayError("its values do not show how later ones are to be read")
        edit = self.trial.edit
        if edit.drop:
            raise CannotSayError("no key removes a field")
        for old, new in edit.rename.items():
            field, now = self._field(new)
            yield [{"fields": {field: _path(old)}}, {"fields": {field: f"{now} || {_path(old)}"}}]
        for raw, how in edit.cast.items():
            yield self._cast(raw, how)
        for raw in edit.default:
            yield self._default(raw)
        for raw in edit.set:
            yield self._null_words(raw)

    def _field(self, raw: str) -> tuple[str, str]:
        """(the contract's field that a raw one is read for, the expression that reads it)."""
        by_mapping = {
            paths.joined(path): field
            for field, expression in self.source.fields.items()
            if (path := path_of(expression))
        }
        field = by_mapping.get(raw) or self.context.contract.inputs.get(raw)
        if field is None:
            raise CannotSayError(f"{raw} is not a field of the contract")
        return field, self.source.fields.get(field, _path(raw))

    def _cast(self, raw: str, how: str) -> list[Keys]:
        field, now = self._field(raw)
        own: Keys = {"casts": {field: how}}  # of this field alone
        if how == "text":
            return [{"fields": {field: f"(type({now}) == 'number' && to_string({now})) || {now}"}}]
        if how.startswith(("time:", "epoch")):
            if field != "ts":
                return [own]
            if self.source.ts_unit or self.source.ts_format:
                raise CannotSayError(
                    "ts_unit and ts_format are for one kind of times, and the source has one"
                )
            if how.startswith("time:"):
                return [{"ts_format": how.removeprefix("time:")}, own]
            return [{"ts_unit": {"epoch": "s", "epoch-ms": "ms"}[how]}, own]
        return [*(self._of_the_file(how) if self.is_csv else []), own]

    @staticmethod
    def _of_the_file(how: str) -> list[Keys]:
        """The keys that say a cast for all cells of CSV files."""
        if how == "trim":
            return [{"trim": True}]
        if how == "decimal-comma":
            return [{"decimal": ","} | ({"thousands": each} if each else {}) for each in GROUPS]
        if how == "thousands":
            return [{"thousands": each} for each in (",", *GROUPS[2:])]
        return []

    def _default(self, raw: str) -> list[Keys]:
        field, now = self._field(raw)
        info = self.context.contract.model.model_fields[field]
        options: list[Keys] = [{"trim": True}] if self.is_csv else []
        if isinstance(info.default, str | int | float):
            return [*options, {"defaults": {field: info.default}}]
        return [*options, {"fields": {field: f"[{now}][?@ != ''] | [0]"}}]

    def _null_words(self, raw: str) -> list[Keys]:
        words = sorted({str(each) for each in self.sample.values(raw) if isinstance(each, str)})
        if self.is_csv:
            return [{"null_values": sorted({*self.source.null_values, *words})}]
        field, now = self._field(raw)
        unlike = " && ".join(f"@ != '{word}'" for word in words)
        return [{"fields": {field: f"[{now}][?{unlike}] | [0]"}}]

    def conflict(self, keys: Keys) -> str | None:
        """Why keys would reject what the source's records are accepted with now; None where nothing shows that."""
        if ("ts_format" in keys or "ts_unit" in keys) and self._accepted([]):
            return (
                "ts_format and ts_unit read one kind of times, and records of this source came with another"
            )
        casts = keys.get("casts", {})
        with_commas = [name for name, how in casts.items() if how in OF_COMMAS and self.is_csv]
        if keys.get("decimal") == "," or with_commas:
            target = record_tables(self.context.contract.columns).target
            numbers = [
                target.c[field]
                for field, kind in self.context.contract.kinds.items()
                if kind in ("real", "decimal")
                and field in target.c
                and field not in IDENTITY
                and (not with_commas or field in with_commas)
            ]
            broken = [column != func.round(column) for column in numbers]
            if broken and self._accepted([or_(*broken)]):
                return (
                    "a decimal comma makes more than a thousand of 1.234, and records of this source came with a "
                    "decimal point"
                )
        paths = keys.get("fields", {})
        for old, new in self.trial.edit.rename.items():
            field, _ = self._field(new)
            if paths.get(field) == _path(old) and self._accepted([]):
                return "records of this source came with the other name"
        return None

    def _accepted(self, conditions: Sequence[ColumnElement[bool]]) -> bool:
        """Whether the target has rows of the source that this mapping accepted as they came."""
        target = record_tables(self.context.contract.columns).target
        fingerprint = self.context.contract.fingerprint(self.source)
        current = select(batches.c.seq).where(batches.c.fingerprint == fingerprint)
        statement = select(target.c.key).where(
            target.c.source == self.name,
            target.c.lineage_parent.is_(None),  # it was not replayed
            target.c.lineage_id.op(">>")(SHIFT).in_(current),
            *conditions,
        )
        return self.context.connection.execute(statement.limit(1)).first() is not None

    def notes(self, keys: Keys) -> tuple[str, ...]:
        """What the keys do beside."""
        found = []
        for what, names in (("numbers", OF_CSV[:2]), ("cells", OF_CSV[2:])):
            if named := [name for name in names if name in keys]:
                found.append(f"{' and '.join(named)}: for all {what} of the CSV files of {self.name}")
        # With ts_format in force, the edit's ISO 8601 would be rejected.
        is_of_files = any(name in keys for name in OF_CSV)
        found.append(
            "letters stay as their file was written: replay these with the command above first"
            if is_of_files
            else "with these lines in force, letters need no edit: replay them as they are"
        )
        replaced = [name for name in keys.get("fields", {}) if name in self.source.fields]
        found += [f"in place of fields.{each} = {toml(self.source.fields[each])}" for each in replaced]
        return tuple(found)


def _path(name: str) -> str:
    """A field's path as JMESPath has it."""
    return ".".join(each if PLAIN_NAME.fullmatch(each) else json.dumps(each) for each in paths.split(name))


def _merged(option: Sequence[Keys]) -> Keys:
    merged: Keys = {}
    for keys in option:
        for name, value in keys.items():
            merged[name] = merged[name] | value if isinstance(value, dict) and name in merged else value
    return merged


def with_keys(source: SourceSettings, keys: Mapping[str, Any]) -> SourceSettings:
    """The settings of a source as they would be. Raises ValidationError."""
    both = source.model_dump()
    for name, value in keys.items():
        both[name] = both[name] | value if isinstance(value, dict) else value
    return SourceSettings.model_validate(both)


def _is_csv(context: Context, chosen: Chosen) -> bool:
    formats = select(dead_letters.c.format).where(*chosen).distinct()
    return set(context.connection.execute(formats).scalars()) == {"csv"}


def _reads_the_same(context: Context, name: str, edit: Edit, chosen: Chosen, keys: Keys) -> bool:
    """Whether each letter becomes the same record under the keys as under the edit, or is rejected by both."""
    try:
        would_be = with_keys(context.settings.source(name), keys)
    except ValidationError:  # keys that exclude each other
        return False
    skew = context.settings.max_future_skew
    now, then = context.judge(name), judge_for(context.contract, would_be, skew)
    dialect = {key: getattr(would_be, key) for key in OF_CSV if key in keys}
    statement = select(*COLUMNS).where(*chosen).order_by(*ORDER).execution_options(yield_per=500)
    letters = (letter_of(row) for row in context.connection.execute(statement).mappings())
    while piece := list(islice(letters, CUT.records)):
        edited = _accepted(context, now, [_ready(each, edit, {}) for each in piece])
        if edited != _accepted(context, then, [_ready(each, Edit(), dialect) for each in piece]):
            return False
        context.on_letters(len(piece))
    return True


def _ready(letter: DeadLetter, edit: Edit, dialect: Mapping[str, Any]) -> Replayable | None:
    """A letter as it is sent back; its file written in this dialect."""
    try:
        ready = prepared(letter, edit)
        return ready._replace(dialect=replace(ready.dialect, **dialect)) if dialect else ready
    except (InputError, ConfigError):  # it cannot be sent back: neither accepts it
        return None


def _accepted(
    context: Context, judge: Judge, letters: Sequence[Replayable | None]
) -> dict[str, tuple[Any, ...]]:
    """letter -> the record that it becomes, of those that are accepted."""
    found: dict[str, tuple[Any, ...]] = {}
    at = database.now(context.connection)
    for group in batches_of((each for each in letters if each), CUT):
        source = group[0].letter.source
        message = message_of(group, delivery_of("0" * 32, source, judge.fingerprint))
        judged = judge_batch(message, judge, context.watermarks.get(source), at)
        for records in (judged.valid, judged.skipped):
            for each in records:
                one = each.record
                content = bytes(one.content_hash)
                found[group[each.position].letter.id] = (one.key, one.ts, content, one.sequence, one.deleted)
    return found
