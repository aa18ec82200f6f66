"""Edits: what a replay changes in a payload, and that it bends nothing else."""

from __future__ import annotations

import json
import warnings
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import paths, timestamps
from store.dead_letters import edits
from store.dead_letters.edits import CASTS, Edit, cast, json_body
from store.errors import InputError, UsageError
from tests.examples import examples


def applied(text: str, edit: Edit) -> dict[str, Any]:
    """The payload afterwards, with exact numbers."""
    found: dict[str, Any] = json.loads(edit.apply(json_body(text)), parse_float=Decimal)
    return found


def test_the_parts_of_an_edit_are_applied_in_their_order() -> None:
    edit = Edit(
        rename={"amt": "amount"},
        drop=("junk",),
        cast={"amount": "decimal-comma"},
        default={"note": "none", "amount": 1},
        set={"name": "pump", "old": None},
    )
    assert applied('{"amt": "1.234,50", "junk": 1, "note": " ", "old": 2}', edit) == {
        "amount": Decimal("1234.50"),
        "note": "none",
        "name": "pump",
    }


@pytest.mark.parametrize(
    ("how", "text", "number"),
    [
        ("number", " 12.50 ", "12.50"),
        ("number", "+.5", "0.5"),
        ("number", "007", "7"),
        ("decimal-comma", "12,50", "12.50"),
        ("decimal-comma", "-1.234.567,8", "-1234567.8"),
        ("decimal-comma", "1 234,5", "1234.5"),
        ("thousands", "1,234,567.25", "1234567.25"),
        ("currency", "EUR 12.50", "12.50"),
        ("currency", "12.50 €", "12.50"),
        ("currency-comma", "1.234,50 €", "1234.50"),
        ("currency-thousands", "$1,234.50", "1234.50"),
    ],
)
def test_a_number_is_read_from_its_text_with_its_digits(how: str, text: str, number: str) -> None:
    found = json.loads(Edit(cast={"v": how}).apply({"v": text}), parse_float=Decimal, parse_int=Decimal)
    assert (found["v"], str(found["v"])) == (Decimal(number), number)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("number", "12,50"),
        ("number", "1_000"),
        ("number", "nan"),
        ("decimal-comma", "1.23,4"),
        ("decimal-comma", "12.50"),  # a comma is expected: it may be twelve and a half
        ("thousands", "12,50"),
        ("currency", "12.50 apples"),
        ("currency", "EUR 1,234"),  # 1.234 or 1234: only a cast that says so
        ("number", "\u0661\u0662"),
        ("decimal-comma", "\u0661\u0662"),
        ("epoch", "1_000"),
        ("epoch", "yesterday"),
        ("time:%d.%m.%Y", "2025-01-15"),
        ("time:%d%m%Y", "1122025"),  # the 1st of December, or the 11th of February: a zero is lost
        ("time:%Y%m%d%H%M%S", "2025011512000"),
        ("time:%Y%m%dT%H%M", "20250115T800"),
        ("time:%Y%m%d%H%M%S%f", "20250115120000123"[:-1]),
        ("time:%d.%m.%Y", "1\u0665.01.2025"),
    ],
)
def test_a_text_that_a_cast_cannot_read_stays_as_it_is(how: str, text: str) -> None:
    assert cast(text, how) == text


@pytest.mark.parametrize(
    ("how", "number", "becomes"),
    [
        ("text", "007.50", '"007.50"'),
        ("epoch", "1736942400.5", '"2025-01-15T12:00:00.500000+00:00"'),
        ("epoch-ms", "1736942400123", '"2025-01-15T12:00:00.123000+00:00"'),
        ("epoch-ms", "99999999999999999", "99999999999999999"),  # beyond the year 9999
        ("time:%Y%m%d", "20250115", '"2025-01-15T00:00:00"'),
        ("decimal-comma", "12", "12"),
    ],
)
def test_a_number_is_read_as_a_time_or_a_text(how: str, number: str, becomes: str) -> None:
    body = {"v": orjson.Fragment(number)}
    assert Edit(cast={"v": how}).apply(body).decode() == f'{{"v":{becomes}}}'


@pytest.mark.parametrize(
    ("format", "text", "time"),
    [
        ("%d%m%Y", "01122025", "2025-12-01T00:00:00"),
        ("%d.%m.%Y", "1.2.2025", "2025-02-01T00:00:00"),
        ("%Y%m%d%H%M%S%f", "20250115120000123", "2025-01-15T12:00:00.123000"),
        ("%Y%m%d %H:%M:%S.%f", "20250115 8:00:00.5", "2025-01-15T08:00:00.500000"),
        ("%d%b%Y", "1Dec2025", "2025-12-01T00:00:00"),
        ("%b %d, %Y %I:%M %p", "Jan  5, 2025 8:00 AM", "2025-01-05T08:00:00"),
        ("%Y%j", "2025015", "2025-01-15T00:00:00"),
        ("100%%%Y%m%d", "100%20250115", "2025-01-15T00:00:00"),
        ("%Y%m%d%z", "20250115+01:00", "2025-01-15T00:00:00+01:00"),
    ],
)
def test_a_time_whose_digits_are_all_there_is_read(format: str, text: str, time: str) -> None:
    assert cast(text, f"time:{format}") == time


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2068, 1, 1)),
    st.lists(
        st.sampled_from(["%Y", "%m", "%d", "%H", "%M", "%S", "%b", "%p", "%y", " ", ".", "T", "%%"]),
        max_size=6,
    ).filter(lambda parts: all(parts.count(each) == 1 for each in parts if each[0] == "%" and each != "%%")),
)
@settings(max_examples=examples(100))
def test_what_strftime_writes_is_read_as_strptime_does(moment: datetime, parts: list[str]) -> None:
    layout = "".join(parts)
    text = moment.replace(day=min(moment.day, 28)).strftime(layout)  # a year may be 1900, which has no 29th
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a day without a year, since Python 3.13
        assert timestamps.in_layout(text, layout) == datetime.strptime(text, layout)


@pytest.mark.parametrize("format", ["%Q", "", "%d.%m", "%H:%M", "%Y %Y", "%", "2025", "%%Y"])
def test_a_format_that_reads_nothing_or_no_year_is_no_cast(format: str) -> None:
    assert not edits.is_cast(f"time:{format}")
    with pytest.raises(UsageError, match="a cast is one of"):
        Edit(cast={"a": f"time:{format}"}).check()


@pytest.mark.parametrize(
    "format", ["%Y", "%d/%m/%y", "%G-W%V-%u", "%Y-%j", "%a, %d %b %Y %H:%M:%S %z", "%c", "%Y%m%d%H%M%S%f"]
)
def test_a_format_with_a_year_is_a_cast(format: str) -> None:
    assert edits.is_cast(f"time:{format}")


def test_times_are_read_by_a_format_or_as_epoch() -> None:
    assert cast("15.01.2025", "time:%d.%m.%Y") == "2025-01-15T00:00:00"
    assert cast("1736942400", "epoch") == cast("1736942400000", "epoch-ms") == "2025-01-15T12:00:00+00:00"


def test_numbers_that_are_not_edited_keep_their_digits() -> None:
    text = '{"a": 12345678901234567.89, "b": [1e400, {"c": 123456789012345678901}], "d": "x"}'
    edited = Edit(set={"d": "y"}).apply(json_body(text)).decode()
    assert edited == '{"a":12345678901234567.89,"b":[1e400,{"c":123456789012345678901}],"d":"y"}'


@pytest.mark.parametrize("text", ["[1]", '"a"', "nonsense", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000])
def test_a_payload_whose_fields_are_not_known_for_sure_is_not_edited(text: str) -> None:
    with pytest.raises(InputError):
        json_body(text)


def test_a_payload_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(InputError, match="no JSON"):
        Edit(set={"a": "b"}).apply({"half": "\ud800"})


@pytest.mark.parametrize(
    "given_edit",
    [{"sett": {}}, {"set": [1]}, {"drop": "a"}, {"cast": {"a": "decimal"}}, {"rename": {"a": 1}}],
)
def test_what_is_no_edit_is_a_usage_error(given_edit: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Edit.of(given_edit)


names = st.text(min_size=1, max_size=5)
values = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=5))


@given(
    st.dictionaries(names, values),
    st.dictionaries(names, values),
    st.dictionaries(names, names),
    st.dictionaries(names, st.sampled_from(sorted(CASTS))),
    st.lists(names).map(tuple),
)
@settings(max_examples=examples(50))
def test_an_edit_is_stored_and_read_back_as_it_was(
    sets: dict[str, Any],
    defaults: dict[str, Any],
    renames: dict[str, str],
    casts: dict[str, str],
    drops: tuple[str, ...],
) -> None:
    edit = Edit(sets, defaults, renames, casts, drops)
    assert outcome(Edit.from_text(edit.to_text())) == outcome(edit)
    assert edit.is_empty == (edit.to_text() is None)


BLANKS = st.text(" \t\n\r", max_size=2)
VALUES = st.sampled_from(
    ['"x"', '"\\":"', '"a\\" :1"', "null", "true", "1", "-0", "1.50", "[1]", '{"a":"b"}', "NaN"]
)


@given(st.lists(st.tuples(st.sampled_from(['"a"', '"b"', '"\\":"']), BLANKS, BLANKS, VALUES), max_size=4))
@settings(max_examples=examples(200), deadline=None)
def test_a_payload_that_is_read_quickly_has_the_fields_that_it_has_exactly(
    fields: list[tuple[str, str, str, str]],
) -> None:
    text = "{" + ",".join(f"{name}{before}:{after}{value}" for name, before, after, value in fields) + "}"
    quick = edits._quick_body(text)
    if quick is not None:
        assert quick == edits.EXACT.decode(text)
    assert json_body('{"a" : "x", "b":null}') == {"a": "x", "b": None}


def outcome(edit: Edit) -> bytes | str:
    """What it makes of a payload, or why it makes nothing of it."""
    try:
        return edit.apply({"a": "1,5", "b": None})
    except InputError as error:
        return str(error)


# --- fields within objects ---

NESTED = '{"p": {"mag": "4,5", "n": {"x": 1.10}, "old": true}, "a.b": "7,5", "top": 1}'


def test_an_edit_reaches_fields_within_objects_and_leaves_the_others_as_they_are() -> None:
    edit = Edit(
        rename={"p.old": "p.new", "top": "p.n.top"},
        drop=("p.nothing",),
        cast={"p.mag": "decimal-comma", r"a\.b": "decimal-comma"},
        default={"p.n.y": 2, "p.mag": 9, "q.z": "made"},
        set={"p.n.x": None, "p.n.w": [1]},
    )
    assert applied(NESTED, edit) == {
        "p": {"mag": Decimal("4.5"), "n": {"top": 1, "y": 2, "w": [1]}, "new": True},
        "a.b": Decimal("7.5"),
        "q": {"z": "made"},
    }


def test_the_digits_beside_an_edited_field_stay() -> None:
    assert (
        Edit(set={"p.mag": 1}).apply(json_body('{"p": {"mag": 2, "n": 1.10}}')) == b'{"p":{"mag":1,"n":1.10}}'
    )


def test_fields_within_objects_may_exchange_their_names() -> None:
    edit = Edit(rename={"p.a": "p.b", "p.b": "p.a"})
    assert applied('{"p": {"a": 1, "b": 2}}', edit) == {"p": {"b": 1, "a": 2}}


@pytest.mark.parametrize("body", ['{"p": "text"}', '{"p": [1]}', '{"p": {"q": 1}}'])
def test_a_field_is_not_put_into_what_is_no_object(body: str) -> None:
    with pytest.raises(InputError, match="is no object"):
        Edit(set={"p.q.r": 1}).apply(json_body(body))


def test_a_null_on_the_way_is_an_object_that_is_not_there() -> None:
    assert applied('{"p": null}', Edit(default={"p.q": 1})) == {"p": {"q": 1}}


def test_the_payload_that_is_edited_is_not_changed() -> None:
    body = json_body(NESTED)
    before = orjson.dumps(body)
    Edit(rename={"p.old": "x"}, set={"p.n.x": 5}, drop=("p.mag",)).apply(body)
    assert orjson.dumps(body) == before


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), values)
def test_what_is_put_at_a_path_stands_there_and_is_taken_out_again(names: list[str], value: Any) -> None:
    body: dict[str, Any] = {"a": {"b": {"z": 1}}, "c": {"a": {}}}
    path = tuple(names)
    before = orjson.dumps(body)
    changed = dict(body)
    paths.put(changed, path, value)
    assert paths.value_at(changed, path) is value
    assert paths.take(changed, path) is value
    assert paths.value_at(changed, path) is paths.ABSENT
    assert orjson.dumps(body) == before
