"""What is refused before any screen, and the headers of every answer: pure ASGI, around the application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY = 64 * 1024
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
READS = ("GET", "HEAD")
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Guard:
    """Lets through what the page is asked under one of its own names, and by its own forms."""

    app: ASGIApp
    hosts: frozenset[str]  # as in the header Host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    found[name] = value
                if "server" in found:
                    del found["server"]
            await send(message)

        status, why = refusal(scope["method"], headers, self.hosts)
        if why:
            await PlainTextResponse(f"{why}\n", status)(scope, receive, with_headers)
            return
        await self.app(scope, Bounded(receive).receive, with_headers)


@dataclass
class Bounded:
    """A body that ends when it is too long: no form of ours is."""

    inner: Receive
    read: int = 0

    async def receive(self) -> Message:
        message = await self.inner()
        self.read += len(message.get("body", b""))
        if self.read > MOST_BODY:
            return {"type": "http.disconnect"}
        return message


def refusal(method: str, headers: Mapping[str, str], hosts: Iterable[str]) -> tuple[int, str | None]:
    """The status and the words with which a request is refused; no words where it is not."""
    host = headers.get("host", "").lower()
    if host not in hosts:
        return 421, (
            "This page is not asked by the name that it has. Open it by the address that `worker page` printed; "
            "behind a proxy, give that name with --name."
        )
    if method in READS:
        return 200, None
    if method != "POST":
        return 405, "This page knows GET and POST."
    why = _cross_site(headers, host)
    return (403, why) if why else _not_a_form(headers)


def _not_a_form(headers: Mapping[str, str]) -> tuple[int, str | None]:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        return 415, "Only a form of this page is taken."
    length = headers.get("content-length", "")
    if length and (not length.isdigit() or int(length) > MOST_BODY):
        return 413, f"A form has {MOST_BODY:,} bytes at most."
    return 200, None


def _cross_site(headers: Mapping[str, str], host: str) -> str | None:
    """Why a POST does not come from this page. With no-referrer a browser sends `Origin: null`, and says where from."""
    refused = (
        "This was not sent by a form of this page, and nothing was done. Open the page and use its own form."
    )
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return refused
    if origin in (None, "null"):
        return None if site == "same-origin" else refused
    return None if urlsplit(origin).netloc.lower() == host else refused
