"""What is good takes the quick way, whatever its shape, and what is odd is left to the careful way."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from store.csv_reader import Dialect
from worker.contract import Event, Record
from worker.judge.columnwise import quick
from worker.judge.stages import judge_batch
from worker.queue.message import Opaque, RawRecord

from .pairs import EVENT, GOOD, ORDER, assert_alike, contract_of, importable, judges, names_of  # noqa: F401
from .shapes import (
    MAPPING,
    MODELS,
    NOW,
    Order,
    Strict,
    message,
)  # fmt: skip


def taken(
    model: type[Record], records: list[RawRecord], header: list[str] | None = None, **source: Any
) -> list[int]:
    """The positions that the quick way leaves."""
    judge = judges(model, **source)[0]
    assert judge.quick
    found = judge.quick.judge(message(records, header), "9999")
    assert sorted([*found.rest, *found.accepted.positions]) == list(range(len(records)))
    return found.rest


GOOD_ORDER = {
    "key": "a", "amount": 10.25, "price": 3, "status": "open", "level": 1, "day": "2025-01-15",
    "at": "2025-01-15T08:00:00+01:00", "uid": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
    "lines": [{"name": "n", "amount": 1.5}], "details": {"a": {"b": [1, None]}}, "ts": "2025-01-15T08:00:00Z",
}  # fmt: skip
GOOD_READING = {
    "key": "k",
    "name": "é",
    "value": 0.5,
    "ts": "2025-01-15T08:00:00Z",
    "count": 1,
    "ok": True,
    "note": None,
}


@pytest.mark.parametrize("model", MODELS)
def test_good_json_takes_the_quick_way(model: type[Record]) -> None:
    record = {
        **GOOD_READING,
        "val": 1.0,
        **GOOD_ORDER,
        "key": "12",
        "name": "valve",
        "value": 3.5,
        "note": "a",
    }
    known = {name: record[name] for name in names_of(model) if name in record}
    texts: list[RawRecord] = [
        orjson.dumps(known | {"count": 1}).decode() if model is Strict else orjson.dumps(known).decode()
    ] * 3
    assert taken(model, texts) == []
    assert taken(model, [*texts, "{", Opaque(b"\xff", 1, None), *texts]) == [3, 4]


def test_good_csv_takes_the_quick_way() -> None:
    header = ["key", "name", "value", "ts", "more"]
    good: list[RawRecord] = ["a,n,1.5,2025-01-15 08:00:00,x", 'b,"x, ""y""\nz",2,2025-01-15 08:00:00,']
    assert taken(Event, good, header) == []
    assert taken(Event, [*good, '"', *good, "a", *good], header) == [2, 5]
    assert Dialect().rows([str(good[1])]) == [["b", 'x, "y"\nz', "2", "2025-01-15 08:00:00", ""]]
    assert (
        taken(
            Order, ["a,10.10,open,2025-01-15,2025-01-15T08:00:00Z"], ["key", "amount", "status", "day", "ts"]
        )
        == []
    )


@pytest.mark.parametrize(
    "source",
    [{"fields": MAPPING}, {"fields": MAPPING | {"value": "data.values[0]"}}, {"fields": MAPPING, "sequence": "version"},
     {"fields": MAPPING, "constants": {"origin": 1}, "defaults": {"value": 1}}, {"adapter": "made:up"}],
)  # fmt: skip
def test_good_mapped_records_take_the_quick_way(source: dict[str, Any]) -> None:
    raw = {
        "id": "a",
        "key": "b",
        "name": "n",
        "value": 2,
        "data": {"label": "l", "value": 1, "values": [1]},
        "version": 3,
    }
    text = orjson.dumps(raw | {"ts": "2025-01-15T08:00:00Z"}).decode()
    assert taken(Event, [text, text], **source) == []


def test_batches_of_more_than_a_slice_keep_their_order() -> None:
    size = 2 * quick.SLICE + 7
    records: list[RawRecord] = [GOOD % n for n in range(size)]
    records[5] = records[quick.SLICE] = "{"
    records[7] = GOOD.replace("08:00:00Z", "08:00:00,5Z") % 7  # read by the careful way, and accepted
    judged = judge_batch(message(records), judges(Event)[0], None, NOW)
    assert [bad.position for bad in judged.bad] == [5, quick.SLICE]
    assert judged.valid.positions == [n for n in range(size) if n not in (5, quick.SLICE)]
    assert judged.valid.values[1] == [float(n) for n in judged.valid.positions]


def test_a_failure_that_says_nothing_of_a_record_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    judge = judges(Event)[0]
    monkeypatch.setattr(judge.quick, "_slice", fail)
    with pytest.raises(MemoryError):
        judge_batch(message([GOOD % 1]), judge, None, NOW)
