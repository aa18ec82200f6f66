"""Runs of the loader, batches, deliveries with their accounts, and moves of watermarks."""

from __future__ import annotations

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from store.reports import account as accounting
from store.reports import receipts, timing
from store.settings import ClockSettings
from store.tables import batches, deliveries
from worker.page.answering import number, page, reading, site_of

PER_PAGE = 25


@reading
def loads(request: Request, connection: Connection) -> Response:
    """The loader's runs."""
    found = receipts.runs(connection, PER_PAGE + 1, number(request, "before"))
    before = found[PER_PAGE - 1]["id"] if len(found) > PER_PAGE else None
    return page(request, "runs.html", runs=found[:PER_PAGE], before=before)


@reading
def received(request: Request, connection: Connection) -> Response:
    """Batches."""
    found = batches.recent(connection, PER_PAGE + 1, number(request, "before"))
    before = found[PER_PAGE - 1]["seq"] if len(found) > PER_PAGE else None
    return page(request, "batches.html", batches=found[:PER_PAGE], before=before)


@reading
def sent(request: Request, connection: Connection) -> Response:
    """Deliveries."""
    found = receipts.sent(connection, PER_PAGE + 1, number(request, "before"))
    before = found[PER_PAGE - 1]["id"] if len(found) > PER_PAGE else None
    return page(request, "deliveries.html", deliveries=found[:PER_PAGE], before=before)


@reading
def delivery(request: Request, connection: Connection) -> Response:
    """One delivery, and what became of each of its records."""
    seq = request.path_params["seq"]
    found = deliveries.recent(connection, 1, before=seq + 1)
    is_known = bool(found) and found[0]["seq"] == seq
    [account] = accounting.accounts(connection, delivery=seq)
    receipt = receipts.sent(connection, 1, before=seq + 1)[0] if is_known else None
    return page(
        request,
        "delivery.html",
        account=account,
        receipt=receipt,
        parts_of_sum=[name for name in accounting.PARTS if account[name]],
    )


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
