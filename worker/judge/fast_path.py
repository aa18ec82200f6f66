"""The quick way for records that are plain: JSON text as it came, under a contract of plain fields.

pydantic reads and checks the text in one go, into a dictionary instead of a model, so that nothing is
parsed twice. Whatever is out of the ordinary is not judged here: it is left to `parsing` and `validation`,
which look at everything and say what is wrong. What is accepted here, they accept to the same effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b
from operator import itemgetter
from typing import Any

import orjson
from pydantic_core import CoreConfig, CoreSchema, SchemaValidator, core_schema

from store import hashing, timestamps
from worker.contract import Contract
from worker.judge.columns import SORTED
from worker.judge.faults import NOT_DATA
from worker.judge.validate import Accepted, Validator
from worker.queue.message import RawRecord

# JSON's own kinds: pydantic takes them alike from text and from what a parser made of it.
PLAIN_KINDS = frozenset({"str", "int", "float", "bool"})
# Less than this a number is not bent by any parser, and no infinity.
LIMIT = 2**63

# Where any of these stands in a batch, records with one are looked at closely: a space before a colon hides
# a repeated field from counting, these escapes may be NUL or half a character, and true is not a number.
# Each is looked for only where its first sign, a single character, is found, which takes no time.
ODD = {
    " ": ('" :',),
    "\t": ("\t:",),
    "\n": ("\n:",),
    "\r": ("\r:",),
    "\\": ("\\u0000", "\\ud", "\\uD"),
}
BOOLEANS = ("true", "false")


class PlainRecords:
    """A contract's plain records, judged quickly."""

    def __init__(
        self, contract: Contract, schema: CoreSchema, config: CoreConfig, validator: Validator
    ) -> None:
        self._validate = SchemaValidator(schema, config).validate_json
        self._validator = validator
        self._fields = list(contract.kinds)
        self._texts = [name for name in contract.required if contract.kinds[name] == "text" and name != "ts"]
        self._numbers = [name for name, kind in contract.kinds.items() if kind in ("integer", "real")]
        self._values = _tuple_of([column.name for column in contract.columns])

    @classmethod
    def of(cls, contract: Contract, validator: Validator) -> PlainRecords | None:
        """None where the contract is not one of plain fields."""
        found = plain_schema(contract)
        return None if found is None else cls(contract, *found, validator)

    def judge(
        self, records: Sequence[RawRecord], latest: str
    ) -> tuple[list[tuple[int, Accepted]], list[int]]:
        """Those that keep the contract and are no later than `latest`, by position; the positions of the rest."""
        accepted: list[tuple[int, Accepted]] = []
        rest: list[int] = []
        accept, leave, new = accepted.append, rest.append, tuple.__new__
        validate, read, values_of = self._validate, self._validator.read_time, self._values
        iso, below = self._validator.reads_iso, self._validator.below_microseconds
        dumps, texts, numbers, width = orjson.dumps, self._texts, self._numbers, len(self._fields)
        odd = self._odd_in(records)
        for position, record in enumerate(records):
            if type(record) is not str or (odd and any(odd_text in record for odd_text in odd)):
                leave(position)
                continue
            try:
                fields = validate(record)
                # As many names in the text as there are fields: none is repeated, none is nested.
                if record.count('":') != len(fields):
                    raise ValueError
                for name in texts:
                    if not fields[name] or fields[name].isspace():
                        raise ValueError
                for name in numbers:
                    if fields[name] is not None and not -LIMIT < fields[name] < LIMIT:
                        raise ValueError
                ts = fields["ts"]
                ts, sequence = (
                    (whole_second(ts), 0)
                    if iso and len(ts) == 20
                    else (timestamps.to_text(read(ts)), below(ts))
                )
                fields["ts"] = ts
                if ts > latest:
                    raise ValueError
                values = values_of(fields)
                extra = None
                if len(fields) > width:
                    beyond = self._validator.extras(fields)
                    fields = {name: fields[name] for name in self._fields}
                    if beyond:
                        extra = dumps(beyond, option=SORTED).decode()
                        fields["extra"] = beyond
                content = blake2b(dumps(fields, option=SORTED), digest_size=hashing.BYTES).digest()
            except NOT_DATA:
                raise
            except Exception:
                leave(position)
                continue
            accept((position, new(Accepted, (fields["key"], ts, content, extra, values, sequence))))
        return accepted, rest

    def _odd_in(self, records: Sequence[RawRecord]) -> list[str]:
        """Those of the odd_texts that occur in any of the records: mostly none, and none need be looked for then."""
        everything = ",".join([record for record in records if type(record) is str])
        odd_texts = [
            odd_text for sign, odd_texts in ODD.items() if sign in everything for odd_text in odd_texts
        ]
        if self._numbers:
            odd_texts += BOOLEANS
        return [odd_text for odd_text in odd_texts if odd_text in everything]


def plain_schema(contract: Contract) -> tuple[CoreSchema, CoreConfig] | None:
    """The contract as the schema of a dictionary; None where it is more than its plain fields.

    `ts` is left as it came: how a source writes its times is the source's affair.
    """
    schema: Any = contract.model.__pydantic_core_schema__
    if schema["type"] == "definitions" and not schema["definitions"]:
        schema = schema["schema"]
    if schema["type"] != "model" or schema["schema"]["type"] != "model-fields":
        return None
    if schema.get("custom_init") or schema.get("root_model") or schema.get("post_init"):
        return None
    fields = {}
    for name, field in schema["schema"]["fields"].items():
        if contract.inputs.get(name) != name or field.get("validation_alias") is not None:
            return None
        inner = field["schema"]
        if name == "ts":
            if set(inner) - {"type", "microseconds_precision"} or inner["type"] != "datetime":
                return None
            inner = core_schema.any_schema()
        elif not is_plain(inner) or (name == "key" and inner["type"] != "str"):
            return None
        fields[name] = core_schema.typed_dict_field(inner, required=True)
    config: CoreConfig = schema.get("config", CoreConfig()).copy()
    config["cache_strings"] = "keys"  # names come again and again, values do not
    return core_schema.typed_dict_schema(fields, extra_behavior="allow"), config


def is_plain(schema: Any) -> bool:
    """Whether a field is of one of JSON's own kinds, or may also be null."""
    if schema["type"] == "nullable":
        schema = schema["schema"]
    return schema["type"] in PLAIN_KINDS


def whole_second(given: str) -> str:
    """A time written like 2025-01-15T12:00:00Z, as most are, as it is stored. Raises ValueError."""
    if (
        given[19] != "Z"
        or given[10] != "T"
        or not given[4] == given[7] == "-"
        or not given[13] == given[16] == ":"
        or given[11:13] == "24"  # some Pythons read it as the next day's first hour
    ):
        raise ValueError
    datetime.fromisoformat(given)
    return f"{given[:19]}.000000Z"


def _tuple_of(names: list[str]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda fields: tuple(fields[name] for name in names)
