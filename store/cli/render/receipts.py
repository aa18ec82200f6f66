"""Receipts for people: one block for each."""

from __future__ import annotations

from typing import Any

from store.cli.render.elements import moment, second, short, span
from store.terminal import counted

EMPTY = "Nothing has been sent yet. Send a file with `producer enqueue FILE`, then run `worker up --burst`."
TITLES = {"runs": "Loader runs", "batches": "Batches", "enqueues": "Enqueues"}


def receipts(found: dict[str, list[dict[str, Any]]]) -> list[Any]:
    """Every kind's receipts, newest first."""
    if not any(found.values()):
        return [EMPTY]
    lines: list[Any] = []
    for kind, title in TITLES.items():
        if found.get(kind):
            lines += [*([""] if lines else []), f"{title}, newest first"]
            lines += [line for each in found[kind] for line in _receipt(each)]
    return lines


def _receipt(receipt: dict[str, Any]) -> list[str]:
    lines = [_headline(receipt), f"  {_amounts(receipt)}"]
    rejects = ", ".join(f"{number:,} {reason}" for reason, number in receipt["rejects"].items())
    marks = (
        f"{moment(receipt['watermark_before']) or 'none'} → {moment(receipt['watermark_after']) or 'none'}"
    )
    dedupe = receipt["dedupe"]
    facts = {
        "dedupe": f"{dedupe['hits']:,} hits, {dedupe['misses']:,} misses, {dedupe['hit_rate']:.1%}"
        if dedupe
        else "",
        "rejects": rejects,
        "late, stale, fresh": f"{receipt['late']:,}, {receipt['stale']:,}, {receipt['fresh']:,}"
        if receipt["late"] or receipt["stale"]
        else "",
        "watermark": marks if receipt["watermark_before"] or receipt["watermark_after"] else "",
        "stages": ", ".join(f"{name} {_took(receipt, name)}" for name in receipt["stages_run"]),
        "error": receipt["error"] or "",
    }
    return lines + [f"  {short(f'{name}: {said}', 400)}" for name, said in facts.items() if said]


def _headline(receipt: dict[str, Any]) -> str:
    named = str(receipt["id"])[:8]
    word = {"load": "run", "file": "batch", "replay": "batch, a replay,", "split": "batch, cut in two,"}
    of = f" of {receipt['source']}, {receipt['file']}" if receipt["source"] else ""
    ended = f", {second(receipt['finished_at'])}" if receipt["finished_at"] else ""
    return short(f"{word.get(receipt['kind'], receipt['kind'])} {named}{of}: {receipt['status']}{ended}", 400)


def _amounts(receipt: dict[str, Any]) -> str:
    outcomes = ", ".join(
        f"{number:,} {name.replace('_', ' ')}" for name, number in receipt["outcomes"].items()
    )
    into = f"{counted(receipt['records_in'], 'record')} in, {receipt['records_out']:,} out"
    return f"{into} ({outcomes}), {span(receipt['seconds'])}"


def _took(receipt: dict[str, Any], stage: str) -> str:
    return span(receipt["stage_seconds"].get(stage, 0.0))
