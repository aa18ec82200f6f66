"""URLs of Sentinels: what they name, for redis-py and for RQ; what is none is refused."""

from __future__ import annotations

import fakeredis
import pytest
from redis import Redis
from redis.exceptions import ResponseError

from store.errors import ConfigError
from worker.queue.server.connection import ToMaster, ToMasterByTls, open_client, refuse_cluster, watched


def test_hosts_ports_master_and_database() -> None:
    found = watched("redis+sentinel://one,two:5000,[::1]:6/main.queue/3")
    assert found is not None
    assert found.sentinels == [("one", 26379), ("two", 5000), ("::1", 6)]
    assert (found.name, found.options) == ("main.queue", {"db": 3, "connection_class": ToMaster})
    assert set(found.of_sentinels) == {"socket_timeout", "socket_connect_timeout", "retry"}


def test_the_login_is_the_masters_and_sentinels_have_their_own() -> None:
    url = "redis+sentinel://ann:a%40b@one/main?sentinel_username=sam&sentinel_password=se%40cret"
    found = watched(url)
    assert found is not None
    assert found.options == {"db": 0, "username": "ann", "password": "a@b", "connection_class": ToMaster}
    assert (found.of_sentinels["username"], found.of_sentinels["password"]) == ("sam", "se@cret")


def test_tls_and_its_options_are_for_both() -> None:
    found = watched("rediss+sentinel://:pw@one/main/0?ssl_ca_certs=/ca.pem&socket_timeout=7")
    assert found is not None
    for options in (found.options, found.of_sentinels):
        assert (options["ssl"], options["ssl_ca_certs"]) == (True, "/ca.pem")
    assert found.options["socket_timeout"] == 7
    assert found.options["connection_class"] is ToMasterByTls
    assert "username" not in found.options


def test_rq_gets_the_same() -> None:
    found = watched("rediss+sentinel://ann:pw@one,two/main/2")
    assert found is not None
    for_rq = found.for_rq()
    assert for_rq["INSTANCES"] == [("one", 26379), ("two", 26379)]
    assert (for_rq["MASTER_NAME"], for_rq["DB"], for_rq["SSL"]) == ("main", 2, True)
    assert (for_rq["USERNAME"], for_rq["PASSWORD"]) == ("ann", "pw")


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://one",
        "redis+sentinel://one/",
        "redis+sentinel:///main/0",
        "redis+sentinel://one,/main/0",
        "redis+sentinel://one:port/main/0",
        "redis+sentinel://one/main/zero",
        "redis+sentinel://one/main/0/1",
    ],
)
def test_what_names_no_sentinel_or_no_master_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="Sentinels are written as"):
        watched(url)


def test_a_url_of_a_server_is_that_of_a_server() -> None:
    assert watched("redis://one/0") is None
    with open_client("redis://one:7/3", socket_timeout=2.0) as client:
        assert isinstance(client, Redis)
        given = client.connection_pool.connection_kwargs
        assert (given["host"], given["port"], given["db"], given["socket_timeout"]) == ("one", 7, 3, 2.0)


def test_a_cluster_is_refused_in_words_and_a_server_that_may_not_be_asked_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = fakeredis.FakeRedis()
    monkeypatch.setattr(client, "info", lambda _: {"cluster_enabled": 1})
    with pytest.raises(ConfigError, match="keys of one slot alone"):
        refuse_cluster(client)
    monkeypatch.setattr(client, "info", lambda _: {"cluster_enabled": 0})
    refuse_cluster(client)

    def refused(_: str) -> None:
        raise ResponseError("unknown command")

    monkeypatch.setattr(client, "info", refused)
    refuse_cluster(client)
