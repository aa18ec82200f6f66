"""The work-horse: the process that does the jobs of one worker, one after another.

RQ forks a process for every job, so that a job that kills its process does not take the worker with it.
Here the same process lives from job to job, for a fork, its cold caches and a database opened anew cost
more than a batch. The worker is told of each job's end over a socket, and of the horse's death by the
socket's; then the next job gets a new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import random
import signal
import socket
import sys
import traceback
from collections.abc import Callable

JOBS_PER_LIFE = 500  # then a new one: what a user's validators leak does not add up for ever
DONE = b"."

# A batch makes tens of thousands of tuples and no cycles; the default would look at all of them often.
GC_THRESHOLDS = (200_000, 20, 50)
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class WorkHorse:
    """The worker's end: hands out jobs, and waits for their end."""

    def __init__(self, do_job: Callable[[str, str], None], prepare: Callable[[], None]) -> None:
        """Forks. `do_job(job id, execution id)` is called in the horse for each job."""
        self._socket, theirs = socket.socketpair()
        gc.freeze()  # what is there now is shared with the horse as long as neither touches it
        self.pid = os.fork()
        self.jobs = 0
        if self.pid == 0:
            self._socket.close()
            _live(theirs, do_job, prepare)
        theirs.close()

    def give(self, job_id: str, execution_id: str) -> None:
        """Hands the horse its next job. Raises OSError where it has died meanwhile."""
        if self.jobs:
            self._socket.recv(1)  # the end of the job before, which `wait` only looked at
        self.jobs += 1
        self._socket.sendall(f"{job_id} {execution_id}\n".encode())

    def wait(self) -> bool:
        """Waits for the end of the job: True where it is done, False where the horse died.

        The answer is looked at and left there, so an alarm that interrupts the waiting loses nothing.
        """
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == DONE
        except ConnectionError:
            return False

    @property
    def is_spent(self) -> bool:
        """Whether it has done its share."""
        return self.jobs >= JOBS_PER_LIFE

    def dismiss(self) -> None:
        """Lets an idle horse end, and waits for it."""
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _die_with_the_worker() -> None:
    """A horse whose worker is gone is killed at once: nobody would hear of what it still does.

    Elsewhere than on Linux it finishes the batch in hand, and ends when it cannot tell anybody.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _live(theirs: socket.socket, do_job: Callable[[str, str], None], prepare: Callable[[], None]) -> None:
    """The horse's life: it ends with the socket, that is with the worker, and never returns."""
    try:
        os.setpgrp()
        _die_with_the_worker()
        random.seed()
        gc.set_threshold(*GC_THRESHOLDS)
        prepare()
        with theirs.makefile("rb") as orders:
            for order in orders:
                job_id, execution_id = order.decode().split()
                do_job(job_id, execution_id)
                theirs.sendall(DONE)
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
