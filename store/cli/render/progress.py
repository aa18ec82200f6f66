"""A progress bar on a terminal; nothing where standard error is not one."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """The count and its rate; and the fraction done, if the total is known."""

    def __init__(self, title: str, total: int | None, unit: str = "records") -> None:
        self._progress = progress(title, total, unit) if sys.stderr.isatty() else None

    def update(self, position: int, done: int) -> None:
        """`position` of the total is reached, and `done` units are done."""
        if self._progress is None:
            return
        [task] = self._progress.tasks
        elapsed = task.elapsed or 0.0
        rate = done / elapsed if elapsed else 0.0
        self._progress.update(task.id, completed=position, done=done, rate=rate)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()


def progress(title: str, total: int | None, unit: str) -> Progress:
    """The bar itself, with its one task."""
    # Slow to import, and not needed if standard error is not a terminal.
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    made = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(f"{{task.fields[done]:,}} {unit}"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    made.add_task(escape(title), total=total, done=0, rate=0.0)
    return made
