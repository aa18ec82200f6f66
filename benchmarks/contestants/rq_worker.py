"""An RQ worker that has imported what its jobs need before it forks.

https://python-rq.org/docs/workers/, "Performance Notes", says to write one so.

python -m contestants.rq_worker SimpleWorker
"""

from __future__ import annotations

import os
import sys

import rq
from redis import Redis

from contestants import rq_jobs, task_queue


def main() -> None:
    assert rq_jobs.take  # the import is the point
    worker_class = {"SimpleWorker": rq.SimpleWorker, "Worker": rq.Worker}[sys.argv[1]]
    redis = Redis.from_url(os.environ[task_queue.REDIS])
    worker_class([rq.Queue(connection=redis)], connection=redis, log_job_description=False).work(
        logging_level="WARNING"
    )


if __name__ == "__main__":
    main()
