"""Where a server of ours listens, and what it refuses to be: one that others reach without a token, or in the clear."""

from __future__ import annotations

import hmac
import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from store import trust
from store.errors import ConfigError, UsageError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
TOKEN = "SLUICE_PAGE_TOKEN"  # noqa: S105 - the name of the variable
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Options:
    """How it was started."""

    host: str = "127.0.0.1"
    port: int = 8321
    allow_actions: bool = False
    names: tuple[str, ...] = ()  # others than its address, by which it is reached
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    by_header: str | None = None
    what: str = "the page"  # for messages

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def is_secure(self) -> bool:
        """Whether others reach it by https."""
        return self.certificate is not None or self.behind_proxy

    def check(self, token: str | None) -> None:
        """Raises UsageError for one that others could read or use without leave."""
        if (self.certificate is None) != (self.key is None):
            raise UsageError("--tls-certificate and --tls-key belong together: give both")
        if self.by_header and not self.behind_proxy:
            raise UsageError(
                "--by-header needs --behind-proxy: without a proxy that sets it, anybody may set the header"
            )
        if self.is_local and not self.behind_proxy:
            return
        reached = f"--host {self.host}" if not self.is_local else "--behind-proxy"
        if token is None:
            raise UsageError(
                f"{reached} lets others reach {self.what}: give a token with --token-file or the variable {TOKEN}"
            )
        if not self.is_secure:
            raise UsageError(
                f"{reached} would send the token in the clear: give --tls-certificate and --tls-key, or --behind-proxy "
                "where a proxy ends TLS"
            )
        if not self.names:
            raise UsageError(f"{reached}: give the name by which others reach {self.what} with --name")

    def hosts(self, port: int) -> set[str]:
        """What a client may call it: with the port, which it leaves out where that is the usual one."""
        own = {*LOOPBACK, *(() if self.is_local else (self.host,))}
        found = {f"{each}:{port}" for each in (*own, *self.names)} | set(self.names)
        return found | own if port in (80, 443) else found


def read_token(file: Path | None) -> str | None:
    """The token of a file, or of the variable. Raises ConfigError for one that is easily guessed."""
    if file is not None:
        try:
            text = trust.read_code(file).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--token-file {file} cannot be read: {error}") from error
    else:
        text = os.environ.get(TOKEN, "").strip()
    if not text and file is None:
        return None
    if len(text) < SHORTEST_TOKEN:
        raise ConfigError(
            f"the token has less than {SHORTEST_TOKEN} characters: make one with `openssl rand -hex 24`"
        )
    return text


def bears(header: str, token: str | None) -> bool:
    """Whether a header Authorization has the token, if one is needed."""
    return token is None or hmac.compare_digest(header.encode(), f"Bearer {token}".encode())


def listen(options: Options) -> socket.socket:
    """The socket. Raises UsageError."""
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        return socket.create_server((options.host, options.port), family=family)
    except OSError as error:
        raise UsageError(
            f"{options.what} cannot listen at {options.host}:{options.port} ({error.strerror}): give another --port"
        ) from error
