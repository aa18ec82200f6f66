"""Numbers for those who look: read once for all of them, sent as server-sent events; nobody looks: nothing is read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from store.logs import event

PAUSE_SECONDS = 2.0
LONGEST_SHARE = 10  # a reading that takes long is repeated later: it takes a tenth of the time at most
MOST_VIEWERS = 100
BEGIN = b"retry: 5000\n\n"  # milliseconds until a browser asks again

log = logging.getLogger("sluice.page")

Message = bytes | None  # None: there are no more


@dataclass
class Feed:
    """What is read, and who gets it. All but the reading happens in one event loop."""

    read: Callable[[frozenset[int]], dict[str, Any]]  # of the actions that somebody looks at, too
    pause: float = PAUSE_SECONDS
    most: int = MOST_VIEWERS
    _viewers: dict[asyncio.Queue[Message], int | None] = field(default_factory=dict, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _is_ended: bool = field(default=False, init=False)

    @property
    def takes_more(self) -> bool:
        """Whether another viewer is let in."""
        return not self._is_ended and len(self._viewers) < self.most

    async def follow(self, action: int | None) -> AsyncIterator[bytes]:
        """The events of one viewer, until it goes or the server stops."""
        if not self.takes_more:  # the answer before was for several who asked at once
            yield BEGIN
            return
        queue: asyncio.Queue[Message] = asyncio.Queue(1)
        self._viewers[queue] = action
        if self._task is None:
            self._task = asyncio.create_task(self._read_on())
        try:
            yield BEGIN
            while (message := await queue.get()) is not None:
                yield message
        finally:
            del self._viewers[queue]

    def end(self) -> None:
        """The server stops: every viewer's answer ends."""
        self._is_ended = True
        self._give(None)

    async def _read_on(self) -> None:
        try:
            while self._viewers and not self._is_ended:
                started = time.monotonic()
                watched = frozenset(each for each in self._viewers.values() if each is not None)
                found = await asyncio.to_thread(self.read, watched)
                self._give(b"data: " + orjson.dumps(found) + b"\n\n")
                await asyncio.sleep(max(self.pause, LONGEST_SHARE * (time.monotonic() - started)))
        except Exception:
            log.exception("the numbers cannot be read", extra=event("numbers_unread"))
        finally:
            self._task = None
            self._give(None)  # a browser that still looks asks again

    def _give(self, message: Message) -> None:
        """To everybody; who has not taken the one before gets this one instead."""
        for queue in self._viewers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(message)
