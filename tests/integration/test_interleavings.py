"""However the same deliveries travel, the state is the one of a model that was written from the specification.

Schedules are random, on the real SQL: files are sent, again, in other cuts and anew; their batches are processed
in any order, late, twice and in halves; loads run between them; workers and loaders are stopped; a mapping or a
contract changes; letters are replayed. After every step all that can be seen is compared with the model.

`make examples EXAMPLES=250 ARGS="-k any_interleaving"` tries 2,000 schedules, new ones each time.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rq import Retry

from store import database
from store.checks import lineage
from worker import jobs

from ..examples import IS_CAMPAIGN, examples
from .interleaving import model
from .interleaving.model import Sent
from .interleaving.schedule import (
    OLDER,
    POOL,
    SCHEDULES,
    TIE,
    Change,
    Course,
    Load,
    Process,
    Record,
    Replay,
    Schedule,
    Send,
    SendAgain,
    Split,
    Step,
)
from .interleaving.site import SOURCES, WHOLE, Parcel, Site
from .plant import Plant

# To shrink what fails takes minutes: that is for a campaign.
PHASES = (Phase.explicit, Phase.generate, *[Phase.shrink] * IS_CAMPAIGN)
SEARCH = settings(max_examples=examples(8), phases=PHASES, report_multiple_bugs=False)


def state(site: Site) -> tuple[Any, ...]:
    """All that is to be the same: the digest, the target without its lineage, the letters, the Redis DLQ."""
    rows = [
        {name: value for name, value in row.items() if value is not None and not name.startswith("lineage_")}
        for row in site.plant.rows()
    ]
    letters = sorted((each.source, each.payload, each.reason) for each in site.plant.letters())
    assert site.plant.mirrored() == {each.id for each in site.plant.letters()}
    with database.reading(site.plant.engine) as connection:
        assert [violation for law in lineage.laws(connection) for violation in law.violations] == []
    return site.plant.digest(), rows, letters


def bring(site: Site, sent: Sent, replayed: tuple[list[str], dict[str, Any]] | None) -> None:
    """A delivery the plain way: in one batch, processed at once."""
    site.change(sent.rules)
    if replayed:
        parcels = site.replay(sent.source, *replayed, WHOLE)
    else:
        parcels = site.send(sent.source, [each.text for each in sent.records], WHOLE, anew=True)
    for parcel in parcels:
        site.process(parcel)


def process_and_load(site: Site, parcels: Sequence[Parcel], workers: int = 4) -> None:
    """Workers as threads, and a loader beside them: all begin each batch at once, and every batch comes to all of them.

    Two workers have the same batch, and the other two another one, half of all batches away.
    """
    here = site.workplace(site.rules)
    unhurried = here.worker.model_copy(update={"judge_timeout_seconds": 600, "load_chunk_records": 5})
    barrier, is_over = threading.Barrier(workers), threading.Event()

    def work(number: int) -> None:
        start = number % 2 * len(parcels) // 2
        try:
            for parcel in [*parcels[start:], *parcels[:start]]:
                barrier.wait(600)
                while isinstance(jobs.process_batch(parcel.message.to_wire()), Retry):
                    pass  # the database is locked
        except BaseException:
            barrier.abort()
            raise

    def load() -> None:
        while not is_over.is_set():
            jobs.load_staged()

    with site.at_work(replace(here, worker=unhurried)), ThreadPoolExecutor(workers + 1) as threads:
        loader = threads.submit(load)
        try:
            for each in [threads.submit(work, number) for number in range(workers)]:
                each.result()
        finally:
            is_over.set()
        loader.result()


def shuffled(sent: list[Sent], site: Site, chance: random.Random) -> list[Sent]:
    """In another order where hashes decide ties; a delivery stays on its side of a replay."""
    orders = {}
    for source, ties in site.ties.items():
        order: list[Sent] = []
        own = (each for each in sent if each.source == source)
        for is_replay, several in groupby(own, key=lambda each: each.number in site.replayed):
            group = list(several)
            order += chance.sample(group, len(group)) if ties == "hash" and not is_replay else group
        orders[source] = iter(order)
    return [next(orders[each.source]) for each in sent]


@pytest.fixture
def site(plant: Plant, empty_store: Callable[[], Path | str]) -> Site:
    return Site(plant, empty_store)


def carry_out(site: Site, schedule: Schedule, chance: random.Random) -> None:
    """Compares the store with the model after each step, and in the end with a fresh store."""
    site.reset(schedule.ties)
    course = Course(site)
    for step in schedule.steps:
        if step.take(course):
            course.check()
    course.finish()
    assert course.held == model.winners(course.accounts().accepted.values())

    found, replayed = state(site), site.replayed
    sent = shuffled([each for _, each in sorted(site.sent.items())], site, chance)
    site.reset(schedule.ties)
    for each in sent:
        bring(site, each, replayed.get(each.number))
    site.load()
    assert state(site) == found


# Of equal time and sequence. The letters are valid under the mended mapping.
ONE, TWO = Record("a", *TIE, 1.5, 3.5), Record("a", *TIE, 2.5, 3.5)
LETTER, LETTER_OF_B = Record("a", *TIE, "n/a", 4.5), Record("b", *TIE, "n/a", 4.5)
SMALLER, EARLIER = (Record("a", *each, 2.5, 3.5) for each in OLDER)  # sequence, time
OTHER = Record("b", *OLDER[0], 1.5, 3.5)
NEXT, LAST, LOADED = Process(0, None), Process(1, None), Load(WHOLE, None)  # of two
MEND, UNEDITED, EDITED = Change(of_contract=False), Replay(0, 2, False, WHOLE), Replay(0, 2, True, WHOLE)


def a_file(*records: Record | None, cut: int = WHOLE, source: str = "log") -> Send:
    return Send(source, list(records), cut)


# Each needs one rule of the specification; few random schedules do.
SHORT: dict[str, list[Step]] = {
    "one key of two sources is two": [a_file(ONE), a_file(TWO, source="clock")],
    "a smaller sequence loses in its chunk": [a_file(ONE), a_file(SMALLER)],
    "a smaller sequence loses to the target": [a_file(ONE), NEXT, LOADED, a_file(SMALLER)],
    "a greater sequence wins over the target": [a_file(ONE), a_file(SMALLER), LAST, LOADED],
    "an earlier time loses to the target": [a_file(ONE), NEXT, LOADED, a_file(EARLIER)],
    "a repeat counts as a version": [
        a_file(ONE), NEXT, LOADED, a_file(TWO), a_file(ONE, OTHER), LAST, LOADED, NEXT, LOADED,
    ],
    "a smaller sequence decides no tie": [
        a_file(ONE), NEXT, LOADED, a_file(TWO), a_file(SMALLER), LAST, LOADED, NEXT, LOADED,
    ],
    "an earlier time decides no tie": [
        a_file(ONE), NEXT, LOADED, a_file(TWO), a_file(EARLIER), LAST, LOADED, NEXT, LOADED,
    ],
    "the later line wins, in other batches too": [a_file(ONE, TWO, ONE, TWO, cut=1), LAST, LOADED, LAST, LOADED],
    "a half has the positions of its records": [a_file(TWO, ONE, ONE, TWO, ONE, OTHER), Split(0)],
    "a half has the letters of its records": [a_file(LETTER, LETTER_OF_B), NEXT, MEND, UNEDITED, Split(0), NEXT],
    "batches of equal records are two": [a_file(ONE, ONE, cut=1), NEXT, NEXT, LOADED],
    "a delivery sent anew is later": [a_file(ONE), a_file(TWO), SendAgain(0, WHOLE, anew=True)],
    "a delivery sent again is not later": [
        a_file(ONE, OTHER), a_file(TWO), SendAgain(0, 1, anew=False), NEXT, NEXT, LOADED,
    ],
    "the same file under another mapping is later": [a_file(ONE), NEXT, LOADED, MEND, SendAgain(0, 1, anew=False)],
    "an unedited letter keeps its delivery": [a_file(LETTER), a_file(TWO), NEXT, NEXT, LOADED, MEND, UNEDITED],
    "an unedited letter has the latest of its records": [
        a_file(LETTER), a_file(TWO), a_file(LETTER, OTHER), NEXT, NEXT, NEXT, MEND, UNEDITED,
    ],
    "an edited letter is later": [a_file(LETTER), a_file(TWO), NEXT, NEXT, LOADED, EDITED],
    "the same delivery reopens no letter": [
        a_file(LETTER, OTHER), SendAgain(0, 1, anew=False), NEXT, EDITED, Process(2, None),
    ],
    "an earlier delivery reopens no letter": [a_file(LETTER), a_file(LETTER, OTHER), LAST, EDITED, LAST],
    "a later record reopens a letter": [a_file(LETTER), NEXT, EDITED, NEXT, a_file(LETTER, OTHER)],
    "the loader publishes what a worker left behind": [a_file(None), Process(0, "batch.committed")],
}  # fmt: skip


@pytest.mark.parametrize("ties", ["delivery", "hash"])
def test_each_rule_of_the_specification_holds(site: Site, ties: Literal["delivery", "hash"]) -> None:
    for rule, steps in SHORT.items():
        try:
            carry_out(site, Schedule(dict.fromkeys(SOURCES, ties), steps), random.Random(0))
        except BaseException as error:
            error.add_note(f"The rule: {rule}")
            raise


@SEARCH
@given(schedule=SCHEDULES, chance=st.randoms(use_true_random=False))
def test_the_state_is_that_of_the_model_and_of_a_fresh_store_in_any_interleaving(
    site: Site, schedule: Schedule, chance: random.Random
) -> None:
    carry_out(site, schedule, chance)


@pytest.mark.parametrize("ties", ["delivery", "hash"])
def test_the_state_is_the_same_where_four_workers_and_a_loader_run_at_once(
    site: Site, ties: Literal["delivery", "hash"]
) -> None:
    chance = random.Random(7)
    site.reset(dict.fromkeys(SOURCES, ties))
    parcels: list[Parcel] = []
    for number in range(6):
        records = [str(each) for each in chance.choices(POOL, k=12)]
        for cut in chance.sample((1, 3, 4, 12), 2 if number == 5 else 1):
            parcels += site.send(SOURCES[number % 2], records, cut)
    chance.shuffle(parcels)
    process_and_load(site, parcels)
    site.load()

    expected = model.accounts(
        site.sent.values(), {each for parcel in parcels for each in parcel.positions}, site.ties
    )
    found = site.seen()
    assert found.held == {key: each.shown for key, each in model.winners(expected.accepted.values()).items()}
    assert found.letters == expected.letters
    assert found.staged == sum(found.outcomes.values())
    assert site.plant.violations() == []
    end, sent = state(site), sorted(site.sent.items())
    site.reset(site.ties)
    for _, each in sent:
        bring(site, each, None)
    site.load()
    assert state(site) == end
