"""Faults beside the raw fields that they are about, by the mapping that rejected the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from store import paths
from store.dead_letters.raw.leaves import Payload
from store.dead_letters.raw.origins import Origins
from store.paths import Path
from store.text import storable_name

OF_RAW_FIELDS = ("unusable", "unexpected_field")  # rules whose faults name raw fields


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a record."""

    reason: str
    field: str  # of the contract, or a raw one beyond it; empty: the whole record
    rule: str
    message: str
    shape: str
    path: Path | None  # of the raw field; None: it is not about one
    value: str | None  # JSON: what stands there; None: nothing
    made_by: str  # where the field has no raw one: what makes it

    @property
    def raw(self) -> str | None:
        """The path as one text."""
        return None if self.path is None else paths.joined(self.path)


def beside(errors: list[dict[str, str]], origins: Origins, payload: Payload) -> list[Fault]:
    """Each fault with its raw field."""
    return [_beside(each, origins, payload) for each in errors]


def _beside(error: Mapping[str, str], origins: Origins, payload: Payload) -> Fault:
    field, rule = error.get("field") or "", error.get("rule") or ""
    origin = {} if rule in OF_RAW_FIELDS else origins.get(field, {})
    path = tuple(origin["path"]) if "path" in origin else None
    if path is None and field and not origin:
        path = _raw_field(field, payload)
    if (
        payload.why_not or rule == "duplicate_field"
    ):  # whether a field is there is not known, or it is there twice
        path = None
    value = None if path is None else payload.value(path)
    parts = (error.get("reason") or "", field, rule, error.get("message") or "", error.get("shape") or "")
    return Fault(*parts, path, value, origin.get("by", ""))


def _raw_field(field: str, payload: Payload) -> Path | None:
    """The field of the payload that a fault names as it may be stored."""
    return next(((path[0],) for path in payload.fields if storable_name(path[0]) == field), None)
