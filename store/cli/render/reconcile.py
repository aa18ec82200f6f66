"""What `store reconcile` shows: tables for people, JSON and CSV a row at a time, however many there are."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from store import timestamps
from store.cli.render.elements import Kind, cell, frame, moment, second, span, table
from store.reconcile.runs import Difference, Result
from store.terminal import counted, json_text, shown

COLUMNS = ("key", "field", "source_a", "value_a", "ts_a", "lineage_id_a",
           "source_b", "value_b", "ts_b", "lineage_id_b")  # fmt: skip
# A cell that begins so is a formula to a spreadsheet.
FORMULA = re.compile(r"[=+\-@\t\r\n]")
PLAIN_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
NO_HISTORY = "No reconciliation is kept yet: `store reconcile --keep` keeps one."


def as_json(result: Result, note: str | None) -> dict[str, Any]:
    """The counts; the rows stand beside them."""
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
    """One difference by the names of COLUMNS."""
    one, other = difference.one, difference.other
    values = (difference.key, difference.field, one.source, one.value, one.ts, one.lineage_id,
              other.source, other.value, other.ts, other.lineage_id)  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def write_json(found: dict[str, Any], rows: Iterable[Difference], out: TextIO) -> None:
    """One JSON document: what was counted, and `rows`, each on a line of its own."""
    out.write(json_text(found).removesuffix("\n}") + ',\n  "rows": [')
    before = "\n    "
    for difference in rows:
        out.write(before + json_text(as_row(difference), indented=False))
        before = ",\n    "
    out.write("]\n}\n" if before == "\n    " else "\n  ]\n}\n")


def write_csv(rows: Iterable[Difference], out: TextIO, *, to_terminal: bool) -> None:
    """A header and a line for each difference; no cell is a formula, none harms a terminal."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for difference in rows:
        cells = [harmless(value) for value in as_row(difference).values()]
        writer.writerow([shown(each) for each in cells] if to_terminal else cells)


def harmless(value: object) -> str:
    """A cell's text, with `'` before it where a spreadsheet would run it as a formula; null is empty."""
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if FORMULA.match(text) and not PLAIN_NUMBER.fullmatch(text):
        return "'" + text
    return text


def reconciliation(
    result: Result, rows: list[Difference], note: str | None, new_keys: list[str]
) -> list[Any]:
    """The counts, then the differences: two lines each, one for either source."""
    if note is not None:
        return [note]
    things: list[Any] = [_counts(result)]
    if rows:
        columns: dict[str, Kind] = {"key": "text", "field": "text", "source": "text", "value": "text",
                                    "ts": "fixed", "lineage": "fixed"}  # fmt: skip
        things.append(table("Mismatches", columns, _lines(rows)))
    listed = len({row.key for row in rows})
    if listed < result.mismatched:
        things.append(
            f"\n{listed:,} of {counted(result.mismatched, 'mismatched key')} shown: "
            f"--limit {result.mismatched} shows all."
        )
    if result.new_mismatches is not None:
        things.append(f"\nKept as reconciliation {result.seq}: {_new(result.new_mismatches, new_keys)}.")
    return things


def _counts(result: Result) -> Any:
    made = frame("Reconciliation of " + shown(", ".join(result.sources)))
    made.add_column("keys")
    made.add_column("number", justify="right", no_wrap=True)
    made.add_column("")
    notes = [f"{number:,} differ in {name}" for name, number in result.fields.items() if number]
    rows: list[tuple[str, int, str]] = [
        ("all", result.keys, _range(result)),
        ("matched", result.matched, ""),
        ("mismatched", result.mismatched, ", ".join(notes)),
        *((f"only {source}", number, "") for source, number in result.single_source.items()),
    ]
    for row in rows:
        made.add_row(*(cell(value) for value in row))
    return made


def _range(result: Result) -> str:
    said = [f"{name} within {tolerance:g}" for name, tolerance in result.tolerances.items()]
    if result.since is not None:
        said.append(f"since {moment(timestamps.to_iso(result.since))}")
    return ", ".join(said)


def _lines(rows: list[Difference]) -> Iterator[list[Any]]:
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
    return f"{number:,} new ({shown(', '.join(keys))}{more})"


def history_json(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Kept reconciliations, with ISO timestamps."""
    return [
        {
            **row,
            "since": row["since"] and timestamps.to_iso(row["since"]),
            "at": timestamps.to_iso(row["at"]),
        }
        for row in found
    ]


def history(found: list[dict[str, Any]]) -> list[Any]:
    """Kept reconciliations, a line each, as `history_json` gives them."""
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
