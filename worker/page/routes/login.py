"""A login: the one-time key of the address that was printed, or the token, exchanged for a cookie."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from worker.page.answering import field, given, page, problem, see, session_of, site_of
from worker.page.session import COOKIE, COOKIE_SECONDS


async def asked(request: Request) -> Response:
    """The form: a key is used up by a form alone, for programs look at addresses too."""
    site = site_of(request)
    needs_token = site.sessions.token is not None
    return page(request, "login.html", key=given(request, "key") or "", needs_token=needs_token, wrong=False)


async def taken(request: Request) -> Response:
    """The exchange."""
    site = site_of(request)
    form = await request.form(max_fields=10, max_files=0)
    cookie = site.sessions.login(field(form, "key"))
    if cookie is None:
        needs_token = site.sessions.token is not None
        return page(request, "login.html", 403, key="", needs_token=needs_token, wrong=True)
    answer = see("/")
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=COOKIE_SECONDS,
        path="/",
        secure=site.is_secure,
        httponly=True,
        samesite="strict",
    )
    return answer


async def ended(request: Request) -> Response:
    """The end of a login, in this browser."""
    if session_of(request) is None:
        return problem(request, 403, "Nothing was done", "You are not logged in.")
    answer = see("/")
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer
