"""What texts may mean, and that nothing is chosen where two readings are possible."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.dead_letters.edits import cast
from tests.examples import examples
from worker.dead_letters.suggest.layouts import layouts
from worker.dead_letters.suggest.readings import UNITS, Readings, Verdict

DAY, MONTH = "time:%d/%m/%Y", "time:%m/%d/%Y"
COMMA, POINT = "decimal-comma", "thousands"


def verdict(rivals: tuple[str, ...], *texts: str) -> Verdict:
    readings = Readings(rivals)
    for text in texts:
        readings.add(text)
    return readings.verdict()


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("15.01.2025 08:02", ("%d.%m.%Y %H:%M", "%m.%d.%Y %H:%M")),
        ("1/5/2025", ("%d/%m/%Y", "%m/%d/%Y")),
        ("01/05/25", ("%d/%m/%y", "%m/%d/%y", "%y/%m/%d")),
        ("2025/01/15 08:02:03.5", ("%Y/%m/%d %H:%M:%S.%f", "%Y/%d/%m %H:%M:%S.%f")),
        ("15-Jan-2025", ("%d-%b-%Y",)),
        ("15-Jan-25", ("%d-%b-%y", "%y-%b-%d")),
        ("January 15, 2025", ("%B %d, %Y",)),
        ("Wed, 15 Jan 2025 08:00:00 +0100", ("%a, %d %b %Y %H:%M:%S %z",)),
        ("1/15/2025, 8:02 PM", ("%d/%m/%Y, %I:%M %p", "%m/%d/%Y, %I:%M %p")),
        ("20250115", ("%Y%m%d",)),
        ("15012025", ("%d%m%Y", "%m%d%Y")),
        ("20250115080203", ("%Y%m%d%H%M%S",)),
    ],
)
def test_the_formats_of_a_text_are_found_with_their_rivals(text: str, formats: tuple[str, ...]) -> None:
    assert layouts(text) == [formats]
    assert any(cast(text, f"time:{each}") is not text for each in formats)


@pytest.mark.parametrize(
    "text", ["", "n/a", "12", "15.01/2025", "123/1/2025", "12,50", "\u0661\u0665.01.2025"]
)
def test_what_is_no_time_has_no_format(text: str) -> None:
    assert layouts(text) == []


@given(
    st.dates(date(1900, 1, 1), date(2099, 12, 31)),
    st.sampled_from(["%d.%m.%Y", "%m/%d/%Y", "%Y/%m/%d", "%Y%m%d"]),
)
@settings(max_examples=examples(50), deadline=None)
def test_a_date_as_it_was_written_is_among_its_readings(day: date, written: str) -> None:
    text = day.strftime(written)
    read = {cast(text, f"time:{each}") for formats in layouts(text) for each in formats}
    assert f"{day}T00:00:00" in read


@pytest.mark.parametrize(
    ("rivals", "texts", "says"),
    [
        ((DAY, MONTH), ["04/05/2025"], "2025-04-05T00:00:00 or 2025-05-04T00:00:00, and no value decides"),
        ((DAY, MONTH), ["04/05/2025", "15/01/2025", "01/15/2025"], "'15/01/2025' is read by"),
        ((DAY, MONTH), ["15/01/2025", "01/15/2025"], "alone"),
        ((COMMA, POINT), ["1,234"], "'1,234' is 1.234 or 1234, and no value decides"),
        ((COMMA, POINT), ["1.234"], "'1.234' is 1.234 or 1234, and no value decides"),
        ((COMMA, POINT), ["1.234", "12,50", "1,234.50"], "'12,50' is read by decimal-comma alone"),
        (("time:%d/%m/%y", "time:%m/%d/%y", "time:%y/%m/%d"), ["25/12/11", "11/12/25"], "no value decides"),
        (("time:%Y/%m/%d", "time:%Y/%d/%m"), ["2025/15/01", "2025/01/15"], "alone"),
        (("time:%Y%m%d",), ["20250115", "2025115"], "another number of digits"),
        (UNITS, ["12345"], "1970-01-01"),
    ],
)  # fmt: skip
def test_nothing_is_chosen_where_two_readings_are_possible(
    rivals: tuple[str, ...], texts: list[str], says: str
) -> None:
    found = verdict(rivals, *texts)
    assert found.casts == {}
    assert says in (found.ambiguous or "")


@pytest.mark.parametrize(
    ("rivals", "texts", "chosen", "evidence"),
    [
        ((DAY, MONTH), ["04/05/2025", "15/01/2025"], {DAY}, "1 value, such as '15/01/2025'"),
        ((DAY, MONTH), ["04/05/2025", "01/15/2025", "02/16/2025"], {MONTH}, "2 values, such as '01/15/2025'"),
        ((DAY, MONTH), ["15/01/2025", "n/a"], {DAY}, ""),
        ((COMMA, POINT), ["1,234", "12,50"], {COMMA}, "1 value, such as '12,50'"),
        ((COMMA, POINT), ["1,234", "1,234.50"], {POINT}, "1 value"),
        (("time:%Y/%m/%d", "time:%Y/%d/%m"), ["2025/01/02"], {"time:%Y/%m/%d"}, ""),
        (UNITS, ["1736942400"], {"epoch"}, "2001 to 2100"),
        (UNITS, ["1736942400000"], {"epoch-ms"}, "2001 to 2100"),
        (UNITS, ["1736942400", "1736942400000"], {"epoch"}, "2001 to 2100"),
    ],
)
def test_one_is_chosen_where_a_value_decides_and_none_contradicts(
    rivals: tuple[str, ...], texts: list[str], chosen: set[str], evidence: str
) -> None:
    found = verdict(rivals, *texts)
    assert (set(found.casts), found.ambiguous) == (chosen, None)
    assert evidence in next(iter(found.casts.values()))


def test_values_that_mean_the_same_under_all_rivals_decide_nothing() -> None:
    found = verdict((DAY, MONTH), "05/05/2025")
    assert (set(found.casts), found.is_decided) == ({DAY, MONTH}, False)


@given(
    st.lists(st.dates(date(2000, 1, 1), date(2030, 12, 31)), min_size=1, max_size=8),
    st.sampled_from([DAY, MONTH]),
)
@settings(max_examples=examples(80), deadline=None)
def test_no_order_is_chosen_but_the_one_in_which_the_dates_were_written(
    days: list[date], written: str
) -> None:
    texts = [day.strftime(written.removeprefix("time:")) for day in days]
    found = verdict((DAY, MONTH), *texts)
    for how in found.casts:
        assert [cast(text, how) for text in texts] == [f"{day}T00:00:00" for day in days]


@given(st.lists(st.decimals(0, 9_999_999, places=2), min_size=1, max_size=6), st.sampled_from([COMMA, POINT]))
@settings(max_examples=examples(80), deadline=None)
def test_no_notation_is_chosen_but_that_in_which_the_numbers_were_written(
    numbers: list[Decimal], written: str
) -> None:
    texts = [f"{number:,.2f}" for number in numbers]
    if written == COMMA:
        texts = [text.translate(str.maketrans(",.", ".,")) for text in texts]
    found = verdict((COMMA, POINT), *texts)
    assert set(found.casts) <= {written}
