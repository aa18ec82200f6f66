"""The law of pages: whatever the filter and the size, together they are the letters that match, in order, once."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import database
from store.dead_letters import actions, matching, paging
from store.dead_letters.actions import Order
from store.dead_letters.filters import Filter
from store.dead_letters.paging import Ask
from store.tables import dead_letters
from store.tables.dead_letters import DeadLetter
from tests.examples import examples
from tests.integration.store.conftest import Bad, Ledger

REASONS, SOURCES, FILES = ("late", "stale", "missing_key"), ("shop", "usgs"), ("a.json", "b.json")
DAYS = [f"2025-01-{day:02}" for day in range(1, 9)]

some = st.lists(st.sampled_from(REASONS), max_size=2, unique=True).map(tuple)
filters = st.builds(
    Filter,
    reasons=some,
    rules=some,
    source=st.sampled_from([None, *SOURCES]),
    status=st.sampled_from([None, "open", "parked", "discarded"]),
    file=st.sampled_from([None, None, *FILES]),
    delivery=st.sampled_from([None, None, 1, 4]),
    since=st.sampled_from([None, None, *DAYS]),
    until=st.sampled_from([None, None, *DAYS]),
)


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """Letters of some groups and states, several of which were first seen at the same time; two were seen again."""
    payload = count()
    for number in range(8):
        bad = [Bad(str(next(payload)), REASONS[(number + each) % 3]) for each in range(6)]
        ledger.receive(bad, source=SOURCES[number % 2], file=FILES[number // 4])
    ledger.receive([Bad("1", "stale"), Bad("7", "late")], source="shop")
    ledger.tamper("UPDATE batches SET processed_at = '2025-01-0' || (seq / 2 + 1) || 'T00:00:00.000000Z'")
    ledger.tamper(
        "UPDATE dead_letters SET last_seen_at = (SELECT processed_at FROM batches WHERE seq = batch_seq), "
        "first_seen_at = (SELECT min(b.processed_at) FROM lineage_events e JOIN batches b ON b.seq = e.batch_seq"
        " WHERE e.dead_letter_id = dead_letters.id)"
    )
    ledger.tamper(
        "UPDATE letter_groups SET (first_seen_at, last_seen_at) = (SELECT min(d.first_seen_at), max(d.last_seen_at)"
        " FROM dead_letters d WHERE d.group_id = letter_groups.id)"
    )
    with database.transaction(ledger.engine) as connection:
        for verb, reason in (("park", "stale"), ("discard", "missing_key")):
            which = dead_letters.conditions(connection, reasons=[reason], source="shop")
            actions.begin(connection, Order(verb, {}, "x", "ann"), which)
    return ledger


def matches(letter: DeadLetter, which: Filter, rejected_in: set[tuple[str, int]]) -> bool:
    """What the filter says, without SQL."""
    return (
        (not which.reasons or letter.reason in which.reasons)
        and (not which.rules or letter.errors[0]["rule"] in which.rules)
        and which.source in (None, letter.source)
        and which.status in (None, letter.status)
        and which.file in (None, letter.file)
        and (which.delivery is None or (letter.id, which.delivery) in rejected_in)
        and (which.since is None or letter.last_seen_at[:10] >= which.since)
        and (which.until is None or letter.last_seen_at[:10] < which.until)
    )


@given(
    which=filters,
    size=st.integers(1, 9),
    walks=st.sampled_from([0, 1500]),
    few=st.sampled_from([0, 20_000]),
    text=st.sampled_from([None, "1"]),
)
@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pages_together_are_the_letters_that_match(
    filled: Ledger, which: Filter, size: int, walks: int, few: int, text: str | None
) -> None:
    with pytest.MonkeyPatch.context() as patch, database.reading(filled.engine) as connection:
        patch.setattr(paging, "MOST_WALKS", walks)
        patch.setattr(paging, "STEP", 4)
        patch.setattr(matching, "FEW", few)
        rejected_in = connection.exec_driver_sql(
            "SELECT e.dead_letter_id, b.delivery_seq FROM lineage_events e JOIN batches b ON b.seq = e.batch_seq"
        ).all()
        everything = dead_letters.select_matching(connection, [])
        expected = [
            each for each in everything if matches(each, which, {(row[0], row[1]) for row in rejected_in})
        ]
        found: list[Any] = []
        after = None
        while True:
            for page in paging.pages(connection, which, Ask(size, after, text, 1000 if text else 0)):
                found += page.letters
                after = page.next
            if after is None:
                break
        assert [each.id for each in found] == [
            each.id for each in expected if text is None or text in each.payload
        ]
        counted = paging.count(connection, which)
        assert counted in (None, len(expected))
        assert (counted is None) == any((which.file, which.delivery, which.since, which.until))


@given(
    which=filters,
    size=st.integers(1, 5),
    newest=st.booleans(),
    few=st.sampled_from([0, 20_000]),
)
@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pages_of_groups_together_count_the_letters_that_match(
    filled: Ledger, which: Filter, size: int, newest: bool, few: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, database.reading(filled.engine) as connection:
        patch.setattr(matching, "FEW", few)
        rejected_in = connection.exec_driver_sql(
            "SELECT e.dead_letter_id, b.delivery_seq FROM lineage_events e JOIN batches b ON b.seq = e.batch_seq"
        ).all()
        rejected = {(row[0], row[1]) for row in rejected_in}
        everything = dead_letters.select_matching(connection, [])
        expected = Counter(each.group_id for each in everything if matches(each, which, rejected))
        found: list[Any] = []
        after = None
        while True:
            page = paging.groups_page(connection, which, size, after, newest_first=newest)
            found += page.groups
            after = page.next
            assert len(page.groups) == size or after is None
            if after is None:
                break
    assert {each["id"]: each["letters"] for each in found} == expected
    assert len(found) == len(expected)
    order = "last_seen_at" if newest else "letters"
    assert [each[order] for each in found] == sorted((each[order] for each in found), reverse=True)
