"""Two feeds with known overlaps, conflicts, repeats and late arrivals are counted exactly, in any order and cut."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import database
from store.checks import lineage as lineage_checks
from store.reconcile import compare
from store.reconcile import runs as reconciliation
from tests.examples import IS_CAMPAIGN, examples

from ..conftest import EmptyStore
from ..plant import Plant, opened
from . import two_feeds
from .two_feeds import Feeds, Plan, Policy

FEEDS = ("north", "south")
WAVES: tuple[two_feeds.Wave, ...] = (1, 2)
# The same shares as the plan of 50,000, which a campaign takes: no count of it depends on how many there are.
FULL = Plan() if IS_CAMPAIGN else Plan(10_000, 4_000, 200, 400, 200, 100, 1_200, 1_000, 300, 80, 120, 800)
FEW = Plan(1500, 300, 20, 30, 20, 10, 60, 50, 40, 12, 15, 90)
SEED = 20250115


def run(plant: Plant, feeds: Feeds, policy: Policy, cut: int, chance: random.Random, loads: int) -> None:
    """Both waves of both feeds in batches of `cut` records, shuffled, with `loads` between those of a wave."""
    plant.configure(two_feeds.CONFIGURATION.replace("POLICY", policy))
    for wave in WAVES:
        messages = []
        for feed in FEEDS:
            name, write = two_feeds.WRITE[feed]
            readings = feeds.wave(feed, wave)
            chance.shuffle(readings)
            path = plant.file(write(readings), name.format(wave))
            messages += plant.messages(path, feed, batch_records=cut)
        chance.shuffle(messages)
        stops = sorted(chance.randrange(len(messages) + 1) for _ in range(loads))
        for begin, end in zip([0, *stops], [*stops, len(messages)], strict=True):
            plant.send_messages(messages[begin:end])
            plant.work()
            plant.load()


def counted(plant: Plant, plan: Plan, policy: Policy) -> None:
    """Every count is what the plan says."""
    report = plant.report()
    for feed in FEEDS:
        found, expected = report["by_source"][feed], two_feeds.expected(plan, feed, policy)
        assert {
            **{name: found[name] for name in ("received", "duplicates", "skipped", "rejected")},
            **{name: found[name] for name in ("target_rows", "dead_letters")},
            "late": found["late"],
            "new_or_beaten": found["staged"] - found["duplicates"],
        } == {name: number for name, number in asdict(expected).items() if name != "older"}, feed
        assert found["superseded"] >= (expected.older - plan.drafts)  # older than a loaded one, and late
    both = [two_feeds.expected(plan, feed, policy) for feed in FEEDS]
    assert report["inserted"] == sum(each.target_rows for each in both)
    assert report["superseded"] + report["updated"] == sum(each.older for each in both)
    assert report["conflicts"] == 0
    assert report["pending"] == 0


def other(plant: Plant, tolerance: float) -> tuple[dict[str, Any], set[str]]:
    """What `store reconcile` says of both feeds; the keys that it lists."""
    with database.reading(plant.engine) as connection:
        asked = compare.comparison_of(connection, FEEDS, {"value": tolerance} if tolerance else {}, None)
        result = asdict(reconciliation.reconcile(connection, asked))
        listed = {each.key for each in reconciliation.differences(connection, asked)}
    names = ("keys", "matched", "mismatched", "single_source", "fields")
    return {name: result[name] for name in names}, listed


def agrees(plant: Plant, plan: Plan, policy: Policy, feeds: Feeds) -> None:
    """Counts, listed keys, laws and lineage."""
    counted(plant, plan, policy)
    for tolerance in (0.0, two_feeds.TOLERANCE):
        found, listed = other(plant, tolerance)
        assert found == two_feeds.expected_comparison(plan, policy, tolerance)
        assert len(listed) == found["mismatched"]
        assert listed == feeds.conflicting if tolerance else listed >= feeds.conflicting
    assert plant.violations() == []
    with database.reading(plant.engine) as connection:
        assert [law.says for law in lineage_checks.laws(connection) if not law.holds] == []


@pytest.fixture(scope="module")
def feeds() -> Feeds:
    return two_feeds.make(FULL, SEED)


def test_the_generator_makes_as_many_records_as_its_plan_says(feeds: Feeds) -> None:
    assert [len(feeds.readings[feed]) for feed in FEEDS] == [FULL.records] * 2
    assert min(FULL.repeats(feed) for feed in FEEDS) > FULL.records / 5
    assert two_feeds.make(FULL, SEED) == feeds


@pytest.mark.parametrize(
    ("plan", "policy", "cut", "loads"),
    [(FULL, "load", FULL.records // 20, 3), (FEW, "skip", 150, 0), (FEW, "dead_letter", 77, 1)],
    ids=["many load", "1500 skip", "1500 dead_letter"],
)
def test_two_feeds_are_counted_exactly_in_any_order_and_cut(
    plant: Plant, feeds: Feeds, plan: Plan, policy: Policy, cut: int, loads: int
) -> None:
    chosen = feeds if plan is FULL else two_feeds.make(plan, SEED)
    run(plant, chosen, policy, cut, random.Random(cut), loads)
    agrees(plant, plan, policy, chosen)


def test_two_feeds_end_in_one_digest_in_any_order_and_cut(make_plant: Callable[[], Plant]) -> None:
    small, digests = two_feeds.make(FEW, SEED), set()
    for cut, loads in ((100, 2), (1500, 0), (33, 1)):
        plant = make_plant()
        run(plant, small, "skip", cut, random.Random(cut), loads)
        agrees(plant, FEW, "skip", small)
        digests.add(plant.digest())
    assert len(digests) == 1


SMALL = st.integers(0, 4)
PLANS = st.builds(
    Plan, st.just(60), st.integers(5, 9), *[SMALL] * 6, st.integers(1, 4), SMALL, SMALL, SMALL
)  # fmt: skip


@settings(max_examples=examples(6))
@given(
    plan=PLANS,
    policy=st.sampled_from(["load", "skip", "dead_letter"]),
    cut=st.sampled_from([2, 3, 7, 60]),
    loads=st.integers(0, 2),
    seed=st.integers(0, 2**32),
)
def test_any_plan_is_counted_exactly(
    plant: Plant, empty_store: EmptyStore, plan: Plan, policy: Policy, cut: int, loads: int, seed: int
) -> None:
    feeds = two_feeds.make(plan, seed)
    home = plant.home / f"plan-{len(list(plant.home.iterdir()))}"
    with opened(home, empty_store()) as made:
        run(made, feeds, policy, cut, random.Random(seed), loads)
        agrees(made, plan, policy, feeds)
