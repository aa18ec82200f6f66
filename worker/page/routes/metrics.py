"""`/metrics`, for Prometheus: everybody reads it who may read the page, by a login or by the token itself."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from store.errors import ConfigError
from worker.listening import bears
from worker.page.answering import session_of, site_of


async def scraped(request: Request) -> Response:
    """The metrics of store and queue, read at most every few seconds."""
    site, token = site_of(request), site_of(request).sessions.token
    if session_of(request) is None and not bears(request.headers.get("authorization", ""), token):
        why = "Send the token: `Authorization: Bearer TOKEN`.\n"
        return PlainTextResponse(why, 401, {"www-authenticate": "Bearer"})
    try:
        text, kind = await run_in_threadpool(site.metrics.exposed, request.headers.get("accept", ""))
    except ConfigError as error:
        return PlainTextResponse(f"{error}\n", 503)
    return Response(text, headers={"content-type": kind})
