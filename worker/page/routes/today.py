"""Today: do the books balance, what came in, who works, which sources are silent, and what was rejected most."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from store import timestamps
from store.dead_letters import groups
from store.dead_letters.filters import Filter
from store.errors import SluiceError
from store.reports import letters as answers
from store.reports import today as reports
from store.tables import batches
from worker.page.answering import asks_for_login, page, reading, site_of
from worker.page.drawing import bars
from worker.page.routes.groups import group_row

GROUPS = 20


@reading
def today(request: Request, connection: Connection) -> Response:
    """The page at nine in the morning."""
    site = site_of(request)
    known = site.today.get()
    if known.value is None:
        raise SluiceError(known.problem or "nothing could be read")
    laws = site.laws.look()
    found = answers.grouped(connection, Filter(status="open"), GROUPS)
    hours = known.value["hours"]
    return page(
        request,
        "today.html",
        known=known,
        today=known.value,
        is_empty=batches.count(connection) == 0,
        laws=laws,
        broken=[law for law in laws.value["laws"] if not law["holds"]] if laws.value else [],
        checking=site.laws.checking,
        queue=site.queue.get(),
        open=groups.count_open(connection),
        replaying=groups.count_replaying(connection),
        groups=[group_row(site.masks, each) for each in found["groups"]],
        most=GROUPS,
        picture=bars(
            "Records received in each hour, and those rejected", hours, "hour", "received", "rejected"
        ),
        past_days=reports.PAST_DAYS,
        suggestions=site.suggestions,
    )


async def numbers(request: Request) -> Response:
    """The numbers of the page alone, for those who have JavaScript."""
    if asks_for_login(request):
        return JSONResponse({}, 403)
    return JSONResponse(await run_in_threadpool(_numbers, request))


def _numbers(request: Request) -> dict[str, Any]:
    site = site_of(request)
    today, queue = site.today.get(), site.queue.get()
    found: dict[str, Any] = {name: queue.value[name] for name in ("queued", "workers")} if queue.value else {}
    if today.value:
        found |= {"pending": today.value["pending"], "received": today.value["sum"]["received"]}
        found |= {"rejected": today.value["sum"]["rejected"]}
    at = timestamps.to_iso(timestamps.to_text(today.at)) if today.at else None
    return {"numbers": {name: f"{value:,}" for name, value in found.items()}, "at": at}
