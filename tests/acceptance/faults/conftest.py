"""A server that can be killed and hung, as a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..own_redis import OwnRedis, own_redis


@pytest.fixture
def redis() -> Iterator[OwnRedis]:
    """A redis-server of the test's own."""
    with own_redis() as server:
        yield server
