"""Two feeds of the same meters, with overlaps, conflicts, repeats, drafts and late arrivals in known numbers.

What is to be counted in the end follows from the numbers of the plan alone; no code of Sluice's is asked.

Each record belongs to one of two waves; all of the first is loaded before the second is sent, for *late* is
judged by the watermark as a batch began. Within a wave neither order, cut nor loads in between change a count:

    event time  -36 h …… -12 h      0 …… 6 h …… 12 h …… 24 h
    wave 1                          drafts, then finals; one final at 12 h in each feed
    wave 2      late, all of it     drafts, and finals up to 24 h

With a day of allowed lateness the limit is at -12 h when the second wave begins and at 0 when it ends, and
nothing lies between. Only finals are repeated, so a repeat is a duplicate, whatever was loaded when.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

Policy = Literal["load", "skip", "dead_letter"]  # the south feed's for what is late; the north's is `load`
Wave = Literal[1, 2]
KINDS = (
    "agreeing",
    "near",
    "other_value",
    "other_name",
    "other_both",
)  # of keys that both feeds bring in time
ALLOWED_LATENESS_HOURS = 24
TOLERANCE = 0.01
BEGINNING = 1_736_899_200  # 2025-01-15T00:00:00Z
HOUR = 3600


@dataclass(frozen=True)
class Plan:
    """How many keys, or records, of each kind; a feed's repeats fill it up to `records`."""

    records: int = 50_000  # of each feed
    agreeing: int = 20_000  # keys of both feeds, with the same name and value
    near: int = 1_000  # keys whose values differ by less than TOLERANCE
    other_value: int = 2_000  # keys whose values differ by more
    other_name: int = 1_000
    other_both: int = 500
    only_north: int = 6_000  # keys of one feed alone
    only_south: int = 5_000
    late: int = 1_500  # keys that both feeds bring late
    late_repeats: int = 400  # of those records, in each feed
    late_drafts: int = 600  # older versions of loaded records, late, in each feed
    drafts: int = 4_000  # older versions that are not late, in each feed

    @property
    def shared(self) -> int:
        """Keys that both feeds bring in time: those of KINDS."""
        return self.agreeing + self.near + self.conflicts

    @property
    def conflicts(self) -> int:
        return self.other_value + self.other_name + self.other_both

    def own(self, feed: str) -> int:
        return self.only_north if feed == "north" else self.only_south

    @property
    def all_late(self) -> int:
        return self.late + self.late_repeats + self.late_drafts

    def repeats(self, feed: str) -> int:
        """Repeats of a feed that are not late."""
        return self.records - self.shared - self.own(feed) - self.drafts - self.all_late


@dataclass(frozen=True)
class Reading:
    """One record, and the wave it comes in."""

    key: str
    name: str
    value: float
    seconds: int  # since BEGINNING
    wave: Wave


@dataclass(frozen=True)
class Expected:
    """What must be counted of one feed, in any order and cut."""

    received: int
    duplicates: int
    late: int  # arrived late; each loaded, a repeat or beaten, or turned away as the policy says
    skipped: int
    rejected: int
    dead_letters: int  # distinct payloads
    new_or_beaten: int  # staged, and no repeat
    target_rows: int  # = inserted
    older: int  # superseded, or loaded and updated


def expected(plan: Plan, feed: str, policy: Policy) -> Expected:
    """By arithmetic over the plan."""
    loads = feed == "north" or policy == "load"
    turned_away = 0 if loads else plan.all_late
    duplicates = plan.repeats(feed) + (plan.late_repeats if loads else 0)
    rejects = not loads and policy == "dead_letter"
    return Expected(
        received=plan.records,
        duplicates=duplicates,
        late=plan.all_late,
        skipped=0 if rejects else turned_away,
        rejected=turned_away if rejects else 0,
        dead_letters=plan.late + plan.late_drafts if rejects else 0,
        new_or_beaten=plan.records - duplicates - turned_away,
        target_rows=plan.shared + plan.own(feed) + (plan.late if loads else 0),
        older=plan.drafts + (plan.late_drafts if loads else 0),
    )


def expected_comparison(plan: Plan, policy: Policy, tolerance: float) -> dict[str, Any]:
    """What `store reconcile` must say of both."""
    late_in_both = policy == "load"
    near = 0 if tolerance else plan.near
    return {
        "keys": plan.shared + plan.only_north + plan.only_south + plan.late,
        "matched": plan.shared - plan.conflicts - near + (plan.late if late_in_both else 0),
        "mismatched": plan.conflicts + near,
        "single_source": {
            "north": plan.only_north + (0 if late_in_both else plan.late),
            "south": plan.only_south,
        },
        "fields": {
            "name": plan.other_name + plan.other_both,
            "value": plan.other_value + plan.other_both + near,
        },
    }


@dataclass(frozen=True)
class Feeds:
    """All readings of both feeds, and the keys that must be listed as mismatched even within TOLERANCE."""

    readings: dict[str, list[Reading]]
    conflicting: set[str]

    def wave(self, feed: str, wave: Wave) -> list[Reading]:
        return [each for each in self.readings[feed] if each.wave == wave]


def make(plan: Plan, seed: int) -> Feeds:
    """Both feeds, shuffled; the same for the same seed."""
    chance = random.Random(seed)
    numbers = {kind: getattr(plan, kind) for kind in KINDS}
    kinds = [kind for kind, number in numbers.items() for _ in range(number)]
    chance.shuffle(kinds)
    late = [f"late-{number}" for number in range(plan.late)]
    readings: dict[str, list[Reading]] = {}
    for feed in ("north", "south"):
        keys = [f"meter-{number}" for number in range(plan.shared)]
        keys += [f"{feed}-{number}" for number in range(plan.own(feed))]
        # So many of the first wave at least, that the late drafts have something to be older than.
        finals = [_final(chance, key, number <= plan.late_drafts) for number, key in enumerate(keys)]
        finals[0] = replace(finals[0], seconds=12 * HOUR)
        if feed == "south":
            finals[: len(kinds)] = map(_differing, finals, kinds)
        late_ones = [replace(_final(chance, key), seconds=_late(chance), wave=2) for key in late]
        rows = [*finals, *late_ones]
        rows += [_draft(each, chance.randrange(1, 6 * HOUR), chance.choice((1, 2)))
                 for each in chance.sample(finals, plan.drafts)]  # fmt: skip
        loaded = [each for each in finals if each.wave == 1]
        rows += [_draft(each, _late(chance), 2) for each in chance.sample(loaded, plan.late_drafts)]
        rows += chance.choices(late_ones, k=plan.late_repeats)
        rows += [replace(each, wave=2) if chance.random() < 0.3 else each
                 for each in chance.choices(finals, k=plan.repeats(feed))]  # fmt: skip
        chance.shuffle(rows)
        readings[feed] = rows
    conflicting = {f"meter-{n}" for n, kind in enumerate(kinds) if kind.startswith("other")}
    return Feeds(readings, conflicting)


def _final(chance: random.Random, key: str, first: bool = False) -> Reading:
    """A key's newest version; what it says follows from the key, so both feeds say the same of it."""
    reported = random.Random(key)
    wave: Wave = 1 if first or chance.random() < 0.8 else 2
    hours = (6, 12) if wave == 1 else (12, 24)
    seconds = chance.randrange(hours[0] * HOUR + 1, hours[1] * HOUR)
    return Reading(key, f"gate {reported.randrange(1000)}", reported.randrange(1, 10**6) / 100, seconds, wave)


def _differing(reading: Reading, kind: str) -> Reading:
    """The south's reading of a key that the north reads otherwise."""
    if kind == "near":
        return replace(reading, value=round(reading.value + 0.005, 3))
    if kind in ("other_value", "other_both"):
        reading = replace(reading, value=reading.value + 1)
    if kind in ("other_name", "other_both"):
        reading = replace(reading, name=f"{reading.name}, south")
    return reading


def _draft(reading: Reading, seconds: int, wave: Wave) -> Reading:
    """An older version, which says what no final says: one that wins by mistake is a mismatch."""
    return replace(reading, name="draft", value=-reading.value, seconds=seconds, wave=wave)


def _late(chance: random.Random) -> int:
    return chance.randrange(-36 * HOUR, -12 * HOUR)


# --- as files, each feed in a dialect of its own ---------------------------------------------------------

CONFIGURATION = f"""
[sources.north]
allowed_lateness = "{ALLOWED_LATENESS_HOURS}h"

[sources.south]
fields.key = "meter"
fields.name = "site.label"
fields.value = "kwh"
fields.ts = "at"
ts_unit = "s"
allowed_lateness = "{ALLOWED_LATENESS_HOURS}h"
late = "POLICY"
"""


def as_csv(readings: list[Reading]) -> bytes:
    """The north's: CSV, under the contract's names."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("key", "name", "value", "ts"))
    for each in readings:
        ts = datetime.fromtimestamp(BEGINNING + each.seconds, UTC)
        writer.writerow((each.key, each.name, each.value, ts.isoformat()))
    return out.getvalue().encode()


def as_ndjson(readings: list[Reading]) -> bytes:
    """The south's: NDJSON with names of its own, and times in seconds since 1970."""
    return b"\n".join(
        orjson.dumps(
            {"meter": each.key, "site": {"label": each.name}, "kwh": each.value,
             "at": BEGINNING + each.seconds}
        )
        for each in readings
    )  # fmt: skip


WRITE: dict[str, tuple[str, Callable[[list[Reading]], bytes]]] = {
    "north": ("north-{}.csv", as_csv),
    "south": ("south-{}.ndjson", as_ndjson),
}
