"""What is done from the page: proved first, then exactly that; or why not, in words."""

from __future__ import annotations

import html
import re

import pytest
from sqlalchemy import text

from store import database
from store.dead_letters import proofs
from store.dead_letters.edits import Edit

from ..plant import Plant, ndjson, row
from .conftest import Page, group_with


def prove(page: Page, group: str, **edit: str) -> str:
    """The address of a proof of a group under an edit."""
    answer = page.client.post(
        f"/groups/{group}/prove",
        data={"form_token": page.form_token(page.get(f"/groups/{group}"), f"/groups/{group}/prove"), **edit},
        headers={"origin": "http://127.0.0.1:8321"},
    )
    assert answer.status_code == 200, answer.text
    return str(answer.url.path)


COMMA = {"how": "cast:decimal-comma", "field": "value"}


def test_a_fix_is_proved_and_exactly_that_is_sent(fed: Plant, acting: Page) -> None:
    proof = prove(acting, group_with(fed, "d+,d+"), **COMMA)
    shown = acting.get(proof)
    assert "3 of 3" in shown
    assert "Nothing was sent yet" in shown
    assert len(fed.letters()) == 4
    done = acting.post(proof, f"{proof}/replay", why="asked the supplier")
    assert "Action 1: replay" in done
    assert "asked the supplier" in done
    fed.work()
    fed.load()
    assert {letter.record_key for letter in fed.letters()} == {"b1"}
    assert {each["key"]: each["value"] for each in fed.rows()} == {
        "a1": 12.5,
        "a2": 7.25,
        "a3": 8.75,
        "c1": 1.5,
    }
    assert "<dt>resolved</dt><dd>3</dd>" in acting.get("/actions/1")


def test_a_suggestion_is_shown_with_its_proved_figure_and_proved_by_its_own_button(
    fed: Plant, acting: Page
) -> None:
    group = group_with(fed, "d+,d+")
    shown = acting.post(f"/groups/{group}", f"/groups/{group}/suggest")
    assert "3 of 3 would load" in shown
    assert "3 of 3 would load" in acting.get("/")
    own = re.search(r'<form method="post" action="/groups/\w+/prove">.*?</form>', shown, re.DOTALL)
    assert own
    data = {
        name: html.unescape(value) for name, value in re.findall(r'name="([^"]+)" value="([^"]*)"', own[0])
    }
    answer = acting.client.post(
        f"/groups/{group}/prove", data=data, headers={"origin": "http://127.0.0.1:8321"}
    )
    assert "3 of 3" in answer.text
    assert len(fed.letters()) == 4


def test_a_set_that_changed_is_refused_in_words_and_nothing_is_sent(fed: Plant, acting: Page) -> None:
    proof = prove(acting, group_with(fed, "d+,d+"), **COMMA)
    fed.run(ndjson(row("a9", value="1,5")), "more.ndjson", source="shop")
    assert "1 letter came" in acting.post(proof, f"{proof}/replay", status=409)
    assert len(fed.letters()) == 5


def test_a_proof_that_is_too_old_is_refused_in_words_and_nothing_is_sent(
    fed: Plant, acting: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = prove(acting, group_with(fed, "d+,d+"), **COMMA)
    monkeypatch.setattr(proofs, "VALID_MINUTES", -1)
    assert "minutes old" in acting.post(proof, f"{proof}/replay", status=409)
    assert len(fed.letters()) == 4


def test_a_proof_is_sent_once(fed: Plant, acting: Page) -> None:
    proof = prove(acting, group_with(fed, "d+,d+"), **COMMA)
    acting.post(proof, f"{proof}/replay")
    assert "3 letters left" in acting.post(proof, f"{proof}/replay", status=409)


def test_a_proof_that_the_page_forgot_is_asked_for_again(fed: Plant, acting: Page) -> None:
    proof = prove(acting, group_with(fed, "d+,d+"), **COMMA)
    token = acting.form_token(acting.get(proof), f"{proof}/replay")
    acting.site.works._works.clear()
    answer = acting.client.post(
        f"{proof}/replay", data={"form_token": token}, headers={"origin": "http://127.0.0.1:8321"}
    )
    assert answer.status_code == 409
    assert "prove the fix again" in answer.text


def test_a_field_that_the_letters_do_not_have_is_refused_with_the_nearest(fed: Plant, acting: Page) -> None:
    group = group_with(fed, "d+,d+")
    answer = acting.post(f"/groups/{group}", f"/groups/{group}/prove", status=409, how="drop", field="vlaue")
    assert "vlaue" in answer
    assert "value" in answer


@pytest.mark.parametrize(
    ("how", "name", "value", "why"),
    [
        ("cast:time", "value", "", "a format is missing"),
        ("rename", "value", "", "the new name"),
        ("drop", "", "", "names no field"),
        ("odd", "value", "", "is no edit"),
        ("cast:number", "value\0", "", "NUL"),
    ],
)
def test_an_edit_that_is_none_is_refused_in_words(
    fed: Plant, acting: Page, how: str, name: str, value: str, why: str
) -> None:
    group = group_with(fed, "d+,d+")
    data = {"how": how, "field": name, "value": value}
    assert why in acting.post(f"/groups/{group}", f"/groups/{group}/prove", status=409, **data)


def test_a_value_that_looks_like_an_option_is_none(fed: Plant, acting: Page) -> None:
    group = group_with(fed, "d+,d+")
    acting.post(f"/groups/{group}", f"/groups/{group}/discard", why="--all --group=x; rm -rf /")
    assert "--all --group=x; rm -rf /" in acting.get("/actions/1")
    assert len(fed.letters()) == 1


def test_a_discard_needs_a_reason_and_can_be_undone(fed: Plant, acting: Page) -> None:
    group = group_with(fed, "d+,d+")
    assert "--why is blank" in acting.post(
        f"/groups/{group}", f"/groups/{group}/discard", status=409, why=" "
    )
    assert "Action 1: discard" in acting.post(
        f"/groups/{group}", f"/groups/{group}/discard", why="test orders"
    )
    assert len(fed.letters()) == 1
    assert "Action 2: undo" in acting.post("/actions/1", "/actions/1/undo", why="wrong group")
    assert len(fed.letters()) == 4


def test_letters_are_parked_and_opened_again(fed: Plant, acting: Page) -> None:
    group = group_with(fed, "d+,d+")
    acting.post(f"/groups/{group}", f"/groups/{group}/park", why="until Monday")
    assert len(fed.letters("parked")) == 3
    acting.post(f"/groups/{group}", f"/groups/{group}/unpark")
    assert len(fed.letters()) == 4


def test_one_letter_is_discarded_and_the_others_stay(fed: Plant, acting: Page) -> None:
    letter = next(each for each in fed.letters() if each.record_key == "b1")
    acting.post(f"/letters/{letter.id}", f"/letters/{letter.id}/discard", why="nobody knows it")
    assert [each.record_key for each in fed.letters("discarded")] == ["b1"]


def test_what_cannot_be_undone_says_why(fed: Plant, acting: Page) -> None:
    proof = prove(acting, group_with(fed, "d+,d+"), **COMMA)
    acting.post(proof, f"{proof}/replay")
    shown = acting.get("/actions/1")
    assert "cannot be undone" in shown
    assert "send a correction" in shown
    assert "/actions/1/undo" not in shown


def test_a_replay_is_stopped(fed: Plant, acting: Page) -> None:
    action = fed.action(groups=[group_with(fed, "d+,d+")])
    assert action
    assert "3 waiting" in acting.get("/actions")
    shown = acting.post("/actions/1", "/actions/1/stop")
    assert "withdrawn" in shown
    assert len(fed.letters()) == 4
    assert "/actions/1/stop" not in shown


def test_a_group_that_moved_on_is_named(fed: Plant, acting: Page) -> None:
    group = group_with(fed, "d+,d+")
    token = acting.form_token(acting.get(f"/groups/{group}"), f"/groups/{group}/park")
    with database.transaction(fed.engine) as connection:
        connection.execute(text("UPDATE dead_letters SET status = 'resolved'"))
    answer = acting.client.post(
        f"/groups/{group}/park",
        data={"form_token": token, "why": "x"},
        headers={"origin": "http://127.0.0.1:8321"},
    )
    assert answer.status_code == 409
    assert "no letter is in a state for it" in answer.text


def test_the_list_of_actions_says_what_became_of_the_letters_of_each(fed: Plant, acting: Page) -> None:
    group = group_with(fed, "d+,d+")
    fed.replay(Edit(cast={"value": "decimal-comma"}), groups=[group])
    fed.work()
    [other] = {each.group_id for each in fed.letters("open")}
    acting.post(f"/groups/{other}", f"/groups/{other}/park", why="later")
    shown = acting.get("/actions")
    assert "3 resolved" in shown
    assert "1 done" in shown
    assert "<dt>resolved</dt><dd>3</dd>" in acting.get("/actions/1")
