"""What `enqueue` and `replay` share: sending and waiting, with warnings and bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from producer import resources as shared
from producer.resources import Resources, record
from store.cli.render.progress import Bar
from store.terminal import warn
from worker.queue import wait as waiting
from worker.queue.message import Message
from worker.queue.send import Sent

__all__ = ["Resources", "batch_counts", "record", "send_batches", "wait_for_outcome", "working"]


def send_batches(
    messages: Iterable[Message],
    resources: Resources,
    on_sent: Callable[[Sent], None] = lambda _: None,
    while_waiting: Callable[[], None] = lambda: None,
) -> Sent:
    """Sends messages, with warnings on standard error."""
    return shared.send_batches(messages, resources, warn, on_sent, while_waiting)


def batch_counts(sent: Sent) -> dict[str, int]:
    """The batches that were sent or known, for `--json`."""
    return {
        "batches": sent.batches,
        "sent_batches": sent.sent_batches,
        "known_batches": sent.known_batches,
    }


def wait_for_outcome(ids: list[str], resources: Resources) -> dict[str, Any]:
    """Waits until these batches are loaded, with a bar on a terminal; the outcomes of their records."""
    with Bar("waiting", len(ids), unit="batches") as bar:
        waiting.wait_until_loaded(
            ids,
            resources.broker,
            resources.engine,
            lambda so_far: bar.update(so_far.processed, so_far.processed),
        )
    return waiting.summary(ids, resources.engine)


def working(run_now: bool) -> AbstractContextManager[None]:
    """With `--run`: workers and a loader until the block ends; to be entered before anything is opened."""
    if not run_now:
        return nullcontext()
    from worker.processes.for_now import workers_for_now  # RQ's worker is slow to import

    return workers_for_now()
