"""What `store account` prints: the sum of a delivery, or a row for each of several."""

from __future__ import annotations

from typing import Any

from store.cli.render.elements import EMPTY, Kind, moment, table
from store.text import printable

WORDS = {
    "in_target": "in the target, as they are",
    "replaced": "were in the target, replaced by a later record",
    "superseded": "superseded: the target had a later record",
    "duplicates": "duplicates of a record in the target",
    "pending": "staged, not loaded yet",
    "skipped": "skipped as late",
    "open": "dead letters, open",
    "replaying": "dead letters, being replayed",
    "parked": "dead letters, parked",
    "resolved": "dead letters, resolved by a replay",
    "discarded": "dead letters, discarded",
    "letters_gone": "rejected, and their dead letters are gone: `store check`",
}


def accounts(found: list[dict[str, Any]]) -> list[Any]:
    """The latest deliveries, a row each."""
    if not found:
        return [EMPTY]
    columns: dict[str, Kind] = {"delivery": "number", "source": "text", "file": "text", "received": "number",
                                "in target": "number", "replaced": "number", "superseded": "number",
                                "duplicates": "number", "pending": "number", "skipped": "number",
                                "letters": "number", "adds up": "fixed"}  # fmt: skip
    letters = ("open", "replaying", "parked", "resolved", "discarded", "letters_gone")
    rows = (
        [
            each["delivery"],
            each["source"],
            each["file"],
            each["received"],
            *(
                each[name]
                for name in ("in_target", "replaced", "superseded", "duplicates", "pending", "skipped")
            ),
            sum(each[name] for name in letters),
            "yes" if each["adds_up"] else "NO",
        ]
        for each in found
    )
    return [table("Deliveries, newest first", columns, rows), "\nOne in full: `store account --delivery N`."]


def in_full(found: list[dict[str, Any]]) -> list[Any]:
    """Each delivery as a sum."""
    return [line for each in found for line in (*_sum(each), "")][:-1]


def _sum(each: dict[str, Any]) -> list[str]:
    lines = [
        f"Delivery {each['delivery']} of {each['file']} to source {each['source']}, {moment(each['started_at'])}",
        f"{each['received']:>12,}  records received",
    ]
    lines += [f"{each[name]:>12,}    {words}" for name, words in WORDS.items() if each[name]]
    if each["not_processed"]:
        lines.append(f"{each['not_processed']:>12,}  sent, and not processed yet: `worker status`")
    lines += [
        f"              later or repeated: {other['records']:,} by delivery {other['delivery']} ({other['file']})"
        for other in each["beaten_by"]
    ]
    lines += [
        f"              discarded: {number:,}, {why}" for why, number in each["discarded_because"].items()
    ]
    lines.append(
        "It adds up." if each["adds_up"] else "It does NOT add up: `store check --lineage` shows why."
    )
    return [printable(line) for line in lines]
