"""What of an address on the web may be shown and stored."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.arrivals.address import Address, is_address
from store import addresses
from store.errors import ConfigError
from tests.examples import examples


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_secrets", set())
    monkeypatch.setattr(addresses, "_users", set())


@pytest.mark.parametrize(
    ("text", "asked", "shown", "file"),
    [
        ("https://h/a.csv", "https://h/a.csv", "https://h/a.csv", "a.csv"),
        ("HTTP://H:81/x/A.CSV.gz#top", "http://h:81/x/A.CSV.gz", "http://h:81/x/A.CSV.gz", "A.CSV.gz"),
        ("https://h", "https://h/", "https://h/", "file"),
        ("https://u:p%40ss@h/a.csv", "https://h/a.csv", "https://h/a.csv", "a.csv"),
        ("https://u:p@ss@h/a.csv", "https://h/a.csv", "https://h/a.csv", "a.csv"),
        ("https://[::1]:8/a b.csv", None, None, None),
        ("https://[::1]:8/a%20b.csv", "https://[::1]:8/a%20b.csv", "https://[::1]:8/a%20b.csv", "a b.csv"),
        ("https://h/kühl.csv", "https://h/k%C3%BChl.csv", "https://h/k%C3%BChl.csv", "k_hl.csv"),
        (
            "https://bücher.example/a",
            "https://xn--bcher-kva.example/a",
            "https://xn--bcher-kva.example/a",
            "a",
        ),
        ("https://h/..%2f..%2fetc", "https://h/..%2f..%2fetc", "https://h/..%2f..%2fetc", "_.._etc"),
        (
            "https://h/q?format=csv&starttime=2025-01-15T08:00:00&limit=12345678901234567890",
            "https://h/q?format=csv&starttime=2025-01-15T08:00:00&limit=12345678901234567890",
            "https://h/q?format=csv&starttime=2025-01-15T08:00:00&limit=12345678901234567890",
            "q",
        ),
        (
            "https://h/a.csv?api_key=abc&X-Amz-Signature=0f&v=1&b=AbCd1234EfGh5678",
            "https://h/a.csv?api_key=abc&X-Amz-Signature=0f&v=1&b=AbCd1234EfGh5678",
            "https://h/a.csv?api_key=***&X-Amz-Signature=***&v=1&b=***",
            "a.csv",
        ),
        (
            "https://h/a?x=1;token=abcdef&pw=hunter2;pin=1;spin=2",
            "https://h/a?x=1;token=abcdef&pw=hunter2;pin=1;spin=2",
            "https://h/a?x=1;token=***&pw=***;pin=***;spin=2",
            "a",
        ),
        ("https://h/a?AbCd1234EfGh5678", "https://h/a?AbCd1234EfGh5678", "https://h/a?***", "a"),
        ("https://h:port/a", None, None, None),
        ("https:///a", None, None, None),
        ("https://[h/a", None, None, None),
    ],
)
def test_an_address_is_taken_apart(text: str, asked: str | None, shown: str | None, file: str | None) -> None:
    assert is_address(text)
    if asked is None:
        with pytest.raises(ConfigError, match="cannot be read: write it as") as error:
            Address.of(text)
        assert text not in str(error.value)
        return
    found = Address.of(text)
    assert (found.url, found.shown, found.file) == (asked, shown, file)


def test_a_login_is_decoded_for_the_server() -> None:
    found = Address.of("https://a%40b:p%3Aq@h/x.csv")
    assert (found.user, found.password) == ("a@b", "p:q")


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="@/?#[]:\\"), min_size=5
)


def is_read(login: str) -> bool:
    """Whether an address may have it: none may that has a delimiter in it once Unicode's equivalents are put in."""
    return not {*"@/?#:"} & {*unicodedata.normalize("NFKC", login)}


@given(password=WORDS.filter(is_read), token=WORDS.filter(lambda word: not {"&", ";"} & {*word}))
@settings(max_examples=examples(100))
def test_a_secret_is_never_shown(password: str, token: str) -> None:
    found = Address.of(f"https://user:{password}@host/a.csv?x=1&token={token}")
    assert found.shown == "https://host/a.csv?x=1&token=***"


@pytest.mark.parametrize("password", ["secret\u2100", "secret\uff1a", "secret\uff20x"])
def test_an_address_whose_login_may_be_read_in_two_ways_is_refused_without_it(password: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Address.of(f"https://user:{password}@host/a.csv")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["a.csv", "ftp://h/a", "file:///etc/passwd", "http", "https:/a", "s3://b/k"])
def test_what_else_is_given_is_a_path(text: str) -> None:
    assert not is_address(text)
