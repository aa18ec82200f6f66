"""Numbers in the notation of their file: nothing that another notation would read otherwise is a number."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError, field_validator

from store.csv_reader import Dialect
from worker.contract import Event
from worker.judge.notation import Notation
from worker.judge.stages import Judged, judge_batch, judge_for
from worker.settings import SourceSettings

from . import pairs
from .pairs import contract_of, importable  # noqa: F401 - a fixture
from .shapes import NOW, SKEW, message

GERMAN = Notation(",", ".")
HEADER = ["key", "name", "value", "ts"]
TS = "2025-01-15T08:00:00Z"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,5", "1.5"), ("-1.234,50", "-1234.50"), ("1.234.567", "1234567"), (" 12 ", "12"), ("+0,5e3", "+0.5e3"),
        (",5", ".5"), ("5,", "5."), ("1234,5", "1234.5"), ("0", "0"), ("1E-4", "1E-4"),
        # Each would be another number in another notation, or is none.
        ("1.5", None), ("1.23", None), ("1.2345", None), ("1234.567", None), ("1.234.5", None), ("1,234.5", None),
        ("1,5,0", None), (".5", None), (",", None), ("", None), ("1.", None), ("1 234", None), ("n/a", None),
        ("१,५", None),
    ],
)  # fmt: skip
def test_a_number_is_read_in_one_way_or_not_at_all(text: str, number: str | None) -> None:
    assert GERMAN.plain(text) == number


@pytest.mark.parametrize(
    ("notation", "text"),
    [
        (Notation(".", ","), "1,234.5"), (Notation(".", "'"), "1'234.5"), (Notation(",", " "), " 1 234,5 "),
        (Notation(",", "\u202f"), "1\u202f234,5"), (Notation("."), "1234.5"),
        (Notation("\u066b", "\u066c"), "1\u066c234\u066b5"),
    ],
)  # fmt: skip
def test_signs_of_other_countries(notation: Notation, text: str) -> None:
    assert notation.plain(text) == "1234.5"


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=4),
    st.sampled_from([(",", "."), (".", ","), (",", " ")]),
)
def test_what_a_program_writes_is_read_as_the_number_it_was(number: Decimal, signs: tuple[str, str]) -> None:
    text = f"{number:,.4f}".translate(str.maketrans({".": signs[0], ",": signs[1]}))
    assert Decimal(Notation(*signs).plain(text) or "") == number


def judged(
    rows: list[str], dialect: Dialect, *, quick: bool = True, model: Any = Event, **source: Any
) -> Judged:
    judge = judge_for(contract_of(model), SourceSettings(**source), SKEW, Notation.of(dialect))
    judge = judge if quick else replace(judge, quick=None)
    batch = replace(message(list(rows), HEADER), dialect=dialect)
    found = judge_batch(batch, judge, None, NOW)
    found.seconds = {}
    return found


def values(found: Judged) -> list[Any]:
    return [record.record.values[1] for record in found.valid]


def faults(found: Judged) -> list[tuple[int, str, str]]:
    return [(bad.position, fault.reason, fault.message) for bad in found.bad for fault in bad.faults]


ROWS = [f'a,n,"{value}",{TS}' for value in ("1,5", "1.234", "1.5", "x", "", "12")]


@pytest.mark.parametrize("quick", [True, False])
def test_a_field_of_numbers_is_read_in_the_notation_of_its_file(quick: bool) -> None:
    """Refuses 1.234 for 1234, and a number in JSON's notation that may mean another one."""
    found = judged(ROWS, Dialect(decimal=",", thousands="."), quick=quick)
    assert values(found) == [1.5, 1234.0, 12.0]
    why = "should be a number with ',' as its decimal mark and '.' between groups of three digits"
    assert faults(found) == [
        (2, "invalid_value", why),
        (3, "invalid_value", why),
        (4, "missing_value", "a value is required"),
    ]


@given(cells=st.lists(st.text("0123456789.,-+e x", max_size=7), min_size=1, max_size=5))
def test_the_quick_way_reads_numbers_as_the_careful_one(cells: list[str]) -> None:
    rows = [f'a,n,"{cell}",{TS}' for cell in cells]
    dialect = Dialect(decimal=",", thousands=".")
    assert repr(judged(rows, dialect)) == repr(judged(rows, dialect, quick=False))


def test_a_text_is_no_number_whatever_it_looks_like() -> None:
    found = judged([f'1.234,"1,5",2,{TS}'], Dialect(decimal=",", thousands="."))
    (record,) = found.valid
    assert (record.record.key, record.record.values) == ("1.234", ("1,5", 2.0))


@pytest.mark.parametrize("quick", [True, False])
def test_numbers_of_the_configuration_are_in_its_own_notation(quick: bool) -> None:
    """Refuses 1234 for a default of 1.234."""
    for source in (
        {"defaults": {"value": "1.234"}},
        {"defaults": {"value": 1.234}},
        {"constants": {"value": "1.234"}},
    ):
        found = judged([f"a,n,,{TS}"], Dialect(decimal=",", thousands="."), quick=quick, **source)
        assert values(found) == [1.234]


@pytest.mark.parametrize("quick", [True, False])
def test_an_expression_reads_numbers_in_the_notation_too(quick: bool) -> None:
    found = judged(
        ROWS[:3], Dialect(decimal=",", thousands="."), quick=quick, fields={"value": "to_number(value)"}
    )
    assert values(found) == [1.5, 1234.0]
    assert faults(found) == [
        (2, "invalid_value", "the source's expression for it cannot be evaluated: ValueError")
    ]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_stage_that_is_off_does_not_change_what_a_number_is(share: float) -> None:
    dialect = Dialect(decimal=",", thousands=".")
    batch = replace(message(list(ROWS[:3]), HEADER), dialect=dialect)
    judge = judge_for(contract_of(Event), SourceSettings(), SKEW)
    for stage in ("validate", "adapt"):
        assert values(judge_batch(batch, judge, None, NOW, {stage: share})) == [1.5, 1234.0]


class OwnNumbers(Event):
    @field_validator("value", mode="before")
    @classmethod
    def read(cls, value: Any) -> Any:
        return 0 if value == "none" else value


@pytest.mark.parametrize("quick", [True, False])
def test_a_validator_of_the_contract_sees_text_that_is_no_number(
    quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "MODELS", [*pairs.MODELS, OwnNumbers])
    from worker import contract as contracts

    monkeypatch.setattr(contracts, "_import", lambda _: OwnNumbers)
    rows = [f'a,n,"{value}",{TS}' for value in ("none", "1,5", "1.5")]
    found = judged(rows, Dialect(decimal=","), quick=quick, model=OwnNumbers)
    assert values(found) == [0.0, 1.5]
    assert [bad.position for bad in found.bad] == [2]


@pytest.mark.parametrize("quick", [True, False])
def test_a_null_value_is_absent_for_defaults_and_for_what_is_required(quick: bool) -> None:
    dialect = Dialect(null_values=("NA",))
    assert values(judged([f"a,n,NA,{TS}"], dialect, quick=quick, defaults={"value": 7})) == [7.0]
    assert faults(judged([f"a,NA,1,{TS}"], dialect, quick=quick)) == [
        (0, "missing_name", "a value is required")
    ]


def test_a_batch_is_judged_in_the_notation_it_came_with_whatever_the_source_says_now() -> None:
    judge = judge_for(contract_of(Event), SourceSettings(decimal=","), SKEW)
    german = replace(message(list(ROWS[:1]), HEADER), dialect=Dialect(decimal=","))
    assert values(judge_batch(german, judge, None, NOW)) == [1.5]
    assert values(judge_batch(message([f"a,n,1.5,{TS}"], HEADER), judge, None, NOW)) == [1.5]
    assert judge.of(german) is judge.of(german)


def test_a_function_reads_its_numbers_itself() -> None:
    with pytest.raises(ValidationError, match="adapter is a function, which reads the numbers itself"):
        SourceSettings(adapter="made:up", decimal=",")
