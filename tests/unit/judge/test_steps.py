"""Judging and reading take steps in proportion to their input: twice as much of it, and never more than about twice."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from producer.files.csv import CsvRows
from producer.files.cursor import Cursor
from producer.files.json import documents
from store.csv_reader import Dialect
from store.errors import InputError
from worker.contract import Event
from worker.judge.faults import Rejection
from worker.judge.parse import _object, parse_csv
from worker.judge.stages import judge_batch
from worker.queue.message import RawRecord

from .pairs import importable, judges  # noqa: F401
from .shapes import NOW, message


class Counted(str):
    """A name that counts how often it is compared or hashed."""

    looks = 0

    def __eq__(self, other: object) -> bool:
        Counted.looks += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        Counted.looks += 1
        return str.__hash__(self)


def looks(do: Callable[[], object]) -> int:
    Counted.looks = 0
    with pytest.raises(Rejection, match="duplicate_field"):
        do()
    return Counted.looks


def names(number: int) -> list[Any]:
    """All different but for the last."""
    return [*(Counted(f"n{each}") for each in range(number)), Counted(f"n{number - 1}")]


def test_a_repeated_field_is_found_in_steps_that_grow_as_the_fields() -> None:
    found = [looks(lambda n=n: _object([(each, 1) for each in names(n)])) for n in (500, 1000)]
    assert found[1] <= 2.1 * found[0]


def test_a_repeated_column_is_found_in_steps_that_grow_as_the_columns() -> None:
    found = [looks(lambda n=n: parse_csv("," * n, names(n), Dialect())) for n in (500, 1000)]
    assert found[1] <= 2.1 * found[0]


def lines_run(do: Callable[[], object]) -> int:
    """How many lines of Python are run: without those of what the collector ends, which other tests have left."""
    number = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal number
        number += event == "line"
        return trace

    before = sys.gettrace()
    gc.collect()
    gc.disable()
    sys.settrace(trace)
    try:
        do()
    finally:
        sys.settrace(before)
        gc.enable()
    return number


class Left:
    """Garbage that runs many lines when it is collected."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in range(10_000):
            pass


def test_the_lines_of_garbage_that_is_collected_meanwhile_are_not_counted() -> None:
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(200)
    try:
        Left()
        assert lines_run(lambda: [[] for _ in range(1000)]) < 2000
    finally:
        gc.set_threshold(*before)


def record(**fields: str) -> str:
    given = {"key": '"a"', "name": '"n"', "value": "1", "ts": '"2025-01-15T08:00:00Z"'} | fields
    return "{" + ",".join(f'"{name}":{value}' for name, value in given.items()) + "}"


def many(text: str, number: int) -> str:
    return ",".join(text % each if "%d" in text else text for each in range(number))


# What a record may have many of, as text that grows with a number.
RECORDS: dict[str, Callable[[int], str]] = {
    "fields": lambda n: record()[:-1] + "," + many('"f%d":1', n) + "}",
    "fields of which one is repeated": lambda n: record()[:-1] + "," + many('"f%d":1', n) + ',"f0":1}',
    "fields that cannot be stored": lambda n: record()[:-1] + "," + many('"f%d":NaN', n) + "}",
    "nested fields": lambda n: record(more="{" + many('"f%d":{"a":[1]}', n) + "}"),
    "nested fields with a repeated one": lambda n: record(more="[" + many('{"a":1}', n) + ',{"a":1,"a":2}]'),
    "brackets": lambda n: record(more="[" * n + "]" * n),
    "brackets without an end": lambda n: record(more="[" * n),
    "elements": lambda n: record(more="[" + many("%d", n) + "]"),
    "digits": lambda n: record(value="1" * n),
    "digits as text": lambda n: record(value='"' + "1" * n + '"'),
    "blanks": lambda n: record(value='"' + " " * n + 'x"', ts='"' + " " * n + 'x"'),
    "escapes": lambda n: record(name='"' + '\\"' * n + '"'),
    "long numbers": lambda n: record(more="[" + many("12345678901234567890123", n) + "]"),
}


@pytest.mark.parametrize("extra", ["keep", "forbid"])
@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_judged_in_steps_that_grow_as_its_text(name: str, extra: str) -> None:
    pair = judges(Event, extra=extra)

    def judge(number: int) -> int:
        text: list[RawRecord] = [RECORDS[name](number)]
        return sum(lines_run(lambda one=one: judge_batch(message(text), one, None, NOW)) for one in pair)

    judge(10)  # what is looked up once is in its cache now
    assert judge(800) <= 2.2 * judge(400)


ODD_RECORDS = ['{"a":1,"a":2}', "{", '{"a" :1}', record(value='"x"'), record(key='"a\\u0000"'), "[1]"]


@pytest.mark.parametrize("odd", ODD_RECORDS)
def test_a_batch_is_judged_in_steps_that_grow_as_its_records(odd: str) -> None:
    pair = judges(Event)

    def judge(number: int) -> int:
        texts: list[RawRecord] = [record(), odd] * number
        return sum(lines_run(lambda one=one: judge_batch(message(texts), one, None, NOW)) for one in pair)

    judge(10)
    assert judge(200) <= 2.2 * judge(100)


CHUNK = 64


def json_of(data: bytes, path: list[str] | None = None) -> None:
    chunks = (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))
    cursor = Cursor(chunks, name="f", line=1, offset=0, limit=1 << 20)
    for _ in documents(cursor, path, "f"):
        pass


def csv_of(data: bytes) -> None:
    chunks = (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))
    for _ in CsvRows(chunks, name="f", dialect=Dialect(), limit=1 << 20).blocks():
        pass


FILES: dict[str, Callable[[int], object]] = {
    "elements": lambda n: json_of(b"[" + b'{"a":1},' * n + b"{}]"),
    "elements of many brackets": lambda n: json_of(b"[" + b"[" * n + b"]" * n + b"]"),
    "documents": lambda n: json_of(b'{"a":[{}]}\n' * n),
    "brackets that are skipped": lambda n: json_of(b'{"f":[],"g":' + b"[" * n + b"]" * n + b"}", ["f"]),
    "brackets that are not closed": lambda n: json_of(b'{"f":[],"g":' + b'{"a":[' * n, ["f"]),
    "keys": lambda n: json_of(b"{" + b'"k":1,' * n + b'"f":[]}', ["f"]),
    "strings without an end": lambda n: json_of(b"[" + b'{"a":"x\n},' * n + b"{}]"),
    "a long string": lambda n: json_of(b'["' + b"x\\n" * 10 * n + b'"]'),
    "rows": lambda n: csv_of(b"a,b\n" + b'1,"x"\n' * n),
    "rows of several lines": lambda n: csv_of(b"a,b\n" + b'1,"x\ny"\n' * n),
    "lines of one row": lambda n: csv_of(b'a,b\n1,"' + b"x\n" * 10 * n + b'"\n'),
    "quotes within a cell": lambda n: csv_of(b'a,b\n1,"' + b'"x,"\n' * n + b'"\n'),
    "lines behind an unclosed quote": lambda n: csv_of(b'a,b\n1,"x\n' + b'2,"" y\n' * n),
    "quotes that open nothing": lambda n: csv_of(b"a,b\n" + b'1,x "y\n' * n),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_in_steps_that_grow_as_its_bytes(name: str) -> None:
    def read(number: int) -> int:
        def quietly() -> None:
            with suppress(InputError):
                FILES[name](number)

        return lines_run(quietly)

    read(1)  # its patterns are compiled now
    assert read(800) <= 2.2 * read(400)
