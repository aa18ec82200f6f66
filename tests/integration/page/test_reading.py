"""Every screen says what the store holds; what is empty, and why; and stays readable without Redis."""

from __future__ import annotations

import gc
import html
import re

import pytest
from sqlalchemy import text

from store import database
from store.dead_letters.edits import Edit
from store.errors import QueueUnavailable, StoreUnavailable
from worker.listening import Options
from worker.page.readings import Shared, standing
from worker.page.server import Server, opened, serve

from ..plant import Plant, ndjson, row
from .conftest import MakePage, Page, group_with, words

SCREENS = [
    "/", "/groups", "/groups?status=all", "/letters", "/letters?status=all&source=shop&reason=invalid_value",
    "/actions", "/runs", "/batches", "/deliveries", "/watermarks", "/records", "/login",
]  # fmt: skip


def test_every_screen_of_an_empty_store_says_why_it_is_empty(page: Page) -> None:
    for path in SCREENS:
        shown = words(page.get(path))
        if path not in ("/records", "/login"):
            assert re.search(r"yet|No group|No letter|not run", shown), (path, shown)


def test_every_screen_shows_a_store_that_is_fed(fed: Plant, page: Page) -> None:
    for path in SCREENS:
        assert "Sluice" in page.get(path)


def test_the_last_day_is_a_sum_that_adds_up(fed: Plant, page: Page) -> None:
    shown = words(page.get("/"))
    assert "5 received = 1 staged + 4 rejected + 0 skipped" in shown
    assert "1 staged = 1 inserted + 0 updated + 0 duplicates + 0 superseded + 0 not loaded yet" in shown
    assert "does not add up" not in shown


def test_a_sum_that_does_not_add_up_is_called_one(fed: Plant, page: Page) -> None:
    with database.transaction(fed.engine) as connection:
        connection.execute(text("UPDATE batches SET staged = staged + 1"))
    assert "This does not add up" in words(page.get("/"))


def test_laws_are_shown_with_the_time_of_their_check(fed: Plant, page: Page) -> None:
    assert "Being checked for the first time" in page.get("/")
    page.site.laws.check()
    assert re.search(r"Yes: all \d laws hold", words(page.get("/")))


def test_a_broken_law_is_shown_with_what_to_do(fed: Plant, page: Page) -> None:
    with database.transaction(fed.engine) as connection:
        connection.execute(text("UPDATE batches SET received = received + 1"))
    page.site.laws.check()
    shown = words(page.get("/"))
    assert "do not hold" in shown
    assert "store check" in shown
    assert "laws hold" not in shown


def test_without_redis_the_page_reads_and_says_so(fed: Plant, page: Page) -> None:
    shown = words(page.get("/"))
    assert "Redis is away" in shown
    assert "invalid_value" in shown


def test_with_redis_queue_and_workers_are_shown_and_later_their_age(fed: Plant, page: Page) -> None:
    fed.send(ndjson(row("x")), "more.ndjson")
    page.site.queue.read = lambda: standing(fed.redis, fed.settings, "here")
    assert "Batches queued 1" in words(page.get("/"))

    def away() -> dict[str, int]:
        raise QueueUnavailable("it was unplugged")

    page.site.queue.read = away
    shown = words(page.get("/"))
    assert "it was unplugged" in shown
    assert "What is shown of the queue is of" in shown
    assert "Batches queued 1" in shown


def test_a_group_shows_its_faults_and_letters(fed: Plant, page: Page) -> None:
    shown = words(page.get(f"/groups/{group_with(fed, 'd+,d+')[:10]}"))
    assert "3 open" in shown
    assert "records.ndjson:1" in shown
    assert "12,50" in shown
    assert "producer suggest" in shown  # nothing can be done here: the command is said


def test_a_letter_shows_each_fault_beside_its_field_and_its_lineage(fed: Plant, page: Page) -> None:
    letter = next(each for each in fed.letters() if each.record_key == "b1")
    shown = page.get(f"/letters/{letter.id}")
    assert re.search(
        r'<th scope="row" class="value">value</th>\s*<td class="value">"?many', shown.replace("&#34;", '"')
    )
    assert "<svg" in shown
    assert "records.ndjson:4" in words(shown)


def test_a_letter_shows_what_attempts_changed_and_what_a_replay_would_do(
    plant: Plant, page: Page, make_page: MakePage
) -> None:
    plant.run(ndjson(row("a", value=3.5)), source="shop")
    plant.run(ndjson(row("a", value="7,25")), source="shop")
    letter = plant.letters()[0]
    plant.replay(Edit(set={"value": "8,75"}))
    plant.work()
    shown = words(html.unescape(page.get(f"/letters/{letter.id}")))
    assert 'value "7,25" "8,75"' in shown  # the attempt: before and after
    assert "It would be rejected again. Once it is corrected, its record would overwrite" in shown
    assert 'value 3.5 "7,25" differs' in shown  # the target and the letter
    assert 'name "pump" "pump" the same' in shown
    hidden = make_page(hide=("value",)).get(f"/letters/{letter.id}")
    assert not [each for each in ("7,25", "8,75", "3.5") if each in hidden]


def test_a_payload_is_downloaded_byte_for_byte_as_an_attachment(fed: Plant, page: Page) -> None:
    letter = next(each for each in fed.letters() if each.record_key == "b1")
    answer = page.client.get(f"/letters/{letter.id}/payload")
    assert answer.content == letter.raw
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_of_a_long_payload_four_kibibytes_are_shown(plant: Plant, page: Page) -> None:
    plant.run(ndjson(row("long", value="x" * 9000 + "END")))
    [letter] = plant.letters()
    shown = page.get(f"/letters/{letter.id}")
    assert "Only its first 4 KiB are shown" in shown
    assert "END" not in shown
    assert b"END" in page.client.get(f"/letters/{letter.id}/payload").content


def test_letters_are_paged_by_where_the_last_page_ended(plant: Plant, page: Page) -> None:
    plant.run(ndjson(*(row(f"k{number}", value=f"n{number}") for number in range(60))))
    path, seen = "/letters", []
    while True:
        shown = page.get(path)
        seen += re.findall(r'<th scope="row"><a href="/letters/(\w+)"', shown)
        following = re.search(r'rel="next" href="([^"]+)"', shown)
        if not following:
            break
        path = following[1].replace("&amp;", "&")
    assert sorted(seen) == sorted(letter.id for letter in plant.letters())
    assert len(seen) == 60


def test_what_was_done_is_paged(plant: Plant, page: Page) -> None:
    for number in range(27):
        plant.send(ndjson(row(f"k{number}")), f"f{number}.ndjson")
    plant.work()
    plant.load()
    for path in ("/batches", "/deliveries", "/runs"):
        following = re.search(r'rel="next" href="([^"]+)"', page.get(path))
        assert (following is not None) == (path != "/runs")
        if following:
            assert page.get(following[1]).count('<tr><th scope="row">') == 2


def test_a_key_is_explained_with_its_lineage(fed: Plant, page: Page) -> None:
    shown = page.get("/records?key=c1")
    assert "The target holds the record of" in words(shown)
    assert '<svg role="img"' in shown
    assert "is unknown" in page.get("/records?key=nobody", 404)


NOT_THERE = [
    ("/nowhere", 404, "There is no such screen"),
    ("/groups/feed", 400, "no group of dead letters"),
    ("/letters/feed", 400, "no dead letter"),
    ("/deliveries/99", 404, "unknown"),
    ("/deliveries/99/count", 404, "unknown"),
    ("/actions/99", 400, "there is no action 99"),
    ("/letters?after=x", 400, "is no cursor"),
    ("/letters?status=odd", 400, "is none"),
    ("/runs?before=-1", 400, "is no number"),
]


def test_what_is_not_there_is_answered_in_words(page: Page) -> None:
    for path, status, why in NOT_THERE:
        assert why in words(page.get(path, status)).replace("&#39;", "'")


def test_a_database_that_does_not_answer_is_answered_in_words(fed: Plant, page: Page) -> None:
    page.get("/")

    def away() -> dict[str, int]:
        raise StoreUnavailable("it is locked")

    page.site.today.read = away
    shown = words(page.get("/"))
    assert "it is locked" in shown
    assert "These numbers are of" in shown


def test_letters_of_a_group_are_taken_away_as_a_table_and_as_a_test(fed: Plant, page: Page) -> None:
    group = group_with(fed, "d+,d+")
    table = page.client.get(f"/groups/{group}/letters.csv")
    assert table.headers["content-disposition"].startswith("attachment")
    assert table.text.count("\n") == 4
    assert "def test_" in page.client.get(f"/groups/{group}/test.py").text


def test_nothing_that_is_read_writes(make_page: MakePage, plant: Plant) -> None:
    page = make_page()
    with (
        pytest.raises(StoreUnavailable, match=r"read-only|readonly"),
        database.transaction(page.engine) as connection,
    ):
        connection.execute(text("UPDATE batches SET staged = 0"))


def test_many_viewers_share_one_query() -> None:
    reads = []
    now = 0.0
    shared = Shared(lambda: reads.append(1) or len(reads), 5.0, lambda: now)
    assert [shared.get().value for _ in range(9)] == [1] * 9
    now = 6.0
    assert shared.get().value == 2


def test_what_follows_is_refused_where_too_many_look(fed: Plant, page: Page) -> None:
    page.site.feed.most = 0
    assert "Too many look" in page.get("/follow", 503)


def test_numbers_that_are_sent_are_those_that_the_page_shows(fed: Plant, page: Page) -> None:
    group = group_with(fed, "d+,d+")
    fed.action(Edit(), groups=[group])
    sent = page.site.numbers(frozenset({1, 99}))
    assert sent["numbers"]["received"] == "5"
    assert sent["numbers"]["open"] == "1"
    assert sent["counts"] == {"batches": 1, "deliveries": 1, "runs": 1, "actions": 1, "letters": 4}
    assert sent["done"] == {"1": {"done": 0, "words": "0", "runs": True}}
    for path, name in (("/batches", "batches"), ("/letters", "letters"), ("/actions", "actions")):
        assert f'data-new="{name}" data-seen="{sent["counts"][name]}"' in page.get(path)
    assert "data-new" not in page.get("/letters?source=shop")  # what is new may not match
    assert "data-new" not in page.get("/batches?before=1")
    assert 'data-action="1"' in page.get("/actions/1")


def test_throughput_and_lateness_are_drawn_with_their_numbers_beside_them(fed: Plant, page: Page) -> None:
    today, runs = page.get("/"), page.get("/runs")
    assert 'aria-label="Records received in each hour' in today
    assert "No record was late." in today
    assert runs.count("<svg") == 2
    assert "<title>run 1: " in runs
    assert re.search(r"Behind by 1 succeeded .* \d+ 2025-01-15 08:00:00 \d+ d", words(runs))
    with database.transaction(fed.engine) as connection:
        connection.execute(text("UPDATE batches SET late = 1, skipped = 2, reasons = '{\"late\": 4}'"))
    assert "<title>" in page.get("/").partition('aria-label="Late records in each hour"')[2]
    assert ": 7 late</title>" in page.get("/")


def test_no_answer_waits_for_a_look_through_all_that_was_imported(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[int] = []
    monkeypatch.setattr(
        Server, "run", lambda _, sockets: left.append(gc.get_count()[0] + len(gc.get_objects()))
    )
    gc.unfreeze()
    there = len(gc.get_objects())
    with opened(Options(port=0)) as door:
        serve(door, lambda _: None)
    assert left and left[0] < there / 10
