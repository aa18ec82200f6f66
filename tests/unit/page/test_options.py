"""How `worker page` may be started: alone on this machine, or with a token and TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.errors import ConfigError, UsageError
from worker.cli.page import Asked, check
from worker.listening import Options, read_token

TOKEN = "0123456789abcdef"  # noqa: S105 - of these tests
FILE = Path("cert.pem")


@pytest.mark.parametrize(
    ("options", "token", "why"),
    [
        (Options(host="0.0.0.0"), None, "give a token"),  # noqa: S104
        (Options(host="192.168.1.4"), None, "give a token"),
        (Options(host="::"), None, "give a token"),
        (Options(host="sluice.example"), None, "give a token"),
        (Options(host="0.0.0.0"), TOKEN, "in the clear"),  # noqa: S104
        (Options(host="0.0.0.0", certificate=FILE, key=FILE), TOKEN, "--name"),  # noqa: S104
        (Options(behind_proxy=True), None, "give a token"),
        (Options(behind_proxy=True), TOKEN, "--name"),
        (Options(certificate=FILE), None, "belong together"),
        (Options(key=FILE), None, "belong together"),
        (Options(by_header="X-User"), None, "needs --behind-proxy"),
    ],
)
def test_a_page_that_others_could_use_without_leave_is_refused(
    options: Options, token: str | None, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        options.check(token)


@pytest.mark.parametrize(
    ("options", "token"),
    [
        (Options(), None),
        (Options(host="127.0.0.2"), None),
        (Options(host="::1"), None),
        (Options(host="localhost", allow_actions=True), None),
        (Options(host="0.0.0.0", certificate=FILE, key=FILE, names=("a.example",)), TOKEN),  # noqa: S104
        (Options(host="0.0.0.0", behind_proxy=True, names=("a.example",), by_header="X-User"), TOKEN),  # noqa: S104
    ],
)
def test_these_are_served(options: Options, token: str | None) -> None:
    options.check(token)


def test_a_page_has_its_names_with_its_port() -> None:
    assert Options().hosts(8321) == {"127.0.0.1:8321", "localhost:8321", "[::1]:8321"}
    assert {"a.example", "a.example:8321"} <= Options(names=("a.example",)).hosts(8321)
    assert "localhost" in Options().hosts(80)
    assert "0.0.0.0:8321" in Options(host="0.0.0.0").hosts(8321)  # noqa: S104


def test_a_short_token_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    for text in ("", "short"):
        file.write_text(text)
        with pytest.raises(ConfigError, match="less than 16"):
            read_token(file)
    file.write_text(f"{TOKEN}\n")
    assert read_token(file) == TOKEN
    assert read_token(None) is None
    monkeypatch.setenv("SLUICE_PAGE_TOKEN", "short")
    with pytest.raises(ConfigError, match="less than 16"):
        read_token(None)


@pytest.mark.parametrize(
    ("is_wanted", "burst", "asked", "why"),
    [
        (False, False, Asked(port=1, allow_actions=True), "^--port, --allow-actions: only with --page"),
        (False, True, Asked(names=("a",), key=FILE), "^--name, --tls-key: only with --page"),
        (True, True, Asked(), "a burst ends, and its page with it"),
    ],
)
def test_options_of_a_page_that_worker_up_does_not_serve_are_refused(
    is_wanted: bool, burst: bool, asked: Asked, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        check(is_wanted, burst, asked)


def test_options_of_a_page_are_those_of_its_server() -> None:
    check(False, True, Asked())
    check(True, False, Asked(port=1))
    assert Asked().options == Options()
    assert Asked(*range(9)).options == Options(*range(9))  # type: ignore[arg-type]
