"""What `store reconcile` prints: tables for people; JSON and CSV row by row, in constant memory."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from store import timestamps
from store.cli.render.elements import Kind, Listing, moment, second, span, table
from store.reconcile.runs import Difference, Result
from store.terminal import counted, json_text
from store.text import printable, spreadsheet_cell

COLUMNS = ("key", "field", "source_a", "value_a", "ts_a", "lineage_id_a",
           "source_b", "value_b", "ts_b", "lineage_id_b")  # fmt: skip
NO_HISTORY = "No reconciliation is stored yet: `store reconcile --keep` stores one."


def as_json(result: Result, note: str | None) -> dict[str, Any]:
    """The counts, without the rows."""
    found: dict[str, Any] = {
        "sources": list(result.sources),
        "tolerances": result.tolerances,
        "since": result.since and timestamps.to_iso(result.since),
        "keys": result.keys,
        "matched": result.matched,
        "mismatched": result.mismatched,
        "single_source": result.single_source,
        "fields": result.fields,
        "note": note,
    }
    if result.seq is not None:
        found |= {"reconciliation": result.seq, "new_mismatches": result.new_mismatches}
    return found


def as_row(difference: Difference) -> dict[str, Any]:
    """One difference, by the names of COLUMNS."""
    one, other = difference.one, difference.other
    values = (difference.key, difference.field, one.source, one.value, one.ts, one.lineage_id,
              other.source, other.value, other.ts, other.lineage_id)  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def write_json(found: dict[str, Any], rows: Iterable[Difference], out: TextIO) -> None:
    """One JSON document: the counts, and `rows`, each on its own line."""
    out.write(json_text(found).removesuffix("\n}") + ',\n  "rows": [')
    before = "\n    "
    for difference in rows:
        out.write(before + json_text(as_row(difference), indented=False))
        before = ",\n    "
    out.write("]\n}\n" if before == "\n    " else "\n  ]\n}\n")


def write_csv(rows: Iterable[Difference], out: TextIO, *, to_terminal: bool) -> None:
    """A header and a line for each difference; no cell is a formula, or on a terminal a control sequence."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for difference in rows:
        cells = [spreadsheet_cell(value) for value in as_row(difference).values()]
        writer.writerow([printable(each) for each in cells] if to_terminal else cells)


def reconciliation(
    result: Result, rows: list[Difference], note: str | None, new_keys: list[str]
) -> list[Any]:
    """The counts, then the differences: two rows each, one for each source."""
    if note is not None:
        return [note]
    things: list[Any] = [_counts(result)]
    if rows:
        columns: dict[str, Kind] = {"key": "text", "field": "text", "source": "text", "value": "text",
                                    "ts": "fixed", "lineage": "fixed"}  # fmt: skip
        things.append(table("Mismatches", columns, _sides(rows), names=3))
    listed = len({row.key for row in rows})
    if listed < result.mismatched:
        things.append(
            f"\n{listed:,} of {counted(result.mismatched, 'mismatched key')} shown: "
            f"--limit {result.mismatched} shows all."
        )
    if result.new_mismatches is not None:
        things.append(f"\nStored as reconciliation {result.seq}: {_new(result.new_mismatches, new_keys)}.")
    return things


def _counts(result: Result) -> Listing:
    notes = [f"{number:,} differ in {name}" for name, number in result.fields.items() if number]
    rows: list[tuple[str, int, str]] = [
        ("all", result.keys, _range(result)),
        ("matched", result.matched, ""),
        ("mismatched", result.mismatched, ", ".join(notes)),
        *((f"only {source}", number, "") for source, number in result.single_source.items()),
    ]
    columns: dict[str, Kind] = {"keys": "text", "number": "number", "": "text"}
    return table("Reconciliation of " + ", ".join(result.sources), columns, rows)


def _range(result: Result) -> str:
    limits = [f"{name} within {tolerance:g}" for name, tolerance in result.tolerances.items()]
    if result.since is not None:
        limits.append(f"since {moment(timestamps.to_iso(result.since))}")
    return ", ".join(limits)


def _sides(rows: list[Difference]) -> Iterator[list[Any]]:
    for row in rows:
        for number, side in enumerate((row.one, row.other)):
            name = ["", ""] if number else [row.key, row.field]
            value = "null" if side.value is None else side.value
            yield [*name, side.source, moment(value) if row.field == "ts" else str(value),
                   moment(side.ts), side.lineage_id]  # fmt: skip


def _new(number: int, keys: list[str]) -> str:
    if not number:
        return "nothing new"
    more = ", …" if number > len(keys) else ""
    return f"{number:,} new ({printable(', '.join(keys))}{more})"


def history_json(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Stored reconciliations, with timestamps as ISO 8601."""
    return [
        {
            **row,
            "since": row["since"] and timestamps.to_iso(row["since"]),
            "at": timestamps.to_iso(row["at"]),
        }
        for row in found
    ]


def history(found: list[dict[str, Any]]) -> list[Any]:
    """Stored reconciliations, a row each, from `history_json`."""
    if not found:
        return [NO_HISTORY]
    columns: dict[str, Kind] = {"number": "number", "at": "fixed", "sources": "text", "tolerances": "text",
                                "keys": "number", "matched": "number", "mismatched": "number",
                                "single": "number", "new": "number", "first found by it": "text",
                                "took": "number"}  # fmt: skip
    rows = (
        [
            row["seq"],
            second(row["at"]),
            ", ".join(row["sources"]),
            ", ".join(f"{name} {tolerance:g}" for name, tolerance in row["tolerances"].items()),
            row["keys"],
            row["matched"],
            row["mismatched"],
            sum(row["single_source"].values()),
            row["new_mismatches"],
            ", ".join(row["new_keys"]),
            span(row["seconds"]),
        ]
        for row in found
    )
    return [table("Reconciliations, newest first", columns, rows)]
