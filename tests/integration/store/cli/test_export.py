"""`store letters export`: to a file or standard output, and as a test that pytest runs."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import orjson
import pytest

from store.dead_letters.transfer import export
from tests.integration.store.conftest import Bad, Ledger
from tests.integration.store.timing.timeline import Command


@pytest.fixture
def letters(ledger: Ledger) -> Ledger:
    """Two letters with fields, one without."""
    ledger.receive([Bad('{"key": "a", "n": 007}'), Bad('{"key": "a", "n": 1.50}'), Bad('{"m": "=1+1"}')])
    return ledger


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def test_a_file_gets_its_name_when_it_is_whole_and_none_is_written_over(
    letters: Ledger, store: Command, tmp_path: Path
) -> None:
    path = tmp_path / "fix.csv"
    done = store("letters", "export", "--output", str(path))
    assert f"3 letters written to {path}; 1 without fields: see letter.note" in done.out
    rows = rows_of(path.read_bytes().decode())
    assert [each["n"] for each in rows] == ["", "1.50", ""]
    assert [each["m"] for each in rows] == ["", "", "'=1+1"]
    assert {each.name for each in tmp_path.iterdir() if "fix" in each.name} == {"fix.csv"}
    again = store("letters", "export", "--output", str(path))
    assert (again.code, "exists: remove it" in again.err) == (2, True)


def test_filters_choose_what_is_exported(letters: Ledger, store: Command, tmp_path: Path) -> None:
    found = store("letters", "export", "--output", str(tmp_path / "x"), "--reason", "late", "--json").json
    assert (found["letters"], found["without_fields"]) == (0, 0)
    letters.receive([Bad('{"n": 2}', "late")])
    path = tmp_path / "late.ndjson"
    store("letters", "export", "--format", "ndjson", "--reason", "late", "--output", str(path))
    only = orjson.loads(path.read_bytes())
    assert (only["letter.reason"], only["n"]) == ("late", 2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--json"], "give both"),
        (["--as-test"], "of one group: give its --group"),
        (["--output", "no/such/folder.csv"], "cannot be written"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    letters: Ledger, store: Command, arguments: list[str], says: str
) -> None:
    done = store("letters", "export", *arguments)
    assert (done.code, says in done.err) == (2, True), done.err


def test_too_many_columns_are_refused(
    letters: Ledger, monkeypatch: pytest.MonkeyPatch, store: Command
) -> None:
    monkeypatch.setattr(export, "MOST_COLUMNS", len(export.OWN) + 2)
    done = store("letters", "export", "--output", "x.csv")
    assert (done.code, "give --format ndjson" in done.err) == (2, True)
    assert not Path("x.csv").exists()


def test_a_reason_that_a_test_cannot_repeat_is_refused(ledger: Ledger, store: Command) -> None:
    ledger.receive([Bad('{"n": 2}', "late")])
    [group] = store("letters", "--json").json["groups"]
    done = store("letters", "export", "--as-test", "--group", group["id"])
    assert (done.code, "depends on the watermark" in done.err) == (2, True)
