"""The work of `producer watch`: looks at a folder, sends what is ready, says what became of it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import typer

from producer.arrivals.folder import Entry
from producer.arrivals.watching import Look, Watch
from producer.budget import Budget, Limits
from producer.cli.command import Resources
from producer.cli.enqueue import (
    FileReceipt,
    feed_of,
    near_the_workers,
    not_sent,
    note_unknown_source,
    send_file,
)
from producer.feed import Feed
from store.errors import ConfigError, InputError, Unavailable, UsageError
from store.terminal import Exit, counted, fail, json_text, warn
from store.text import shown_path
from worker.queue.message import Message


class Stopped(Exception):
    """A signal asked for the end, while there was no room on the queue."""


def watch_folder(
    folder: str,
    source: str,
    *,
    pattern: str,
    format: str | None,
    once: bool,
    every: float,
    settle: float,
    strict: bool,
    as_json: bool,
) -> None:
    """Sends what arrives until a signal ends it; with `once`, what is there."""
    with Resources.open() as resources, stopping() as stop:
        feed = feed_of(resources, source, {}, format=format)
        note_unknown_source(source, resources.worker, strict=strict)
        sender = _Sender(feed, resources, Watch(folder, feed.refusal, pattern, settle), stop, as_json)
        try:
            if once:
                sender.once()
            else:
                sender.until_stopped(every)
        except Stopped:
            pass  # the batches before are on the queue; the next start sends the rest
        if once and stop.is_set():
            sender.name_the_rest()
    if once and sender.has_failed:
        raise typer.Exit(Exit.FAILED)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set. A second signal does what it always does."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, _: Any) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _UntilStopped(Budget):
    """The budget of one file, which a signal ends."""

    stop: threading.Event = field(default_factory=threading.Event)

    def within(self, messages: Iterator[Message], delivery: str) -> Iterator[Message]:
        for message in super().within(messages, delivery):
            if self.stop.is_set():
                self.spent = "a signal asked for the end"
                return
            yield message


@dataclass
class _Sender:
    feed: Feed
    resources: Resources
    watch: Watch
    stop: threading.Event
    as_json: bool
    has_failed: bool = False
    _trouble: str | None = None  # that was reported last: each is reported once

    def once(self) -> None:
        """What is there now. A file that is still being written is a fault."""
        look = self.watch.look(time.monotonic())
        self._work(look)
        if look.unsettled and not self.stop.wait(self.watch.settle_seconds):
            first = {each.path: each for each in look.unsettled}
            look = self.watch.look(time.monotonic())
            self._work(look)
            for each in look.unsettled:
                if each.path in first:
                    self._report(each, "not sent", "it is still being written")

    def until_stopped(self, every: float) -> None:
        """What is there and what arrives. A folder, database or Redis that is away is waited for."""
        look = self.watch.look(time.monotonic())
        while True:
            pause = every
            try:
                self._work(look)
                pause = min(every, self.watch.settle_seconds) if look.unsettled else every
            except Unavailable as error:
                self._trouble_is(str(error))
            if self.stop.wait(pause):
                return
            try:
                look = self.watch.look(time.monotonic())
            except InputError as error:
                self._trouble_is(str(error))
                look = Look([], [], [])

    def _trouble_is(self, why: str) -> None:
        if why != self._trouble:
            warn(f"{why}; trying again")
        self._trouble = why

    def _work(self, look: Look) -> None:
        known = 0
        for each in look.others:
            self._report(each, "no data file", each.refused or "")
        for each in look.ready:
            if self.stop.is_set():
                return
            receipt = self._send(each)
            self._trouble = None
            if self.stop.is_set() and receipt.status != "sent":
                return  # the next start goes on with it
            self.watch.done(each)
            known += receipt.status == "known"
            self.has_failed |= receipt.status not in ("sent", "known")
            if self.as_json:
                print(json_text(receipt.facts, indented=False), flush=True)
        if known and not self.as_json:
            print(f"{counted(known, 'file')} with content that was sent before", flush=True)

    def _send(self, entry: Entry) -> FileReceipt:
        try:
            return self._sent(entry)
        except ConfigError:  # of all files
            raise
        except UsageError as error:  # the library of its format is not installed: the others are sent
            fail(str(error))
            return not_sent(entry.path, self.feed.name, str(error))

    def _sent(self, entry: Entry) -> FileReceipt:
        limits = Limits.of(self.resources.worker.source(self.feed.name), None, None)
        return send_file(
            self.feed,
            entry.path,
            _UntilStopped(self.resources.engine, limits, self.feed.name, stop=self.stop),
            resources=near_the_workers(self.resources, {}) if limits else self.resources,
            quiet=self.as_json,
            again=False,
            stream=None,
            skip_processed=True,
            while_waiting=self._check,
        )

    def name_the_rest(self) -> None:
        """What a signal has left unsent."""
        look = self.watch.look(time.monotonic())
        for each in (*look.ready, *look.unsettled):
            self._report(each, "not sent", "a signal asked for the end")

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped

    def _report(self, entry: Entry, status: str, why: str) -> None:
        self.has_failed |= status == "not sent"
        warn(f"{shown_path(entry.path)}: {status}: {why}")
        if self.as_json:
            facts = {"file": shown_path(entry.path), "source": self.feed.name, "status": status, "error": why}
            print(json_text(facts, indented=False), flush=True)
