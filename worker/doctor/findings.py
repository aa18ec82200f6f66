"""What a check finds. The names of the fields are those of `--json`, and stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from store.addresses import without_secrets
from store.text import printable

Verdict = Literal["ok", "warning", "failed"]
ORDER: tuple[Verdict, ...] = ("ok", "warning", "failed")


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check, in words without secrets."""

    check: str
    verdict: Verdict
    found: str
    next: str = ""  # the next step; empty where all is well


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a measurement is a warning, and from where on it has failed."""

    free_failed: int = 256 << 20  # bytes of a disk
    free_warning: int = 2 << 30
    clock_warning: float = 5.0  # seconds; the store tolerates as much
    clock_failed: float = 60.0
    latency_warning: float = 0.02
    latency_failed: float = 0.5


def ok(check: str, found: str) -> Finding:
    return _finding(check, "ok", found, "")


def warning(check: str, found: str, next: str) -> Finding:
    return _finding(check, "warning", found, next)


def failed(check: str, found: str, next: str) -> Finding:
    return _finding(check, "failed", found, next)


def by_verdict(verdict: Verdict, check: str, found: str, next: str) -> Finding:
    """With the next step only where there is one to do."""
    return _finding(check, verdict, found, "" if verdict == "ok" else next)


def _finding(check: str, verdict: Verdict, found: str, next: str) -> Finding:
    return Finding(check, verdict, printable(without_secrets(found)), printable(without_secrets(next)))


def worst(findings: Sequence[Finding]) -> Verdict:
    """Of all of them."""
    return max((each.verdict for each in findings), key=ORDER.index, default="ok")


def graded(value: float, warn_from: float, fail_from: float) -> Verdict:
    """Of what is the worse the greater it is."""
    if value >= fail_from:
        return "failed"
    return "warning" if value >= warn_from else "ok"
