"""The fields that an edit names: raw ones, or the contract's where the mapping takes them from one raw field."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import jmespath

from store import paths
from store.dead_letters.edits import Edit
from store.errors import UsageError
from store.paths import Path
from worker.contract import Contract
from worker.judge.adapt import path_of, roots
from worker.settings import SourceSettings

RAW = "raw."


def names_in(body: Mapping[str, Any]) -> set[str]:
    """The fields of a payload, those within objects too, as an edit names them."""
    return {paths.joined(path) for path, _ in paths.fields_within(body)}


@dataclass(frozen=True)
class Names:
    """What one source's records call their fields."""

    contract: Contract
    source: SourceSettings
    present: Collection[str]  # raw fields of some of the letters: see `names_in`

    def resolved(self, edit: Edit) -> Edit:
        """The edit with raw names alone. Raises UsageError for a field that there is not, or that a mapping sets."""
        return replace(
            edit,
            set={self.raw(name): value for name, value in edit.set.items()},
            default={self.raw(name): value for name, value in edit.default.items()},
            rename={self._old(name): self._new(new) for name, new in edit.rename.items()},
            cast={self.raw(name): how for name, how in edit.cast.items()},
            drop=tuple(self.raw(name) for name in edit.drop),
        )

    def _old(self, name: str) -> str:
        """A field that gets another name: the mapping need not read it under the old one."""
        if not name.startswith(RAW):
            return self.raw(name)
        return paths.joined(self._path(name.removeprefix(RAW)))

    def _new(self, name: str) -> str:
        """A name that a field is to have: any, but one that the mapping overrides or does not read."""
        return (
            self._used(self._path(name.removeprefix(RAW), is_new=True))
            if name.startswith(RAW)
            else self.raw(name)
        )

    def raw(self, name: str) -> str:
        """The raw field that this name stands for, as a path: see `store.paths`."""
        if name.startswith(RAW):
            return self._used(self._path(name.removeprefix(RAW)))
        if name in self.source.constants:
            raise UsageError(
                f"{name}: the mapping sets it to a constant, so no edit of a payload can change it"
            )
        expression = self.source.fields.get(name)
        if expression is not None:
            if path := path_of(expression):
                return paths.joined(path)
            raise UsageError(
                f"{name}: the mapping computes it by {expression!r}: name the raw field, like {RAW}{self._example()}"
            )
        given = {field: given for given, field in self.contract.inputs.items()}
        if paths.joined([name]) in self.present or (name in given and not self.source.adapter):
            return self._used((given.get(name, name),))
        raise UsageError(f"{name}: the letters have no such field{self._nearest(name)}")

    def _path(self, text: str, *, is_new: bool = False) -> Path:
        """A raw name as it is typed: one name, be it with a dot, or the path of a field that is there or is read."""
        whole = (text,)
        if "\\" not in text and ("." not in text or paths.joined(whole) in self.present):
            return whole
        path = paths.split(text)
        is_known = paths.joined(path) in self.present or path in self._read
        if len(path) > 1 and not (is_known or is_new):
            own = paths.joined(whole)
            raise UsageError(
                f"{RAW}{text}: the letters have no such field{self._nearest(text, f'{RAW}{own}')}"
            )
        return path

    @cached_property
    def _read(self) -> list[Path]:
        """The raw fields that the source's expressions read, of those that do nothing else."""
        return [tuple(path) for each in self._expressions if (path := path_of(each))]

    @cached_property
    def computed_from(self) -> set[str]:
        """The record's own fields that other expressions look at."""
        rest = [each for each in self._expressions if not path_of(each)]
        return {root for each in rest for root in roots(jmespath.compile(each).parsed)}

    @property
    def _expressions(self) -> list[str]:
        source = self.source
        return [*source.fields.values(), *(each for each in (source.sequence, source.deleted) if each)]

    def is_read(self, path: Path) -> bool:
        """Whether an expression of the source reads this raw field, something in it, or what it is in."""
        if path[0] in self.computed_from:
            return True
        return any(path == each[: len(path)] or each == path[: len(each)] for each in self._read)

    def _used(self, path: Path) -> str:
        """A raw name whose value the mapping does not replace or leave out."""
        name, root = paths.joined(path), path[0]
        if self.source.adapter or self.is_read(path):
            return name
        field = self.contract.inputs.get(root, root)
        expression = self.source.fields.get(field)
        if expression is not None or field in self.source.constants:
            by = f"{expression!r}" if expression else "a constant"
            raise UsageError(
                f"{name}: the mapping sets {field} by {by}, and what the payload has there is not used"
            )
        if any(each[0] == root for each in self._read):
            raise UsageError(
                f"{name}: of {root} the mapping reads "
                f"{', '.join(sorted(paths.joined(each) for each in self._read if each[0] == root))} alone"
            )
        return name

    def _example(self) -> str:
        return min((name for name in self.present if "." not in name), default="FIELD")

    def _nearest(self, name: str, new: str | None = None) -> str:
        known = {*self.present, *self.contract.inputs.values()}
        near = get_close_matches(name, sorted(known), 1, 0.6)
        top = sorted(each for each in self.present if len(paths.split(each)) == 1)
        meant = f"; did you mean {near[0]}?" if near else f"; they have {', '.join(top[:12])}"
        return f"{meant} (a new field is named {new or RAW + name})"
