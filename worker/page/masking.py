"""What nobody sees: `hide` names fields, `show_values = false` all of them. Values are taken out before a template.

A field that a mapping takes from a raw one hides that one too, and the other way round. Where it cannot be told which
part of a text is the field (a payload that is cut, or has no fields; the message of a rule of the whole record), all
of it is hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from store.dead_letters.transfer.fields import fields_of
from store.errors import InputError
from store.tables.dead_letters import DeadLetter
from worker.settings import WorkerSettings

HIDDEN = "(hidden)"
KEY_FIELD = "key"
NAME = re.compile(r"\w+")


@dataclass(frozen=True)
class Masks:
    """What is hidden, for every source."""

    hide: tuple[str, ...] = ()
    show_values: bool = True
    mappings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # source -> field -> expression

    @classmethod
    def of(cls, hide: tuple[str, ...], show_values: bool, worker: WorkerSettings) -> Masks:
        """Those of the settings."""
        mappings = {name: dict(source.fields) for name, source in worker.sources.items()}
        return cls(hide, show_values, mappings)

    def source(self, name: str) -> Mask:
        """That of a source's letters and rows."""
        return Mask(self.hide, self.show_values, self.mappings.get(name, {}))

    @property
    def hides(self) -> bool:
        """Whether anything is hidden."""
        return bool(self.hide) or not self.show_values


@dataclass(frozen=True)
class Mask:
    """What is hidden of one source."""

    hide: tuple[str, ...]
    show_values: bool
    mapping: Mapping[str, str]  # field of the contract -> where it is in the raw record

    @property
    def hides(self) -> bool:
        return bool(self.hide) or not self.show_values

    @cached_property
    def names(self) -> frozenset[str]:
        """The hidden fields, with the raw ones that they come from or become; the last part of a path."""
        found = {name.rpartition(".")[2] for name in self.hide}
        paths = {name: set(NAME.findall(path)) for name, path in self.mapping.items()}
        for name, parts in paths.items():
            if name in found or parts & found:
                found |= {name, self.mapping[name].rpartition(".")[2].strip('"'), *_ends(self.mapping[name])}
        return frozenset(found)

    def is_hidden(self, name: str | None) -> bool:
        """Whether the values of a field are; of no field: of the whole record."""
        if not self.show_values:
            return True
        if not name:
            return bool(self.hide)
        return bool(self.names & set(NAME.findall(name)))

    def key(self, key: str | None) -> str | None:
        """The key of a record."""
        return HIDDEN if key is not None and self.is_hidden(KEY_FIELD) else key

    def value(self, value: Any, name: str | None = None) -> Any:
        """A value of a field, with all within it."""
        if name is not None and self.is_hidden(name):
            return HIDDEN
        if isinstance(value, dict):
            return {each: self.value(inner, each) for each, inner in value.items()}
        if isinstance(value, list):
            return [
                self.value(inner) if isinstance(inner, dict | list) else self._item(inner) for inner in value
            ]
        return value

    def _item(self, value: Any) -> Any:
        return value if self.show_values else HIDDEN

    def fault(self, fault: Mapping[str, Any]) -> dict[str, Any]:
        """A fault: its message may repeat the value."""
        hidden = self.is_hidden(fault.get("field"))
        return {**fault, "message": HIDDEN} if hidden and fault.get("message") else dict(fault)

    def text(self, text: str | None, name: str | None = None) -> str | None:
        """A text about a value of a field."""
        return HIDDEN if text and self.is_hidden(name) else text

    def fields(self, letter: DeadLetter) -> dict[str, str]:
        """The fields of a payload, each as JSON text. Raises InputError where it has none."""
        return {name: self._json(name, text) for name, text in fields_of(letter).items()}

    def _json(self, name: str, text: str) -> str:
        if self.is_hidden(name):
            return HIDDEN
        if not self.hides or text[:1] not in ("{", "["):
            return text
        found = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
        return json.dumps(self.value(found), ensure_ascii=False)

    def payload(self, letter: DeadLetter) -> str:
        """A payload as text; what is hidden in it, or all of it where that cannot be told."""
        if not self.hides:
            return letter.raw.decode("utf-8", "backslashreplace")
        if not self.show_values:
            return HIDDEN
        try:
            return "\n".join(f"{name}: {text}" for name, text in self.fields(letter).items())
        except InputError:
            return HIDDEN

    def json_text(self, text: str) -> str:
        """A payload that was sent or stored as JSON, perhaps cut."""
        if not self.hides:
            return text
        try:
            body = json.loads(text)
        except ValueError:
            return HIDDEN
        if not self.show_values or not isinstance(body, dict):
            return HIDDEN
        return json.dumps(self.value(body), ensure_ascii=False)


def _ends(path: str) -> set[str]:
    """The names at which an expression of several paths ends."""
    return {NAME.findall(part)[-1] for part in re.split(r"[|,()\s&]+", path) if NAME.findall(part)}
