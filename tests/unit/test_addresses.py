from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import addresses
from store.addresses import keep_secret, shown_url, without_secrets


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_secrets", set())
    monkeypatch.setattr(addresses, "_users", set())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret@queue.example:6379/0", "redis://queue.example:6379/0"),
        ("redis://:p@ss@h:1", "redis://h:1"),
        ("rediss://[::1]:6379/0", "rediss://[::1]:6379/0"),
        ("unix:///run/r.sock", "unix:///run/r.sock"),
        ("unix://user:secret@/run/r.sock?password=secret", "unix:///run/r.sock"),
        ("unix:///a%3Fb%0Ac.sock", "unix:///a?b\\nc.sock"),
        ("postgresql+psycopg://u:secret@db:5432/orders", "postgresql+psycopg://db:5432/orders"),
        ("postgresql://db/orders?user=secret&password=secret", "postgresql://db/orders"),
        ("postgresql://db/orders?sslpassword=secret#secret", "postgresql://db/orders"),
        ("sqlite:////data/a@b.db", "sqlite:////data/a@b.db"),
        ("redis+sentinel://u:secret@a:1,b,[::1]:2/main/0", "redis+sentinel://a:1,b,[::1]:2/main/0"),
        ("rediss+sentinel://a/main?sentinel_password=secret", "rediss+sentinel://a/main"),
        ("redis+sentinel://a,:secret/main/0", "redis+sentinel://"),
        ("redis://a/secret/0", "redis://"),
        ("redis://:secret", "redis://"),  # the @ was forgotten
        ("redis://h:secret/0", "redis://"),
        ("redis://h:1/0?password=sec@ret", "redis://"),
        ("redis://:sec?ret@h:1", "redis://"),
        ("secret@host", "(not a URL)"),
        ("", "(not a URL)"),
    ],
)
def test_a_url_is_shown_with_scheme_host_port_and_database_alone(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "secret" not in shown_url(url)


SECRET = st.text(st.sampled_from("xyz:@/?#&=%"), min_size=6, max_size=12)


@given(
    SECRET,
    st.sampled_from(
        ["{0}:{1}@h:1/0", ":{1}@h:1/0", "h:1/0?user={0}&password={1}", "h/0?a=b&sslpassword={1}"]
    ),
)
def test_no_form_of_a_url_shows_its_secret(secret: str, form: str) -> None:
    shown = shown_url("redis://" + form.format(secret, secret))
    assert not set(shown.removeprefix("redis://")) & set("xyz")


def test_what_a_library_says_of_an_error_has_no_secret() -> None:
    keep_secret("postgresql://bob:s3cret@h/db?password=hid%40den&sslmode=require&connect_timeout=5&sslkey=k1")
    reported = (
        'password authentication failed for user "bob": s3cret hid@den hid%40den, key k1, 5 s; k12 for bob'
    )
    assert (
        without_secrets(reported)
        == 'password authentication failed for user "***": *** *** ***, key ***, 5 s; k12 for bob'
    )


def test_a_password_with_an_at_sign_is_removed_where_a_library_takes_its_end_for_a_host() -> None:
    keep_secret("postgresql://ann:begin@end@h/db")
    assert without_secrets("no such host 'end@h', user begin") == "no such host '***@h', user ***"
