from __future__ import annotations

from typing import Any

import pytest

from store import database
from store.cli.render import lineage as lineage_tables
from store.errors import SluiceError
from store.lineage import explain
from tests.integration.store.conftest import Bad, Ledger, Record
from tests.integration.store.lineage.test_trace import send_back
from tests.integration.store.test_versions import begin


def facts(ledger: Ledger, key: str = "a", source: str | None = None) -> dict[str, Any]:
    with database.reading(ledger.engine) as connection:
        return explain.explain(connection, key, source)


def explained(ledger: Ledger, key: str = "a") -> str:
    return "\n".join(lineage_tables.explanation(facts(ledger, key)))


def test_the_row_in_the_target_is_traced_to_its_line_batch_and_run(ledger: Ledger) -> None:
    ledger.receive(
        [Record("x", "2025-01-01"), Record("a", "2025-01-02", "valve", 2.5)], id="b1", file="new.json"
    )
    run = ledger.load()
    (shop,) = facts(ledger)["sources"]
    held = shop["holds"]
    assert (held["file"], held["line"], held["batch"], held["run"]) == ("new.json", 2, "b1", run)
    assert (held["ts"], held["values"], held["outcome"]) == (
        "2025-01-02T00:00:00Z",
        {"name": "valve", "value": 2.5},
        "inserted",
    )
    assert "Run 1 inserted it: the target had no row of this key." in explained(ledger)


def test_an_update_names_what_it_replaced(ledger: Ledger) -> None:
    for day in ("01", "02", "03"):
        ledger.receive([Record("a", f"2025-01-{day}")], file=f"{day}.json")
        ledger.load()
    (shop,) = facts(ledger)["sources"]
    assert [each["file"] for each in shop["replaced"]] == ["02.json", "01.json"]
    assert (
        "Run 3 updated it: it is newer than the record of 2025-01-02 00:00:00 UTC from 02.json:1"
        in explained(ledger)
    )
    assert "Before that, the target held the record of 2025-01-01 00:00:00 UTC from 01.json:1" in explained(
        ledger
    )


def test_of_equal_times_the_later_line_is_loaded(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01", "one"), Record("a", "2025-01-01", "two")])
    ledger.load()
    assert "the target holds the record of 2025-01-01 00:00:00 UTC: name two" in explained(ledger)
    assert (
        "The record of 2025-01-01 00:00:00 UTC from a.json:1 was superseded by the record of 2025-01-01 00:00:00 UTC "
        "from a.json:2, in run 1: they conflict: time and sequence are equal, the content is not, and in one file the "
        "later line wins." in explained(ledger)
    )


EQUAL = "time and sequence are equal, the content is not, and"


def test_a_conflict_that_the_later_delivery_won_names_both_records(ledger: Ledger) -> None:
    for number, name in enumerate(("draft", "better", "final"), 1):
        ledger.receive([Record("a", "2025-01-01", name)], file=f"{number}.csv")
        ledger.load()
    found = explained(ledger)
    assert "the target holds the record of 2025-01-01 00:00:00 UTC: name final" in found
    assert (
        "Run 3 updated it: it conflicts with the record of 2025-01-01 00:00:00 UTC from 2.csv:1: "
        f"{EQUAL} delivery 3 is later than 2." in found
    )
    assert (
        "Before that, the target held the record of 2025-01-01 00:00:00 UTC from 1.csv:1; the record of 2.csv:1 "
        f"replaced it, with which it conflicts: {EQUAL} delivery 2 is later than 1." in found
    )


def test_a_conflict_with_a_record_that_came_again_says_so(ledger: Ledger) -> None:
    names = begin(ledger, 3)
    for position, name in ((0, "draft"), (2, "draft"), (1, "final")):
        ledger.receive(
            [Record("a", "2025-01-01", name)], delivery=names[position], file=f"{position + 1}.csv"
        )
        ledger.load()
    assert (
        "from 2.csv:1 was superseded by the record of 2025-01-01 00:00:00 UTC from 1.csv:1, in run 3: they conflict: "
        f"{EQUAL} the content that won came again in a later delivery." in explained(ledger)
    )


def test_a_conflict_that_hashes_decide_says_so(ledger: Ledger) -> None:
    for name in ("one", "two"):
        ledger.receive([Record("a", "2025-01-01", name)], file=f"{name}.csv", version=0)
    ledger.load()
    assert f"they conflict: {EQUAL} of this source the greater content hash wins." in explained(ledger)


def test_of_equal_times_the_sequence_is_the_reason_where_it_differs(ledger: Ledger) -> None:
    for sequence in (1, 3, 2):
        ledger.receive([Record("a", "2025-01-01", sequence=sequence)], file=f"{sequence}.csv")
        ledger.load()
    found = explained(ledger)
    assert (
        "Run 2 updated it: it has the time of the record of 2025-01-01 00:00:00 UTC from 1.csv:1, "
        "and its sequence is greater." in found
    )
    assert "in run 3: its time is the same, and its sequence is not greater." in found


def test_superseded_records_are_named_with_the_newer_record(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-02"), Record("a", "2025-01-01")], file="one.json")
    ledger.load()
    ledger.receive([Record("a", "2025-01-01", "late")], file="two.json")
    ledger.load()
    (shop,) = facts(ledger)["sources"]
    assert [
        (each["file"], each["line"], each["by"]["file"], each["by"]["line"], each["by"]["ts"])
        for each in shop["superseded"]
    ] == [
        ("one.json", 2, "one.json", 1, "2025-01-02T00:00:00Z"),
        ("two.json", 1, "one.json", 1, "2025-01-02T00:00:00Z"),
    ]


def test_duplicates_are_counted_and_named_by_file_and_line(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01")])
    ledger.load()
    for number in range(7):
        ledger.receive([Record("a", "2025-01-01")], file=f"{number}.json")
    ledger.load()
    assert len(facts(ledger)["sources"][0]["duplicates"]) == 7
    named = ", ".join(f"{number}.json:1" for number in range(5))
    assert f"The same content came again 7 times and changed nothing: {named} and 2 more." in explained(
        ledger
    )


def test_a_record_in_staging_waits_for_the_loader(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01")])
    assert "the target holds no row" in explained(ledger)
    assert "is staged and waits for the loader: `worker load`." in explained(ledger)


def test_the_rejections_of_one_letter_are_one_sentence_with_all_their_lines(ledger: Ledger) -> None:
    bad = Bad('{"key": "a"}', "missing_timestamp", "a")
    ledger.receive([bad, bad])
    (letter,) = facts(ledger)["sources"][0]["rejected"]
    assert (letter["reasons"], letter["status"], letter["replays"]) == (["missing_timestamp"], "open", 0)
    assert [record["line"] for record in letter["at"]] == [1, 2]
    assert "The record of a.json:1, a.json:2 was rejected: missing_timestamp. Dead letter" in explained(
        ledger
    )


def test_a_replayed_row_names_the_reason_of_its_rejection(ledger: Ledger) -> None:
    ledger.receive([Bad('{"key": "a"}', "missing_timestamp", "a")], first_line=7)
    send_back(ledger, Record("a", "2025-01-01"))
    ledger.load()
    assert facts(ledger)["sources"][0]["holds"]["replayed"] == {
        "edited": True,
        "reasons": "missing_timestamp",
    }
    assert "It was replayed, edited, after a rejection: missing_timestamp." in explained(ledger)


def two_sources(ledger: Ledger, hours: tuple[int, int]) -> None:
    for source, hour in zip(("shop", "usgs"), hours, strict=True):
        ledger.receive([Record("a", f"2025-01-01T{hour:02}:00:00.000000Z", source)], source=source)
    ledger.load()


@pytest.mark.parametrize("hours", [(1, 2), (2, 1), (3, 3)])
@pytest.mark.parametrize(
    "ranks", [{}, {"shop": 1}, {"usgs": 1}, {"shop": 2, "usgs": 1}, {"shop": 1, "usgs": 1}]
)
def test_golden_is_explained_as_the_view_ranks_it(
    ledger: Ledger, hours: tuple[int, int], ranks: dict[str, int]
) -> None:
    two_sources(ledger, hours)
    for source, priority in ranks.items():
        ledger.tamper(
            "INSERT INTO source_priorities VALUES (:source, :priority)", source=source, priority=priority
        )
    ((taken,),) = ledger.rows("SELECT source FROM golden WHERE key = 'a'")
    golden = facts(ledger)["golden"]
    assert golden["source"] == taken
    ranked = ranks.get("shop") != ranks.get("usgs")
    assert golden["because"] == ("priority" if ranked else "content hash" if hours == (3, 3) else "newest")
    assert f"`golden` shows the row of {taken}: " in explained(ledger)


def test_golden_is_explained_by_the_sequence_where_that_decides(ledger: Ledger) -> None:
    two_sources(ledger, (3, 3))
    ledger.tamper("UPDATE target SET sequence = 1 WHERE source = 'usgs'")
    golden = facts(ledger)["golden"]
    assert (golden["source"], golden["because"]) == ("usgs", "sequence")
    assert (
        "`golden` shows the row of usgs: priority and time equal those of shop, and its sequence is greater"
        in (explained(ledger))
    )


def test_one_source_alone_is_explained_without_golden(ledger: Ledger) -> None:
    two_sources(ledger, (1, 2))
    found = facts(ledger, "a", "usgs")
    assert ([each["source"] for each in found["sources"]], found["golden"]) == (["usgs"], None)


def test_a_row_without_lineage_has_an_unknown_origin(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01"), Record("a", "2025-01-02")])
    ledger.load()
    ledger.tamper("UPDATE target SET lineage_id = 5")
    assert "Its origin is unknown: lineage has no stage-5." in explained(ledger)


def test_a_key_that_nobody_sent_is_an_error(ledger: Ledger) -> None:
    with pytest.raises(SluiceError, match="key 'zz' is unknown"):
        facts(ledger, "zz")


def test_control_characters_of_a_record_are_written_out(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01", "\x1b[31mred\nline")], file="\x1b]0;x\x07.json")
    ledger.load()
    assert not any(character in line for line in explained(ledger).split("\n") for character in "\x1b\x07")
    assert "\\x1b[31mred\\nline" in explained(ledger)
