"""The law of pages: whatever the filter and the size, together they are the letters that match, in order, once."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import database
from store.dead_letters import actions, paging
from store.dead_letters.actions import Order
from store.dead_letters.filters import Filter
from store.dead_letters.paging import Ask
from store.tables import dead_letters
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
    """Letters of some groups and states, several of which were first seen at the same time."""
    payload = count()
    for number in range(8):
        bad = [Bad(str(next(payload)), REASONS[(number + each) % 3]) for each in range(6)]
        ledger.receive(bad, source=SOURCES[number % 2], file=FILES[number // 4])
    ledger.receive([Bad("1", "stale"), Bad("7", "late")], source="shop")
    for column, days in (("first_seen_at", "5"), ("last_seen_at", "8")):
        day = f"'2025-01-0' || (CAST(payload AS INTEGER) * 7 % {days} + 1) || 'T00:00:00.000000Z'"
        ledger.tamper(f"UPDATE dead_letters SET {column} = {day}")  # noqa: S608 - of constants
    ledger.tamper("UPDATE dead_letters SET last_seen_at = max(first_seen_at, last_seen_at)")
    ledger.tamper(
        "UPDATE letter_groups SET (first_seen_at, last_seen_at) = (SELECT min(d.first_seen_at), max(d.last_seen_at)"
        " FROM dead_letters d WHERE d.group_id = letter_groups.id)"
    )
    with database.transaction(ledger.engine) as connection:
        for verb, reason in (("park", "stale"), ("discard", "missing_key")):
            which = dead_letters.conditions(connection, reasons=[reason], source="shop")
            actions.begin(connection, Order(verb, {}, "x", "ann"), which)
    return ledger


@given(
    which=filters, size=st.integers(1, 9), walks=st.sampled_from([0, 1500]), text=st.sampled_from([None, "1"])
)
@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pages_together_are_the_letters_that_match(
    filled: Ledger, which: Filter, size: int, walks: int, text: str | None
) -> None:
    with pytest.MonkeyPatch.context() as patch, database.reading(filled.engine) as connection:
        patch.setattr(paging, "MOST_WALKS", walks)
        patch.setattr(paging, "STEP", 4)
        expected = dead_letters.select_matching(connection, which.conditions(connection))
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
