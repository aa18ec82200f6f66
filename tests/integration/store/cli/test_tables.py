"""Every table on terminals of any width: no line is too long, and every row can be recognised by its names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

from store.cli.render import elements
from store.cli.render.elements import GAP, Kind, Listing, table
from tests.integration.store.conftest import Bad, Ledger, Record
from tests.integration.store.timing.timeline import Command

RENDER = Path(elements.__file__).parent
LONG = "a-supplier-with-a-name-of-sixty-characters-{}-of-the-northern-region"
COMMANDS = (
    "report", "batches", "runs", "lineage --by-step", "letters", "letters list", "letters park --all --why because",
    "letters actions", "account", "conflicts", "watermark", "watermark history", "freshness", "lateness",
    "reconcile --keep", "reconcile --history",
)  # fmt: skip


@pytest.fixture
def tables(ledger: Ledger, store: Command, monkeypatch: pytest.MonkeyPatch) -> dict[str, Listing]:
    """Title -> table, of all commands over a store with long names and great numbers."""
    key = "key-" + "0123456789" * 5
    for number in (1, 2):
        good = Record(key, f"2025-01-0{number}T10:00:00.123456Z", "n" * 70, 1e300 / number)
        bad = Bad("{" * 70, "unexpected_field", key)
        other = good._replace(name="m" * 70)
        ledger.receive([good, other, bad], source=LONG.format(number), file=f"{'long/' * 12}{number}.json")
        ledger.load()
    ledger.tamper("UPDATE batches SET received = 1234567, staged = 1234567, duplicates = 1234567")
    ledger.tamper("UPDATE run_log SET inserted = 123456789, updated = 123456789, status = 'interrupted'")
    found: dict[str, Listing] = {}
    monkeypatch.setattr(
        elements,
        "put",
        lambda *things: found.update({each.title: each for each in things if isinstance(each, Listing)}),
    )
    for command in COMMANDS:
        assert store(*command.split()).code == (1 if command == "account" else 0)  # the counts are made up
    return found


def lines(listing: Listing, width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(listing)
    return captured.get().splitlines()


def cells(listing: Listing, width: int) -> list[dict[int, str]]:
    """Of each part of a table with one row: column -> the printed text of its cell, without blanks."""
    bodies = []
    for body in "\n".join(lines(listing, width)).split("─\n")[1:]:
        bodies.append(body.split("\n\n")[0].splitlines())
    found = []
    for widths, body in zip(listing.parts(width), bodies, strict=True):
        start, part = 0, {}
        for column, size in widths.items():
            part[column] = "".join(line[start : start + size] for line in body).replace(" ", "")
            start += size + GAP
        found.append(part)
    return found


def check(listing: Listing, width: int) -> None:
    """Every line fits, names, numbers and fixed cells are complete, text is shortened only with `…`."""
    for row in listing.rows:
        one = Listing("", listing.columns, [row], listing.names)
        printed = cells(one, width)
        assert {column for part in printed for column in part} == set(range(len(listing.columns)))
        for part in printed:
            assert set(range(listing.names)) <= set(part)
            for column, text in part.items():
                whole = row[column].plain.replace(" ", "")
                kind = list(listing.columns.values())[column]
                if kind == "text" and column >= listing.names and text.endswith("…"):
                    assert whole.startswith(text[:-1])
                else:
                    assert text == whole
    assert max(len(line.rstrip()) for line in lines(listing, width)) <= width


@pytest.mark.parametrize("width", [60, 80, 132, 500])
def test_no_table_is_too_wide_or_shortens_the_names_of_its_rows(
    tables: dict[str, Listing], width: int
) -> None:
    for listing in tables.values():
        check(listing, width)


def test_every_table_of_the_store_is_among_these(tables: dict[str, Listing]) -> None:
    sources = "".join(path.read_text() for path in RENDER.glob("*.py"))
    titles = set(re.findall(r'[^_]\btable\(\s*f?"([^"{]+)', sources))
    assert len(titles) >= 10
    assert {title for title in titles if not any(each.startswith(title) for each in tables)} == set()


def test_the_report_shows_every_source_at_80_columns(
    sample: Ledger, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample.receive([Record("a", "2025-01-14T10:00:00.123456Z")], source="supplier-of-the-north")
    sample.load()
    monkeypatch.setenv("COLUMNS", "80")
    output = store("report").out
    assert re.search(r"^supplier-of-the-north  2025-01-14 10:00:00.123456 UTC ", output, re.M)
    assert max(map(len, output.splitlines())) <= 80


def listing(names: int = 1, **cells: tuple[Kind, str]) -> Listing:
    columns = {name: kind for name, (kind, _) in cells.items()}
    return table("A title", columns, [[value for _, value in cells.values()]], names=names)


def test_the_widest_text_is_narrowed_first() -> None:
    wide = listing(name=("text", "n" * 10), one=("text", "a" * 18), other=("text", "b" * 60))
    assert lines(wide, 60)[-1] == f"{'n' * 10}  {'a' * 18}  {'b' * 27}…"


def test_columns_that_do_not_fit_continue_below_with_the_name_repeated() -> None:
    wide = listing(name=("text", "n" * 10), one=("fixed", "a" * 30), other=("fixed", "b" * 30))
    printed = [line.rstrip() for line in lines(wide, 50)]
    assert printed[1:] == [
        "name        one",
        "─" * 42,
        f"{'n' * 10}  {'a' * 30}",
        "",
        "name        other",
        "─" * 42,
        f"{'n' * 10}  {'b' * 30}",
    ]


def test_a_name_that_is_wider_than_the_terminal_is_folded() -> None:
    wide = listing(name=("text", "0123456789" * 10), number=("number", "7"))
    check(wide, 40)
    assert len(lines(wide, 40)) > 5


def test_a_name_of_wide_characters_takes_two_columns_for_each() -> None:
    wide = listing(name=("text", "漢字" * 5), other=("text", "x" * 60))
    assert "漢字" * 5 in lines(wide, 40)[-1]
    assert lines(wide, 40)[-1].endswith("…")
