"""A replay with `--stop-above` stays near the outcomes that are known: few letters are on their way at any time.

So there is always something left to stop, and without workers, who decide the outcomes, nothing more is sent.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from producer.resources import Resources
from store import database
from store.dead_letters import actions, sending
from store.dead_letters.actions import Action
from store.tables import batches
from store.terminal import counted
from worker.queue.message import Message
from worker.queue.names import RECORDS_QUEUE
from worker.queue.send import Notice, seldom

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.05, 0.5
NOTICE_AFTER_SECONDS = 5.0
ALONE_SECONDS = 5.0  # a worker that is started again is away for so long

sleep = time.sleep


class NobodyJudges(Exception):
    """Letters wait for their outcomes, and no worker is running."""


@dataclass
class Lead:
    """The letters of an action that are on their way, and how many of them there may be."""

    action: Action
    resources: Resources
    most: int
    ways: dict[str, int]  # batch -> its letters
    notice: Notice

    @classmethod
    def of(cls, action: Action, resources: Resources, most: int, notice: Notice) -> Self:
        """With what another command has sent."""
        with database.reading(resources.engine) as connection:
            return cls(action, resources, most, sending.on_their_way(connection, action.seq), seldom(notice))

    @property
    def letters(self) -> int:
        """On their way."""
        return sum(self.ways.values())

    def wait_for_outcomes(self) -> None:
        """Waits until all that is on its way has an outcome, if there is more to send. Raises NobodyJudges."""
        with database.reading(self.resources.engine) as connection:
            unsent = sending.count_unsent(connection, self.action.seq)
        if unsent:
            self.wait_until_at_most(0)

    def make_room(self, letters: int) -> None:
        """Waits until so many more may be sent. Raises NobodyJudges."""
        self.wait_until_at_most(max(0, self.most - letters))

    def add(self, message: Message) -> None:
        """This one is on its way."""
        self.ways[message.id] = len(message.records)

    def wait_until_at_most(self, letters: int) -> None:
        """Waits until no more than so many are without an outcome. Raises NobodyJudges."""
        began = alone_since = time.monotonic()
        pause = FIRST_WAIT_SECONDS
        while self.letters > letters:
            self._look()
            if self.letters <= letters:
                return
            now = time.monotonic()
            if self.resources.broker.workers(RECORDS_QUEUE):
                alone_since = now
            elif now - alone_since >= ALONE_SECONDS:
                raise NobodyJudges(
                    f"{counted(self.letters, 'letter')} of action {self.action.seq} wait for their outcomes, and no "
                    "worker is running"
                )
            if now - began >= NOTICE_AFTER_SECONDS:
                self.notice(
                    f"waiting for the outcomes of {counted(self.letters, 'letter')} before others are sent"
                )
            sleep(pause)
            pause = min(pause * 1.5, LONGEST_WAIT_SECONDS)

    def _look(self) -> None:
        """Forgets the batches that are processed; and all of them where the action is stopped: no more is sent."""
        with database.reading(self.resources.engine) as connection:
            if actions.find(connection, self.action.seq).status == "stopped":
                self.ways = {}
                return
            known = batches.known(connection, list(self.ways))
            if known and batches.split(connection, list(known)):  # its parts are on their way
                self.ways = sending.on_their_way(connection, self.action.seq)
                return
        for id in known:
            del self.ways[id]
