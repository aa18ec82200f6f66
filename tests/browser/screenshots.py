"""Draws the pictures of docs/page.md: `python -m tests.browser.screenshots`, with the Chromium of the system."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from ..acceptance.sandbox import sandbox
from .conftest import ARGUMENTS, LARGEST, Served, chromium, log_in

FOLDER = Path(__file__).parents[2] / "docs" / "page"
SIZE = {"width": 960, "height": 720}


def shoot(page: Page, name: str) -> None:
    """A picture of what is seen without scrolling."""
    page.screenshot(path=FOLDER / f"{name}.png")


def main() -> None:
    """Today, a group with its fixes, the proof, a letter."""
    FOLDER.mkdir(exist_ok=True)
    with sandbox() as box, sync_playwright() as playwright:
        served = Served(box, "--allow-actions")
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.set_default_timeout(120_000)
        log_in(page, served)
        page.get_by_role("row", name=f" {LARGEST} shop").get_by_role("link").first.click()
        page.get_by_role("button", name="Try the usual fixes").click()
        page.get_by_text("would load").first.wait_for()
        shoot(page, "group")
        page.get_by_role("button", name="Prove “decimal comma”").click()
        page.get_by_role("heading", name="The proof").wait_for()
        shoot(page, "proof")
        page.goto(served.base)
        while "laws hold" not in page.content():
            page.wait_for_timeout(500)
            page.reload()
        shoot(page, "today")
        page.get_by_role("row", name=f" {LARGEST} shop").get_by_role("link").first.click()
        page.get_by_role("region", name="Letters of the group").get_by_role("link").first.click()
        shoot(page, "letter")
        browser.close()
    for file in sorted(FOLDER.glob("*.png")):
        print(f"{file.relative_to(FOLDER.parents[1])}: {file.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
