"""The variables of the environment as values of a model's fields: `SLUICE_` and the name of a field, in any case.

A field that is a list or a section takes JSON, and each part of it has a variable too: SLUICE_SOURCES__SHOP__LATE.
It does what pydantic-settings does, as far as our settings need it; importing that took a tenth of a second of each
command.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from store.errors import ConfigError

PREFIX = "SLUICE_"
PART = "__"

Variables = Mapping[str, tuple[str, str]]  # name in small letters -> name, text


def values(model: type[BaseModel]) -> dict[str, Any]:
    """What the environment says of a model's fields. Raises ConfigError for what should be JSON and is not."""
    variables = {name.lower(): (name, text) for name, text in os.environ.items()}
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        named = _aliases(field) or [PREFIX + name]
        whole = next((variables[each.lower()] for each in named if each.lower() in variables), None)
        value = _section(name, field, whole, variables) if _is_section(field) else whole and whole[1]
        if value is not None:
            found[_key(name, field)] = value
    return found


def by_key(model: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Values under the keys that the model takes, whichever of its names they have, in small or capital letters."""
    left = dict(given)
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        names = [each.lower() for each in _aliases(field) or [name]]
        own = sorted(
            (each for each in left if each.lower() in names), key=lambda each: names.index(each.lower())
        )
        if own:
            found[_key(name, field)] = left[own[0]]
            left = {each: value for each, value in left.items() if each not in own}
    return found | left


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """A dictionary over another one, and so are those within them."""
    found = dict(below)
    for name, value in above.items():
        under = found.get(name)
        nested = isinstance(under, dict) and isinstance(value, dict)
        found[name] = merged(found[name], value) if nested else value
    return found


def _section(name: str, field: FieldInfo, whole: tuple[str, str] | None, variables: Variables) -> Any:
    """A field that is a list or a section: its own variable, and those of its parts over it."""
    value = _parsed(*whole) if whole else {}
    if not isinstance(value, dict):
        return value
    value = merged(value, _parts(field, variables, f"{PREFIX}{name}{PART}".lower()))
    kind: Any = field.annotation
    if _is_model(kind):
        value = by_key(kind, value)
    return value if value or whole else None


def _parts(section: FieldInfo, variables: Variables, prefix: str) -> dict[str, Any]:
    """What variables say of parts of a section, and of parts of those."""
    found: dict[str, Any] = {}
    for variable, (name, text) in variables.items():
        if not variable.startswith(prefix):
            continue
        *path, last = variable.removeprefix(prefix).split(PART)
        inside: Any = found
        within: Any = section
        for each in path:
            within = _inside(within, each)
            if isinstance(inside, dict):
                inside = inside.setdefault(each, {})
        if isinstance(inside, dict):
            inside[last] = _part(section, _inside(within, last), name, text)
    return found


def _part(section: FieldInfo, of: Any, name: str, text: str) -> Any:
    """The value of one part: JSON where it is a list or a section itself, or is not known to the section."""
    if not text:
        return text
    if isinstance(of, FieldInfo):
        return _parsed(name, text) if _is_section(of) else text
    if _is_section(of) if of else _is_dict(section.annotation):
        try:
            return json.loads(text)
        except ValueError:  # then it is text, which the model judges
            return text
    return text


def _inside(of: Any, key: str) -> Any:
    """The field of a section, or the type of it, that this key leads to; None where it leads to none."""
    kind: Any = of.annotation if isinstance(of, FieldInfo) else of
    if _is_dict(kind):
        return get_args(kind)[-1]
    if _is_model(kind):
        for name, field in kind.model_fields.items():
            if key in [each.lower() for each in (name, *_aliases(field))]:
                return field
    return None


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f'{name.upper()} = {text!r:.200} should be JSON, like [1, 2] or {{"name": {{}}}}'
        ) from error


def _aliases(field: FieldInfo) -> list[str]:
    """The names that a field has instead of its own, the best first."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [each for each in choices if isinstance(each, str)]


def _key(name: str, field: FieldInfo) -> str:
    return next(iter(_aliases(field)), name)


def _is_section(of: Any) -> bool:
    kind = of.annotation if isinstance(of, FieldInfo) else of
    return _is_model(kind) or get_origin(kind) in (dict, list, tuple)


def _is_dict(kind: Any) -> bool:
    return get_origin(kind) is dict


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
