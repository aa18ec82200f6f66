"""What `store runs --detail` prints: a block of lines for each receipt."""

from __future__ import annotations

from typing import Any

from store.cli.render.elements import moment, second, span
from store.terminal import counted
from store.text import shortened

EMPTY = "Nothing has been sent yet. Send a file with `producer enqueue FILE`, then run `worker up --burst`."
TITLES = {"runs": "Loader runs", "batches": "Batches", "deliveries": "Deliveries"}
KINDS = {"load": "run", "file": "batch", "replay": "batch, a replay,", "split": "batch, split in two,"}
MAX_LINE = 400


def receipts(found: dict[str, list[dict[str, Any]]]) -> list[Any]:
    """The receipts of each kind, newest first."""
    if not any(found.values()):
        return [EMPTY]
    lines: list[Any] = []
    for kind, title in TITLES.items():
        if found.get(kind):
            lines += [*([""] if lines else []), f"{title}, newest first"]
            lines += [line for each in found[kind] for line in _receipt(each)]
    return lines


def _receipt(receipt: dict[str, Any]) -> list[str]:
    rejects = ", ".join(f"{number:,} {reason}" for reason, number in receipt["rejects"].items())
    before, after = (moment(receipt[f"watermark_{when}"]) for when in ("before", "after"))
    dedupe = receipt["dedupe"]
    facts = {
        "dedupe": f"{dedupe['hits']:,} hits, {dedupe['misses']:,} misses, {dedupe['hit_rate']:.1%}"
        if dedupe
        else "",
        "rejects": rejects,
        "late, stale, fresh": f"{receipt['late']:,}, {receipt['stale']:,}, {receipt['fresh']:,}"
        if receipt["late"] or receipt["stale"]
        else "",
        "local times": f"{receipt['ambiguous']:,} exist twice, {receipt['shifted']:,} do not exist and were shifted"
        if receipt["ambiguous"] or receipt["shifted"]
        else "",
        "watermark": f"{before or 'none'} → {after or 'none'}" if before or after else "",
        "stages": ", ".join(f"{name} {_took(receipt, name)}" for name in receipt["stages_run"]),
        "error": receipt["error"] or "",
    }
    lines = [f"  {shortened(f'{name}: {fact}', MAX_LINE)}" for name, fact in facts.items() if fact]
    return [_headline(receipt), f"  {_amounts(receipt)}", *lines]


def _headline(receipt: dict[str, Any]) -> str:
    named = f"{KINDS.get(receipt['kind'], receipt['kind'])} {str(receipt['id'])[:8]}"
    of = f" of {receipt['source']}, {receipt['file']}" if receipt["source"] else ""
    ended = f", {second(receipt['finished_at'])}" if receipt["finished_at"] else ""
    return shortened(f"{named}{of}: {receipt['status']}{ended}", MAX_LINE)


def _amounts(receipt: dict[str, Any]) -> str:
    outcomes = ", ".join(
        f"{number:,} {name.replace('_', ' ')}" for name, number in receipt["outcomes"].items()
    )
    into = f"{counted(receipt['records_in'], 'record')} in, {receipt['records_out']:,} out"
    return f"{into} ({outcomes}), {span(receipt['seconds'])}"


def _took(receipt: dict[str, Any], stage: str) -> str:
    return span(receipt["stage_seconds"].get(stage, 0.0))
