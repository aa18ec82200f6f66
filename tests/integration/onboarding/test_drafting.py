"""`producer draft`: what it drafts from a file accepts the records of this file, and it chooses nothing in doubt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ...examples import examples
from .conftest import Drafted, within

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("name", "rejected"),
    [
        ("data/sample.ndjson", 2),  # a text for a number, and no time
        ("data/earthquakes.json", 0),
        ("data/orders.ndjson.gz", 0),
        ("data/orders-faulty.ndjson.gz", 1384),
        ("data/feeds/alpha.ndjson", 0),
        ("data/feeds/beta.csv", 0),
        ("data/feeds/gamma.ndjson", 1),
        ("data/lineage/monday.ndjson", 1),
        ("data/lineage/tuesday.ndjson", 0),
        ("data/reconcile/billing.ndjson", 0),
        ("data/reconcile/field.csv", 0),
    ],
)
def test_what_is_drafted_from_a_file_of_the_repository_accepts_its_consistent_records(
    drafted: Drafted, name: str, rejected: int
) -> None:
    _, found = drafted.draft(str(ROOT / name))
    assert found["is_whole"]
    tried = drafted.attempt(str(ROOT / name))
    assert tried["records"] == found["records_looked_at"] > 0
    assert tried["rejected"] <= rejected, tried["faults"]


CELLS: dict[str, st.SearchStrategy[str]] = {
    "count": st.integers(-(2**63), 2**63 - 1).map(str),
    "small": st.integers(0, 999).map(str),
    "code": st.integers(0, 99).map("{:05}".format),
    "ratio": st.floats(allow_nan=False, allow_infinity=False).map(repr),
    "amount": st.decimals(-(10**9), 10**9, places=2).map(str),
    "comma": st.integers(-(10**6), 10**6).map(lambda each: f"{each},5"),
    "flag": st.sampled_from(["true", "false"]),
    "day": st.dates().filter(lambda each: each.year > 999).map(str),
    "moment": st.datetimes()
    .filter(lambda each: each.year > 999)
    .map(lambda each: f"{each:%Y-%m-%dT%H:%M:%SZ}"),
    "german": st.dates().filter(lambda each: each.year > 1999).map(lambda each: f"{each:%d.%m.%Y}"),
    "word": st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12),
    "Some Words": st.text("abc ,;'\t", max_size=12),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, list[dict[str, str]]]:
    """(delimiter, rows) of a consistent table: each column of one kind, some of its cells empty."""
    names = draw(st.lists(st.sampled_from(sorted(CELLS)), unique=True, max_size=6))
    number = draw(st.integers(1, 8))
    rows = []
    for position in range(number):
        row = {"id": f"k{position}", "at": f"2025-01-{position + 1:02}T08:00:00Z"}
        row |= {name: draw(st.one_of(CELLS[name], st.just(""))) for name in names}
        rows.append(row)
    return draw(st.sampled_from(",;\t|")), rows


def written(delimiter: str, rows: list[dict[str, str]]) -> str:
    def quoted(cell: str) -> str:
        return '"' + cell.replace('"', '""') + '"' if set(cell) & set(f'{delimiter}"\r\n\x85') else cell

    lines = [delimiter.join(rows[0]), *(delimiter.join(map(quoted, row.values())) for row in rows)]
    return "\n".join(lines) + "\n"


@settings(max_examples=examples(12), deadline=None)
@given(table=tables())
def test_what_is_drafted_from_a_consistent_table_accepts_all_of_it(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[str, list[dict[str, str]]]
) -> None:
    with within(tmp_path_factory.mktemp("draft")) as drafted:
        file = drafted.file(written(*table))
        _, found = drafted.draft(file)
        tried = drafted.attempt(file)
        assert (tried["records"], tried["faults"]) == (len(table[1]), []), (drafted.section, drafted.contract)
        assert [each["adapted"]["key"] for each in tried["shown"]] == [row["id"] for row in table[1]][:3]
        assert found["key_candidates"][0] == {
            "column": ["id"],
            "distinct": len(table[1]),
            "values": len(table[1]),
            "unique": True,
        }


@settings(max_examples=examples(8), deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "count": st.integers(-(2**63), 2**63 - 1),
                "ratio": st.floats(allow_nan=False, allow_infinity=False),
                "flag": st.booleans(),
                "word": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
                "list": st.lists(st.integers(0, 9), max_size=2),
                "inner": st.fixed_dictionaries({"a": st.integers(0, 9)}, optional={"copy": st.just("x")}),
                "nothing": st.none(),
            },
        ),
        min_size=1,
        max_size=6,
    )
)
def test_what_is_drafted_from_consistent_objects_accepts_all_of_them(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    with within(tmp_path_factory.mktemp("draft")) as drafted:
        own = [{"id": number, "at": 1736928000 + number} for number in range(len(rows))]
        lines = [orjson.dumps(one | row) for one, row in zip(own, rows, strict=True)]
        file = drafted.file(b"\n".join(lines), "shop.ndjson")
        drafted.draft(file)
        tried = drafted.attempt(file)
        assert (tried["records"], tried["faults"]) == (len(rows), []), (drafted.section, drafted.contract)


def test_two_orders_of_a_date_that_both_fit_are_called_ambiguous_and_none_is_chosen(drafted: Drafted) -> None:
    file = drafted.file("id,day,n\na,04/05/2025,1\nb,06/07/2025,2\n")
    code, found = drafted.draft(file)
    assert code == 1
    assert "ambiguous" in found["undecided"][0]
    lines = drafted.section.splitlines()
    assert [line for line in lines if "ts_format" in line] == [
        '# ts_format = "%d/%m/%Y"',
        '# ts_format = "%m/%d/%Y"',
    ]
    assert drafted.attempt(file)["reasons"] == {"invalid_timestamp": 2}


def test_a_date_that_only_one_order_can_read_decides(drafted: Drafted) -> None:
    file = drafted.file("id,day,n\na,04/05/2025,1\nb,26/07/2025,2\n")
    code, _ = drafted.draft(file)
    assert (code, 'ts_format = "%d/%m/%Y"' in drafted.section) == (0, True)
    assert drafted.attempt(file)["shown"][0]["adapted"]["ts"] == "2025-05-04T00:00:00Z"


def test_numbers_that_may_have_a_comma_for_thousands_or_for_decimals_are_not_chosen(drafted: Drafted) -> None:
    code, found = drafted.draft(drafted.file('id,at,n\na,2025-01-15,"1,234"\nb,2025-01-16,"5,678"\n'))
    assert (code, found["fields"][0]["type"]) == (1, "str")
    assert "decimal = " not in drafted.section.replace("# Choose one", "#").split("# ")[0]


def test_an_excel_export_is_read_with_its_dialect(drafted: Drafted) -> None:
    text = "Nr.;Menge;Preis;Datum\r\n1;Kühlung;1.234,50;15.01.2025\r\n2;Tür;9,99;16.01.2025\r\n"
    file = drafted.file(text.encode("cp1252"))
    code, found = drafted.draft(file)
    assert found["dialect"] == {"encoding": "cp1252", "delimiter": ";"}
    assert {each["name"]: each["type"] for each in found["fields"]} == {"Menge": "str", "Preis": "Decimal"}
    first = drafted.attempt(file)["shown"][0]["adapted"]
    assert code == 0
    assert first == {"key": "1", "ts": "2025-01-15T00:00:00Z", "Menge": "Kühlung", "Preis": "1234.5"}


def test_lines_before_the_header_comments_and_null_words_are_found(drafted: Drafted) -> None:
    file = drafted.file(
        "Monthly export, of 2025\n\nid,at,value\na,2025-01-15,1\n# a note\nb,2025-01-16,n/a\nc,2025-01-17,3\n"
    )
    drafted.draft(file)
    assert (drafted.attempt(file)["records"], drafted.attempt(file)["rejected"]) == (3, 0)
    assert 'null_values = ["n/a"]' in drafted.section
    assert "skip_rows = 2" in drafted.section


def test_codes_with_zeros_in_front_are_texts(drafted: Drafted) -> None:
    _, found = drafted.draft(drafted.file("id,at,zip\na,2025-01-15,01067\nb,2025-01-16,10115\n"))
    assert [(each["name"], each["type"]) for each in found["fields"]] == [("zip", "str")]


def test_nothing_is_overwritten_without_force(drafted: Drafted) -> None:
    file = drafted.file("id,at\na,2025-01-15\n")
    (drafted.folder / "sluice.toml").write_text("# mine\n")
    assert drafted.draft(file)[0] == 2
    assert drafted.section == "# mine\n"
    assert not (drafted.folder / "shop_contract.py").exists()
    assert drafted.draft(file, "--out", "beside")[0] == 0
    assert drafted.section == "# mine\n"
    assert drafted.draft(file, "--force")[0] == 0
    assert "[sources.shop]" in drafted.section


def test_only_a_sample_is_looked_at_and_the_draft_says_of_how_many_records(drafted: Drafted) -> None:
    rows = "".join(f"k{number},2025-01-15\n" for number in range(50))
    _, found = drafted.draft(drafted.file(f"id,at\n{rows}"), "--sample", "20")
    assert (found["records_looked_at"], found["is_whole"]) == (20, False)
    assert "the first 20 records" in drafted.section


@pytest.mark.parametrize(
    ("content", "name"),
    [("", "shop.csv"), ("id,at\n", "shop.csv"), ("[]", "shop.json"), ("PK\x03\x04", "shop.csv")],
)
def test_what_has_no_records_is_no_draft(drafted: Drafted, content: str, name: str) -> None:
    assert drafted.draft(drafted.file(content, name))[0] == 2
    assert not (drafted.folder / "sluice.toml").exists()


@pytest.mark.parametrize(
    "name", ['"""', "a b", "1st", "class", "copy", "ts", "Source", "model_x", "date", "ä", "x\\y"]
)
def test_a_column_of_any_name_gets_a_field_that_python_and_the_store_allow(
    drafted: Drafted, name: str
) -> None:
    cell = '"' + name.replace('"', '""') + '"'
    file = drafted.file(f"id,at,{cell},day\na,2025-01-15T10:00:00Z,word,2025-01-15\n")
    drafted.draft(file)
    tried = drafted.attempt(file)
    assert (tried["accepted"], "extra" in tried["shown"][0]["adapted"]) == (1, False), drafted.section


def test_a_field_in_a_notation_of_its_own_gets_a_cast(drafted: Drafted) -> None:
    file = drafted.file(
        "at,id,x,y,z,local,seen,day\n"
        '2025-01-15,a,1.5,2.25,3.5,"1.234,5",15.01.2025 10:30,31.12.2024\n'
        '2025-01-16,b,2.5,1.25,4.5,"12,25",16.01.2025 11:30,13.01.2025\n'
    )
    drafted.draft(file)
    assert [line for line in drafted.section.splitlines() if line.startswith("casts.")] == [
        'casts.local = "decimal-comma"',
        'casts.seen = "time:%d.%m.%Y %H:%M"',
        'casts.day = "time:%d.%m.%Y"',
    ]
    tried = drafted.attempt(file)
    assert (tried["rejected"], tried["shown"][0]["adapted"]) == (
        0,
        {"key": "a", "ts": "2025-01-15T00:00:00Z", "x": 1.5, "y": "2.25", "z": 3.5, "local": 1234.5,
         "seen": "2025-01-15T10:30:00", "day": "2024-12-31"},
    )  # fmt: skip


def test_numbers_in_texts_of_json_get_a_cast(drafted: Drafted) -> None:
    file = drafted.file(
        '{"id":"a","at":"2025-01-15","n":"1,5"}\n{"id":"b","at":"2025-01-15","n":"2,75"}\n', "shop.ndjson"
    )
    drafted.draft(file)
    assert 'casts.n = "decimal-comma"' in drafted.section
    assert [each["adapted"]["n"] for each in drafted.attempt(file)["shown"]] == [1.5, 2.75]


def test_rows_that_cannot_be_read_do_not_count_against_a_key(drafted: Drafted) -> None:
    file = drafted.file("key,name,ts\na,x,2025-01-15,one too many\nb,y,2025-01-16\n")
    code, found = drafted.draft(file)
    assert (code, found["unreadable"]) == (0, 1)
    assert drafted.attempt(file)["reasons"] == {"malformed_csv": 1}
