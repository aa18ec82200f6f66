"""Addresses on the web: what may be shown and stored of one, and what its file is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from store.addresses import keep_secret
from store.errors import ConfigError

HIDDEN = "***"
SCHEMES = ("http", "https")
_SECRET_NAMES = re.compile(
    r"(?i)pass|pwd|secret|token|key|sig|auth|cred|session|jwt|sas|access|user|login|mail|code|hash|hmac|nonce|cookie"
    r"|^(?:pw|psw|pin|otp)$"
)
# A value that no person types: 16 characters or more in one word, with digits in it.
_RANDOM = re.compile(r"(?=.*\d)[A-Za-z0-9+/=_.~%-]{16,}")
_EVERYDAY = re.compile(r"[\d:.TZ+-]+|\d{4}-\d\d-\d\d.*")  # times and numbers
_ODD = re.compile(r"[^A-Za-z0-9._ ()+-]")


@dataclass(frozen=True)
class Address:
    """An address of http or https, taken apart."""

    url: str  # without user, password and fragment: what is asked for
    shown: str  # in messages and in lineage: also without the values of a query that may be secrets
    user: str | None
    password: str | None
    file: str  # the last part of its path, which shows the format

    @classmethod
    def of(cls, text: str) -> Address:
        """Raises ConfigError, without a word of the address that may be secret."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise _no_address() from None
        if not parts.hostname or not text.isprintable() or any(map(str.isspace, text)):
            raise _no_address()
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        if not re.fullmatch(r"\[[\w:.%]+\]|[\w.-]+", host):
            raise _no_address()
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        where = f"{parts.scheme.lower()}://{_ascii(host)}{'' if port is None else f':{port}'}"
        path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
        query = quote(parts.query, safe="=&%:@!$'()*+,;/?~-._")
        for secret in (password, *_secret_values(query)):
            if secret:
                keep_secret(f"{parts.scheme}://{quote(user or '', safe='')}:{quote(secret, safe='%')}@{host}")
        asked = f"{where}{path or '/'}" + (f"?{query}" if query else "")
        shown = f"{where}{path or '/'}" + (f"?{_shown_query(query)}" if query else "")
        name = _ODD.sub("_", unquote(path.rpartition("/")[2])).lstrip(".")[-100:] or "file"
        return cls(asked, shown, user, password, name)


def is_address(path: str) -> bool:
    """Whether an input is an address and no file."""
    return path.lower().startswith(tuple(f"{scheme}://" for scheme in SCHEMES))


def _no_address() -> ConfigError:
    return ConfigError(
        "an address that was given cannot be read: write it as https://host/path; nothing was sent"
    )


def _ascii(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise _no_address() from None


def _is_secret(name: str, value: str) -> bool:
    is_random = _RANDOM.fullmatch(value) and not _EVERYDAY.fullmatch(value)
    return bool(value) and bool(_SECRET_NAMES.search(name) or is_random)


def _options(query: str) -> list[str]:
    """The options of a query, with what stands between them."""
    return re.split(r"([&;])", query)


def _shown_query(query: str) -> str:
    """A query in which secrets are hidden; a part without a name may be one as a whole."""
    return "".join(part if part in "&;" else _shown_option(part) for part in _options(query))


def _shown_option(option: str) -> str:
    name, separator, value = option.partition("=")
    if not separator:
        return HIDDEN if _RANDOM.fullmatch(name) else name
    return f"{name}={HIDDEN}" if _is_secret(unquote(name), value) else option


def _secret_values(query: str) -> list[str]:
    options = [option.partition("=") for option in _options(query)]
    return [value for name, _, value in options if len(value) > 3 and _is_secret(unquote(name), value)]
