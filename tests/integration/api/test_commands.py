"""`store export` and `store query` over a plant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from producer import send
from store.cli.app import app
from store.errors import UsageError

from ..plant import Plant, row


@pytest.fixture
def rows(api: Plant) -> Plant:
    send([row("a", name="=1+1"), row("b", ts="2025-01-16T08:00:00Z", value=2.0)], source="shop")
    send([row("c")], source="other")
    api.work()
    api.load()
    return api


def run(*words: str) -> Any:
    done = CliRunner().invoke(app, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_the_target_is_exported_in_each_format(rows: Plant) -> None:
    done = run("export", "--source", "shop")
    assert done.stdout.splitlines() == [
        "source,key,ts,name,value,extra",
        "shop,a,2025-01-15T08:00:00Z,'=1+1,1.5,",
        "shop,b,2025-01-16T08:00:00Z,pump,2.0,",
    ]
    assert done.stderr == "2 rows exported\n"
    lines = run("export", "--format", "ndjson", "--since", "2025-01-16").stdout.splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["b"]
    run("export", "--format", "parquet", "--to", "all.parquet")
    assert pyarrow.parquet.read_table("all.parquet")["name"].to_pylist() == ["pump", "=1+1", "pump"]
    run("export", "--to", "all.csv")
    assert len(Path("all.csv").read_text().splitlines()) == 4
    with pytest.raises(UsageError, match="--to"):
        run("export", "--format", "parquet")


def test_a_select_is_answered_and_a_limit_is_shown(rows: Plant) -> None:
    done = run("query", "SELECT key, key FROM target ORDER BY key", "--limit", "2", "--json")
    assert json.loads(done.stdout) == {
        "columns": ["key", "key"], "rows": [["a"] * 2, ["b"] * 2], "cut": True,
    }  # fmt: skip
    assert "only the first 2 rows" in done.stderr
    whole = run("query", "SELECT name, 0 AS n FROM target ORDER BY name LIMIT 1", "--csv")
    assert (whole.stdout, whole.stderr) == ("name,n\n'=1+1,0\n", "")
    assert "pump" in run("query", "SELECT DISTINCT name FROM target").stdout
    assert json.loads(run("query", "SELECT 1 AS a WHERE 1 = 0", "--json").stdout) == {
        "columns": ["a"], "rows": [], "cut": False,
    }  # fmt: skip


def test_a_statement_that_writes_is_refused(rows: Plant) -> None:
    before = rows.digest()
    with pytest.raises(UsageError, match="more than read"):
        run("query", "DELETE FROM target")
    with pytest.raises(UsageError, match="choose one"):
        run("query", "SELECT 1", "--json", "--csv")
    assert rows.digest() == before
