"""The contract: the shape records must have: `Event`, or what `contract = "module:Model"` names.

A contract is a pydantic model with at least the fields of `Record`.
"""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, ConfigDict

from store import hashing
from store.database.records import FIXED, ContractColumn, Kind
from store.errors import ConfigError, NotTrusted
from worker import modules
from worker.settings import SourceSettings, WorkerSettings

IDENTITY = ("key", "ts")


class Record(BaseModel):
    """What every record has: the key it is merged by, and the time it happened."""

    model_config = ConfigDict(allow_inf_nan=False)

    key: str
    ts: datetime


class Event(Record):
    """The default contract."""

    name: str
    value: float


EXACT_DIGITS = 15  # of decimal digits, as many as a binary number of 64 bits holds, whatever they are

# A source's settings that decide nothing of what its records say.
NOT_OF_THE_MAPPING = {
    "allowed_lateness",
    "late",
    "max_age",
    "stale",
    "priority",
    "ties",
    "max_rejects",
    "max_reject_ratio",
    "sheet",  # which one was read is part of a delivery's content
}


@dataclass(frozen=True)
class Contract:
    """A model, taken apart once: what judging a record needs to know of it."""

    name: str  # module:Model
    model: type[BaseModel]
    extra: Literal["keep", "ignore", "forbid"]
    inputs: dict[str, str]  # the name a field is read by -> the field
    required: tuple[str, ...]  # the names required fields are read by
    kinds: dict[str, Kind]  # field -> the kind of its column
    columns: tuple[ContractColumn, ...]  # without key and ts, which are fixed
    exact: frozenset[str]  # decimal fields whose exact digits have a column of their own, behind the field's
    has_decimals: bool  # also within lists, objects and unions: the digits of a JSON number matter
    source: str = ""  # fingerprint of the text of its module, and of the user's modules that this imports

    def fingerprint(self, source: SourceSettings) -> str:
        """16 hex digits: changes whenever the contract or the mapping could judge a record otherwise.

        Raises ConfigError where the module of the adapter is not there.
        """
        schema = self.model.model_json_schema()
        mapping = source.model_dump(mode="json", exclude=NOT_OF_THE_MAPPING)
        adapter = _source_of("adapter", source.adapter) if source.adapter else ""
        judged_by = [self.name, schema, source.extra or self.extra, mapping, self.source, adapter]
        return hashing.hexdigest(orjson.dumps(judged_by, option=orjson.OPT_SORT_KEYS))[:16]

    def changes_since(self, other: Contract) -> list[str]:
        """What differs in its fields from an earlier one, each in a few words."""
        found = [
            f"{field} is new" + ("" if self._requires(field) else " and optional")
            for field in self.kinds
            if field not in other.kinds
        ]
        found += [f"{field} was taken out" for field in other.kinds if field not in self.kinds]
        for field in self.kinds.keys() & other.kinds.keys():
            if self.kinds[field] != other.kinds[field]:
                found.append(f"{field} is {self.kinds[field]}, and was {other.kinds[field]}")
            if self._requires(field) != other._requires(field):
                found.append(f"{field} is {'required' if self._requires(field) else 'optional'} now")
        return sorted(found)

    def _requires(self, field: str) -> bool:
        return any(self.inputs[name] == field for name in self.required)


def load_contract(settings: WorkerSettings) -> Contract:
    """The contract in force. Raises ConfigError saying what is wrong with the name or the model."""
    return _load(settings.contract, settings.extra)


@lru_cache(maxsize=8)
def _load(name: str, extra: Literal["keep", "ignore", "forbid"] | None) -> Contract:
    model = _import(name)
    lacking = [
        field
        for field in IDENTITY
        if field not in model.model_fields or not model.model_fields[field].is_required()
    ]
    if lacking:
        raise ConfigError(
            f"contract {name!r} lacks a required {' and '.join(lacking)}: derive it from worker.contract.Record"
        )
    if model.model_fields["ts"].annotation in (str, int, float, date):
        raise ConfigError(f"contract {name!r}: ts is not a datetime: derive it from worker.contract.Record")
    for field, info in model.model_fields.items():
        if info.validation_alias is not None and not isinstance(info.validation_alias, str):
            raise ConfigError(
                f"contract {name!r}: field {field!r} has several aliases; give it one name, and let each "
                "source's `fields` map its own to it"
            )
    kinds = {field: _kind(info.annotation) for field, info in model.model_fields.items()}
    inputs = {_input_name(field, info): field for field, info in model.model_fields.items()}
    exact = frozenset(
        field
        for field, kind in kinds.items()
        if kind == "decimal" and _most_digits(model.model_fields[field]) > EXACT_DIGITS
    )
    columns: list[ContractColumn] = []
    for field, kind in kinds.items():
        if field not in IDENTITY:
            columns.append(ContractColumn(field, kind))
        if field in exact:
            columns.append(ContractColumn(f"{field}_exact", "text"))
    _check_columns(name, [column.name for column in columns])
    forbidding = model.model_config.get("extra") == "forbid"
    return Contract(
        name=name,
        model=model,
        extra=extra or ("forbid" if forbidding else "keep"),
        inputs=inputs,
        required=tuple(given for given, field in inputs.items() if _needs_a_value(model.model_fields[field])),
        kinds=kinds,
        columns=tuple(columns),
        exact=exact,
        has_decimals=_holds(model.__pydantic_core_schema__, "decimal"),
        source=_source_of("contract", name),
    )


def _holds(schema: Any, kind: str) -> bool:
    """Whether a schema, or one within it, is of this type."""
    if isinstance(schema, dict):
        return schema.get("type") == kind or any(_holds(inner, kind) for inner in schema.values())
    return isinstance(schema, list | tuple) and any(_holds(inner, kind) for inner in schema)


def _most_digits(info: Any) -> float:
    """How many digits a decimal field may have; infinite where its contract does not say."""
    limits = [getattr(each, "max_digits", None) for each in info.metadata]
    return min((limit for limit in limits if limit is not None), default=float("inf"))


def _check_columns(name: str, fields: list[str]) -> None:
    """SQLite's columns are the same whatever their case. Raises ConfigError where two fields would clash."""
    taken = dict.fromkeys(FIXED, "a column of Sluice's own")
    for field in fields:
        if field in IDENTITY:
            continue
        if field.lower() in taken:
            raise ConfigError(f"contract {name!r} has a field {field!r}, {taken[field.lower()]}: rename it")
        taken[field.lower()] = "which differs from another by case alone"


def _import(name: str) -> type[BaseModel]:
    model = load_attribute("contract", name, "worker.contract:Event")
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ConfigError(
            f"contract = {name!r} is not a pydantic model: derive it from worker.contract.Record"
        )
    return model


def load_attribute(setting: str, name: str, example: str) -> Any:
    """The object that `module:name` names; the module may be in the working directory. Raises ConfigError."""
    module_name, _, attribute = name.partition(":")
    if not attribute:
        raise ConfigError(f'{setting} = {name!r} should be "module:name", like "{example}"')
    _search_here()
    try:
        return getattr(modules.load(module_name), attribute)
    except NotTrusted:
        raise
    except Exception as error:  # it is the user's module: whatever it raises, the setting names it
        reason = str(error) or type(error).__name__
        raise ConfigError(
            f"{setting} = {name!r} cannot be imported: {reason}{_hidden_file(module_name)}"
        ) from error


def _source_of(setting: str, name: str) -> str:
    """The fingerprint of the text of the module in `module:name`. Raises ConfigError."""
    _search_here()
    try:
        return modules.fingerprint(name.partition(":")[0])
    except (ImportError, OSError) as error:
        raise ConfigError(f"{setting} = {name!r} cannot be read: {error}") from error


def _search_here() -> None:
    """Lets modules be found in the working directory: usually they are beside sluice.toml.

    Last on the path, none can take the place of a module that this or another package imports later.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def forget() -> None:
    """Lets the next `load_contract`, and the adapters' functions, be read from their files again."""
    _load.cache_clear()
    modules.forget()


def _hidden_file(module_name: str) -> str:
    """What to do about a file of the working directory whose name an installed module has too."""
    top = module_name.partition(".")[0]
    found = sys.modules.get(top)
    imported = getattr(found, "__file__", None) or top
    for here in (Path.cwd() / f"{top}.py", Path.cwd() / top):
        if found and here.exists() and not Path(imported).resolve().is_relative_to(here.resolve()):
            return f". {top!r} is the module {imported}: rename {here} to import it"
    return ""


def _input_name(field: str, info: Any) -> str:
    alias = info.validation_alias or info.alias
    return alias if isinstance(alias, str) else field


def _needs_a_value(info: Any) -> bool:
    """Whether absent, null and blank are all missing; a field that may be None takes null for a value."""
    return info.is_required() and type(None) not in get_args(info.annotation)


def _kind(annotation: Any) -> Kind:
    """The column for a field's type: a simple type its own, everything else JSON or text."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = {_kind(part) for part in get_args(annotation) if part is not type(None)}
        return kinds.pop() if len(kinds) == 1 else "json"
    if get_origin(annotation) is Literal:
        kinds = {_kind(type(value)) for value in get_args(annotation)}
        return kinds.pop() if len(kinds) == 1 else "json"
    if not isinstance(annotation, type):
        return "json"
    simple: tuple[tuple[type, Kind], ...] = (
        (bool, "boolean"),
        (int, "integer"),
        (float, "real"),
        (Decimal, "decimal"),
    )
    for python_type, kind in simple:
        if issubclass(annotation, python_type):
            return kind
    is_structure = issubclass(annotation, BaseModel | dict | list | tuple | set | frozenset)
    return "json" if is_structure else "text"
