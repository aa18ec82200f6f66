"""The fields that an edit names: raw ones, or the contract's where the mapping takes them from one raw field."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from difflib import get_close_matches

from store.dead_letters.edits import Edit
from store.errors import UsageError
from worker.contract import Contract
from worker.settings import SourceSettings

RAW = "raw."


@dataclass(frozen=True)
class Names:
    """What one source's records call their fields."""

    contract: Contract
    source: SourceSettings
    present: Collection[str]  # raw fields of some of the letters

    def resolved(self, edit: Edit) -> Edit:
        """The edit with raw names alone. Raises UsageError for a field that there is not, or that a mapping sets."""
        return replace(
            edit,
            set={self.raw(name): value for name, value in edit.set.items()},
            default={self.raw(name): value for name, value in edit.default.items()},
            rename={self.raw(name): self._new(new) for name, new in edit.rename.items()},
            cast={self.raw(name): how for name, how in edit.cast.items()},
            drop=tuple(self.raw(name) for name in edit.drop),
        )

    def _new(self, name: str) -> str:
        """A name that a field is to have: any, but one that the mapping overrides."""
        return self._used(name.removeprefix(RAW)) if name.startswith(RAW) else self.raw(name)

    def raw(self, name: str) -> str:
        """The raw field that this name stands for."""
        if name.startswith(RAW):
            return self._used(name.removeprefix(RAW))
        if name in self.source.constants:
            raise UsageError(
                f"{name}: the mapping sets it to a constant, so no edit of a payload can change it"
            )
        expression = self.source.fields.get(name)
        if expression is not None:
            if expression.isidentifier():
                return expression
            raise UsageError(
                f"{name}: the mapping computes it by {expression!r}: name the raw field, like {RAW}{self._example()}"
            )
        given = {field: given for given, field in self.contract.inputs.items()}
        if name in self.present or (name in given and not self.source.adapter):
            return self._used(given.get(name, name))
        raise UsageError(f"{name}: the letters have no such field{self._nearest(name)}")

    def _used(self, raw: str) -> str:
        """A raw name whose value the mapping does not replace."""
        field = self.contract.inputs.get(raw, raw)
        expression = self.source.fields.get(field)
        if expression not in (None, raw) or field in self.source.constants:
            by = f"{expression!r}" if expression else "a constant"
            raise UsageError(
                f"{raw}: the mapping sets {field} by {by}, and what the payload has there is not used"
            )
        return raw

    def _example(self) -> str:
        return min(self.present, default="FIELD")

    def _nearest(self, name: str) -> str:
        known = {*self.present, *self.contract.inputs.values()}
        near = get_close_matches(name, sorted(known), 1, 0.6)
        meant = (
            f"; did you mean {near[0]}?" if near else f"; they have {', '.join(sorted(self.present)[:12])}"
        )
        return f"{meant} (a new field is named {RAW}{name})"
