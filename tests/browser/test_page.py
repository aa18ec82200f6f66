"""The page in a real browser: a person fixes what was rejected, by click, over a real store and Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from .conftest import HOSTILE, LARGEST, Served, Watched, log_in, order

Open = Callable[..., Watched]
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


@pytest.fixture
def opened(browser: Browser, served: Served) -> Iterator[Open]:
    """Opens a context; whatever it complained about fails the test."""
    made: list[Watched] = []

    def open_one(**options: Any) -> Watched:
        made.append(Watched(browser, served.base, **options))
        return made[-1]

    yield open_one
    problems = [problem for each in made for problem in each.problems]
    for each in made:
        each.context.close()
    assert problems == []


def open_letters(served: Served) -> int:
    return int(served.box.select("SELECT count(*) FROM dead_letters WHERE status = 'open'")[0][0])


def group(page: Page, served: Served, number: int) -> None:
    """Opens the group with so many letters, from Today."""
    page.goto(served.base)
    page.get_by_role("row", name=f" {number} shop").get_by_role("link").first.click()


def screens(served: Served) -> list[str]:
    """The address of every screen."""
    letter, of = served.box.select("SELECT id, group_id FROM dead_letters ORDER BY line DESC")[0]
    lists = ["/", "/groups", "/letters", "/actions", "/runs", "/batches", "/deliveries", "/watermarks"]
    return [
        *lists,
        f"/groups/{of}",
        f"/letters/{letter}",
        "/deliveries/1",
        "/deliveries/1/count",
        "/records?key=A1",
        "/login",
        "/none",
    ]


def test_every_screen_keeps_the_rules_of_wcag_light_and_dark_and_fits_a_telephone(
    opened: Open, served: Served
) -> None:
    watched = opened(viewport={"width": 360, "height": 740}, color_scheme="light")
    log_in(watched.page, served)
    wrong = []
    for path in screens(served):
        watched.page.goto(served.base + path)
        if path.endswith("/count"):
            watched.page.get_by_role("heading", name="Account of delivery 1").wait_for()
        wide = watched.page.evaluate("document.scrollingElement.scrollWidth")
        if wide > 360:
            wrong.append(f"{path} is {wide} wide")
        for scheme in ("light", "dark"):
            watched.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            found = Axe().run(watched.page, options=WCAG)
            if found.violations_count:
                wrong.append(f"{path}, {scheme}: {found.generate_report()}")
    assert wrong == []
    watched.problems = [each for each in watched.problems if "404" not in each]  # of /none


def test_hostile_payloads_run_nothing_and_ask_nobody(opened: Open, served: Served) -> None:
    page = opened().page
    for (letter,) in served.box.select("SELECT id FROM dead_letters WHERE line > 55"):
        page.goto(f"{served.base}/letters/{letter}")
        assert page.evaluate("typeof hacked") == "undefined"
    page.goto(f"{served.base}/letters?status=all")
    assert page.evaluate("typeof hacked") == "undefined"
    assert len(HOSTILE) == 4
    expect(page.get_by_text("hacked=1").first).to_be_visible()


def test_the_keyboard_reaches_the_content_first(opened: Open, served: Served) -> None:
    page = opened().page
    page.goto(served.base)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_form_of_another_site_does_nothing_though_the_browser_is_logged_in(
    opened: Open, served: Served
) -> None:
    watched = opened()
    log_in(watched.page, served)
    (of,) = served.box.select("SELECT group_id FROM dead_letters WHERE status = 'open'")[0]
    before = open_letters(served)
    address = f"{served.base}/groups/{of}/discard"
    form = f'<form method="post" action="{address}"><input name="why" value="x"><button>go</button></form>'
    watched.page.goto("about:blank")
    watched.page.set_content(form)
    watched.page.get_by_role("button", name="go").click()
    expect(watched.page.get_by_text("was not sent by a form of this page")).to_be_visible()
    assert open_letters(served) == before
    watched.problems = [each for each in watched.problems if "403" not in each]


def test_without_javascript_letters_are_parked_and_opened_again(opened: Open, served: Served) -> None:
    page = opened(java_script_enabled=False).page
    log_in(page, served)
    before = open_letters(served)
    group(page, served, 5)
    page.get_by_label("Why park?").fill("until the supplier answers")
    page.get_by_role("button", name="Park 5").click()
    expect(page.get_by_role("heading", name="Action")).to_contain_text("park")
    assert open_letters(served) == before - 5
    page.get_by_role("button", name="Undo it").click()
    expect(page.get_by_role("heading", name="Action")).to_contain_text("undo")
    assert open_letters(served) == before


def test_numbers_follow_what_happens_and_rows_never_move_by_themselves(opened: Open, served: Served) -> None:
    watched = opened()
    today, page = watched.page, watched.context.new_page()
    page.goto(f"{served.base}/batches")
    today.goto(served.base)
    rows, link = page.get_by_role("row"), page.get_by_role("link", name="1 new. Show")
    received, before = today.locator("[data-number=received]"), rows.count()
    number = int(received.inner_text())
    expect(link).to_be_hidden()
    served.box.file("more.ndjson", orjson.dumps(order("D1", 1.5)) + b"\n")
    served.box.enqueue("more.ndjson", "--source", "shop")
    served.work()
    expect(link).to_be_visible()
    expect(received).to_have_text(str(number + 1))
    assert rows.count() == before
    link.click()
    expect(page.get_by_text("more.ndjson")).to_be_visible()
    assert rows.count() == before + 1


def test_a_person_fixes_the_largest_group_discards_the_rest_and_undoes_it(
    opened: Open, served: Served
) -> None:
    watched = opened()
    page = watched.page
    used = served.login_address()
    log_in(page, served)
    expect(page.get_by_role("heading", name="Do the books balance?")).to_be_visible()

    group(page, served, LARGEST)
    page.get_by_role("button", name="Try the usual fixes").click()
    expect(page.get_by_text(f"{LARGEST} of {LARGEST} would load")).to_be_visible()
    page.get_by_role("button", name="Prove “decimal comma”").click()
    expect(page.get_by_text(f"{LARGEST} of {LARGEST}").first).to_be_visible()
    proof = page.url
    page.get_by_label("Why?").fill("as the supplier said")
    page.get_by_role("button", name=f"Send exactly these {LARGEST}").click()
    expect(page.get_by_role("heading", name="replay")).to_be_visible()
    served.work()
    page.reload()
    expect(page.get_by_text("resolved")).to_be_visible()
    assert served.box.select("SELECT value FROM target WHERE key = 'B7'") == [(7.5,)]

    page.goto(proof)  # what was sent is not sent again
    page.get_by_role("button", name="Send exactly").click()
    expect(page.get_by_role("alert")).to_contain_text("does not hold any more")

    while open_letters(served):
        page.goto(served.base)
        page.get_by_role("region", name="Open letters").get_by_role("link").first.click()
        page.get_by_label("Why discard?").fill("test orders")
        page.get_by_role("button", name="Discard").click()
        expect(page.get_by_role("heading", name="discard")).to_be_visible()
    page.goto(served.base)
    expect(page.get_by_text("No letter is open")).to_be_visible()

    page.goto(f"{served.base}/actions")
    page.get_by_role("row", name="discard").last.get_by_role("link").click()
    page.get_by_role("button", name="Undo it").click()
    expect(page.get_by_role("heading", name="undo")).to_be_visible()
    assert open_letters(served) > 0

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("only reads until you log in")).to_be_visible()
    page.goto(used)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("used already")
    served.box.check()
    watched.problems = [each for each in watched.problems if "409" not in each and "403" not in each]
