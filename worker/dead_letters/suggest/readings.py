"""What the texts of a field may mean where several readings of them are possible, and which one the texts show.

Rivals are casts that read the same text differently: an order of day and month, a decimal mark, a unit. One is chosen
only where a text shows it that no other rival can read, and no text contradicts it. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from store.dead_letters.edits import cast
from worker.dead_letters.suggest.layouts import is_unusual, width

EARLIEST, LATEST = "2001-09-09", "2100"  # of a time in seconds with ten digits; of any that is meant
UNITS = ("epoch", "epoch-ms")


class Verdict(NamedTuple):
    """What the texts show."""

    casts: dict[str, str]  # the ones that may be used, each with its evidence, if it needs one
    ambiguous: str | None  # why none of them may be, with a text that has two meanings
    is_decided: bool = True  # a text shows it; not decided: every text means the same under each


@dataclass
class Readings:
    """The texts of a field under each of some rivals; in constant memory."""

    rivals: tuple[str, ...]
    read: dict[str, int] = field(default_factory=dict)  # rival -> texts that it reads
    alone: dict[str, tuple[int, str]] = field(
        default_factory=dict
    )  # texts that it alone reads, and the first
    different: tuple[str, dict[str, str]] | None = None  # a text, and its meaning under each rival
    different_if_unusual: tuple[str, dict[str, str]] | None = None
    odd: dict[str, str] = field(default_factory=dict)  # rival -> a text that it cannot mean

    def add(self, text: str) -> None:
        """Notes one text."""
        meanings = {how: found for how in self.rivals if (found := meaning(text, how)) is not None}
        for how, found in meanings.items():
            self.read[how] = self.read.get(how, 0) + 1
            if how not in self.odd and how in UNITS and not EARLIEST <= found < LATEST:
                self.odd[how] = text
        for how in self.rivals:
            if how not in self.odd and how not in meanings and lacks_a_digit(text, how):
                self.odd[how] = text
        if len(meanings) == 1:
            [how] = meanings
            number, first = self.alone.get(how, (0, text))
            self.alone[how] = (number + 1, first)
        elif len(set(meanings.values())) > 1:
            usual = {how: each for how, each in meanings.items() if not is_unusual(how.removeprefix("time:"))}
            if len(set(usual.values())) > 1:
                self.different = self.different or (text, usual)
            self.different_if_unusual = self.different_if_unusual or (text, meanings)

    def verdict(self) -> Verdict:
        """Which rivals may be used."""
        if self.rivals == UNITS:
            return self._unit()
        if odd := next(iter(self.odd), None):
            why = f"{self.odd[odd]!r} is like {odd}, and has another number of digits than the others"
            return Verdict({}, why)
        shown = list(self.alone)
        different = self.different
        if any(is_unusual(how.removeprefix("time:")) for how in shown):
            different = self.different_if_unusual
        if len(shown) > 1:
            (one, (_, first)), (other, (_, second)) = list(self.alone.items())[:2]
            return Verdict({}, f"{first!r} is read by {one} alone, and {second!r} by {other} alone")
        if different and not shown:
            text, meanings = different
            listed = " or ".join(sorted(set(meanings.values())))
            return Verdict({}, f"{text!r} is {listed}, and no value decides")
        if shown:
            [how] = shown
            number, first = self.alone[how]
            values = "1 value" if number == 1 else f"{number:,} values"
            evidence = f"{values}, such as {first!r}, cannot be read otherwise" if different else ""
            return Verdict({how: evidence}, None)
        # All texts mean the same under each.
        usual = [
            how for how in self.rivals if self.read.get(how) and not is_unusual(how.removeprefix("time:"))
        ]
        return Verdict(dict.fromkeys(usual, ""), None, is_decided=len(usual) == 1)

    def _unit(self) -> Verdict:
        """Digits do not show their unit, but years that can be meant do."""
        usable = [how for how in UNITS if self.read.get(how) and how not in self.odd]
        if usable:
            return Verdict(dict.fromkeys(usable, f"the years are then {EARLIEST[:4]} to {LATEST}"), None)
        if not self.odd:
            return Verdict({}, None)
        text = next(iter(self.odd.values()))
        listed = " or ".join(f"{meaning(text, how)} ({how})" for how in UNITS if meaning(text, how))
        return Verdict({}, f"{text!r} is {listed}, neither of which is likely")


def meaning(text: str, how: str) -> str | None:
    """A text under a cast, the same for equal times and numbers; None where the cast does not read it."""
    found: Any = cast(text, how)
    if found is text:
        return None
    if isinstance(found, orjson.Fragment):
        return f"{Decimal(orjson.dumps(found).decode()).normalize():f}"
    return str(found)


def lacks_a_digit(text: str, how: str) -> bool:
    """Whether strptime takes a text of digits though one is missing; the cast does not read it."""
    digits = width(how.removeprefix("time:"))
    if not digits or not (text.strip().isascii() and text.strip().isdigit()) or len(text.strip()) == digits:
        return False
    try:
        datetime.strptime(text.strip(), how.removeprefix("time:"))
    except ValueError:  # then nobody takes it for a time
        return False
    return True
