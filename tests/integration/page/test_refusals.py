"""What the page refuses: other names, other sites, no login, a stale form; and what each answer carries."""

from __future__ import annotations

import pytest
from itsdangerous import URLSafeTimedSerializer

from worker.listening import Options
from worker.page import session
from worker.page.safety import CSP, MOST_BODY

from ..plant import Plant
from .conftest import BASE, OWN, MakePage, Page, group_with

TOKEN = "0123456789abcdef"  # noqa: S105 - of these tests


def discards(plant: Plant) -> tuple[str, str]:
    """(the page of a group, where its form to discard is sent)."""
    id = group_with(plant, "d+,d+")
    return f"/groups/{id}", f"/groups/{id}/discard"


def is_untouched(plant: Plant) -> bool:
    return len(plant.letters()) == 4


def test_a_foreign_host_is_refused_before_anything_is_read(page: Page) -> None:
    for host in [
        "evil.example",
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost.evil:8321",
        "",
        "127.0.0.1:8321.evil",
    ]:
        answer = page.client.get("/", headers={"host": host})
        assert answer.status_code == 421
        assert "Dead letters" not in answer.text


def test_its_own_names_are_taken(page: Page) -> None:
    for host in ["127.0.0.1:8321", "localhost:8321", "LOCALHOST:8321", "[::1]:8321"]:
        assert page.client.get("/runs", headers={"host": host}).status_code == 200


def test_every_answer_has_the_headers_that_keep_it_safe(page: Page) -> None:
    for path in ["/", "/nowhere", "/static/page.css", "/login"]:
        headers = page.client.get(path).headers
        assert headers["content-security-policy"] == CSP
        assert "unsafe" not in CSP
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


def test_refusals_have_these_headers_too(page: Page) -> None:
    assert page.client.get("/", headers={"host": "evil"}).headers["content-security-policy"] == CSP


def test_no_page_has_anything_inline(fed: Plant, acting: Page) -> None:
    for path in ("/", discards(fed)[0], "/letters", "/records?key=c1"):
        shown = acting.get(path)
        assert "style=" not in shown
        assert " onclick" not in shown
        assert shown.count("<script") == 1


def test_a_form_of_another_site_does_nothing(fed: Plant, acting: Page) -> None:
    for headers in [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": BASE, "sec-fetch-site": "cross-site"},
        {"origin": "null", "sec-fetch-site": "cross-site"},
        {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-site"},
    ]:
        page, address = discards(fed)
        data = {"form_token": acting.form_token(acting.get(page), address), "why": "x"}
        answer = acting.client.post(address, data=data, headers=headers)
        assert answer.status_code == 403
        assert "was not sent by a form of this page" in answer.text
        assert is_untouched(fed)


@pytest.mark.parametrize(
    "headers", [OWN, {"origin": BASE}, {"origin": "null", "sec-fetch-site": "same-origin"}]
)
def test_its_own_form_is_taken(fed: Plant, acting: Page, headers: dict[str, str]) -> None:
    page, address = discards(fed)
    data = {"form_token": acting.form_token(acting.get(page), address), "why": "x"}
    assert acting.client.post(address, data=data, headers=headers).status_code == 200
    assert len(fed.letters()) == 1


def test_a_page_that_only_reads_has_no_forms_and_refuses_them(fed: Plant, page: Page) -> None:
    shown, address = discards(fed)
    assert 'method="post"' not in page.get(shown)
    answer = page.client.post(address, data={"why": "x", "form_token": "x"}, headers=OWN)
    assert answer.status_code == 403
    assert "This page only reads" in answer.text
    assert is_untouched(fed)


def test_without_a_login_nothing_is_done(fed: Plant, make_page: MakePage) -> None:
    page = make_page(may_act=True)
    shown, address = discards(fed)
    assert 'action="' + address not in page.get(shown)
    answer = page.client.post(address, data={"why": "x", "form_token": "x"}, headers=OWN)
    assert answer.status_code == 403
    assert "not logged in" in answer.text
    assert is_untouched(fed)


def test_nothing_is_done_but_by_post(fed: Plant, acting: Page) -> None:
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"]:
        _, address = discards(fed)
        assert acting.client.request(method, address, headers=OWN).status_code in (404, 405)
        assert is_untouched(fed)


def test_a_form_token_holds_for_its_own_form_alone(fed: Plant, acting: Page) -> None:
    page, address = discards(fed)
    other = address.replace("discard", "park")
    token = acting.form_token(acting.get(page), other)
    answer = acting.client.post(address, data={"why": "x", "form_token": token}, headers=OWN)
    assert answer.status_code == 403
    assert "for another action" in answer.text
    assert is_untouched(fed)


def test_a_form_token_holds_for_its_own_login_alone(fed: Plant, acting: Page) -> None:
    page, address = discards(fed)
    token = acting.form_token(acting.get(page), address)
    acting.login()
    answer = acting.client.post(address, data={"why": "x", "form_token": token}, headers=OWN)
    assert answer.status_code == 403
    assert is_untouched(fed)


def test_a_made_up_form_token_is_refused(fed: Plant, acting: Page) -> None:
    for token in ["", "x", "a.b.c"]:
        _, address = discards(fed)
        answer = acting.client.post(address, data={"why": "x", "form_token": token}, headers=OWN)
        assert "was not made by this page" in answer.text
        assert is_untouched(fed)


def test_a_stale_form_token_is_refused_in_words(
    fed: Plant, acting: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, address = discards(fed)
    token = acting.form_token(acting.get(page), address)
    monkeypatch.setattr(session, "FORM_SECONDS", -1)
    answer = acting.client.post(address, data={"why": "x", "form_token": token}, headers=OWN)
    assert "more than an hour old" in answer.text
    assert is_untouched(fed)


def test_a_form_that_is_too_long_or_of_another_type_is_refused(fed: Plant, acting: Page) -> None:
    _, address = discards(fed)
    assert acting.client.post(address, data={"why": "x" * MOST_BODY}, headers=OWN).status_code == 413
    assert acting.client.post(address, json={"why": "x"}, headers=OWN).status_code == 415
    parts = iter([b"why=", b"x" * (MOST_BODY + 1)])
    form = {"content-type": "application/x-www-form-urlencoded", **OWN}
    assert acting.client.post(address, content=parts, headers=form).status_code in (400, 413)
    assert is_untouched(fed)


# --- logins ---


def test_a_login_key_works_once_and_the_next_one_is_announced(make_page: MakePage) -> None:
    page = make_page(may_act=True)
    page.login()
    used = page.keys[-2]
    page.client.cookies.clear()
    answer = page.client.post("/login", data={"key": used}, headers=OWN)
    assert answer.status_code == 403
    assert "used already" in answer.text
    assert page.keys[-1] != used


def test_opening_the_login_address_uses_nothing_up(make_page: MakePage) -> None:
    page = make_page(may_act=True)
    page.site.sessions.new_key()
    for _ in range(3):
        assert "works once" in page.get(f"/login?key={page.keys[-1]}")
    assert len(page.keys) == 1


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(make_page: MakePage) -> None:
    page = make_page(may_act=True)
    page.site.sessions.new_key()
    answer = page.client.post("/login", data={"key": page.keys[-1]}, headers=OWN, follow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie  # http on this machine
    page.site.is_secure = True
    answer = page.client.post("/login", data={"key": page.keys[-1]}, headers=OWN, follow_redirects=False)
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_cookie_of_another_start_or_made_up_is_none(make_page: MakePage) -> None:
    page = make_page(may_act=True)
    page.login()
    assert "Log out" in page.get("/runs")
    forged = URLSafeTimedSerializer(b"guess", salt="sluice page cookie").dumps("me")
    page.client.cookies.clear()
    page.client.cookies.set(session.COOKIE, forged)
    assert "Log out" not in page.get("/runs")


def test_a_login_from_another_site_is_refused(make_page: MakePage) -> None:
    page = make_page(may_act=True)
    page.site.sessions.new_key()
    answer = page.client.post(
        "/login", data={"key": page.keys[-1]}, headers={"origin": "http://evil.example"}
    )
    assert answer.status_code == 403
    assert len(page.keys) == 1


def test_a_page_that_others_reach_shows_nothing_without_its_token(fed: Plant, make_page: MakePage) -> None:
    page = make_page(token=TOKEN, options=Options(names=("sluice.example",)))
    for path in ("/", "/letters", "/follow", "/records?key=c1", f"/letters/{fed.letters()[0].id}/payload"):
        answer = page.client.get(path, follow_redirects=False)
        assert answer.status_code in (303, 403)
        assert "pump" not in answer.text
    assert page.client.post("/login", data={"key": "wrong"}, headers=OWN).status_code == 403
    assert page.client.post("/login", data={"key": TOKEN}, headers=OWN).status_code == 200
    assert "invalid_value" in page.get("/")


def test_the_proxy_must_name_who_acts(fed: Plant, make_page: MakePage) -> None:
    page = make_page(may_act=True, by_header="x-forwarded-user")
    page.login()
    shown, address = discards(fed)
    data = {"form_token": page.form_token(page.get(shown), address), "why": "x"}
    assert "names nobody" in page.client.post(address, data=data, headers=OWN).text
    assert is_untouched(fed)
    page.client.post(address, data=data, headers={**OWN, "x-forwarded-user": "ann"})
    assert "ann" in page.get("/actions/1")
