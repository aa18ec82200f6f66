"""Numbers are read once for all who look, and not at all where nobody looks; they end with the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson

from worker.page.following import BEGIN, Feed


class Read:
    """What is read, and for which actions."""

    def __init__(self) -> None:
        self.watched: list[frozenset[int]] = []

    def __call__(self, watched: frozenset[int]) -> dict[str, Any]:
        self.watched.append(watched)
        return {"numbers": {"queued": str(len(self.watched))}}


async def first(viewer: AsyncIterator[bytes]) -> Any:
    """The first event that has numbers."""
    assert await anext(viewer) == BEGIN
    return orjson.loads((await anext(viewer)).removeprefix(b"data: "))


def test_all_viewers_share_one_reading_with_the_actions_that_they_watch() -> None:
    read = Read()

    async def look() -> list[Any]:
        feed = Feed(read, pause=3600)
        viewers = [feed.follow(action) for action in (None, 5, 7, 5)]
        return await asyncio.gather(*map(first, viewers))

    assert asyncio.run(look()) == [{"numbers": {"queued": "1"}}] * 4
    assert read.watched == [frozenset({5, 7})]


def test_nothing_is_read_once_the_last_viewer_has_gone() -> None:
    read = Read()

    async def look() -> int:
        feed = Feed(read, pause=0)
        viewer = feed.follow(None)
        await first(viewer)
        await viewer.aclose()
        while feed._task is not None:
            await asyncio.sleep(0)
        before = len(read.watched)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(read.watched) == before
        await first(feed.follow(None))  # and again for the next one
        return len(read.watched)

    assert asyncio.run(look()) >= 2


def test_it_ends_with_the_server_and_takes_so_many_viewers() -> None:
    async def look() -> list[bool]:
        feed = Feed(Read(), pause=3600, most=1)
        takes = [feed.takes_more]
        viewer = feed.follow(None)
        await first(viewer)
        takes.append(feed.takes_more)
        feed.end()
        assert [each async for each in viewer] == []
        takes.append(feed.takes_more)
        return takes

    assert asyncio.run(look()) == [True, False, False]


def test_a_reading_that_fails_ends_the_answer_and_the_browser_asks_again() -> None:
    def fails(_: frozenset[int]) -> dict[str, Any]:
        raise RuntimeError("the disk is gone")

    async def look() -> list[bytes]:
        return [each async for each in Feed(fails).follow(None)]

    assert asyncio.run(look()) == [BEGIN]


def test_viewers_that_were_let_in_at_once_are_no_more_than_there_may_be() -> None:
    async def look() -> tuple[int, list[bytes]]:
        feed = Feed(Read(), pause=3600, most=2)
        assert feed.takes_more  # asked by all before one of them looks
        viewers = [feed.follow(None) for _ in range(3)]
        await asyncio.gather(*map(first, viewers[:2]))
        refused = [each async for each in viewers[2]]
        return len(feed._viewers), refused

    assert asyncio.run(asyncio.wait_for(look(), 5)) == (2, [BEGIN])


def test_who_comes_when_the_server_stops_does_not_wait() -> None:
    async def look() -> list[bytes]:
        feed = Feed(Read(), pause=3600)
        viewer = feed.follow(None)
        feed.end()
        return [each async for each in viewer]

    assert asyncio.run(asyncio.wait_for(look(), 5)) == [BEGIN]
