"""Runs of the loader, batches, deliveries with their accounts, and moves of watermarks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from store.reports import account as accounting
from store.reports import counts, receipts, timing
from store.settings import ClockSettings
from store.tables import batches
from worker.page import commands
from worker.page.answering import number, page, problem, reading, site_of
from worker.page.drawing import bars
from worker.page.readings import account_of

PER_PAGE = 25
AT_ONCE_SECONDS = 0.05
QUICK, BEHIND = "records a second", "seconds behind"


@reading
def loads(request: Request, connection: Connection) -> Response:
    """The loader's runs, how quick they were, and how far behind the watermark was after each."""
    found = receipts.runs(connection, PER_PAGE + 1, number(request, "before"))
    before = found[PER_PAGE - 1]["id"] if len(found) > PER_PAGE else None
    rows = [{**each, **_pace(each)} for each in found[:PER_PAGE]]
    in_order = rows[::-1]
    return page(
        request,
        "runs.html",
        runs=rows,
        before=before,
        throughput=bars("Records a second of each run, the latest at the right", in_order, "name", QUICK),
        lateness=bars(
            "Seconds that the watermark was behind after each run, the latest at the right",
            in_order,
            "name",
            BEHIND,
        ),
        quick=QUICK,
        behind=BEHIND,
        **news(request, connection, "runs"),
    )


def _pace(run: dict[str, Any]) -> dict[str, Any]:
    """What the pictures show of a run; None: not known."""
    seconds, watermark, ended = run["duration_seconds"], run["watermark_after"], run["finished_at"]
    behind = None
    if watermark and ended:
        behind = (datetime.fromisoformat(ended) - datetime.fromisoformat(watermark)).total_seconds()
    return {
        "name": f"run {run['id']}",
        QUICK: round(run["records_in"] / seconds) if seconds > 0 else None,
        BEHIND: None if behind is None else round(max(behind, 0.0)),
    }


@reading
def received(request: Request, connection: Connection) -> Response:
    """Batches."""
    found = batches.recent(connection, PER_PAGE + 1, number(request, "before"))
    before = found[PER_PAGE - 1]["seq"] if len(found) > PER_PAGE else None
    return page(
        request,
        "batches.html",
        batches=found[:PER_PAGE],
        before=before,
        **news(request, connection, "batches"),
    )


@reading
def sent(request: Request, connection: Connection) -> Response:
    """Deliveries."""
    found = receipts.sent(connection, PER_PAGE + 1, number(request, "before"))
    before = found[PER_PAGE - 1]["id"] if len(found) > PER_PAGE else None
    return page(
        request,
        "deliveries.html",
        deliveries=found[:PER_PAGE],
        before=before,
        **news(request, connection, "deliveries"),
    )


@reading
def delivery(request: Request, connection: Connection) -> Response:
    """One delivery, as the counters of its batches say at once."""
    seq = request.path_params["seq"]
    found = accounting.in_short(connection, seq)
    [receipt] = receipts.sent(connection, 1, before=seq + 1)
    return page(request, "delivery.html", delivery=found, receipt=receipt)


@reading
def counted(request: Request, connection: Connection) -> Response:
    """What became of each record of a delivery: a command reads the target, which takes seconds where that is large."""
    seq = request.path_params["seq"]
    accounting.in_short(connection, seq)  # it is known
    found = site_of(request).accounts.of(seq, AT_ONCE_SECONDS)
    if found is None:
        typed, back = commands.shown(account_of(seq)), f"/deliveries/{seq}"
        return page(request, "working.html", typed=typed, back=back, name="the delivery")
    if found.value is None:
        return problem(request, 409, "It could not be counted", found.problem or "")
    parts = [name for name in accounting.PARTS if found.value[name]]
    return page(request, "account.html", account=found.value, parts_of_sum=parts, counted_at=found.at)


@reading
def watermarks(request: Request, connection: Connection) -> Response:
    """The watermark of each source, and the latest moves."""
    skew = ClockSettings.load().max_future_skew
    site = site_of(request)
    found = timing.watermark(connection, skew, site.store.idle_after)
    moves = timing.moves(connection, None, PER_PAGE)
    for each in (*found["sources"], *moves):
        each["record_key"] = site.masks.source(each["source"]).key(each["record_key"])
    return page(request, "watermarks.html", found=found, moves=moves)


def news(request: Request, connection: Connection, name: str) -> dict[str, Any]:
    """Of a list: whether this is its first page, and how much there is of it: more than that is new."""
    return {
        "is_first": number(request, "before") is None,
        "seen": counts.rows(connection, counts.LISTS[name]),
    }
