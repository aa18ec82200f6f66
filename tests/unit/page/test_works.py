"""The commands that a page has begun: bounded, and none is ended for another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from store.errors import UsageError
from worker.page.commands import Done
from worker.page.site import MOST_WORKS, Works


class Begun:
    """A command that ends when the test wants."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.done: Done | None = None

    def wait(self, _seconds: float | None = None) -> Done | None:
        return self.done


def test_the_oldest_that_has_ended_makes_room_and_one_that_runs_never_does() -> None:
    begun: list[Begun] = []

    def start(words: Sequence[str]) -> Any:
        begun.append(Begun(words))
        return begun[-1]

    works = Works(start)
    ids = [works.begin([str(number)], "") for number in range(MOST_WORKS)]
    with pytest.raises(UsageError, match="100 commands of this page are still running"):
        works.begin(["one more"], "")
    assert len(begun) == MOST_WORKS

    begun[3].done = Done(0, "", "")
    works.begin(["one more"], "")
    assert [id for id in ids if works.find(id) is None] == [ids[3]]
