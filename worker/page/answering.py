"""How a screen is answered: by a reading function over one view of the database, or by an acting one, for a form."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from store import database, timestamps
from store.errors import SluiceError, StoreUnavailable, UsageError
from worker.page import text
from worker.page.session import COOKIE
from worker.page.site import Site

FOLDER = Path(__file__).parent
SEE_OTHER = 303

Endpoint = Callable[[Request], Awaitable[Response]]
Reading = Callable[[Request, Connection], Response]
Acting = Callable[[Request, FormData, str], Response]


def templates() -> Environment:
    """The templates: all they print is escaped, and shows what a browser would hide."""
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=text.visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": text.number,
        "counted": text.counted,
        "moment": text.moment,
        "span": text.length,
        "share": text.share,
        "lines": text.lines_of,
        "part": lambda value: quote(str(value), safe=""),
    }
    return made


TEMPLATES = templates()


def site_of(request: Request) -> Site:
    """The page that was asked."""
    found: Site = request.app.state.site
    return found


def session_of(request: Request) -> str | None:
    """The login that the request has."""
    return site_of(request).sessions.session(request.cookies.get(COOKIE))


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A screen."""
    site, session = site_of(request), session_of(request)
    may_act = site.sessions.may_act and session is not None

    def form_token(path: str) -> str:
        return site.sessions.form_token(session or "", path)

    found = {
        "may_act": may_act,
        "acting_is_on": site.sessions.may_act,
        "logged_in": session is not None,
        "form_token": form_token,
        "now": timestamps.now(),
        "age": text.age,
        "path": request.url.path,
        "masks": site.masks,
        **context,
    }
    return HTMLResponse(TEMPLATES.get_template(template).render(found), status)


def problem(request: Request, status: int, title: str, why: str) -> Response:
    """A screen that says what is wrong, and what to do."""
    return page(request, "problem.html", status, title=title, why=why)


def see(path: str) -> Response:
    """To another screen, after a form."""
    return RedirectResponse(path, SEE_OTHER)


def asks_for_login(request: Request) -> Response | None:
    """Where a token is needed, and the request has no login: to the login."""
    site = site_of(request)
    return see("/login") if site.sessions.token is not None and session_of(request) is None else None


def reading(handler: Reading) -> Endpoint:
    """A screen that is read from the database, in a thread, over one consistent view."""

    @wraps(handler)
    async def endpoint(request: Request) -> Response:
        login = asks_for_login(request)
        return login if login is not None else await run_in_threadpool(_read, handler, request)

    return endpoint


def _read(handler: Reading, request: Request) -> Response:
    try:
        with database.reading(site_of(request).engine) as connection:
            return handler(request, connection)
    except SluiceError as error:
        return refused(request, error)


def refused(request: Request, error: SluiceError) -> Response:
    """An error of ours as a screen."""
    if isinstance(error, StoreUnavailable):
        return problem(request, 503, "The database does not answer", str(error))
    if isinstance(error, UsageError):
        return problem(request, 400, "This cannot be answered", str(error))
    return problem(request, 404, "Nothing found", str(error))


def acting(handler: Acting) -> Endpoint:
    """What a form does: for a login that may act, with the token of that form, in a thread."""

    @wraps(handler)
    async def endpoint(request: Request) -> Response:
        site, session = site_of(request), session_of(request)
        if not site.sessions.may_act:
            why = "This page only reads, and nothing was done. Start it with `worker page --allow-actions` to act."
            return problem(request, 403, "Nothing was done", why)
        if session is None:
            why = "You are not logged in, and nothing was done. Open the login address that `worker page` printed."
            return problem(request, 403, "Nothing was done", why)
        form = await request.form(max_fields=100, max_files=0)
        why_not = site.sessions.refusal(session, request.url.path, field(form, "form_token"))
        if why_not:
            return problem(request, 403, "Nothing was done", why_not)
        by = site.actor(request.headers.get(site.by_header) if site.by_header else None)
        if by is None:
            why = f"The header {site.by_header} names nobody, and nothing was done. The proxy must set it."
            return problem(request, 403, "Nothing was done", why)
        return await run_in_threadpool(_act, handler, request, form, by)

    return endpoint


def _act(handler: Acting, request: Request, form: FormData, by: str) -> Response:
    try:
        return handler(request, form, by)
    except UsageError as error:
        return problem(request, 409, "Nothing was done", str(error))
    except SluiceError as error:
        return refused(request, error)


def field(form: Mapping[str, Any], name: str) -> str:
    """A text of a form; empty where it has none."""
    found = form.get(name, "")
    return found.strip() if isinstance(found, str) else ""


def number(request: Request, name: str) -> int | None:
    """A number of the address. Raises UsageError."""
    given = request.query_params.get(name)
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise UsageError(f"{name} = {given!r} is no number")
    return int(given)


def given(request: Request, name: str) -> str | None:
    """A text of the address; None for an empty one."""
    return request.query_params.get(name) or None
