"""What a back-test finds: records that fail, grouped by their faults, with samples. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from worker.judge.faults import Fault

SAMPLES = 3

Faults = tuple[tuple[str, str, str], ...]  # field, rule, shape of each


@dataclass
class Failing:
    """Records of one source with the same faults."""

    source: str
    reason: str
    faults: list[dict[str, str]]  # field, rule, shape
    message: str
    records: int = 0
    samples: list[str] = field(default_factory=list)  # keys of rows, or ids of letters


@dataclass
class Failures:
    """All that fail; one entry for each source and its faults."""

    found: dict[tuple[str, Faults], Failing] = field(default_factory=dict)

    def add(self, source: str, faults: Sequence[Fault], sample: str) -> None:
        """Notes one record."""
        key = source, shapes_of(faults)
        if key not in self.found:
            named = [dict(zip(("field", "rule", "shape"), each, strict=True)) for each in key[1]]
            self.found[key] = Failing(source, faults[0].reason, named, faults[0].message)
        failing = self.found[key]
        failing.records += 1
        if len(failing.samples) < SAMPLES:
            failing.samples.append(sample)

    def largest_first(self) -> list[dict[str, Any]]:
        """For `--json`."""
        return [asdict(each) for each in sorted(self.found.values(), key=lambda each: -each.records)]


def shapes_of(faults: Sequence[Fault]) -> Faults:
    """The faults as groups of letters have them."""
    return tuple((each.field or "", each.rule or each.reason, each.shape) for each in faults)
