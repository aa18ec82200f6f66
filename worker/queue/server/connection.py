"""A connection to what REDIS_URL names: one server, or the master that Sentinels name; and no Redis Cluster.

    redis+sentinel://USER:PASSWORD@HOST:26379,HOST,HOST/MASTER/0?OPTIONS        rediss+sentinel:// for TLS

User, password and options are those of the master; the Sentinels have the options for TLS too, and a login of their own
as the options `sentinel_username` and `sentinel_password`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import SSLConnection, parse_url
from redis.exceptions import ResponseError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection

from store.errors import ConfigError

SCHEMES = ("redis+sentinel://", "rediss+sentinel://")
SENTINEL_PORT = 26379
SENTINEL_SECONDS = 2.0  # one that does not answer is passed over
HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(\d+))?")
PATH = re.compile(r"([\w.-]+)(?:/(\d+))?/?")

NO_CLUSTER = (
    "it is a Redis Cluster. A batch moves between queue, job and registries in one transaction, and a cluster takes "
    "transactions over keys of one slot alone"
)


class _AsksAgain:
    """What a connection to a server does and redis-py's to a master does not.

    One that was cut is connected to where it was, which may be a replica now: ours asks the Sentinels. One whose
    reading was broken off, as by the signal that stops a worker, is used again with that answer in it: ours is closed.
    """

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        own: Any = self
        if not own._sock:
            own.connect()
        super().send_packed_command(command, check_health)  # type: ignore[misc]

    def read_response(self, *args: Any, **options: Any) -> Any:
        return super().read_response(*args, **{"disconnect_on_error": True, **options})  # type: ignore[misc]


class ToMaster(_AsksAgain, SentinelManagedConnection):
    """A connection to the master of now."""


class ToMasterByTls(_AsksAgain, SentinelManagedSSLConnection):
    """The same, by TLS."""


@dataclass(frozen=True)
class Watched:
    """A master, and the Sentinels that watch it."""

    sentinels: list[tuple[str, int]]
    name: str
    options: dict[str, Any]  # of a connection to the master
    of_sentinels: dict[str, Any]  # of one to a Sentinel

    def client(self, **more: Any) -> Redis:
        """One that asks the Sentinels for the master whenever it connects."""
        sentinel = Sentinel(self.sentinels, sentinel_kwargs=self.of_sentinels, **self.options)  # type: ignore[no-untyped-call]
        client: Redis = sentinel.master_for(self.name, **more)  # type: ignore[no-untyped-call]
        return client

    def for_rq(self) -> dict[str, Any]:
        """As the configuration of RQ has it."""
        of_connections = {name: value for name, value in self.options.items() if name != "ssl"}
        return {
            "INSTANCES": self.sentinels,
            "MASTER_NAME": self.name,
            "DB": self.options["db"],
            "USERNAME": self.options.get("username"),
            "PASSWORD": self.options.get("password"),
            "SSL": self.options.get("ssl", False),
            "CONNECTION_KWARGS": of_connections,
            "SENTINEL_KWARGS": self.of_sentinels,
        }


def watched(url: str) -> Watched | None:
    """What a URL of Sentinels names; None for one of a server. Raises ValueError."""
    scheme = next((each for each in SCHEMES if url.startswith(each)), None)
    if scheme is None:
        return None
    rest, _, options = url.removeprefix(scheme).partition("?")
    login, _, location = rest.rpartition("@")
    hosts, _, path = location.partition("/")
    found = [HOST.fullmatch(each) for each in hosts.split(",")]
    named = PATH.fullmatch(path)
    if not named or not all(found):
        raise ValueError("Sentinels are written as redis+sentinel://host1,host2:26379/name-of-the-master/0")
    sentinels = [(each[1].strip("[]"), int(each[2] or SENTINEL_PORT)) for each in found if each]
    one = f"{scheme.partition('+')[0]}://host/0?{options}"
    given: dict[str, Any] = dict(parse_url(one))  # type: ignore[no-untyped-call]
    del given["host"]
    given["db"] = int(named[2] or 0)
    if given.pop("connection_class", None) is SSLConnection:
        given["ssl"] = True
    given["connection_class"] = ToMasterByTls if "ssl" in given else ToMaster
    user, has_password, password = login.partition(":")
    given |= {"username": unquote(user)} if user else {}
    given |= {"password": unquote(password)} if has_password else {}
    return Watched(sentinels, named[1], given, _of_sentinels(given))


def _of_sentinels(given: dict[str, Any]) -> dict[str, Any]:
    """The options for Sentinels, which are taken out of those for the master."""
    own = {
        name: given.pop(f"sentinel_{name}")
        for name in ("username", "password")
        if f"sentinel_{name}" in given
    }
    tls = {name: value for name, value in given.items() if name.startswith("ssl")}
    seconds = {"socket_timeout": SENTINEL_SECONDS, "socket_connect_timeout": SENTINEL_SECONDS}
    return {**tls, **own, **seconds, "retry": Retry(NoBackoff(), 0)}


def open_client(url: str, **options: Any) -> Redis:
    """A client, which connects when it is used first. Raises ValueError."""
    named = watched(url)
    return named.client(**options) if named else Redis.from_url(url, **options)


def refuse_cluster(client: Redis) -> None:
    """Raises ConfigError for a Redis Cluster."""
    try:
        found: Any = client.info("cluster")
    except ResponseError:  # who may not ask is told so by a worker: it needs INFO
        return
    if found.get("cluster_enabled"):
        raise ConfigError(
            f"REDIS_URL cannot be used, for {NO_CLUSTER}: name one server, or one that Sentinels watch"
        )
