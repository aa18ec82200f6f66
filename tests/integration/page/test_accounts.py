"""A delivery is a sum at once; a command counts what became of each of its records, when somebody asks."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from store.errors import UsageError
from worker.page import readings

from ..plant import Plant, ndjson, row
from .conftest import InProcess, Page, words


def test_a_delivery_is_a_sum_at_once_and_each_record_is_counted_when_asked_for(
    fed: Plant, page: Page
) -> None:
    fed.run(ndjson(row("c1", value=2.5, ts="2025-02-15T12:00:00Z")), "later.ndjson", source="shop")
    at_once = page.get("/deliveries/1")
    assert "5 received = 1 staged + 4 rejected + 0 skipped" in words(at_once)
    assert "1 staged = 1 inserted" in words(at_once)
    assert 'href="/deliveries/1/count"' in at_once
    shown = words(page.account(1))
    assert "5 received = 1 replaced + 4 open" in shown
    assert re.search(r"delivery 2 ?, \S*later.ndjson: 1", shown)
    assert "It adds up" in shown


def test_an_account_is_counted_by_a_command_that_keeps_no_reader_waiting(fed: Plant, page: Page) -> None:
    goes_on = threading.Event()
    begun: list[Sequence[str]] = []

    def start(typed: Sequence[str]) -> Any:
        begun.append(typed)
        assert goes_on.wait(60)
        return page.start(typed)

    page.site.accounts.start = start
    assert "Still at work" in page.get("/deliveries/1/count")
    assert "Back to the delivery" in page.get("/deliveries/1/count")
    goes_on.set()
    assert "It adds up" in page.account(1)
    assert "It adds up" in page.account(1)  # again, without counting
    assert begun == [["store", "account", "--delivery=1", "--json"]]


def test_an_account_that_cannot_be_counted_says_why(fed: Plant, page: Page) -> None:
    page.site.accounts.start = lambda _: InProcess(["store", "account", "--delivery=99", "--json"])
    page.site.accounts.of(1, 60)
    assert "delivery 99 is unknown" in page.get("/deliveries/1/count", 409)


def test_an_account_is_counted_anew_when_it_is_old(fed: Plant, page: Page) -> None:
    now = [0.0]
    page.site.accounts.clock = lambda: now[0]
    assert "1 in target" in words(page.account(1))
    fed.run(ndjson(row("c1", value=2.5, ts="2025-02-15T12:00:00Z")), "later.ndjson", source="shop")
    assert "1 in target" in words(page.account(1))
    now[0] = readings.COUNTED_SECONDS
    assert "1 replaced" in words(page.account(1))


def test_only_so_many_are_counted_at_a_time(fed: Plant, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "MOST_COUNTED", 1)
    goes_on = threading.Event()

    def start(typed: Sequence[str]) -> Any:
        assert goes_on.wait(60)
        return page.start(typed)

    page.site.accounts.start = start
    assert page.site.accounts.of(1, 0) is None
    with pytest.raises(UsageError, match="1 deliveries are being counted"):
        page.site.accounts.of(2, 0)
    goes_on.set()
    assert page.site.accounts.of(1, 60)
    assert page.site.accounts.of(2, 60)
