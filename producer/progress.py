"""A progress bar on a terminal; nothing where standard error is not one."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Bar:
    """How far along: a fraction where the end is known, the count and its rate in any case."""

    def __init__(self, title: str, total: int | None, unit: str = "records") -> None:
        self._shown = sys.stderr.isatty()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn(f"{{task.fields[done]:,}} {unit}"),
            TextColumn("{task.fields[rate]:,.0f}/s"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not self._shown,
        )
        self._task: TaskID = self._progress.add_task(escape(title), total=total, done=0, rate=0.0)

    def update(self, position: int, done: int) -> None:
        """`position` of the total is reached, and `done` units."""
        if not self._shown:
            return
        elapsed = self._progress.tasks[self._task].elapsed or 0.0
        rate = done / elapsed if elapsed else 0.0
        self._progress.update(self._task, completed=position, done=done, rate=rate)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
