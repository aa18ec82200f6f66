"""A number is no date and no time: pydantic alone would count it in seconds since 1970."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any

import pytest
from pydantic import AwareDatetime, BeforeValidator, ConfigDict, field_validator

from worker.contract import Record
from worker.judge.columns import NUMBER_FOR_TIME
from worker.judge.stages import judge_batch
from worker.queue.message import RawRecord

from ..pairs import assert_alike, importable, judges  # noqa: F401
from ..shapes import NOW, message


class Delivered(Record):
    at: datetime
    due: AwareDatetime | None = None
    day: date | None = None


class Zoned(Delivered):
    """With a validator that sees what pydantic has read."""

    @field_validator("at")
    @classmethod
    def whole_second(cls, value: datetime) -> datetime:
        return value.replace(microsecond=0)


class Doubting(Delivered):
    """With a validator that sees the text first, and so decides itself."""

    at: Annotated[datetime, BeforeValidator(lambda value: value)]


class InMilliseconds(Delivered):
    model_config = ConfigDict(val_temporal_unit="milliseconds")


class Either(Record):
    at: datetime | int


class Lasting(Record):
    at: timedelta


CONTRACTS = (Delivered, Zoned, Doubting, InMilliseconds, Either, Lasting)


@pytest.fixture(autouse=True)
def by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """These contracts, as those of `pairs`."""
    models = {model.__name__: model for model in CONTRACTS}
    monkeypatch.setattr("worker.contract._import", lambda name: models[name.partition(":")[2]])


LINE = '{"key":"a","ts":"2025-01-15T08:00:00Z","at":%s}'
TEXT = '"2025-01-15T08:00:00Z"'
# A day of Excel, a day without dashes, a year, seconds and milliseconds since 1970.
NUMBERS = ["45672.5", "45672", "20250115", "2025", "1736928000", "1736928000000", "-1", "1e3", "1.5e-3", "0"]


def faults(model: type[Record], *values: str, **source: Any) -> list[list[tuple[str, str]]]:
    """On both ways: the reason and message of each record's first fault; empty where it is accepted."""
    records: list[RawRecord] = [LINE % value for value in values]
    found = []
    for judge in judges(model, **source):
        judged = judge_batch(message(records), judge, None, NOW)
        bad = {each.position: each.faults[0] for each in judged.bad}
        texts = [
            (bad[row].reason, bad[row].message) if row in bad else ("", "") for row in range(len(records))
        ]
        found.append(texts)
    return found


@pytest.mark.parametrize("model", [Delivered, Zoned])
def test_a_number_is_no_time_as_a_number_or_as_text(model: type[Record]) -> None:
    given = [TEXT, *NUMBERS, *(f'"{number}"' for number in NUMBERS), '" 2025 "', TEXT]
    quickly, carefully = faults(model, *given)
    assert quickly == carefully
    assert quickly[0] == quickly[-1] == ("", "")
    assert set(quickly[1:-1]) == {("invalid_at", NUMBER_FOR_TIME)}


def test_a_number_is_no_date_and_no_moment_with_a_zone() -> None:
    values = [f'{TEXT},"{field}":{number}' for field in ("due", "day") for number in ("0", '"0"', "86400")]
    for found in faults(Delivered, *values):
        assert found == [("invalid_due", NUMBER_FOR_TIME)] * 3 + [("invalid_day", NUMBER_FOR_TIME)] * 3
    assert_alike(
        judges(Delivered), [LINE % f'{TEXT},"due":{TEXT},"day":"2025-01-15"', LINE % f'{TEXT},"day":null']
    )


@pytest.mark.parametrize("model", [Doubting, InMilliseconds, Either, Lasting])
def test_a_contract_that_says_what_its_numbers_are_has_them(model: type[Record]) -> None:
    assert faults(model, "1736928000") == [[("", "")], [("", "")]]


def test_a_cast_of_the_source_reads_them() -> None:
    read = faults(Delivered, "1736928000", '"1736928000"', casts={"at": "epoch"})
    assert read == [[("", "")] * 2] * 2
    read = faults(Delivered, "20250115", '"20250115"', casts={"at": "time:%Y%m%d"})
    assert read == [[("", "")] * 2] * 2


def test_every_fault_of_a_record_is_found() -> None:
    for judge in judges(Delivered):
        [bad] = judge_batch(message(['{"key":"","ts":1,"at":2,"day":3}']), judge, None, NOW).bad
        assert [each.field for each in bad.faults] == ["key", "ts", "at", "day"]
        assert [each.rule for each in bad.faults] == ["missing", "time", "time", "time"]
