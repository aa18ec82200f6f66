"""The job process: the process that does the jobs of one worker, one after another.

RQ forks a process for every job, so that a job that kills its process does not take the worker with it.
Here the same process lives from job to job, for a fork, its cold caches and a database opened anew cost
more than a batch. The worker is told of each job's end over a socket, and of the job process's death by the
socket's; then the next job gets a new one.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import random
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

from store.logs import event, safe_lines

JOBS_PER_LIFE = 500  # then a new one: what a user's validators leak does not add up for ever
LONGEST_ANSWER = 500  # bytes, so few that they arrive at once

# A batch makes tens of thousands of tuples and few cycles; the default would look at all of them often.
GC_THRESHOLDS = (200_000, 20, 50)
JOBS_BETWEEN_TRIMS = 16
PR_SET_PDEATHSIG = 1  # linux/prctl.h

log = logging.getLogger("sluice.worker")


class JobProcess:
    """The worker's end: hands out jobs, and waits for their end."""

    def __init__(self, do_job: Callable[[str, str], str], prepare: Callable[[], None]) -> None:
        """Forks. `do_job(job id, execution id)` runs in the job process for each job; it returns the failure."""
        self._socket, theirs = socket.socketpair()
        gc.freeze()  # what is there now is shared with the job process as long as neither touches it
        self.pid = os.fork()
        self.jobs = 0
        self._unread = 0  # bytes of the last answer
        if self.pid == 0:
            self._socket.close()
            _live(theirs, do_job, prepare)
        theirs.close()

    def give(self, job_id: str, execution_id: str) -> None:
        """Hands the job process its next job. Raises OSError where it has died meanwhile."""
        if self._unread:
            self._socket.recv(self._unread)  # the end of the job before, which `wait` only looked at
            self._unread = 0
        self.jobs += 1
        self._socket.sendall(f"{job_id} {execution_id}\n".encode())

    def wait(self) -> str | None:
        """Waits for the end of the job: how it failed, empty where it did not; None where the job process died.

        The answer is looked at and left there, so an alarm that interrupts the waiting loses nothing.
        """
        try:
            answer = self._socket.recv(LONGEST_ANSWER, socket.MSG_PEEK)
        except ConnectionError:  # as a closed socket: `wait4` tells how it died
            return None
        self._unread = len(answer)
        return answer.decode(errors="replace").rstrip("\n") if answer else None

    @property
    def is_spent(self) -> bool:
        """Whether it has done its share."""
        return self.jobs >= JOBS_PER_LIFE

    def dismiss(self) -> None:
        """Lets an idle job process end, and waits for it."""
        self._socket.close()
        self.reap()

    def kill(self) -> None:
        """Ends it at once, with whatever it has started; `wait` returns."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            log.info(
                "the job process %d has just ended by itself",
                self.pid,
                extra=event("job_process_ended", process=self.pid),
            )

    def reap(self) -> tuple[int | None, Any]:
        """Waits for its process: (exit status, usage), where that is known."""
        try:
            return os.wait4(self.pid, 0)[1:]
        except ChildProcessError:
            log.warning(
                "how the job process %d ended is not known: another has waited for it",
                self.pid,
                extra=event("job_process_unknown", process=self.pid),
            )
            return None, None


def _die_with_the_worker() -> None:
    """A job process whose worker is gone is killed at once: nobody would hear of what it still does.

    Elsewhere than on Linux it finishes the batch in hand, and ends when it cannot tell anybody.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _give_memory_back() -> None:
    """What is of no more use, to the system; some 50 ms.

    Statements of SQLAlchemy are cycles, and those of a batch hold the ids of its records: up to a megabyte, which the
    collector would leave for hundreds of batches. What was freed between what is in use goes back with glibc's help.
    """
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _live(theirs: socket.socket, do_job: Callable[[str, str], str], prepare: Callable[[], None]) -> None:
    """The job process's life: it ends with the socket, that is with the worker, and never returns."""
    try:
        os.setpgrp()
        _die_with_the_worker()
        random.seed()
        gc.set_threshold(*GC_THRESHOLDS)
        prepare()
        with theirs.makefile("rb") as orders:
            for number, order in enumerate(orders, start=1):
                job_id, execution_id = order.decode().split()
                failure = " ".join(do_job(job_id, execution_id).split())
                theirs.sendall(failure.encode(errors="replace")[: LONGEST_ANSWER - 1] + b"\n")
                if number % JOBS_BETWEEN_TRIMS == 0:
                    _give_memory_back()
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the worker is gone: there is nobody to tell
    except BaseException:
        print(safe_lines(traceback.format_exc()), file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)
