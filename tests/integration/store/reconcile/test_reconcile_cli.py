from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine

from store.cli import app
from store.text import spreadsheet_cell
from tests.integration.store.conftest import Ledger
from tests.integration.store.reconcile.holdings import Holding, put


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `store reconcile` in this process, over the test's database."""
    monkeypatch.setenv("SLUICE_DATABASE_URL", engine.url.render_as_string(hide_password=False))

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["store", "reconcile", *arguments])
        capsys.readouterr()
        try:
            app.main()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code
        return Ended(code or 0, *capsys.readouterr())

    return run


@pytest.fixture
def engine(engine: Engine) -> Engine:
    """As the suite's, with a column for the holdings' sizes."""
    from store.database import install
    from store.database.records import ContractColumn

    install.add_contract_columns(engine, [ContractColumn("size", "integer")])
    return engine


@pytest.fixture
def sample(engine: Engine) -> Engine:
    """Of a and b: one key that matches, two that do not (one in two fields), and one that each has alone."""
    rows = [Holding("a", "same"), Holding("b", "same"), Holding("a", "near", 1.0), Holding("b", "near", 1.01)]
    rows += [
        Holding("a", "far", 1.0, "x"),
        Holding("b", "far", 9.0, "y"),
        Holding("a", "mine"),
        Holding("b", "its"),
    ]
    put(engine, rows)
    return engine


def test_json_has_the_counts_and_as_many_rows_as_they_say(run: Run, sample: Engine) -> None:
    found = json.loads(run("--json").out)
    assert (found["keys"], found["matched"], found["mismatched"]) == (5, 1, 2)
    assert found["single_source"] == {"a": 1, "b": 1}
    assert found["fields"] == {"name": 1, "value": 2, "size": 0}
    assert len({row["key"] for row in found["rows"]}) == found["mismatched"]
    assert len(found["rows"]) == sum(found["fields"].values())
    assert found["rows"][0] == {
        "key": "far", "field": "name", "source_a": "a", "value_a": "x", "ts_a": "2025-01-15T12:00:00Z",
        "lineage_id_a": "load-4", "source_b": "b", "value_b": "y", "ts_b": "2025-01-15T12:00:00Z",
        "lineage_id_b": "load-5",
    }  # fmt: skip


def test_csv_has_the_rows_of_json(run: Run, sample: Engine) -> None:
    rows = list(csv.DictReader(io.StringIO(run("--csv").out)))
    assert rows == [
        {name: str(value) for name, value in row.items()} for row in json.loads(run("--json").out)["rows"]
    ]


def test_people_see_the_counts_and_two_lines_for_a_difference(run: Run, sample: Engine) -> None:
    lines = [line.split() for line in run("--tolerance", "value=0.01").out.splitlines()]
    assert ["mismatched", "1", "1", "differ", "in", "name,", "1", "differ", "in", "value"] in lines
    assert ["only", "a", "1"] in lines
    assert ["far", "value", "a", "1.0", "2025-01-15", "12:00:00", "UTC", "load-4"] in lines
    assert ["b", "9.0", "2025-01-15", "12:00:00", "UTC", "load-5"] in lines


def test_a_limit_is_of_keys_and_says_what_it_leaves_out(run: Run, sample: Engine) -> None:
    assert "1 of 2 mismatched keys shown: --limit 2 shows all." in run("--limit", "1").out
    assert {row["key"] for row in json.loads(run("--limit", "1", "--json").out)["rows"]} == {"far"}
    assert "shown" not in run("--limit", "2").out


def test_a_mismatch_is_no_failure_unless_asked_to_be(run: Run, sample: Engine) -> None:
    assert run().code == 0
    assert run("--fail-on-mismatch").code == 1
    assert run("--fail-on-mismatch", "--json").code == 1
    assert run("--fail-on-mismatch", "--sources", "a").code == 0


def test_since_is_a_date_or_a_time_with_or_without_an_offset(run: Run, sample: Engine) -> None:
    for text, keys in (("2025-01-15", 5), ("2025-01-15T13:00:00+01:00", 5), ("2025-01-15T12:00:01", 0)):
        assert json.loads(run("--json", "--since", text).out)["keys"] == keys


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tolerance", "name=1"), "'name' is text"),
        (("--tolerance", "nowhere=1"), "no field 'nowhere'"),
        (("--tolerance", "value=-0.1"), "value=-0.1"),
        (("--tolerance", "value=nan"), "value=nan"),
        (("--tolerance", "value=1e400"), "value=inf"),
        (("--tolerance", "value=much"), "value='much'"),
        (("--tolerance", "value"), "'value' should be FIELD=NUMBER"),
        (("--tolerance", "value=1", "--tolerance", "value=2"), "'value' twice"),
        (("--since", "yesterday"), "--since 'yesterday' is not a time"),
        (("--sources", ", ,"), "names no source"),
        (("--json", "--csv"), "choose one"),
        (("--history", "--keep"), "--history"),
    ],
)
def test_a_bad_option_is_named_and_ends_with_2(
    run: Run, sample: Engine, arguments: tuple[str, ...], message: str
) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_fewer_than_two_sources_give_a_note_and_no_failure(run: Run, engine: Engine) -> None:
    nothing = "Nothing to compare: it takes two sources, none has rows."
    assert run() == (0, nothing + "\n", "")
    assert json.loads(run("--json").out)["note"] == nothing
    put(engine, [Holding("a", "k")])
    assert "only 'a' has rows." in run().out
    put(engine, [Holding("b", "k")])
    assert "only 'a' has rows; those with rows are a, b." in run("--sources", "a,typo", "--keep").out
    ended = run("--sources", "a", "--csv")
    assert (ended.code, ended.out.count("\n")) == (0, 1)
    assert "Nothing to compare" in ended.err
    assert Ledger(engine).rows("SELECT * FROM reconciliations") == []


def test_a_stored_result_counts_the_new_keys_and_is_in_the_history(run: Run, sample: Engine) -> None:
    assert "No reconciliation is stored yet" in run("--history").out
    assert "Stored as reconciliation 1: 2 new (far, near)." in run("--keep").out
    assert "Stored as reconciliation 2: nothing new." in run("--keep").out
    put(sample, [Holding("b", "same", 5.0)])
    found = json.loads(run("--keep", "--json").out)
    assert (found["reconciliation"], found["new_mismatches"], found["mismatched"]) == (3, 1, 3)
    history = json.loads(run("--history", "--json").out)
    assert [(row["seq"], row["new_mismatches"], row["new_keys"]) for row in history] == [
        (3, 1, ["same"]), (2, 0, []), (1, 2, ["far", "near"]),
    ]  # fmt: skip
    assert [line.split()[0] for line in run("--history", "--limit", "1").out.splitlines()[3:]] == ["3"]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"), ("+cmd", "'+cmd"), ("-1+2", "'-1+2"), ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"), ("\rx", "'\rx"), ("\nx", "'\nx"), ("-", "'-"), ("-1e", "'-1e"), ("+1\n", "'+1\n"),
        ("-5", "-5"), ("+5.25", "+5.25"), ("-1.5e-07", "-1.5e-07"), (-12.5, "-12.5"), (-1e-07, "-1e-07"),
        ("a=b", "a=b"), ("'=1", "'=1"), ("", ""), (None, ""), (True, "true"),
    ],
)  # fmt: skip
def test_no_cell_is_a_formula_to_a_spreadsheet(value: object, cell: str) -> None:
    assert spreadsheet_cell(value) == cell


def test_a_formula_in_a_key_a_source_or_a_value_is_neutralised_on_its_way_out(
    run: Run, engine: Engine
) -> None:
    put(engine, [Holding("=a", "@k", name='=HYPERLINK("x")'), Holding("-b", "@k", name="-12")])
    [_, row] = csv.reader(io.StringIO(run("--csv").out))
    assert [row[0], row[2], row[3], row[6], row[7]] == ["'@k", "'-b", "-12", "'=a", '\'=HYPERLINK("x")']


def test_nothing_from_a_record_reaches_the_terminal_as_a_control_character(
    run: Run, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(
        engine,
        [Holding("a", "k\x1b[2J\x9b", name="[bold]x\x07"), Holding("b", "k\x1b[2J\x9b", name="y\r\nz")],
    )
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for arguments in ((), ("--json",), ("--csv",), ("--keep",), ("--history",)):
        out = re.sub(r"\x1b\[[013]m", "", run(*arguments).out)  # our own headings are bold
        assert not set(out) & {"\x1b", "\x9b", "\x07", "\r"}, arguments
    assert "[bold]x" in run("--csv").out
