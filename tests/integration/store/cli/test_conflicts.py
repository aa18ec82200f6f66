"""`store conflicts`, and what the report says of it."""

from __future__ import annotations

import re

import pytest

from tests.integration.store.conftest import Ledger, Record
from tests.integration.store.timing.timeline import Command


@pytest.fixture
def corrected(ledger: Ledger) -> Ledger:
    """Sixty orders, sent again under the same time with other values."""
    for file, name in (("day.csv", "draft"), ("day_v2.csv", "final")):
        ledger.receive(
            [Record(f"p{number:02}", "2025-01-15", name) for number in range(60)], file=file, first_line=2
        )
        ledger.load()
    return ledger


def test_a_conflict_is_a_row_with_the_file_line_and_delivery_of_both_records(
    corrected: Ledger, store: Command
) -> None:
    output = store("conflicts", "--key", "p07").out
    assert re.search(
        r"^p07  shop    2025-01-15 00:00:00 UTC    2  day_v2\.csv:9 +2  day\.csv:9 +1  later delivery$",
        output,
        re.M,
    )
    assert "sequence  " not in output
    assert "`store explain KEY`" in output


def test_a_sequence_has_a_column_where_there_is_one(ledger: Ledger, store: Command) -> None:
    ledger.receive([Record("a", "2025-01-15", name, sequence=1234567) for name in ("draft", "final")])
    ledger.load()
    output = store("conflicts").out
    assert re.search(r"^key  source  time +sequence +run ", output, re.M)
    assert re.search(r"^a    shop    2025-01-15 00:00:00 UTC   1234567    1  a\.json:2 ", output, re.M)


def test_json_is_a_list_of_both_records(corrected: Ledger, store: Command) -> None:
    (found,) = store("conflicts", "--key", "p00", "--json").json
    winner, loser = found.pop("winner"), found.pop("loser")
    assert found == {
        "key": "p00",
        "source": "shop",
        "ts": "2025-01-15T00:00:00Z",
        "sequence": 0,
        "run": 2,
        "decided_by": "later delivery",
    }
    assert (winner["file"], winner["line"], winner["delivery"]) == ("day_v2.csv", 2, 2)
    assert (loser["file"], loser["line"], loser["delivery"]) == ("day.csv", 2, 1)
    (entry,) = [
        each for each in store("lineage", "--id", loser["id"], "--json").json if each["id"] == loser["id"]
    ]
    assert (entry["batch"], entry["line"]) == (loser["batch"], 2)


def test_conflicts_that_are_not_shown_are_counted(corrected: Ledger, store: Command) -> None:
    assert "50 of 60 shown: --limit 60 shows all." in store("conflicts").out
    assert "5 of 60 shown: --limit 60 shows all." in store("conflicts", "--limit", "5", "--run", "2").out
    assert "shown" not in store("conflicts", "--limit", "60").out
    assert len(store("conflicts", "--json").json) == 50
    assert len(store("conflicts", "--limit", "99", "--json").json) == 60


def test_no_conflicts_is_an_answer_of_its_own(sample: Ledger, store: Command) -> None:
    none = "No conflicts: no two records of a key have equal time and sequence and different content.\n"
    assert store("conflicts") == (0, none, "")
    assert store("conflicts", "--json").json == []


@pytest.mark.parametrize("chosen", [("--source", "web"), ("--run", "1"), ("--key", "zz")], ids=" ".join)
def test_conflicts_of_which_none_match_point_to_the_report(
    corrected: Ledger, store: Command, chosen: tuple[str, str]
) -> None:
    assert store("conflicts", *chosen).out == "No conflicts that match: `store report` counts all of them.\n"
    assert store("conflicts", *chosen, "--json").json == []


def test_a_record_that_lineage_has_lost_is_shown_all_the_same(corrected: Ledger, store: Command) -> None:
    corrected.tamper("DELETE FROM target WHERE key = 'p00'")
    assert re.search(
        r"^p00 .* day_v2\.csv:\? +2  day\.csv:2 +1 ", store("conflicts", "--key", "p00").out, re.M
    )


def test_the_report_names_the_command_where_there_are_conflicts(corrected: Ledger, store: Command) -> None:
    note = "equal time and sequence, other content: `store conflicts`"
    assert re.search(rf"^conflicts +60  {note}$", store("report").out, re.M)


def test_the_report_does_not_name_it_where_there_are_none(sample: Ledger, store: Command) -> None:
    assert "store conflicts" not in store("report").out
