"""Which version of a key wins: held against a model in a few lines, for any cuts, order, repeats and chunks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import database
from store.tables import deliveries
from tests.examples import examples
from tests.integration.store.conftest import Ledger, Record, a_delivery

TIMES = ("2025-01-01", "2025-01-02")

records = st.lists(
    st.builds(
        Record,
        key=st.sampled_from("ab"),
        ts=st.sampled_from(TIMES),
        name=st.sampled_from("ABC"),
        value=st.just(1.0),
        sequence=st.sampled_from((0, 0, 0, 7)),
    ),
    min_size=1,
    max_size=5,
)


def begin(ledger: Ledger, number: int) -> list[str]:
    """So many deliveries, begun in this order."""
    names = [f"d{each}" for each in range(number)]
    with database.transaction(ledger.engine) as connection:
        for name in names:
            deliveries.begin(connection, a_delivery(name))
    return names


def winners(sent: Sequence[Sequence[Record]]) -> dict[tuple[str, str], tuple[str, str, float]]:
    """The model: of each key the greatest (ts, sequence, delivery, line) stays."""
    best: dict[str, tuple[tuple[str, int, int, int], Record]] = {}
    for delivery, content in enumerate(sent):
        for line, record in enumerate(content):
            version = (record.ts, record.sequence, delivery, line)
            if record.key not in best or version > best[record.key][0]:
                best[record.key] = (version, record)
    return {("shop", key): (r.stored_ts, r.name, r.value) for key, (_, r) in best.items()}


@settings(
    max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sent=st.lists(records, min_size=1, max_size=4),
    cut=st.integers(1, 5),
    chunk=st.integers(1, 7),
    random=st.randoms(use_true_random=False),
)
def test_the_greatest_version_wins_however_it_travelled(
    ledger: Ledger, sent: list[list[Record]], cut: int, chunk: int, random: st.DrawFn
) -> None:
    ledger.wipe()
    names = begin(ledger, len(sent))
    pieces = [
        (name, start, content[start : start + cut])
        for name, content in zip(names, sent, strict=True)
        for start in range(0, len(content), cut)
    ]
    pieces += random.sample(pieces, len(pieces) // 2)  # the same records in another batch
    random.shuffle(pieces)
    for name, first, content in pieces:
        ledger.receive(content, delivery=name, first_record=first, first_line=first + 1)
        if random.random() < 0.4:
            ledger.load(chunk)
            assert ledger.violations() == []
    ledger.load(chunk)
    assert ledger.target() == winners(sent)
    assert ledger.violations() == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("loads", ["after each", "at the end"])
def test_a_repeat_counts_as_a_version(ledger: Ledger, order: tuple[int, ...], loads: str) -> None:
    names = begin(ledger, 3)
    for number in order:
        ledger.receive([Record("a", "2025-01-01", "ABA"[number])], delivery=names[number])
        if loads == "after each":
            ledger.load()
    ledger.load()
    assert ledger.target() == {("shop", "a"): ("2025-01-01T00:00:00.000000Z", "A", 1.0)}
