"""`store lateness`: the histogram of arrival lag, what an allowed lateness would make late, the picture."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect

from store import database
from store.cli.render import lateness_plot
from store.errors import UsageError
from store.reports import lateness
from tests.integration.store.conftest import Ledger
from tests.integration.store.timing.timeline import NOON, Command, Timeline, at, commands

EXACT = ["12:00:00.000000", "12:00:00.000001", "11:59:59.000000", "11:59:58.999999", "11:59:50.000000",
         "11:59:00.000000", "11:50:00.000000", "11:00:00.000000", "06:00:00.000000"]  # fmt: skip


@pytest.fixture
def line(ledger: Ledger) -> Timeline:
    return Timeline(ledger)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return commands(monkeypatch, capsys)


@pytest.fixture
def late(line: Timeline) -> Timeline:
    """Noon is loaded; then a batch brings what is 0 s, 30 s, 30 min and 2 d behind, and what is not."""
    line.arrive_and_load(NOON, processed_at=NOON)
    behind = [
        NOON,
        at("11:59").replace(":00.0", ":30.0"),
        at("11:30"),
        at("12:00", "2025-01-13"),
        at("12:01"),
    ]
    line.arrive(behind, processed_at=at("12:05"))
    return line


def lags(found: dict[str, Any]) -> dict[str, int]:
    return {each["lag"]: each["records"] for each in found["lags"] if each["records"]}


def would_be_late(store: Command, *arguments: str) -> dict[float, int]:
    (found,) = store("lateness", *arguments, "--json").json["sources"]
    return {each["allowed_seconds"]: each["records"] for each in found["late"]}


# --- the histogram -------------------------------------------------------------------------------------


def test_a_lag_belongs_to_the_first_edge_that_it_does_not_exceed(line: Timeline, store: Command) -> None:
    line.arrive([f"2025-01-15T{clock}Z" for clock in EXACT], processed_at=NOON)
    (found,) = store("lateness", "--json").json["sources"]
    assert lags(found) == {"ahead": 1, "1s": 2, "10s": 2, "1m": 1, "10m": 1, "1h": 1, "6h": 1}


def test_each_range_of_days_has_a_lag_and_older_records_are_in_more(line: Timeline, store: Command) -> None:
    days = ["2025-01-14", "2025-01-08", "2024-12-16", "2024-12-15", "1999-01-01", "0001-01-01"]
    line.arrive([at("12:00", day) for day in days], processed_at=NOON)
    (found,) = store("lateness", "--json").json["sources"]
    assert lags(found) == {"1d": 1, "7d": 1, "30d": 1, "more": 3}


def test_staged_and_loaded_records_are_counted_alike(line: Timeline, store: Command) -> None:
    line.arrive([at("11:59")], processed_at=NOON)
    staged = store("lateness", "--json").out
    line.load()
    assert store("lateness", "--json").out == staged
    line.arrive([at("11:58")], processed_at=NOON)
    assert store("lateness", "--json").json["sources"][0]["records"] == 2


def test_each_batch_is_measured_by_its_own_arrival(line: Timeline, store: Command) -> None:
    line.arrive([at("11:59")], processed_at=NOON)
    line.arrive([at("11:59")], processed_at=at("18:00"))
    (found,) = store("lateness", "--json").json["sources"]
    assert lags(found) == {"1m": 1, "1d": 1}


def test_sources_are_counted_apart_and_chosen_by_name(line: Timeline, store: Command) -> None:
    line.arrive([at("11:59")], processed_at=NOON)
    line.arrive([at("11:59"), at("11:58")], processed_at=NOON, source="usgs")
    everything = store("lateness", "--json").json["sources"]
    assert [(each["source"], each["records"]) for each in everything] == [("shop", 1), ("usgs", 2)]
    (chosen,) = store("lateness", "usgs", "--json").json["sources"]
    assert chosen == everything[1]


def test_bars_are_as_long_as_their_counts(line: Timeline, store: Command) -> None:
    line.arrive([at("11:59")] * 1 + [at("11:30")] * 1, processed_at=NOON)
    line.arrive([at("11:31"), at("11:32")], processed_at=NOON)
    output = store("lateness").out
    assert re.search(r"^up to 1m +1  (█+)$", output, re.M)[1] == "█" * 14  # type: ignore[index]
    assert re.search(r"^up to 1h +3  (█+)$", output, re.M)[1] == "█" * 40  # type: ignore[index]
    assert re.search(r"^up to 10m +0$", output, re.M)
    assert "up to 10s" not in output


# --- what would be late --------------------------------------------------------------------------------


def test_records_are_late_against_the_watermark_as_it_stood_when_their_batch_began(
    late: Timeline, store: Command
) -> None:
    assert would_be_late(store) == {0: 3, 60: 2, 3600: 1, 86_400: 1, 604_800: 0}
    late.load()
    assert would_be_late(store) == {0: 3, 60: 2, 3600: 1, 86_400: 1, 604_800: 0}


def test_any_allowed_lateness_may_be_asked_for(late: Timeline, store: Command) -> None:
    assert would_be_late(store, "--allowed", "30s") == {30: 2}
    assert would_be_late(store, "--allowed", "29s", "--allowed", "2d", "--allowed", "90") == {
        29: 3,
        172_800: 0,
        90: 2,
    }
    assert would_be_late(store, "--allowed", "3000000d") == {259_200_000_000: 0}


def test_the_first_batch_of_a_source_has_nothing_late(line: Timeline, store: Command) -> None:
    line.arrive([NOON, at("12:00", "1999-01-01")])
    assert set(would_be_late(store).values()) == {0}


def test_the_table_has_a_column_for_each_allowed_lateness(late: Timeline, store: Command) -> None:
    output = store("lateness", "--allowed", "0", "--allowed", "15m").out
    assert re.search(r"^source +records +allowed 0 +allowed 15m$", output, re.M)
    assert re.search(r"^shop +6 +3 +2$", output, re.M)


def test_late_records_that_were_rejected_or_skipped_are_counted_apart(late: Timeline, store: Command) -> None:
    late.arrive([], received=9, skipped=2, rejected=7, reasons='{"late": 4, "late_entry": 3}')
    (found,) = store("lateness", "--json").json["sources"]
    assert (found["records"], found["not_loaded"]) == (6, 6)
    assert store("lateness").out.endswith("\nshop: 6 late records rejected or skipped, not counted above\n")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nosuch",), 1, "source 'nosuch' is unknown: the sources are shop"),
        (("--allowed", "soon"), 2, "--allowed 'soon' is not a length of time"),
        (("--allowed", "-1"), 2, "--allowed '-1' is not a length of time"),
        (("--allowed", "99999999999d"), 2, "is not a length of time"),
        (("--allowed", "1.5s"), 2, "--allowed 1.5s: give whole seconds"),
    ],
)
def test_a_usage_error_is_one_line(
    late: Timeline, store: Command, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ended = store("lateness", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)
    assert message in ended.err


def test_asking_writes_nothing_into_the_database(late: Timeline) -> None:
    for _ in range(2):
        with database.reading(late.engine, scratch=True) as connection:
            lateness.of_sources(connection)
    assert "arrival_limits" not in inspect(late.engine).get_table_names()


# --- the picture ---------------------------------------------------------------------------------------


class Recorded:
    """Stands where matplotlib's figure and axes do, and keeps what is asked of it."""

    def __init__(self, rows: int = 0) -> None:
        self.calls: dict[str, list[Any]] = {}
        self.rows = [Recorded() for _ in range(rows)]

    def subplots(self, rows: int, columns: int, squeeze: bool) -> list[tuple[Recorded]]:
        assert (len(self.rows), columns, squeeze) == (rows, 1, False)
        return [(row,) for row in self.rows]

    def __getattr__(self, name: str) -> Any:
        def called(*given: Any, **_: Any) -> None:
            self.calls[name] = list(given)

        return called


def test_the_picture_has_a_histogram_for_each_source(late: Timeline, store: Command) -> None:
    late.arrive([at("11:00")], processed_at=NOON, source="usgs")
    found = store("lateness", "--json").json
    figure = Recorded(rows=2)
    lateness_plot.draw(figure, found)
    shop, usgs = (row.calls for row in figure.rows)
    assert shop["set_title"] == ["Arrival lag of shop"]
    names, counts = usgs["bar"]
    assert dict(zip(names, counts, strict=True))["up to 1h"] == 1
    assert (len(names), sum(shop["bar"][1])) == (11, 6)


def test_nothing_is_drawn_of_nothing() -> None:
    figure = Recorded()
    lateness_plot.draw(figure, {"sources": []})
    assert figure.calls == {}


def test_without_matplotlib_the_plot_names_what_to_install(
    late: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    ended = store("lateness", "--plot", "lags.png")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "error: --plot needs matplotlib: pip install 'sluice[plot]'\n"


def test_the_plot_is_drawn_and_saved_where_it_is_asked_for(
    late: Timeline, store: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = Recorded(rows=1)
    monkeypatch.setattr(lateness_plot, "figure_for", lambda found: figure)
    ended = store("lateness", "--plot", "lags.png")
    assert (ended.code, figure.calls["savefig"]) == (0, [Path("lags.png")])
    assert "Arrival lag of shop" in ended.out


@pytest.mark.parametrize("error", [ValueError("no such format"), PermissionError("denied")])
def test_a_picture_that_cannot_be_written_is_a_usage_error(error: Exception) -> None:
    class Unwritable:
        def savefig(self, path: Path) -> None:
            raise error

    with pytest.raises(UsageError, match=r"'lags\.xyz' cannot be written"):
        lateness_plot.save(Unwritable(), Path("lags.xyz"))
