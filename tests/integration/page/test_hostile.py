"""Hostile payloads are text on every screen; and what is hidden is in no answer, whatever asks for it."""

from __future__ import annotations

import re

import pytest

from ..plant import Plant, ndjson, row
from .conftest import OWN, MakePage, Page

NAUGHTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "' onfocus=alert(1) autofocus='",
    "</textarea></title></pre><svg/onload=alert(1)>",
    "a\u202egnp.exe\u2066\u200b",
    "\x1b[31mred\x07\x00",
    "Ω≈ç√∫µ≤≥÷ 田中さん 👾",
    "&lt;b&gt; &amp;amp;",
    "\u2028\u2029\ufeff",
    "%00%0d%0aSet-Cookie: x=1",
]
TAGS = re.compile(r"<(script|img|svg/onload|b)\b", re.IGNORECASE)


def is_inert(page: str) -> bool:
    """Whether nothing of a payload is markup: the one script is ours, and no picture is."""
    found = [tag.lower() for tag in TAGS.findall(page)]
    unseen = [each for each in page if each in "\u202e\u2066\u200b\x1b\x07\x00\u2028\u2029\ufeff"]
    return found == ["script"] and not unseen


@pytest.fixture
def hostile(plant: Plant) -> Plant:
    rows = [row(text, name=text, value=text) for text in NAUGHTY]
    named = [{"key": f"n{number}", "value": "x", text: text} for number, text in enumerate(NAUGHTY)]
    plant.run(ndjson(*rows, *named), "<b>records</b>.ndjson", source="shop")
    accepted = [row(text, name=text) for text in NAUGHTY if "\x00" not in text]
    plant.run(ndjson(*accepted), "good.ndjson", source="shop")
    return plant


def test_hostile_payloads_are_inert_on_every_screen(hostile: Plant, make_page: MakePage) -> None:
    page = make_page(may_act=True)
    page.login()
    letters, screens = (
        hostile.letters(),
        ["/", "/groups", "/letters", "/batches", "/deliveries", "/deliveries/1"],
    )
    assert len(letters) == 2 * len(NAUGHTY)
    screens += [f"/letters/{letter.id}" for letter in letters]
    screens += [f"/groups/{group}" for group in sorted({letter.group_id for letter in letters})]
    for path in screens:
        assert is_inert(page.get(path)), path
    assert is_inert(page.account(1))
    for text in NAUGHTY:
        answer = page.client.get("/records", params={"key": text, "source": text})
        assert is_inert(answer.text), text
        answer = page.client.get("/letters", params={"file": text, "reason": text, "field": text})
        assert is_inert(answer.text), text


def test_what_is_not_seen_or_turns_text_round_is_written_out(hostile: Plant, page: Page) -> None:
    shown = page.get("/letters")
    assert "⟦U+202E⟧" in shown
    assert "田中さん" in shown


def test_the_page_of_a_refusal_is_inert_too(hostile: Plant, make_page: MakePage) -> None:
    page = make_page(may_act=True)
    page.login()
    group = hostile.letters()[0].group_id
    for text in NAUGHTY:
        if "\x00" in text:
            continue
        answer = page.post(
            f"/groups/{group}", f"/groups/{group}/prove", status=409, how="drop", field=f"no{text}"
        )
        assert is_inert(answer), text


def test_a_reason_is_inert(hostile: Plant, make_page: MakePage) -> None:
    page = make_page(may_act=True)
    page.login()
    group = hostile.letters()[0].group_id
    page.post(f"/groups/{group}", f"/groups/{group}/discard", why=NAUGHTY[1])
    assert is_inert(page.get("/actions"))
    assert is_inert(page.get("/actions/1"))


# --- what is hidden ---

SECRET = "s3cr3t"  # noqa: S105 - a value of records
MAPPED = '[sources.shop]\nfields.key = "id"\nfields.name = "person.surname"\nfields.value = "v"\nfields.ts = "at"\n'


def everything(page: Page, plant: Plant) -> str:
    """All that the page says of letters and records, downloads too."""
    letters = plant.letters(None)
    screens = ["/", "/groups?status=all", "/letters?status=all", "/actions", "/watermarks"]
    screens += [f"/letters/{each.id}{part}" for each in letters for part in ("", "/payload")]
    screens += [
        f"/groups/{each.group_id}{part}" for each in letters for part in ("", "/letters.csv", "/test.py")
    ]
    screens += ["/records?key=k1", "/actions/1", "/actions/2"]
    return "".join(page.client.get(path).text for path in screens)


def fill(plant: Plant) -> None:
    person = {"surname": SECRET, "city": "Oslo"}
    base = {"id": "k1", "person": person, "v": 1, "at": "2025-01-15T08:00:00Z"}
    plant.run(
        ndjson(
            base,
            base | {"id": "k2", "v": f"{SECRET},5"},
            base | {"id": "k3", "person": {"surname": [SECRET]}},
            base | {"id": "k4", "v": "1,5"},
        ),
        source="shop",
    )
    plant.run(f"not json {SECRET}\n".encode(), "odd.ndjson", source="shop")


def act(page: Page, plant: Plant) -> str:
    """Suggestions, a proof, and a discard: what they show."""
    shown = ""
    for group in sorted({each.group_id for each in plant.letters()}):
        for verb in ("suggest", "prove"):
            address = f"/groups/{group}/{verb}"
            token = page.form_token(page.get(f"/groups/{group}"), address)
            shown += page.client.post(address, data={"form_token": token}, headers=OWN).text
    return shown


@pytest.mark.parametrize("hide", [["name", "value"], ["person.surname", "v"]])
def test_a_hidden_field_is_in_no_answer_under_its_raw_name_or_its_own(
    plant: Plant, make_page: MakePage, hide: list[str]
) -> None:
    plant.configure(MAPPED)
    fill(plant)
    page = make_page(hide=tuple(hide), may_act=True)
    page.login()
    shown = act(page, plant) + everything(page, plant)
    assert SECRET not in shown
    assert "Oslo" in shown
    assert "(hidden)" in shown


def test_without_values_none_is_in_any_answer(plant: Plant, make_page: MakePage) -> None:
    plant.configure(MAPPED)
    fill(plant)
    page = make_page(show_values=False, may_act=True)
    page.login()
    shown = act(page, plant) + everything(page, plant)
    assert SECRET not in shown
    assert "Oslo" not in shown
    assert "invalid_value" in shown


def test_with_nothing_hidden_all_of_it_is_shown(plant: Plant, make_page: MakePage) -> None:
    plant.configure(MAPPED)
    fill(plant)
    shown = everything(make_page(), plant)
    assert SECRET in shown
    assert "Values are hidden" not in shown
