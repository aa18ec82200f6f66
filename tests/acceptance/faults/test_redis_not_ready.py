"""A Redis that answers that it is not ready is waited for by everybody, said once, and all goes on after."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from redis import Redis

from ..own_redis import OwnRedis
from ..sandbox import SAMPLE, UNHURRIED, Sandbox, sandbox

RECORDS = 40
LINES = "".join(
    f'{{"key": "k{n}", "name": "n", "value": {n}, "ts": "2025-01-15T08:00:00Z"}}\n' for n in range(RECORDS)
)
REPORTED = re.compile(r"Redis is not ready, .* \((\w+)\): waiting until it is")


@pytest.fixture
def site(redis: OwnRedis) -> Iterator[Sandbox]:
    with sandbox(REDIS_URL=redis.url, SLUICE_BATCH_RECORDS="5", **UNHURRIED) as box:
        box.ok_here("store", "init")
        yield box


def no_replicas(client: Redis, *, refuse: bool) -> None:
    client.config_set("min-replicas-to-write", int(refuse))


def replica(client: Redis, *, refuse: bool) -> None:
    client.execute_command("REPLICAOF", *(("127.0.0.1", "1") if refuse else ("NO", "ONE")))


@pytest.mark.parametrize(("state", "switch"), [("NOREPLICAS", no_replicas), ("READONLY", replica)])
def test_a_redis_that_takes_no_writes_is_waited_for_by_producer_workers_loader_and_cron(
    site: Sandbox, redis: OwnRedis, state: str, switch: object
) -> None:
    up = site.start("worker", "up", "--workers", "2")
    site.until(lambda: site.workers() == 2 and site.workers("loader") == 1, "all take jobs")
    site.ok("producer", "enqueue", SAMPLE, "--wait")
    with redis.client() as client:
        switch(client, refuse=True)  # type: ignore[operator]
        producer = site.start("producer", "enqueue", site.file("in.ndjson", LINES), "--json")
        site.until(lambda: REPORTED.search(producer.err), "the producer says why it waits")
        # Each in its own words of the state that it met first: two workers, the loader and the cron.
        site.until(lambda: len(REPORTED.findall(up.err)) >= 4, "everybody says why it waits")
        assert up.is_alive
        switch(client, refuse=False)  # type: ignore[operator]

    sent = producer.end()
    assert sent.code == 0, sent.err
    site.until(lambda: site.count("target") == RECORDS + 5, "all is loaded")
    assert "Redis is ready again" in sent.err
    assert len(REPORTED.findall(sent.err)) == 1
    assert set(REPORTED.findall(up.err)) <= {state, "UNBLOCKED"}
    assert " died " not in up.err
    assert "Traceback" not in up.err + sent.err
    assert up.stop().code == 0
    site.check()


def test_workers_that_are_started_while_redis_is_not_ready_wait_for_it(
    site: Sandbox, redis: OwnRedis
) -> None:
    site.enqueue(site.file("in.ndjson", LINES))
    with redis.client() as client:
        no_replicas(client, refuse=True)
        up = site.start("worker", "up", "--workers", "1")
        site.until(lambda: len(REPORTED.findall(up.err)) >= 3, "everybody says why it waits")
        assert " died " not in up.err
        no_replicas(client, refuse=False)
    site.until(lambda: site.count("target") == RECORDS, "all is loaded")
    assert up.stop().code == 0
