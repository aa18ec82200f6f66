"""The fields of a payload, those within objects too, and what differs between two payloads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from store import paths
from store.dead_letters.transfer import fields as raw_fields
from store.errors import InputError
from store.paths import Path
from store.tables.dead_letters import DeadLetter

MOST_LEVELS = 20  # of objects; what lies deeper is shown as it is written


@dataclass(frozen=True)
class Payload:
    """A payload taken apart."""

    fields: dict[Path, str]  # path -> value as JSON text, in the order of the payload
    why_not: str = ""  # why it has no fields

    def value(self, path: Path) -> str | None:
        """What stands at a path, be it an object; None for nothing."""
        if path in self.fields:
            return self.fields[path]
        inner = {each[len(path) :]: value for each, value in self.fields.items() if each[: len(path)] == path}
        return _written(inner) if inner else None


@dataclass(frozen=True)
class Change:
    """A field that differs; None: it is not there."""

    path: Path
    before: str | None  # JSON
    after: str | None

    @property
    def name(self) -> str:
        """Its path as one text."""
        return paths.joined(self.path)


def of_letter(letter: DeadLetter) -> Payload:
    """The payload of a letter as it came."""
    try:
        return Payload(leaves(raw_fields.fields_of(letter)))
    except InputError as error:
        return Payload({}, str(error))


def of_text(text: str) -> Payload:
    """A payload of JSON."""
    try:
        return Payload(leaves(raw_fields.values_of(text)))
    except InputError as error:
        return Payload({}, str(error))


def changes(before: Payload, after: Payload) -> list[Change]:
    """Each field that differs, in the order of the payloads."""
    every = {**before.fields, **after.fields}
    return [
        Change(path, before.fields.get(path), after.fields.get(path))
        for path in every
        if before.fields.get(path) != after.fields.get(path)
    ]


def leaves(fields: Mapping[str, str]) -> dict[Path, str]:
    """The values that are no objects, each with its path, of fields with their values as JSON text."""
    return dict(_leaves((), fields))


def _leaves(above: Path, fields: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    for name, value in fields.items():
        path = (*above, name)
        inner = _inner(value) if value.startswith("{") and len(path) < MOST_LEVELS else None
        if inner:
            yield from _leaves(path, inner)
        else:
            yield path, value


def _inner(value: str) -> dict[str, str] | None:
    """The fields of an object; None where it is not to be taken apart: a name that stands twice shows both."""
    try:
        return raw_fields.values_of(value)
    except InputError:  # it is shown as it is written
        return None


def _written(inner: Mapping[Path, str]) -> str:
    """The object that has these leaves."""
    tree: dict[str, dict[Path, str]] = {}
    for path, value in inner.items():
        tree.setdefault(path[0], {})[path[1:]] = value
    return raw_fields.object_of(
        {name: below[()] if () in below else _written(below) for name, below in tree.items()}
    )
