"""Whether rows hold what was validated: their content hashes, computed again from their columns.

The hash of a record is that of its fields as canonical JSON, by the names of its contract. A column of a later
contract is not part of it, so `contracts` has the fields of each contract by its fingerprint. Rows are streamed, in
the order in which they are stored: 8 s for a million rows of four fields, in constant memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import orjson
from sqlalchemy import Connection, select

from store import database, hashing
from store.checks.conservation import Law
from store.database import install
from store.database.schema import POSITION_BITS, batches, contracts
from store.hashing import plain_digits

ROWS = 10_000  # read at once
MOST_NAMED = 5
TABLES = {"target": "lineage_id", "staging": "id"}  # and the column that leads to a row's batch
FIXED = ("source", "key", "ts", "deleted", "content_hash", "extra")

DECIMAL_TEXT = re.compile(rb'"(-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?)"(?!:)')

Kinds = dict[str, str]  # field -> the kind of its column
Column = Sequence[Any]
Write = Callable[[Any], bytes]


def law(connection: Connection) -> Law:
    """The law, with the first rows that hold something else than what was validated."""
    says = "every row holds what was validated: its content hash is that of its columns"
    stored = connection.execute(select(contracts.c.fingerprint, contracts.c.fields))
    known = {name: orjson.loads(fields) for name, fields in stored}
    found: list[str] = []
    odd = 0
    unknown: Counter[tuple[str, str]] = Counter()  # rows by table and the fingerprint of their contract
    for table, id in TABLES.items():
        changed: list[str] = []
        number = 0
        for rows in _slices(connection, table, id):
            for fingerprint, columns in rows:
                if (kinds := known.get(fingerprint)) is None:
                    unknown[table, fingerprint] += len(columns["key"])
                    continue
                names, undecided = _changed(columns, kinds)
                odd += undecided
                number += len(names)
                changed += names[: MOST_NAMED - len(changed)]
        if number:
            more = ", …" if number > len(changed) else ""
            found.append(f"{number:,} rows of {table} were changed: {', '.join(changed)}{more}")
    found += [
        f"the contract {fingerprint or '(no batch)'} of {number:,} rows of {table} is not in the table contracts: "
        "what they hold cannot be checked"
        for (table, fingerprint), number in sorted(unknown.items())
    ]
    return Law(says, found, f"{odd:,} rows have texts inside of JSON that may be decimals" if odd else None)


def _slices(connection: Connection, table: str, id: str) -> Iterator[list[tuple[str, dict[str, Column]]]]:
    """The table, piece by piece: each as (fingerprint, column -> its values) of the contracts that are in it."""
    of_batch = {
        seq: fingerprint
        for seq, fingerprint in connection.execute(select(batches.c.seq, batches.c.fingerprint))
    }
    quote = connection.dialect.identifier_preparer.quote
    names = (id, *FIXED, *(column.name for column in install.contract_columns(connection)))
    statement = f"SELECT {', '.join(map(quote, names))} FROM {table}"  # noqa: S608 - names of columns
    for piece in database.stream(connection, statement, ROWS):
        by_contract: dict[str, list[Any]] = {}
        for row in piece:
            by_contract.setdefault(of_batch.get(row[0] >> POSITION_BITS, ""), []).append(row)
        yield [
            (fingerprint, dict(zip(names, zip(*some, strict=True), strict=True)))
            for fingerprint, some in by_contract.items()
        ]


def _changed(columns: dict[str, Column], kinds: Kinds) -> tuple[list[str], int]:
    """(the rows whose columns have another hash, as `source key`; how many cannot be decided)."""
    names = sorted([*kinds, "extra"])
    parts = [
        b"%b:%%b," % orjson.dumps(name).replace(b"%", b"%%") if name != "extra" else b"%b" for name in names
    ]
    body = b"{" + b"".join(parts)
    written = [_written(name, columns, kinds) for name in names]
    new = blake2b(digest_size=hashing.BYTES).copy
    found, undecided = [], 0
    structures = [position for position, name in enumerate(names) if kinds.get(name) == "json"]
    rows = zip(
        columns["source"], columns["key"], columns["ts"], columns["deleted"], columns["content_hash"],
        zip(*written, strict=True), strict=True,
    )  # fmt: skip
    for source, key, ts, deleted, content, values in rows:
        one = new()
        if deleted:
            one.update(orjson.dumps({"deleted": True, "key": key, "ts": ts}))
        else:
            one.update((body % values)[:-1] + b"}")
        if one.digest() == content:
            continue
        if not deleted and (plain := _with_plain_decimals(values, structures)):
            one = new()
            one.update((body % plain)[:-1] + b"}")
            undecided += one.digest() != content
            continue
        found.append(f"{source} {key}")
    return found, undecided


def _with_plain_decimals(values: tuple[bytes, ...], structures: list[int]) -> tuple[bytes, ...] | None:
    """The row as it is hashed if the texts in its structures that look like decimals are; None where none does.

    A decimal inside of a structure is stored with its digits as they came, and hashed by its value.
    """
    plain = list(values)
    for position in structures:
        plain[position] = DECIMAL_TEXT.sub(_plain_text, values[position])
    return tuple(plain) if tuple(plain) != values else None


def _plain_text(found: re.Match[bytes]) -> bytes:
    return b'"%b"' % plain_digits(Decimal(found[1].decode())).encode()


def _written(name: str, columns: dict[str, Column], kinds: Kinds) -> list[bytes]:
    """A column's values as canonical JSON."""
    if name == "extra":
        return [b'"extra":%b,' % text.encode() if text else b"" for text in columns["extra"]]
    kind, values = kinds[name], columns.get(name, ())
    if name == "key":
        # A key is stored as text, and hashed as what the contract says that it is.
        return [key.encode() for key in values] if kind in ("integer", "real") else _json_of(values)
    if kind == "decimal":
        exact = columns.get(f"{name}_exact") or [None] * len(values)
        return [_decimal(value, digits) for value, digits in zip(values, exact, strict=True)]
    if kind == "json":
        return [b"null" if text is None else text.encode() for text in values]
    if kind == "integer" and any(
        type(value) is float for value in values
    ):  # its column was made one of reals since
        values = [None if value is None else int(value) for value in values]
    if kind == "boolean":
        return [b"null" if value is None else b"true" if value else b"false" for value in values]
    return _json_of(values)


def _json_of(values: Column) -> list[bytes]:
    """Each value as JSON: the column as one list, taken apart at its commas, costs a fifth of a call for each."""
    whole = orjson.dumps(values)
    if b'"' not in whole:
        return whole[1:-1].split(b",")
    if b"\\" not in whole and whole.count(b'"') == 2 * len(values):
        texts = [b'"%b"' % text for text in whole[2:-2].split(b'","')]
        if len(texts) == len(values):
            return texts
    return [orjson.dumps(value) for value in values]


def _decimal(number: Any, digits: str | None) -> bytes:
    if number is None:
        return b"null"
    return orjson.dumps(digits or plain_digits(Decimal(repr(float(number)))))
