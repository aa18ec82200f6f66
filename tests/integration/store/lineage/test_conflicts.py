"""Conflicts lead to the file and line of both records, whichever table these are in by now."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from store import database
from store.database.schema import RECORD_BITS
from store.lineage import conflicts
from store.reports import summary
from tests.examples import examples
from tests.integration.store.conftest import Ledger, Record
from tests.integration.store.test_versions import begin, records

DAY = "2025-01-15"
DRAFT, FINAL = Record("a", DAY, "draft"), Record("a", DAY, "final")


def found(ledger: Ledger, **chosen: Any) -> list[dict[str, Any]]:
    with database.reading(ledger.engine) as connection:
        return conflicts.find(connection, **chosen)


def number(ledger: Ledger, **chosen: Any) -> int:
    with database.reading(ledger.engine) as connection:
        return conflicts.count(connection, **chosen)


def only(ledger: Ledger) -> tuple[str, str, str]:
    """(winner, loser, what decided) of the only conflict."""
    (conflict,) = found(ledger)
    winner, loser = (
        f"{each['file']}:{each['line']} of delivery {each['delivery']}"
        for each in (conflict["winner"], conflict["loser"])
    )
    return winner, loser, conflict["decided_by"]


def two_deliveries(ledger: Ledger, *, load_between: bool, last_first: bool) -> None:
    """`day.csv` and then `day_v2.csv`, processed in one of the orders."""
    begin(ledger, 2)
    sent = [([DRAFT], "d0", "day.csv", 2), ([FINAL], "d1", "day_v2.csv", 3)]
    for content, delivery, file, line in reversed(sent) if last_first else sent:
        ledger.receive(content, delivery=delivery, file=file, first_line=line)
        if load_between:
            ledger.load()
    ledger.load()


@pytest.mark.parametrize("load_between", [True, False], ids=["two runs", "one run"])
@pytest.mark.parametrize("last_first", [True, False], ids=["last first", "in order"])
def test_both_records_are_named_however_they_travelled(
    ledger: Ledger, load_between: bool, last_first: bool
) -> None:
    # In its order it replaces the target's row; else it stands there and the other is superseded.
    two_deliveries(ledger, load_between=load_between, last_first=last_first)
    assert ledger.target()["shop", "a"][1] == "final"
    (conflict,) = found(ledger)
    assert (conflict["key"], conflict["source"], conflict["sequence"]) == ("a", "shop", 0)
    assert conflict["ts"] == "2025-01-15T00:00:00Z"
    assert conflict["run"] == (2 if load_between else 1)
    assert only(ledger)[1:] == ("day.csv:2 of delivery 1", "later delivery")
    assert only(ledger)[0] == "day_v2.csv:3 of delivery 2"


def test_both_records_of_an_older_time_are_named_when_a_newer_one_has_replaced_them(ledger: Ledger) -> None:
    two_deliveries(ledger, load_between=True, last_first=False)
    before = found(ledger)
    ledger.receive([Record("a", "2025-01-16")], file="next.csv")
    ledger.load()
    assert ledger.rows("SELECT count(*) FROM past_lineage") == [(2,)]
    assert found(ledger) == before


def test_within_one_file_the_later_line_decides(ledger: Ledger) -> None:
    ledger.receive([DRAFT, FINAL], first_line=7)
    ledger.load()
    assert only(ledger) == ("a.json:8 of delivery 1", "a.json:7 of delivery 1", "later line")


def test_a_repeat_that_no_row_names_decides(ledger: Ledger) -> None:
    names = begin(ledger, 3)
    for position in (0, 2):
        ledger.receive([DRAFT], delivery=names[position], file=f"{position}.csv")
        ledger.load()
    ledger.receive([FINAL], delivery=names[1], file="1.csv")
    ledger.load()
    assert ledger.target()["shop", "a"][1] == "draft"
    assert only(ledger) == ("0.csv:1 of delivery 1", "1.csv:1 of delivery 2", "later repeat")


def test_where_hashes_decide_the_deliveries_are_named_all_the_same(ledger: Ledger) -> None:
    sent = sorted([DRAFT, FINAL], key=lambda each: each.content_hash, reverse=True)
    for record, file in zip(sent, ("greater.csv", "less.csv"), strict=True):
        ledger.receive([record], file=file, version=0)
        ledger.load()
    assert only(ledger) == ("greater.csv:1 of delivery 1", "less.csv:1 of delivery 2", "content hash")


def test_an_unedited_letter_is_of_the_delivery_that_it_was_rejected_in(ledger: Ledger) -> None:
    begin(ledger, 3)
    ledger.receive([FINAL], delivery="d1", file="day_v2.csv")
    ledger.load()
    replayed = {"delivery": "d2", "file": "day.csv", "first_line": 9, "kind": "replay"}
    ledger.receive([DRAFT], version=1 << RECORD_BITS | 8, **replayed)  # type: ignore[arg-type]
    ledger.load()
    assert only(ledger) == ("day_v2.csv:1 of delivery 2", "day.csv:9 of delivery 1", "later delivery")


def test_other_sequences_times_and_the_same_content_are_no_conflicts(ledger: Ledger) -> None:
    for record in (DRAFT, FINAL._replace(sequence=1), DRAFT._replace(ts="2025-01-16"), DRAFT, DRAFT):
        ledger.receive([record])
        ledger.load()
    assert (found(ledger), number(ledger)) == ([], 0)


def test_a_sequence_is_shown_with_its_conflict(ledger: Ledger) -> None:
    ledger.receive([DRAFT._replace(sequence=7), FINAL._replace(sequence=7), DRAFT])
    ledger.load()
    assert [each["sequence"] for each in found(ledger)] == [7]


@pytest.fixture
def several(ledger: Ledger) -> Ledger:
    """Run 2 finds a conflict of each key of `shop`, run 3 one of `b` of both sources."""
    for name, keys, sources in (("one", "abc", ("shop", "web")), ("two", "abc", ("shop",))):
        for source in sources:
            ledger.receive([Record(key, DAY, name) for key in keys], source=source)
        ledger.load()
    for source in ("web", "shop"):
        ledger.receive([Record("b", DAY, "three")], source=source)
    ledger.load()
    return ledger


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, ["3 shop b", "3 web b", "2 shop a", "2 shop b", "2 shop c"]),
        ({"limit": 3}, ["3 shop b", "3 web b", "2 shop a"]),
        ({"run": 2}, ["2 shop a", "2 shop b", "2 shop c"]),
        ({"run": 2, "source": "shop", "limit": 1}, ["2 shop a"]),
        ({"source": "web"}, ["3 web b"]),
        ({"key": "b"}, ["3 shop b", "3 web b", "2 shop b"]),
        ({"key": "b", "source": "shop"}, ["3 shop b", "2 shop b"]),
        ({"key": "b", "source": "shop", "run": 2}, ["2 shop b"]),
        ({"run": 1}, []),
        ({"source": "nosuch"}, []),
        ({"key": "nosuch"}, []),
    ],
    ids=str,
)
def test_conflicts_are_chosen_and_the_newest_run_comes_first(
    several: Ledger, chosen: dict[str, Any], expected: list[str]
) -> None:
    listed = [f"{each['run']} {each['source']} {each['key']}" for each in found(several, **chosen)]
    assert listed == expected
    if "limit" not in chosen:
        assert number(several, **chosen) == len(expected)


@pytest.mark.sqlite("its plans")
@pytest.mark.parametrize(
    ("chosen", "index"),
    [
        ({}, "COVERING INDEX past_lineage_conflicts (conflict_run>?)"),
        ({"source": "shop"}, "COVERING INDEX past_lineage_conflicts (conflict_run>?)"),
        ({"run": 2}, "COVERING INDEX past_lineage_conflicts (conflict_run=?)"),
        ({"key": "b"}, "PRIMARY KEY (source=? AND key=?)"),
    ],
    ids=str,
)
def test_conflicts_are_found_by_an_index(ledger: Ledger, chosen: dict[str, Any], index: str) -> None:
    """No more is read of SQLite's `past_lineage` than its conflicts, or the records of one key."""
    sent: list[tuple[str, Any]] = []
    event.listen(
        ledger.engine, "before_cursor_execute", lambda *arguments: sent.append((arguments[2], arguments[3]))
    )
    found(ledger, **chosen, limit=50)
    number(ledger, **chosen)
    statements = [each for each in sent if "FROM past_lineage" in each[0]]
    assert len(statements) == 2
    with database.reading(ledger.engine) as connection:
        for statement, values in statements:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            assert not [step.detail for step in plan if step.detail.startswith("SCAN lost")]
            assert next(step.detail for step in plan if step.detail.startswith("SEARCH lost")).endswith(index)


@settings(
    max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sent=st.lists(records, min_size=1, max_size=4),
    chunk=st.integers(1, 7),
    random=st.randoms(use_true_random=False),
)
def test_what_is_listed_is_what_the_report_and_the_runs_counted(
    ledger: Ledger, sent: list[list[Record]], chunk: int, random: st.DrawFn
) -> None:
    ledger.wipe()
    deliveries = list(zip(begin(ledger, len(sent)), sent, strict=True))
    random.shuffle(deliveries)
    for name, content in deliveries:
        ledger.receive(content, delivery=name)
        if random.random() < 0.5:
            ledger.load(chunk)
    ledger.load(chunk)
    with database.reading(ledger.engine) as connection:
        assert number(ledger) == summary.report(connection)["conflicts"]
    for run, counts in ledger.rows("SELECT seq, conflicts FROM run_log"):
        assert number(ledger, run=run) == orjson.loads(counts).get("shop", 0)
    versions = {row.id: row for row in ledger.rows("SELECT * FROM record_lineage")}
    for each in found(ledger):
        winner, loser = (versions[int(each[side]["id"].partition("-")[2])] for side in ("winner", "loser"))
        assert (winner.key, winner.ts, winner.sequence) == (loser.key, loser.ts, loser.sequence)
        assert each["winner"]["line"] == winner.line
        assert each["loser"]["line"] == loser.line


@pytest.mark.parametrize(
    ("tampering", "reported"),
    [
        ("UPDATE past_lineage SET conflict_run = NULL", "run 2: logged 1 conflicts, but lineage has 0"),
        ("UPDATE past_lineage SET conflict_run = 1", "run 1: logged 0 conflicts, but lineage has 1"),
        ("UPDATE run_log SET conflicts = '{\"default\": 3}' WHERE seq = 2", "run 2: logged 3 conflicts"),
        ("UPDATE batches SET conflicts = 0", "in total: batches have 0 conflicts, but lineage has 1"),
    ],
)
def test_conflicts_that_are_counted_otherwise_than_listed_break_a_law(
    ledger: Ledger, tampering: str, reported: str
) -> None:
    two_deliveries(ledger, load_between=True, last_first=False)
    ledger.load()
    assert ledger.violations() == []
    ledger.tamper(tampering)
    assert any(each.startswith(reported) for each in ledger.violations())
