"""Dramatiq, a record a message: two processes of eight threads, the command's own defaults on two cores.

Messages are acknowledged when done and retried when failed, which is the default middleware
(https://dramatiq.io/reference.html#middleware); without the Results middleware nothing is kept of them
(https://dramatiq.io/advanced.html#message-results).
"""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from redis import Redis

from contestants import table, task_queue
from contestants.race import Finish, Race

THREADS = 8

broker = RedisBroker(url=os.environ[task_queue.REDIS])
dramatiq.set_broker(broker)


@dramatiq.actor
def take(line: str) -> None:
    table.of_this_process().take(line)


def run(race: Race) -> Finish:
    size = ["--processes", str(task_queue.PROCESSES), "--threads", str(THREADS)]
    with Redis.from_url(race.redis_url) as redis:
        return task_queue.run(
            race, [["dramatiq", "contestants.dramatiq_actors", *size]], lambda: are_ready(redis), send
        )


def are_ready(redis: Redis) -> bool:
    """Whether each process has asked for messages: only then is it among the heartbeats."""
    return int(redis.zcard(f"{broker.namespace}:__heartbeats__")) >= task_queue.PROCESSES


def send(race: Race) -> None:
    with race.file.open() as lines:
        for line in lines:
            take.send(line)
