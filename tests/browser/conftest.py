"""The system's Chromium, and a page over a real store and Redis: one of each for all tests."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import orjson
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from ..acceptance.commands import until
from ..acceptance.sandbox import Sandbox, sandbox

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome")
LARGEST = 30
LONGEST_MS = 120_000  # a command is a process of its own, and a machine may be as slow as it likes
HOSTILE = [
    "<script>hacked=1</script>",
    '"><img src=x onerror=hacked=1>',
    "</pre><svg onload=hacked=1>",
    "\u202edlrow",
]


def chromium() -> str:
    """The browser. Where there is none, the tests fail: the page would not be looked at by anybody."""
    found = os.environ.get("SLUICE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.fail(
            "no Chromium: `apt-get install chromium` (Debian), or name one with SLUICE_CHROMIUM=/path/to/chromium",
            pytrace=False,
        )
    return found


expect.set_options(timeout=LONGEST_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One process for all tests of a file."""
    path = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


def records() -> list[dict[str, object]]:
    """Orders: most are right, the largest group has decimal commas, a second one no time, and a few are hostile."""
    good = [order(f"A{number}", number + 0.5) for number in range(20)]
    commas = [order(f"B{number}", f"{number},50") for number in range(LARGEST)]
    untimed = [order(f"C{number}", 1.0) | {"ts": "yesterday"} for number in range(5)]
    hostile = [order(text, text) | {"name": text} for text in HOSTILE]
    return [*good, *commas, *untimed, *hostile]


def order(key: str, value: object) -> dict[str, object]:
    return {"key": key, "name": "pump", "value": value, "ts": "2025-01-15T08:00:00Z"}


class Served:
    """A page that is served, over a store that is fed."""

    def __init__(self, box: Sandbox, *options: str) -> None:
        self.box = box
        box.file("orders.ndjson", b"".join(orjson.dumps(each) + b"\n" for each in records()))
        box.enqueue("orders.ndjson", "--source", "shop")
        self.work()
        self.running = box.start("worker", "page", "--port", "0", *options)
        self.base = str(
            until(lambda: re.search(r"at (http://\S+)/", self.running.out), "the page is served")[1]
        )

    def work(self) -> None:
        """Workers process, and the loader loads, all that is queued."""
        self.box.ok("worker", "up", "--burst", "--workers", "1")

    def login_address(self) -> str:
        """The latest one that was printed."""
        return str(until(lambda: re.findall(r"once: (\S+)", self.running.out), "a login address")[-1])


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with sandbox() as box:
        yield Served(box, "--allow-actions")


def log_in(page: Page, served: Served) -> None:
    """By the printed address."""
    page.goto(served.login_address())
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Today").wait_for()


class Watched:
    """A context of the browser, and what it complained about or asked of others."""

    def __init__(self, browser: Browser, base: str, **options: object) -> None:
        self.context: BrowserContext = browser.new_context(**options)  # type: ignore[arg-type]
        self.context.set_default_timeout(LONGEST_MS)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", lambda each: each.type == "error" and self.problems.append(each.text))
        self.page.on("pageerror", lambda each: self.problems.append(str(each)))
        self.page.on("dialog", lambda each: self.problems.append(f"dialog {each.message}"))
        self.page.on(
            "request", lambda each: each.url.startswith(base) or self.problems.append(f"asked {each.url}")
        )
