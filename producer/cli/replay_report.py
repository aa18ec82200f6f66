"""What `producer replay` prints: what it would do, what it did, and what became of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from producer.cli.command import batch_counts
from store.dead_letters.actions import Action
from store.dead_letters.sending import Totals
from store.terminal import counted, print_json
from store.text import shortened
from worker.dead_letters.proof import Proof
from worker.queue.send import Sent

MOST_LINES = 20


def show_dry_run(found: Proof, digest: str, command: str, as_json: bool) -> None:
    """What would become of the letters, and how to send them."""
    if as_json:
        print_json({"dry_run": True, "digest": digest, **found.to_json()})
        return
    if not found.letters:
        print("no open dead letters match: nothing would be replayed")
        return
    show_proof(found, "; nothing was sent")
    show_samples(found)
    print(f"to send these within 10 minutes: `{command}`")


def show_proof(found: Proof, sent: str = "") -> None:
    """What would become of the letters."""
    print(f"{found.would_accept:,} of {found.letters:,} would be accepted{sent}")
    for number, what in (
        (found.would_load, "would load"),
        (found.superseded, "would be superseded by something newer in the target"),
        (found.skipped, "would be skipped as late"),
        (found.rejected, "would be rejected again"),
        (found.refused, "cannot be sent"),
    ):
        if number:
            print(f"{number:>10,}  {what}")
    for failure in found.failures[:MOST_LINES]:
        where = "; ".join(" ".join(filter(None, fault.values())) for fault in failure.faults)
        print(f"{failure.letters:>10,}  still {failure.reason}: {where} (like {failure.sample[:8]})")
    others = found.failures[MOST_LINES:]
    if others:
        print(
            f"{sum(each.letters for each in others):>10,}  of {counted(len(others), 'other kind')} of fault"
        )
    for why, number in found.refusals.items():
        print(f"{number:>10,}  {why}")


def show_samples(found: Proof) -> None:
    """Some of the letters that would be accepted, before and after."""
    for sample in found.samples:
        print(f"{sample['id'][:8]}  {_line(sample['before'])}")
        if sample["after"] != sample["before"]:
            print(f"{'->':>8}  {_line(sample['after'])}")


def _line(payload: str) -> str:
    return shortened(payload, 66)


def show_nothing(held: int, as_json: bool) -> None:
    """No letter could be sent."""
    if as_json:
        print_json({"action": None, "letters": 0, "in_other_actions": held})
        return
    others = (
        f"; {counted(held, 'letter')} of them in an action already: `store letters actions`" if held else ""
    )
    print(f"no open dead letters match: nothing to replay{others}")


class SoFar(NamedTuple):
    """What became of an action, whichever commands have sent its letters."""

    before: int  # letters that other commands have sent
    sent: Totals
    outcomes: dict[str, int]


def show_summary(
    action: Action,
    sent: Sent,
    so_far: SoFar,
    refused: int,
    outcome: dict[str, Any] | None,
    stopped: str | None,
    as_json: bool,
) -> None:
    """How many letters were sent back; with `--wait`, how many of them are resolved."""
    if as_json:
        report: dict[str, Any] = {
            "action": action.seq,
            "letters": sent.records,
            **batch_counts(sent),
            "refused": refused,
            "in_all": {
                "letters": action.letters,
                "sent_before": so_far.before,
                "sent": so_far.sent.letters,
                "batches": so_far.sent.batches,
                "outcomes": so_far.outcomes,
            },
        }
        report |= {"proof": action.proof, "stopped": stopped}
        print_json(report if outcome is None else {**report, "outcome": outcome})
        return
    batches = counted(sent.sent_batches, "batch", "batches")
    print(f"{counted(sent.records, 'dead letter')} sent back in {batches} (action {action.seq})")
    if so_far.before:
        print(
            f"{so_far.before:,} were sent before: {so_far.sent.letters:,} of its {action.letters:,} letters in all, "
            f"in {counted(so_far.sent.batches, 'batch', 'batches')}"
        )
    if outcome is not None:
        resolved = outcome["received"] - outcome["rejected"]
        print(f"resolved {resolved:,}, rejected again {outcome['rejected']:,}")
