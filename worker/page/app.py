"""The application: which address is which screen, and what is around all of them."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from worker.page.answering import FOLDER, problem
from worker.page.routes import actions, groups, letters, login, metrics, records, runs, today, work
from worker.page.safety import Guard
from worker.page.site import Site

ROUTES: list[BaseRoute] = [
    Route("/", today.today),
    Route("/follow", today.follow),
    Route("/metrics", metrics.scraped),
    Route("/groups", groups.listed),
    Route("/groups/{id}", groups.shown),
    Route("/groups/{id}/letters.csv", groups.exported),
    Route("/groups/{id}/test.py", groups.as_pytest),
    Route("/groups/{id}/suggest", groups.suggest, methods=["POST"]),
    Route("/groups/{id}/prove", groups.prove, methods=["POST"]),
    Route("/groups/{id}/{verb}", groups.moved, methods=["POST"]),
    Route("/letters", letters.listed),
    Route("/letters/{id}", letters.shown),
    Route("/letters/{id}/payload", letters.payload),
    Route("/letters/{id}/{verb}", letters.moved, methods=["POST"]),
    Route("/trials/{id}", work.shown),
    Route("/trials/{id}/replay", work.replay, methods=["POST"]),
    Route("/actions", actions.listed),
    Route("/actions/{seq:int}", actions.shown),
    Route("/actions/{seq:int}/undo", actions.undone, methods=["POST"]),
    Route("/actions/{seq:int}/stop", actions.stopped, methods=["POST"]),
    Route("/runs", runs.loads),
    Route("/batches", runs.received),
    Route("/deliveries", runs.sent),
    Route("/deliveries/{seq:int}", runs.delivery),
    Route("/deliveries/{seq:int}/count", runs.counted),
    Route("/watermarks", runs.watermarks),
    Route("/records", records.searched),
    Route("/login", login.asked),
    Route("/login", login.taken, methods=["POST"]),
    Route("/logout", login.ended, methods=["POST"]),
    Route(
        "/favicon.ico", lambda _: FileResponse(FOLDER / "static" / "icon.svg")
    ),  # browsers ask of themselves
    Mount("/static", StaticFiles(directory=FOLDER / "static")),
]


def build(site: Site, hosts: Iterable[str]) -> Guard:
    """The page, for those who ask it under one of these names."""
    app = Starlette(routes=ROUTES, exception_handlers={HTTPException: _http, ClientDisconnect: _too_long})
    app.state.site = site
    return Guard(app, frozenset(each.lower() for each in hosts))


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return problem(request, 404, "Nothing found", "There is no such screen. Begin at Today.")
    return problem(request, status, "This cannot be answered", "The page knows no such request.")


async def _too_long(request: Request, error: Exception) -> Response:
    del error
    return problem(request, 413, "Nothing was done", "The form was too long, or its end did not come.")
