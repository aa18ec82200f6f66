"""Watches the processes of `worker up`: their peak memory, and the processor time of each kind."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping

import psutil

EVERY_SECONDS = 0.25
OTHERS, DATABASE = "supervisor and cron", "database server"


class Watch(threading.Thread):
    """Peak memory, and processor time since it began."""

    def __init__(self, up: int, takers: Mapping[int, str], redis: int, database: int | None = None) -> None:
        """`up` is the process of `worker up`, `takers` those of its children that take work, with their kinds;
        `database` that of a server which is not Sluice's."""
        super().__init__(daemon=True)
        self._up = psutil.Process(up)
        self._redis = psutil.Process(redis)
        self._kinds = {child: takers.get(child.pid, OTHERS) for child in self._up.children()}
        self._kinds |= {self._up: OTHERS, self._redis: "Redis"}
        if database is not None:
            self._kinds[psutil.Process(database)] = DATABASE
        self._done = threading.Event()
        self._peak: dict[int, float] = {}
        self._before = self._processor_seconds()

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join()

    def run(self) -> None:
        while not self._done.wait(EVERY_SECONDS):
            for process in self._up.children(recursive=True):
                try:
                    used = process.memory_info().rss / 2**20
                except psutil.Error:
                    continue
                self._peak[process.pid] = max(used, self._peak.get(process.pid, 0.0))

    @property
    def peak_mb(self) -> dict[str, float]:
        return {str(pid): peak for pid, peak in self._peak.items()}

    def processor_seconds(self) -> dict[str, float]:
        """kind of process -> seconds of processor time since the watch began."""
        now = self._processor_seconds()
        return {kind: now[kind] - self._before[kind] for kind in now}

    def _processor_seconds(self) -> dict[str, float]:
        spent: defaultdict[str, float] = defaultdict(float)
        for process, kind in self._kinds.items():
            spent[kind] += seconds_of(process)
            if process not in (self._up, self._redis):
                spent[kind] += sum(map(seconds_of, process.children(recursive=True)))
        return spent


def seconds_of(process: psutil.Process) -> float:
    """User and system time of a process, and of its children that have ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:  # its parent has its time now
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
