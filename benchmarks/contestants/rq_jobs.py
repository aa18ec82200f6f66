"""RQ, a record a job: two workers, in process (SimpleWorker) or with a fork for each job (Worker).

Jobs are sent by `enqueue_many` through a pipeline (https://python-rq.org/docs/, "Bulk Job Enqueueing") and
keep no result (https://python-rq.org/docs/results/, a TTL of 0). The workers are those of rq_worker.py.
"""

from __future__ import annotations

from itertools import islice

from redis import Redis
from rq import Queue, Worker

from contestants import table, task_queue
from contestants.race import Finish, Race

JOBS_A_PIPELINE = 1000


def take(line: str) -> None:
    table.of_this_process().take(line)


def run_in_process(race: Race) -> Finish:
    return _run(race, "SimpleWorker")


def run_forking(race: Race) -> Finish:
    return _run(race, "Worker")


def send(race: Race, redis: Redis) -> None:
    queue = Queue(connection=redis)
    with race.file.open() as lines:
        while batch := list(islice(lines, JOBS_A_PIPELINE)):
            queue.enqueue_many([Queue.prepare_data(take, (line,), result_ttl=0) for line in batch])


def _run(race: Race, worker_class: str) -> Finish:
    worker = ["python", "-m", "contestants.rq_worker", worker_class]
    with Redis.from_url(race.redis_url) as redis:
        return task_queue.run(
            race,
            [worker] * task_queue.PROCESSES,
            lambda: Worker.count(connection=redis) == task_queue.PROCESSES,
            lambda race: send(race, redis),
        )
