"""A look at a file -> a contract module and the section of its source, as text with comments. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from producer.draft.columns import NOTATIONS, Column
from producer.draft.kinds import (
    Candidate,
    Kind,
    Numbers,
    Time,
    key_candidates,
    kind_of,
    numbers_of,
    time_candidates,
)
from producer.draft.look import Look
from producer.draft.names import PLAIN_NAME, field_name, model_name, module_name
from store.database.records import FIXED
from worker.dead_letters.suggest.always import toml, toml_key

MOST_SHOWN = 5


@dataclass
class Field:
    """One field of the contract."""

    name: str
    column: Column
    kind: Kind
    is_optional: bool
    notes: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """As it stands in the class."""
        written = f"{self.name}: {self.kind.type}" + (" | None = None" if self.is_optional else "")
        notes = [*([self.kind.why] if self.kind.why else []), *self.notes]
        return f"    {written}" + (f"  # {_comment('; '.join(notes))}" if notes else "")


@dataclass
class Draft:
    """What is written, and what a person has to decide."""

    look: Look
    source: str
    module: str
    model: str
    fields: list[Field]
    keys: list[Candidate]
    times: list[tuple[Column, Time]]
    key_type: str
    numbers: Numbers
    null_words: list[str]
    words_in_doubt: list[str]  # that may mean no value in one column, and are a value in another
    undecided: list[str] = field(default_factory=list)

    @property
    def contract(self) -> str:
        """The text of the module."""
        return "\n".join(self._contract()) + "\n"

    @property
    def section(self) -> str:
        """The text of sluice.toml."""
        return "\n".join(self._section()) + "\n"

    def _looked_at(self) -> str:
        amount = f"all {self.look.records:,}" if self.look.is_whole else f"the first {self.look.records:,}"
        return f"{amount} records of {_comment(PurePath(self.look.name).name)}"

    def _contract(self) -> Iterator[str]:
        types = " ".join([self.key_type, *(each.kind.type for each in self.fields)])
        yield f'"""The contract of {self.source}: drafted from {self._looked_at()}. Yours to change."""'
        yield ""
        yield "from __future__ import annotations"
        yield ""
        imported = [name for name in ("date", "datetime") if re.search(rf"\b{name}\b", types)]
        lines = [f"from datetime import {', '.join(imported)}"] if imported else []
        lines += ["from decimal import Decimal"] if "Decimal" in types else []
        named = [name for name in ("Any", "Literal") if re.search(rf"\b{name}\b", types)]
        lines += [f"from typing import {', '.join(named)}"] if named else []
        yield from [*lines, ""] if lines else []
        yield "from worker.contract import Record"
        yield ""
        yield ""
        yield f"class {self.model}(Record):"
        yield f'    """A record of {self.source}. `key` and `ts` are those of Record."""'
        yield ""
        if self.key_type != "str":
            yield f"    key: {self.key_type}"
        yield from (each.line for each in self.fields)

    def _section(self) -> Iterator[str]:
        yield f"# Drafted from {self._looked_at()}. Yours to change."
        yield "[worker]"
        yield f'contract = "{self.module}:{self.model}"  # for all sources of this store'
        yield ""
        yield f"[sources.{toml_key(self.source)}]"
        for key, value in self.look.written.keys.items():
            yield f"{key} = {toml(value)}  # {self.look.written.why[key]}"
        yield from self._notation()
        if self.look.written.header_in_doubt:
            yield f"# ambiguous: {_comment(self.look.written.header_in_doubt)}: give the file a header."
        for key, (value, why) in self.look.written.in_doubt.items():
            yield f"# ambiguous: {_comment(why)}. Without this line, they are text:"
            yield f"# {key} = {toml(value)}"
        if self.words_in_doubt:
            words = toml(self.words_in_doubt)
            yield f"# null_values = {words}  # ambiguous: these stand in columns of text too, as a value or as none"
        if self.null_words:
            yield f"null_values = {toml(self.null_words)}  # cells that mean: no value"
        yield from self._key()
        yield from self._time()
        yield from self._others()
        for each in self.fields:
            if each.column.path != (each.name,) or each.column.path in self.look.whole:
                yield f"fields.{each.name} = {_toml_path(each.column)}"
            if each.kind.cast:
                yield f"casts.{each.name} = {toml(each.kind.cast)}"

    def _notation(self) -> Iterator[str]:
        notation = self.numbers.notation
        if self.look.format == "csv":
            if notation.decimal != ".":
                yield f"decimal = {toml(notation.decimal)}  # for all numbers of its files"
            if notation.thousands:
                yield f"thousands = {toml(notation.thousands)}"
        if self.numbers.ambiguous:
            yield f"# {_comment(self.numbers.why)}."
            yield '# Choose one, and make the fields numbers: decimal = ","  or  thousands = ","'

    @property
    def taken_apart(self) -> list[str]:
        """Fields of records whose objects the draft reads field by field: it stores none of their other fields."""
        paths = [each.column.path for each in self.keys[:1]] + [each.column.path for each in self.fields]
        paths += [column.path for column, _ in self.times[:1]]
        whole = {path[0] for path in self.look.whole if len(path) == 1}
        return sorted({path[0] for path in paths if len(path) > 1} - whole)

    def _others(self) -> Iterator[str]:
        """What is not drafted."""
        if self.look.has_more_columns:
            yield "# Its records have more fields than these: others are stored in `extra`."
        for name in self.taken_apart:
            own = PLAIN_NAME.fullmatch(name)
            instead = f"fields.{name} = {_toml_path(Column((name,)))}" if own else "a field for all of it"
            yield (
                f"# Other fields that an object {_comment(repr(name))} has are not stored: to store it whole, "
                f"write {_comment(instead)} instead of its lines, and a dict in the contract."
            )

    def _key(self) -> Iterator[str]:
        if not self.keys:
            yield "# No column looks like a key, which every record must have: choose one or several."
            yield "# fields.key = \"join('-', [a, b])\""
            return
        for number, each in enumerate(self.keys[:MOST_SHOWN]):
            line = f"fields.key = {_toml_path(each.column)}"
            own = each.column.path == ("key",)
            unique = (
                f"unique in {each.column.values:,} records"
                if each.is_unique
                else f"{each.distinct:,} values in {each.column.values:,} records: the newest of each stays"
            )
            if each.share_there < 1:
                unique += f"; {1 - each.share_there:.1%} of the records have none"
            yield f"{'# ' if number or own else ''}{line}  # {unique}"

    def _time(self) -> Iterator[str]:
        if not self.times:
            yield "# No column holds times, so all records get this one: of equal keys the last one sent stays."
            yield 'constants.ts = "2000-01-01T00:00:00Z"'
            return
        column, time = self.times[0]
        if column.path != ("ts",):
            yield f"fields.ts = {_toml_path(column)}"
        if time.ambiguous:
            yield f"# ambiguous: {_comment(time.why)}. Choose one:"
            yield from (f"# ts_format = {toml(each)}" for each in time.ambiguous)
        if time.share < 1:
            such = f", such as {column.odd['time']!r}" if "time" in column.odd else ""
            yield f"# {1 - time.share:.1%} of its values are no such times{_comment(such)}, and would be rejected."
        for key, value in time.keys.items():
            yield f"{key} = {toml(value)}" + (f"  # {_comment(time.why)}" if time.why else "")
        if time.is_naive:
            yield '# assume_tz = "Europe/Berlin"  # its times have no offset: without this line they are UTC'
        for other, found in self.times[1:MOST_SHOWN]:
            how = "".join(f", {key} {value}" for key, value in found.keys.items())
            yield f"# or: fields.ts = {_toml_path(other)}  # {_comment(found.why + how)}"


def draft_of(look: Look, source: str) -> Draft:
    """The draft of a source from a look at one of its files."""
    columns = [each for each in look.columns if each.values or each.null_words or look.format == "csv"]
    is_csv = look.format == "csv"
    numbers = numbers_of(columns) if is_csv else Numbers()
    readable = look.records - look.unreadable
    times = time_candidates(columns, readable)
    in_use = {times[0][0].path} if times else set()
    keys = [each for each in key_candidates(columns, readable) if each.column.path not in in_use]
    if keys:
        in_use.add(keys[0].column.path)
    taken = {name.lower() for name in FIXED} | {"key", "ts"}
    fields: list[Field] = []
    for column in columns:
        if column.path in in_use or not look.is_field(column.path):
            continue
        name = field_name(column, taken)
        kind = kind_of(column, numbers, is_csv=is_csv, name=name)
        notes = _notes(column, kind, numbers)
        is_optional = column.values < readable
        fields.append(Field(name, column, kind, is_optional, notes))
    in_no_field = [each for each in columns if each.path in in_use]
    null_words, in_doubt = _null_words(fields, in_no_field) if is_csv else ([], [])
    draft = Draft(
        look,
        source,
        module=module_name(source),
        model=model_name(source),
        fields=fields,
        keys=keys,
        times=times,
        key_type="int" if keys and _is_int(keys[0].column) else "str",
        numbers=numbers,
        null_words=null_words,
        words_in_doubt=in_doubt,
    )
    draft.undecided = list(_undecided(draft))
    return draft


def _is_int(column: Column) -> bool:
    return column.numbers == column.values == column.integers and not column.beyond_64_bits


def _notes(column: Column, kind: Kind, numbers: Numbers) -> list[str]:
    if kind.share == 1:
        return []
    is_time = kind.type in ("date", "datetime")
    example = column.odd.get("time" if is_time else "number")
    if example is None and not is_time and numbers.notation == NOTATIONS[0]:
        example = column.odd.get("marks")
    such = f", such as {example!r}" if example else ""
    return [f"{1 - kind.share:.1%} of its values are something else{such}, and would be rejected"]


def _null_words(fields: Sequence[Field], others: Sequence[Column]) -> tuple[list[str], list[str]]:
    """The words for no value: those that stand in no column of text, where they may be a value; and the others."""
    words = {word for each in fields if each.kind.type in OF_VALUES for word in each.column.null_words}
    texts = [*others, *(each.column for each in fields if each.kind.type not in OF_VALUES)]
    in_doubt = words & {word for each in texts for word in each.null_words}
    return sorted(words - in_doubt)[:20], sorted(in_doubt)[:20]


OF_VALUES = ("int", "float", "Decimal", "bool", "date", "datetime")


def _undecided(draft: Draft) -> Iterator[str]:
    if why := draft.look.written.header_in_doubt:
        yield f"{why}: give the file a header"
    if not draft.keys:
        yield "no column looks like a key: choose one"
    elif not draft.keys[0].is_unique:
        key = draft.keys[0]
        yield (
            f"the key {'.'.join(key.column.path)} has {key.distinct:,} values in {key.column.values:,} records: "
            "of each only the newest stays; choose another, or keep it"
        )
    elif not draft.keys[0].is_named and (named := [each for each in draft.keys if each.is_named]):
        chosen, other = (".".join(each.column.path) for each in (draft.keys[0], named[0]))
        yield f"the key may be {chosen}, which is unique, or {other}, which is not, but has the name of one"
    for name, (value, why) in draft.look.written.in_doubt.items():
        yield f"{name} {value!r} is ambiguous: {why}"
    if draft.words_in_doubt:
        words = ", ".join(map(repr, draft.words_in_doubt))
        yield f"null_values {words} are ambiguous: they stand in columns of text too, as a value or as none"
    if not draft.times:
        yield "no column holds times, so that all records get one: the last one sent of a key stays"
    elif draft.times[0][1].ambiguous:
        column, time = draft.times[0]
        yield f"ts from {'.'.join(column.path)} is ambiguous: {time.why}; choose ts_format"
    if draft.numbers.ambiguous:
        names = ", ".join(".".join(path) for path in draft.numbers.ambiguous)
        yield f"numbers of {names} are {draft.numbers.why}; choose decimal or thousands"


def _toml_path(column: Column) -> str:
    """A column as a JMESPath expression, in TOML."""
    return toml(".".join(each if PLAIN_NAME.fullmatch(each) else json.dumps(each) for each in column.path))


def _comment(text: str) -> str:
    """Text that ends no comment and no docstring."""
    return (
        "".join(each if each.isprintable() else " " for each in text)
        .replace('"""', "'''")
        .replace("\\", "\\\\")
    )


def facts(draft: Draft, files: dict[str, str]) -> dict[str, Any]:
    """A draft, for `--json`."""
    look = draft.look
    return {
        "file": look.name,
        "source": draft.source,
        "records_looked_at": look.records,
        "is_whole": look.is_whole,
        "unreadable": look.unreadable,
        "has_more_columns": look.has_more_columns,
        "taken_apart": draft.taken_apart,
        "error": look.fault,
        "dialect": look.written.keys,
        "key_candidates": [
            {
                "column": list(each.column.path),
                "distinct": each.distinct,
                "values": each.column.values,
                "unique": each.is_unique,
            }
            for each in draft.keys
        ],
        "time_candidates": [
            {"column": list(column.path), **time.keys, "ambiguous": list(time.ambiguous)}
            for column, time in draft.times
        ],
        "fields": [
            {
                "name": each.name,
                "column": list(each.column.path),
                "type": each.kind.type,
                "optional": each.is_optional,
                "share": each.kind.share,
                "why": each.kind.why,
            }
            for each in draft.fields
        ],
        "undecided": draft.undecided,
        "files": files,
    }
