"""Named points where the tests kill a process, to show that a death there loses and doubles nothing.

SLUICE_CRASH_AT names the point, SLUICE_CRASH_TOKEN a file: whoever reaches the point and gets to remove
the file dies there, by SIGKILL, once. Unset, a point is a comparison with None.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

# In the order a record passes them.
POINTS = (
    "send.begun",
    "send.known",
    "send.sent",
    "cron.ticked",
    "job.popped",
    "job.given",
    "job.begun",
    "batch.judged",
    "batch.begun",
    "batch.recorded",
    "batch.staged",
    "batch.dead_letters",
    "batch.written",
    "batch.committed",
    "split.sent",
    "outbox.found",
    "outbox.published",
    "outbox.marked",
    "job.done",
    "job.acknowledged",
    "load.begun",
    "load.locked",
    "load.run_started",
    "load.chunk_begun",
    "load.judged",
    "load.lineage_written",
    "load.merged",
    "load.staging_cleared",
    "load.watermark_moved",
    "load.run_logged",
    "load.committed",
    "load.finished",
)

_armed = os.environ.get("SLUICE_CRASH_AT")


def reach(point: str) -> None:
    """Dies here if this is the armed point and nobody has died at it yet."""
    if point == _armed:
        try:
            Path(os.environ["SLUICE_CRASH_TOKEN"]).unlink()
        except FileNotFoundError:  # another process has died here already
            return
        os.kill(os.getpid(), signal.SIGKILL)
