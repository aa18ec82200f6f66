"""What `store conflicts` prints: a row for each conflict, with the record that won and the one that lost."""

from __future__ import annotations

from typing import Any

from store.cli.render.elements import Kind, file_and_lines, moment, table

NONE_YET = "No conflicts: no two records of a key have equal time and sequence and different content."
NONE_MATCH = "No conflicts that match: `store report` counts all of them."


def conflicts(found: list[dict[str, Any]], matching: int, is_filtered: bool) -> list[Any]:
    """Conflicts, a row each; those beyond the limit are counted."""
    if not found:
        return [NONE_MATCH if is_filtered else NONE_YET]
    sequences = any(each["sequence"] for each in found)
    columns: dict[str, Kind] = {
        "key": "text",
        "source": "text",
        "time": "fixed",
        **({"sequence": "number"} if sequences else {}),
        "run": "number",
        "winner": "fixed",
        "winner delivery": "number",
        "loser": "fixed",
        "loser delivery": "number",
        "decided by": "text",
    }
    rows = (
        [
            each["key"],
            each["source"],
            moment(each["ts"]),
            *([str(each["sequence"])] if sequences else []),
            each["run"],
            file_and_line(each["winner"]),
            each["winner"]["delivery"],
            file_and_line(each["loser"]),
            each["loser"]["delivery"],
            each["decided_by"],
        ]
        for each in found
    )
    things: list[Any] = [table("Conflicts, newest first", columns, rows)]
    if matching > len(found):
        things.append(f"\n{len(found):,} of {matching:,} shown: --limit {matching} shows all.")
    things.append("\nOne key in full: `store explain KEY`.")
    things.append("Does the source number its versions? Name that field as its `sequence` in sluice.toml.")
    return things


def file_and_line(record: dict[str, Any]) -> str:
    """`file:line`; `?` where lineage has lost the line: `store check --lineage` shows it."""
    return file_and_lines(record["file"], "?" if record["line"] is None else str(record["line"]))
