"""URLs of databases and of Redis: shown to people without secrets, which are also removed from texts of libraries.

A URL may have a user, a password, and options that are secrets too (`?password=`, `sslpassword`). So people are
shown its scheme, host, port and database, and nothing else, whatever it contains.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus

from store.text import printable

HIDDEN = "***"
# What follows the last @ of a URL, up to its options: `host:5432/name`.
HOST = r"(\[[\w:.%]+\]|[\w.-]+)?(:\d+)?"
LOCATION = re.compile(rf"{HOST}(/[\w.%+ -]*)?")
# Of the Sentinels of a Redis: several hosts, and the name of their master before the number of the database.
SENTINELS = re.compile(rf"{HOST}(,{HOST})*(/[\w.-]+)?(/\d+)?/?")
PATH_SCHEMES = ("sqlite", "unix")  # a path follows, and no host
SHORT = 4  # characters: a shorter secret is removed where it is a word
# Options of everyday values, which would be removed from every sentence.
HARMLESS = re.compile(r"(?i)(?!.*(user|pass|secret|token|key)).*=(true|false|yes|no|none|\d{1,3})")

_secrets: set[str] = set()  # of the URLs in force: removed wherever they occur
_users: set[str] = set()  # removed where a text speaks of a user: a user's name may be an everyday word


def shown_url(url: str) -> str:
    """`scheme://host:port/database` of a URL, or the part of it that certainly contains no secret."""
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[a-zA-Z][\w+.-]*", scheme):
        return "(not a URL)"
    rest, _, options = rest.partition("?")
    if "@" in options:  # a `?` in a password looks like the beginning of options
        return f"{scheme}://"
    location = rest[len(_login(rest)) :].removeprefix("@")
    if scheme.partition("+")[0] in PATH_SCHEMES:
        return f"{scheme}://{printable(unquote(location))}"
    whole = SENTINELS if scheme.endswith("+sentinel") else LOCATION
    return f"{scheme}://{location}" if whole.fullmatch(location) else f"{scheme}://"


def keep_secret(url: str) -> None:
    """From now on `without_secrets` removes what this URL has beside scheme, host, port and database."""
    for pieces, collection in ((_secret_pieces(url), _secrets), (_user_names(url), _users)):
        for piece in pieces:
            collection.update({piece, unquote(piece), unquote_plus(piece)} - {""})


def without_secrets(text: str) -> str:
    """A text, mostly of a library's error, without the secrets of the URLs in force."""
    for secret in sorted(_secrets, key=len, reverse=True):
        if len(secret) >= SHORT:
            text = text.replace(secret, HIDDEN)
        else:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)
    for user in _users:
        text = re.sub(rf"(user\W{{1,3}}|[\"']){re.escape(user)}(?!\w)", rf"\g<1>{HIDDEN}", text)
    return text


def _login(rest: str) -> str:
    """`user:password` of what follows `://`."""
    return "" if rest.startswith("/") else rest.rpartition("@")[0]


def _secret_pieces(url: str) -> Iterator[str]:
    """The password and the options; the login as a whole, for a password may contain every character."""
    rest = url.partition("://")[2]
    user, separator, password = _login(rest).partition(":")
    yield password
    yield from re.split(
        "[@:/?#]", password
    )  # a library may take such a character for the end of the password
    yield user + separator + password if separator else ""
    options = rest.partition("?")[2]
    yield options
    for option in re.split("[&;]", options):
        name, _, value = option.partition("=")
        if not HARMLESS.fullmatch(option) and name.lower() not in ("user", "username"):
            yield value


def _user_names(url: str) -> Iterator[str]:
    rest = url.partition("://")[2]
    yield _login(rest).partition(":")[0]
    for option in re.split("[&;]", rest.partition("?")[2]):
        name, _, value = option.partition("=")
        if name.lower() in ("user", "username"):
            yield value
