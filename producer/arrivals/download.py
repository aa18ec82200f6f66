"""The file behind an address, in a private temporary folder: so it can be hashed before anything of it is sent."""

from __future__ import annotations

import base64
import http
import http.client
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO, Any

from producer.arrivals.address import SCHEMES, Address
from producer.settings import ProducerSettings
from store.errors import ConfigError, InputError

_PIECE_BYTES = 1 << 18
Progress = Callable[[int, int | None], None]  # bytes read, and in all, where the server says how many


@contextmanager
def fetched(address: Address, settings: ProducerSettings, progress: Progress) -> Iterator[str]:
    """The path of the file, for as long as the block lasts. Raises InputError."""
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:  # readable by its owner alone
        try:
            with _opener().open(_request(address), timeout=settings.url_timeout_seconds) as answer:
                if answer.status != http.HTTPStatus.OK:
                    raise InputError(_of_status(address, answer.status))
                path = Path(folder) / _file_name(address, answer.headers)
                with path.open("wb") as file:
                    _copy(answer, file, settings.url_max_bytes, progress)
        except urllib.error.HTTPError as error:
            error.close()
            raise InputError(_of_status(address, error.code)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise InputError(f"{address.shown}: {_why(error, settings)}; nothing of it was sent") from None
        yield str(path)


def _request(address: Address) -> urllib.request.Request:
    request = urllib.request.Request(  # noqa: S310  # an Address is http or https
        address.url, headers={"User-Agent": "sluice", "Accept": "*/*", "Accept-Encoding": "identity"}
    )
    if address.user is not None or address.password is not None:
        login = base64.b64encode(f"{address.user or ''}:{address.password or ''}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {login}")  # another host must not see it
    return request


class _Redirects(urllib.request.HTTPRedirectHandler):
    """To http and https alone, and not from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        fp.close()
        try:
            to = Address.of(newurl)
        except ConfigError:
            raise _BadRedirect("to what is no address") from None
        scheme = newurl.partition(":")[0].lower()
        if scheme not in SCHEMES or (req.type == "https" and scheme == "http"):
            raise _BadRedirect(f"from {req.type} to {scheme}")
        if to.user is not None or to.password is not None:
            raise _BadRedirect("to an address with a user or a password")
        found = super().redirect_request(req, fp, code, msg, headers, to.url)
        login = req.get_header("Authorization")
        if found and login and (found.type, found.host) == (req.type, req.host):
            found.add_unredirected_header("Authorization", login)
        return found


class _BadRedirect(ValueError):
    """A redirect that is not followed."""

    def __init__(self, where: str) -> None:
        super().__init__(f"the server redirects {where}, which is not followed: give the final address")


class _TooLong(ValueError):
    """An answer beyond the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the answer has more than {limit:,} bytes: raise url_max_bytes under [producer], or load it by hand"
        )


class _Cut(ValueError):
    """An answer that ended too early."""

    def __init__(self, size: int, length: int) -> None:
        super().__init__(f"the connection ended after {size:,} of {length:,} bytes: try again")


class _Encoded(ValueError):
    """An answer that is compressed in a way that was not asked for."""

    def __init__(self, encoding: str) -> None:
        super().__init__(f"the server sends it as {encoding[:20]!r}, which is not read: load it by hand")


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_Redirects)


def _file_name(address: Address, headers: Message) -> str:
    """Its name, with `.gz` where the server says that it sends gzip data."""
    encoding = (headers.get("Content-Encoding") or "identity").strip().lower()
    if encoding in ("gzip", "x-gzip"):
        return address.file if address.file.lower().endswith(".gz") else f"{address.file}.gz"
    if encoding not in ("identity", ""):
        raise _Encoded(encoding)
    return address.file


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], limit: int, progress: Progress) -> None:
    given = answer.headers.get("Content-Length", "")
    length = int(given) if given.isascii() and given.isdigit() and not answer.chunked else None
    if length is not None and length > limit:
        raise _TooLong(limit)
    size = 0
    while piece := answer.read1(_PIECE_BYTES):
        size += len(piece)
        if size > limit:
            raise _TooLong(limit)
        file.write(piece)
        progress(size, length)
    if length is not None and size < length:  # http.client does not tell
        raise _Cut(size, length)


def _of_status(address: Address, status: int) -> str:
    name = http.client.responses.get(status, "")
    if status in (401, 403):
        advice = "check user and password (`https://USER:PASSWORD@host/…`), or the token in it"
    elif 300 <= status < 400:
        advice = "it redirects in a circle, or to what is no address on the web: give the final address"
    elif status in (404, 410):
        advice = "check the address"
    elif status == 429 or status >= 500:
        advice = "try again later"
    else:
        advice = "look at it in a browser"
    return (
        f"{address.shown}: the server answers {status} {name}".rstrip()
        + f": {advice}; nothing of it was sent"
    )


def _why(error: Exception, settings: ProducerSettings) -> str:
    """Never the words of an error that may hold the address."""
    if isinstance(error, _BadRedirect | _TooLong | _Cut | _Encoded):
        return str(error)
    reason = getattr(error, "reason", error)
    found = f"the answer cannot be read ({type(error).__name__}): try again"
    if isinstance(reason, TimeoutError):
        found = (
            f"the server sent nothing for {settings.url_timeout_seconds:g} s: try again, or raise "
            "url_timeout_seconds under [producer]"
        )
    elif isinstance(reason, ssl.SSLCertVerificationError):
        found = f"its certificate is not trusted ({reason.verify_message}): check the address"
    elif isinstance(reason, ssl.SSLError):
        found = "no TLS connection: check the address"
    elif isinstance(error, http.client.IncompleteRead):
        found = "the connection ended too early: try again"
    elif isinstance(reason, OSError) and reason.strerror:
        found = f"it cannot be loaded ({reason.strerror}): check the address, the network and the disk"
    return found
