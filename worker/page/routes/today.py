"""Today: do the books balance, what came in, who works, which sources are silent, and what was rejected most."""

from __future__ import annotations

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from store.dead_letters import groups
from store.dead_letters.filters import Filter
from store.errors import SluiceError
from store.reports import counts
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
        is_empty=not batches.is_any(connection),
        laws=laws,
        broken=[law for law in laws.value["laws"] if not law["holds"]] if laws.value else [],
        checking=site.laws.checking,
        queue=site.queue.get(),
        letters_seen=counts.letters(connection),
        open=groups.count_open(connection),
        replaying=groups.count_replaying(connection),
        groups=[group_row(site.masks, each) for each in found["groups"]],
        most=GROUPS,
        picture=bars(
            "Records received in each hour, and those rejected", hours, "hour", "received", "rejected"
        ),
        late=bars("Late records in each hour", hours, "hour", "late")
        if any(each["late"] for each in hours)
        else None,
        past_days=reports.PAST_DAYS,
        suggestions=site.suggestions,
    )


async def follow(request: Request) -> Response:
    """The numbers of the page as they change, for those who have JavaScript."""
    feed, action = site_of(request).feed, request.query_params.get("action", "")
    if asks_for_login(request):
        return PlainTextResponse("Log in.\n", 403)
    if not feed.takes_more:
        return PlainTextResponse("Too many look: load the page again to see newer numbers.\n", 503)
    seq = int(action) if action.isascii() and action.isdigit() and len(action) < 19 else None
    headers = {"x-accel-buffering": "no"}  # a proxy that waits for the end would show nothing
    return StreamingResponse(feed.follow(seq), media_type="text/event-stream", headers=headers)
