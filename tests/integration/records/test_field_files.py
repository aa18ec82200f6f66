"""Files from the field that were read wrong: see tests/data/field/. Each test names the wrong state it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from producer.files.batches import Payload
from producer.files.open import open_records
from store.errors import InputError

from ..plant import Plant

FIELD = Path(__file__).parents[2] / "data" / "field"
ROW_OF_MANY_LINES = b'"k1\n%b",n,1,2025-01-01T00:00:00Z\n' % b"".join(
    b"EVIL%d,n,1,2025-01-01T00:00:00Z\n" % n for n in range(10_002)
)


def read(path: Path, records: str | None) -> tuple[list[str], str]:
    """(the keys of the records, the error after them; empty where there is none)."""
    found: list[Payload] = []
    try:
        with open_records(str(path), records=records) as file:
            for block in file.blocks():
                found += block.payloads
    except InputError as error:
        return [orjson.loads(bytes(each))["key"] for each in found], str(error)  # type: ignore[arg-type]
    return [orjson.loads(bytes(each))["key"] for each in found], ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "records", "keys", "problem"),
    [
        ("records_path_drops_rest/concat.json", "f", "ABC", ""),
        (
            "records_path_drops_rest/dup.json",
            "f",
            "A",
            "byte 69 of its text on, line 1: another key than 'f'",
        ),
        ("records_path_drops_rest/garbage.json", "f", "A", "byte 69 of its text on"),
        ("truncated_array/cut.json", None, "AB", "cut short: behind byte 123 of its text"),
        ("truncated_array/cut-path.json", "f", "AB", "cut short: behind byte 127 of its text"),
        ("truncated_array/open.json", None, "", "cut short: behind byte 1 of its text"),
        ("truncated_array/empty.json", None, "", "is empty, and no JSON document is"),
        (
            "array_punctuation/brace-closes.json",
            None,
            "A",
            "byte 62 of its text on, line 1: ',' or ']' should",
        ),
        ("array_punctuation/double-comma.json", None, "A", "byte 63 of its text on, line 1: a value should"),
        ("array_punctuation/formfeed.json", None, "", "byte 2 of its text on, line 1: a value should"),
        ("array_punctuation/lead-trail.json", None, "", "byte 2 of its text on, line 1: a value should"),
        ("array_punctuation/no-comma.json", None, "A", "byte 63 of its text on, line 1: ',' or ']' should"),
        ("concat_json/pretty.json", None, ["a0", "a1", "a2"], ""),
        ("concat_json/oneline.json", None, ["a0", "a1", "a2"], ""),
        ("concat_json/twoarrays.json", None, ["a0", "a1", "z"], ""),
        ("concat_json/commas.json", None, "", "put [ before the first and ] behind the last"),
        ("concat_json/comment.json", None, "", "byte 3 of its text on, line 2: a value should"),
        ("concat_json/trailing_comma.json", None, "a", "byte 63 of its text on, line 1: a value should"),
    ],
)
def test_a_json_document_is_read_to_its_last_byte(
    file: str, records: str | None, keys: str | list[str], problem: str
) -> None:
    """Refuses records that are dropped without a word, and a document that passes as whole though it is none."""
    found, error = read(FIELD / file, records)
    assert found == list(keys)
    assert problem in error
    assert bool(error) == bool(problem)


@pytest.mark.parametrize("cut", [1, 5000])
def test_no_line_of_a_closed_quoted_cell_is_a_record(plant: Plant, cut: int) -> None:
    """Refuses the record EVIL, which stands within a cell, and two letters for one row."""
    path = FIELD / "csv_cell_becomes_record" / "inj.csv"
    plant.run(path, batch_records=cut)
    assert [row["key"] for row in plant.rows()] == ["k3"]
    (letter,) = plant.letters()
    assert (letter.reason, letter.line) == ("malformed_csv", 2)
    assert letter.errors[0]["message"] == "5 cells under 4 column names"
    assert letter.raw == b"\n".join(path.read_bytes().split(b"\n")[1:4])


@pytest.mark.sqlite("no index of PostgreSQL holds a key of ten thousand lines")
@pytest.mark.parametrize(("limit", "keys"), [(1 << 20, 2), (100_000, 1)])
def test_a_row_of_ten_thousand_lines_is_one_record(plant: Plant, limit: int, keys: int) -> None:
    """Refuses 10,002 records that are lines of a cell; beyond the limit the row is one letter."""
    data = b"key,name,value,ts\n" + ROW_OF_MANY_LINES + b"k2,n,2,2025-01-01T00:00:00Z\n"
    plant.run(data, "big.csv", max_record_bytes=limit)
    assert [row["key"][:2] for row in plant.rows()] == ["k1", "k2"][-keys:]
    assert [(letter.reason, letter.line, letter.size) for letter in plant.letters()] == (
        [] if keys == 2 else [("too_large", 2, len(ROW_OF_MANY_LINES) - 1)]
    )


def names(plant: Plant) -> dict[str, Any]:
    return {row["key"]: row["name"] for row in plant.rows()}


def test_the_worker_reads_rows_with_the_quotes_of_their_file(plant: Plant) -> None:
    """Refuses a name without its quotes, one with quotes it has not, and letters for rows that are right."""
    plant.configure((FIELD / "quotechar_ignored" / "sluice.toml").read_text())
    plant.run(FIELD / "quotechar_ignored" / "q.csv", source="q")
    assert names(plant) == {"k1": "a;b'c", "k2": '"dq"', "k3": '"', "k4": "plain"}
    assert orjson.loads(plant.rows()[0]["extra"]) == {"x": "two\nlines"}
    assert plant.letters() == []


def test_a_letter_is_replayed_under_the_dialect_it_came_with(plant: Plant) -> None:
    """Refuses a replay that reads the row by the settings of today."""
    configuration = (FIELD / "quotechar_ignored" / "sluice.toml").read_text()
    plant.configure(configuration + 'fields.value = "amount"\n')
    plant.run(FIELD / "quotechar_ignored" / "q.csv", source="q")
    assert plant.reasons() == ["missing_value"] * 4
    plant.configure("[sources.q]\n")
    plant.replay()
    plant.work()
    plant.load()
    assert names(plant) == {"k1": "a;b'c", "k2": '"dq"', "k3": '"', "k4": "plain"}


def test_a_backslash_escapes_where_the_source_says_so(plant: Plant) -> None:
    """Refuses a name with a backslash that is none, and letters for rows that are right."""
    path = FIELD / "backslash" / "b.csv"
    plant.run(path)
    assert names(plant) == {"a2": "Surname\\, First", "a5": "ok"}
    plant.configure('[sources.shop]\nescapechar = "\\\\"\n')
    plant.run(path, source="shop")
    rows = {row["key"]: row["name"] for row in plant.rows() if row["source"] == "shop"}
    assert rows == {
        "a1": 'foo ("foo")', "a2": "Surname, First", "a3": '5" pipe', "a4": '6" pipe', "a5": "ok",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "extras"),
    [("hdr.csv", [None, None]), ("rows.csv", [None, None]), ("two_empty.csv", [{"": "0"}, {"": "1"}]),
     ("pandas_index.csv", [{"": "0"}, {"": "1"}])],
)  # fmt: skip
def test_a_column_with_neither_name_nor_cells_is_none(
    plant: Plant, file: str, extras: list[dict[str, str] | None]
) -> None:
    """Refuses a letter for each row of a table that only ends its lines with a delimiter."""
    plant.run(FIELD / "trailing" / file)
    assert plant.letters() == []
    found = [row["extra"] and orjson.loads(row["extra"]) for row in plant.rows()]
    assert found == extras


def test_blanks_around_cells_are_trimmed_where_the_source_says_so(make_plant: Callable[[], Plant]) -> None:
    """Refuses a key that begins with a blank, and a name with the quotes around it."""
    plant = make_plant()
    plant.configure("[sources.s]\ntrim = true\n")
    for file in ("s.csv", "s2.csv"):
        plant.run(FIELD / "spaces" / file, source="s")
    pumps = {"a1": "pump", "a2": "pump", "a3": "Smith, John", "k1": "pump", "K1": "pump"}
    assert names(plant) == pumps
    plain = make_plant()
    plain.run(FIELD / "spaces" / "s.csv")
    assert names(plain) == {"a1": " pump", "a2": ' "pump"'}  # times and numbers may have blanks around them
    assert plain.reasons() == ["malformed_csv"]


def test_a_cell_holds_a_number_as_json_or_csv_writes_it(plant: Plant) -> None:
    """Refuses 1000 for `1_000`, digits of other scripts, and integers beyond 64 bits, as from JSON."""
    plant.run(FIELD / "numbers" / "n.csv")
    assert {row["name"]: row["value"] for row in plant.rows()} == {
        "dot5": 0.5, "5dot": 5.0, "plus": 5.0, "spaces": 1.5,
        "2e53+1": 9007199254740992.0, "minus zero": 0.0,
    }  # fmt: skip
    assert set(plant.reasons()) == {"invalid_value"}
    assert len(plant.letters()) == 19


def test_a_table_of_a_german_spreadsheet_is_read_in_its_encoding_and_its_notation(plant: Plant) -> None:
    """Refuses a dead letter for each row, which no setting could mend."""
    plant.configure(
        '[sources.plant]\ndelimiter = ";"\nts_format = "%d.%m.%Y %H:%M"\nassume_tz = "Europe/Berlin"\n'
        'encoding = "cp1252"\ndecimal = ","\n'
    )
    plant.run(FIELD / "cp1252" / "export.csv", source="plant")
    assert names(plant) == {"a1": "Kühlung", "a2": "Pumpe"}
    assert [(row["value"], row["lineage_line"]) for row in plant.rows()] == [(1.5, 2), (2.5, 3)]


@pytest.mark.parametrize("format", ["csv", "json", "ndjson"])
def test_files_in_utf_16_are_read_in_it(plant: Plant, format: str) -> None:
    """Refuses lines that end in the middle of a character."""
    plant.configure('[sources.wide]\nencoding = "utf-16"\n')
    plant.run(FIELD / "utf16" / f"report.{format}", source="wide")
    assert plant.letters() == []
    assert names(plant) == ({"a1": "n"} if format == "json" else names(plant))
    assert [row["key"] for row in plant.rows()] == ["a1", "a2"][: 1 if format == "json" else 2]


def test_lines_above_the_header_comments_and_a_total_are_what_the_settings_say(plant: Plant) -> None:
    """Refuses six dead letters; the line of totals is one, for it has no time."""
    plant.configure('[sources.report]\nskip_rows = 1\ncomment = "#"\n')
    plant.run(FIELD / "preamble" / "p.csv", source="report")
    assert [(row["key"], row["lineage_line"]) for row in plant.rows()] == [("a1", 5), ("a2", 7)]
    assert [(letter.reason, letter.line) for letter in plant.letters()] == [("missing_timestamp", 8)]


def test_a_row_that_does_not_decode_is_one_letter_with_its_own_bytes(plant: Plant) -> None:
    """Refuses other characters than the file's, also where the bytes would be UTF-8, and a replay that takes them."""
    plant.configure('[sources.plant]\nencoding = "ascii"\n')
    rows = ["a,n,1,2025-01-15T12:00:00Z", "b,é,1,2025-01-15T12:00:00Z", "c,n,1,2025-01-15T12:00:00Z"]
    plant.run("\n".join(["key,name,value,ts", *rows]).encode(), "a.csv", source="plant")
    for _ in range(2):
        assert sorted(names(plant)) == ["a", "c"]
        (letter,) = plant.letters()
        assert (letter.reason, letter.line, letter.raw) == ("undecodable", 3, rows[1].encode())
        assert letter.errors[0]["message"] == "bytes that are not ASCII"
        plant.replay()
        plant.work()
        plant.load()
    assert plant.violations() == []


def test_another_dialect_is_another_delivery(plant: Plant) -> None:
    """Refuses a file that is known already, though it is read otherwise now."""
    data = b"key,name,value,ts\nb,n,1.500,2025-01-15T12:00:00Z\n"
    plant.run(data, "a.csv", source="plant")
    plant.run(data, "a.csv", source="plant", dialect={"thousands": ".", "decimal": ","})
    assert [row["value"] for row in plant.rows()] == [1500.0]
    assert len(plant.rows("deliveries", order="seq")) == 2


@pytest.mark.parametrize(
    ("settings", "times", "counts"),
    [
        ("", {"fold": "00:30", "fold2": "23:30"}, (1, 0, 2)),
        (
            'ambiguous = "later"\nnonexistent = "shift"\n',
            {"gap": "01:30", "fold": "01:30", "fold2": "23:30"},
            (1, 1, 1),
        ),
        ('ambiguous = "reject"\n', {"fold2": "23:30"}, (0, 0, 3)),
    ],
)
def test_hours_of_a_changed_clock_are_what_the_source_says_and_counted(
    plant: Plant, settings: str, times: dict[str, str], counts: tuple[int, int, int]
) -> None:
    """Refuses a time that nobody chose, without a word."""
    zone = 'fields.ts = "stamp"\nts_format = "%d.%m.%Y %H:%M"\nassume_tz = "Europe/Berlin"\n'
    plant.configure(f"[sources.plant]\n{zone}{settings}")
    plant.run(FIELD / "dst" / "d.csv", source="plant")
    assert {row["key"]: row["ts"][11:16] for row in plant.rows()} == times
    report = plant.report()
    assert (report["ambiguous"], report["shifted"], report["rejected"]) == counts
    assert plant.violations() == []


def test_only_local_times_without_doubt_are_ordinary(plant: Plant) -> None:
    plant.configure('[sources.iso]\nassume_tz = "Europe/Berlin"\n')
    plant.run(FIELD / "dst" / "iso.csv", source="iso")
    report = plant.report()
    assert (report["ambiguous"], report["shifted"]) == (1, 0)
    assert {letter.record_key for letter in plant.letters() if "Europe/Berlin" in str(letter.errors)} == {
        "t14"
    }
