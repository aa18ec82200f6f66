"""Cases from the field give their right results: see tests/data/field/. Each test names the wrong state it refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from store import database
from store.checks import lineage as lineage_checks
from store.errors import InputError
from store.lineage import conflicts

from ..plant import Plant

FIELD = Path(__file__).parents[2] / "data" / "field"
# How two deliveries may travel: each loaded at once; both in one run; the second processed and loaded before the first.
WAYS = ("each loaded", "loaded together", "second first")
CUTS = (1, 3, 5000)
COUNTS = ("staged", "inserted", "updated", "duplicates", "superseded", "conflicts", "rejected")


def files(case: str, *names: str) -> list[Path]:
    return [FIELD / case / name for name in names]


def bring(plant: Plant, way: str, *deliveries: Sequence[Path], cut: int = 5000) -> None:
    """Sends these groups of files, all begun in this order, and has them processed in one of the ways."""
    sent = [
        [message for path in paths for message in plant.messages(path, batch_records=cut)]
        for paths in deliveries
    ]
    for messages in reversed(sent) if way == "second first" else sent:
        plant.send_messages(messages)
        plant.work()
        if way != "loaded together":
            plant.load()
    plant.load()


def counts(plant: Plant) -> dict[str, int]:
    """Those that are not zero."""
    found = plant.report()
    return {name: found[name] for name in COUNTS if found[name]}


def laws_broken(plant: Plant) -> list[str]:
    """What `store check --lineage` would report of the database."""
    with database.reading(plant.engine) as connection:
        laws = lineage_checks.laws(connection)
    return plant.violations() + [violation for law in laws for violation in law.violations]


def column(plant: Plant, name: str) -> list[Any]:
    """A column of the target, in the order of keys."""
    return [row[name] for row in plant.rows()]


def listed(plant: Plant) -> list[tuple[str, str, str]]:
    """(key, winner, loser) of each conflict, as `store conflicts` lists them."""

    def line(record: dict[str, Any]) -> str:
        return f"{Path(record['file']).name}:{record['line']}"

    with database.reading(plant.engine) as connection:
        found = conflicts.find(connection)
    return sorted((each["key"], line(each["winner"]), line(each["loser"])) for each in found)


def columns_of_records(plant: Plant) -> list[dict[str, Any]]:
    """The rows of the target without what tells how they came there."""
    return [
        {name: value for name, value in row.items() if not name.startswith("lineage_")}
        for row in plant.rows()
    ]


@pytest.mark.parametrize("cut", [7, 5000])
@pytest.mark.parametrize("loads", [1, 2])
def test_a_mended_mapping_replaces_every_value_of_the_wrong_one(
    make_plant: Callable[[], Plant], monkeypatch: pytest.MonkeyPatch, cut: int, loads: int
) -> None:
    """Refuses rows that keep the thousandth part of their value, and corrections counted as superseded."""
    monkeypatch.syspath_prepend(str(FIELD / "mapping_fix"))
    (readings,) = files("mapping_fix", "readings.csv")
    plant = make_plant()
    for number, config in enumerate(("without_adapter.toml", "with_adapter.toml"), 1):
        plant.configure((FIELD / "mapping_fix" / config).read_text())
        plant.send(readings, source="meters", batch_records=cut)
        plant.work()
        if loads == 2:
            plant.load()
            assert sum(value < 100 for value in column(plant, "value")) == (200 if number == 1 else 0)
    plant.load()
    assert {row["key"]: row["value"] for row in plant.rows()} == {f"k{n}": 1000.0 + n for n in range(200)}
    lost = {"updated": 200} if loads == 2 else {"superseded": 200}
    assert counts(plant) == {"staged": 400, "inserted": 200, **lost, "conflicts": 200}
    assert laws_broken(plant) == []
    sent_twice = columns_of_records(plant), plant.digest()
    fresh = make_plant()
    fresh.run(readings, source="meters")
    assert sent_twice == (columns_of_records(fresh), fresh.digest())


@pytest.mark.parametrize("way", WAYS)
def test_a_value_that_was_read_half_written_is_replaced_by_the_whole_one(plant: Plant, way: str) -> None:
    """Refuses the value 1 of a line that says 120 to 125 when it is complete."""
    half, whole = ([f"p{n}_{part}.csv" for n in range(6)] for part in (1, 2))
    bring(plant, way, files("growing_value", *half), files("growing_value", *whole))
    assert [(row["key"], row["value"]) for row in plant.rows()] == [(f"k{n}", 120.0 + n) for n in range(6)]
    lost = {"updated": 6} if way == "each loaded" else {"superseded": 6}
    assert counts(plant) == {"staged": 12, "inserted": 6, **lost, "conflicts": 6}
    assert laws_broken(plant) == []


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("way", WAYS)
def test_of_two_files_of_one_day_the_later_one_wins_and_each_conflict_is_listed(
    plant: Plant, way: str, cut: int
) -> None:
    """Refuses a draft in the target, and a draft that lost without a conflict that names both lines."""
    bring(plant, way, files("ties", "day.csv"), files("ties", "day_v2.csv"), cut=cut)
    assert [(row["key"], row["name"], row["value"]) for row in plant.rows()] == [
        (f"p{n}", "final", 10 * n + 1) for n in range(1, 5)
    ]
    assert listed(plant) == [(f"p{n}", f"day_v2.csv:{n + 1}", f"day.csv:{n + 1}") for n in range(1, 5)]
    assert counts(plant)["conflicts"] == 4
    assert laws_broken(plant) == []


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("is_reversed", [False, True], ids=["as written", "newest line first"])
def test_nanoseconds_decide_which_version_is_newer(plant: Plant, is_reversed: bool, cut: int) -> None:
    """Refuses the price that is 800 nanoseconds older, and a conflict where the times differ."""
    (prices,) = files("nano", "prices.ndjson")
    lines = prices.read_bytes().splitlines(keepends=True)
    plant.run(b"".join(reversed(lines)) if is_reversed else prices, batch_records=cut)
    assert [(row["key"], row["name"], row["value"]) for row in plant.rows()] == [
        (f"k{n}", "new", 2.0 * n) for n in range(1, 5)
    ]
    assert counts(plant) == {"staged": 8, "inserted": 4, "superseded": 4}
    assert laws_broken(plant) == []


@pytest.mark.parametrize("loads", [1, 2])
def test_a_column_that_the_contract_gains_is_filled_when_the_file_is_sent_again(
    make_plant: Callable[[], Plant], monkeypatch: pytest.MonkeyPatch, loads: int
) -> None:
    """Refuses an empty column beside the value in `extra`, and a digest that does not tell the two tables apart."""
    monkeypatch.syspath_prepend(str(FIELD / "newcol"))
    (orders,) = files("newcol", "orders.ndjson")
    plant = make_plant()
    digests = set()
    for contract in ("First", "Second"):
        plant.configure(f'[worker]\ncontract = "growing_contract:{contract}"\n')
        plant.send(orders)
        plant.work()
        if loads == 2:
            plant.load()
            digests.add(plant.digest())
    plant.load()
    assert [(row["amount"], row["currency"], row["extra"]) for row in plant.rows()] == [(1, "EUR", None)]
    lost = {"updated": 1} if loads == 2 else {"superseded": 1}
    assert counts(plant) == {"staged": 2, "inserted": 1, **lost, "conflicts": 1}
    assert len(digests) == (2 if loads == 2 else 0)
    assert laws_broken(plant) == []
    sent_twice = columns_of_records(plant), plant.digest()
    fresh = make_plant()
    fresh.run(orders)
    assert sent_twice == (columns_of_records(fresh), fresh.digest())


@pytest.fixture
def exact_amounts(monkeypatch: pytest.MonkeyPatch, make_plant: Callable[[], Plant]) -> Callable[[], Plant]:
    """Makes plants whose contract has a decimal."""
    monkeypatch.syspath_prepend(str(FIELD / "decimal"))

    def make() -> Plant:
        plant = make_plant()
        plant.configure(
            '[worker]\ncontract = "exact_amounts:Order"\n'
            '[sources.mapped]\nfields.amount = "amount"\n'
            '[sources.adapted]\nadapter = "exact_amounts:read"\n'
        )
        return plant

    return make


@pytest.mark.parametrize("source", ["default", "mapped", "adapted"])
def test_the_digits_of_a_decimal_are_those_of_the_file_in_any_format(
    exact_amounts: Callable[[], Plant], source: str
) -> None:
    """Refuses an amount that went through a binary float (…568 for …567.89), and a digest for each format."""
    digests = set()
    for path in files("decimal", "orders.ndjson", "orders.csv"):
        plant = exact_amounts()
        plant.run(path, source=source)
        assert column(plant, "amount_exact") == ["12345678901234567.89"]
        assert laws_broken(plant) == []
        digests.add(plant.digest())
    assert len(digests) == 1


@pytest.mark.parametrize("way", WAYS)
def test_an_amount_in_json_and_the_same_in_csv_are_one_content(
    exact_amounts: Callable[[], Plant], way: str
) -> None:
    """Refuses a conflict between two spellings of one amount, and a column that compares as text."""
    plant = exact_amounts()
    bring(plant, way, *([path] for path in files("decimal", "orders.ndjson", "orders.csv")))
    assert counts(plant) == {"staged": 2, "inserted": 1, "duplicates": 1}
    assert [row["key"] for row in plant.rows("target WHERE amount > 9")] == ["f"]
    assert [row["key"] for row in plant.rows("target WHERE amount < 2")] == []
    assert laws_broken(plant) == []


HUGE = ("18446744073709551616", "18446744073709551617", "99999999999999999999999")


@pytest.fixture
def huge_ids(monkeypatch: pytest.MonkeyPatch, plant: Plant) -> Callable[[str], None]:
    """Sends the ids to a source, and holds the laws against what became of them."""
    monkeypatch.syspath_prepend(str(FIELD / "hugeid"))

    def send(source: str) -> None:
        plant.configure((FIELD / "hugeid" / "sluice.toml").read_text())
        plant.run(*files("hugeid", "orders.ndjson"), source=source)
        assert not [row for row in plant.rows() if "Unusable" in str(row)]
        assert laws_broken(plant) == []

    return send


@pytest.mark.parametrize("source", ["shop", "adapted"])
def test_ids_beyond_64_bits_reach_a_mapping_and_an_adapter_with_their_digits(
    plant: Plant, huge_ids: Callable[[str], None], source: str
) -> None:
    """Refuses three ids in one row, lost records, and a key that is the name of a class."""
    huge_ids(source)
    assert column(plant, "key") == list(HUGE)
    assert column(plant, "name") == ["first", "second", "third"]
    assert counts(plant) == {"staged": 3, "inserted": 3, "rejected": 1}
    assert [(letter.reason, letter.line) for letter in plant.letters()] == [("invalid_id", 4)]


def test_an_id_within_an_expression_keeps_its_digits(plant: Plant, huge_ids: Callable[[str], None]) -> None:
    """Refuses a value with the name of a class, and one made of other digits than the id's."""
    huge_ids("tags")
    assert column(plant, "name") == [f"x-{id}" for id in HUGE]
    assert plant.reasons() == ["invalid_id"]


def test_a_number_that_is_no_key_is_a_letter_each(plant: Plant, huge_ids: Callable[[str], None]) -> None:
    """Refuses a number that becomes a text without a word, and a letter for several ids."""
    huge_ids("plain")
    assert plant.rows() == []
    assert plant.reasons() == ["invalid_key"] * 3 + ["invalid_id"]
    assert counts(plant) == {"rejected": 4}


NO_FILE_OF_ITS_FORMAT = [
    *(("utf16", f"report.{ending}", None, "this is UTF-16 text") for ending in ("csv", "json", "ndjson")),
    *(("zipcsv", f"data.{ending}", None, "this is a ZIP archive") for ending in ("csv", "json", "ndjson")),
    ("gz", "double.csv.gz", None, "this is gzip data within gzip data"),
    ("gz", "named.csv", None, "this is bzip2 data"),
    ("gz", "x.csv.bz2", "csv", "this is bzip2 data"),
    ("concat_json", "arraylines.ndjson", None, "its lines are arrays of objects"),
    ("concat_json", "spaced.ndjson", None, "there are several values in a line"),
    ("concat_json", "oneline.json", "ndjson", "there are several values in a line"),
    ("concat_json", "commas.json", "ndjson", "there are commas after its records"),
    ("concat_json", "pretty.json", "ndjson", "its first value goes over several lines"),
    ("concat_json", "big_pretty.json", "ndjson", "its first value goes over several lines"),
    ("header_case", "h.csv", None, "'Key' for key, 'Ts' for ts, 'Name' for name, 'Value' for value"),
    ("trailing", "dup.csv", None, r"line 1 names columns more than once: 'note' \(2 times\)"),
    ("delim_replay", "d.csv", None, 'Line 1 has such columns: set delimiter = ";"'),
    ("preamble", "p.csv", None, "Line 4 has such columns: set skip_rows = 3, or remove"),
]


@pytest.mark.parametrize(("case", "name", "format", "message"), NO_FILE_OF_ITS_FORMAT)
def test_what_is_no_file_of_its_format_is_one_error_and_nothing_of_it_is_sent(
    plant: Plant, case: str, name: str, format: str | None, message: str
) -> None:
    """Refuses dead letters of a file's own fault, and a delivery of which nothing can be sent."""
    with pytest.raises(InputError, match=f"{name}: .*{message}.*; nothing of it was sent$"):
        plant.send(FIELD / case / name, format=format)
    assert plant.broker.waiting() == 0
    assert plant.rows("deliveries", order="seq") == []


@pytest.mark.parametrize("source", ["plant", "unconfigured"])
def test_a_line_of_a_spreadsheet_program_names_the_delimiter(plant: Plant, source: str) -> None:
    """Refuses a dead letter for each row behind it, with the right delimiter or without."""
    plant.configure((FIELD / "sepline" / "sluice.toml").read_text())
    plant.run(FIELD / "sepline" / "s.csv", source=source)
    assert [(row["key"], row["value"], row["lineage_line"]) for row in plant.rows()] == [("a1", 1.5, 3)]


# --- digest_blind ---


@pytest.mark.parametrize("pair", [("a", "b"), ("inf1", "inf2")])
def test_different_rejected_numbers_give_different_digests(
    make_plant: Callable[[], Plant], pair: tuple[str, str]
) -> None:
    """Refuses a digest in which the reason's text stands for the value."""
    digests = {digest_of(make_plant(), *files("digest_blind", f"{name}.ndjson")) for name in pair}
    both = digest_of(make_plant(), *files("digest_blind", *(f"{name}.ndjson" for name in pair)))
    assert len({*digests, both}) == 3


def test_the_order_of_keys_within_a_rejected_record_gives_one_digest(make_plant: Callable[[], Plant]) -> None:
    names = ("nested-a.ndjson", "nested-b.ndjson")
    assert len({digest_of(make_plant(), *files("digest_blind", name)) for name in names}) == 1


@pytest.mark.parametrize(
    "value", ["-0.0", "-0", "0", "1.50", "9223372036854775808", "1e400", "1e30", "x", "true"]
)
@pytest.mark.parametrize("ts", ["2025-01-15", ""])
def test_a_record_as_json_and_as_csv_gives_one_digest(
    make_plant: Callable[[], Plant], value: str, ts: str
) -> None:
    """Refuses numbers that are rejected from one format and accepted from the other, and letters that differ by it."""
    written = value if value not in ("x",) else f'"{value}"'
    as_json = make_plant()
    as_json.run(f'{{"ts":"{ts}","key":"k","name":"n","value":{written}}}\n'.encode())
    digest = as_json.digest()
    as_csv = make_plant()
    as_csv.run(f"key,name,value,ts\nk,n,{value},{ts}\n".encode(), "records.csv")
    assert as_csv.digest() == digest


def digest_of(plant: Plant, *paths: Path) -> str:
    for path in paths:
        plant.run(path)
    return plant.digest()
