"""Celery, a record a task: two prefork processes.

As https://docs.celeryq.dev/en/stable/userguide/optimizing.html says for many short tasks: a large prefetch
multiplier ("Say 64, or 128"), no results (userguide/tasks.html, "Ignore results you don't want"), one
publisher for all messages (userguide/calling.html, "Connections"), late acknowledgement for what is idempotent
(faq.html, "Should I use retry or acks_late?"). Workers exchange no gossip and heartbeats.
"""

from __future__ import annotations

import os

from celery import Celery

from contestants import table, task_queue
from contestants.race import Finish, Race

PREFETCH = 128

app = Celery("contestants.celery_tasks")
app.conf.update(
    broker_url=os.environ[task_queue.REDIS].replace("unix://", "redis+socket://"),
    task_ignore_result=True,
    task_acks_late=True,
    worker_concurrency=task_queue.PROCESSES,
    worker_prefetch_multiplier=PREFETCH,
    worker_disable_rate_limits=True,
    broker_connection_retry_on_startup=True,
)


@app.task
def take(line: str) -> None:
    table.of_this_process().take(line)


def run(race: Race) -> Finish:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    worker = ["celery", "-A", "contestants.celery_tasks", "worker", "--pool", "prefork", *quiet]
    return task_queue.run(race, [worker], are_ready, send)


def are_ready() -> bool:
    return bool(app.control.ping(timeout=0.5))


def send(race: Race) -> None:
    with race.file.open() as lines, app.producer_or_acquire() as producer:
        for line in lines:
            take.apply_async((line,), producer=producer)
