"""A Redis that can be killed and hung, and the PostgreSQL of a run, as fixtures."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from ... import postgresql as servers
from ..own_redis import OwnRedis, own_redis


@pytest.fixture
def redis() -> Iterator[OwnRedis]:
    """A redis-server of the test's own."""
    with own_redis() as server:
        yield server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The server of PostgreSQL that all tests of a run share."""
    own = tmp_path_factory.getbasetemp()
    return servers.shared(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)
