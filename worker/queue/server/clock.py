"""Redis' clock: what lies in Redis is judged by it, and by no clock of a worker, which may be hours wrong.

Times to live are Redis' own anyway. What has one needs no clock at all: it is there, or it is gone.
"""

from __future__ import annotations

from redis import Redis

from store import database, timestamps


def server_time(redis: Redis) -> float:
    """Seconds since 1970."""
    seconds, microseconds = redis.time()
    return seconds + microseconds / 1e6


def follow(redis: Redis) -> None:
    """Lets SQLite, which has no clock but this host's, go by that of Redis in this process."""
    database.correct_host_clock(timestamps.now().timestamp() - server_time(redis))
