"""`producer enqueue https://…`: the file behind an address, whole or not at all, without its secrets."""

from __future__ import annotations

import base64
import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import pytest

from producer.arrivals import download
from producer.arrivals.address import Address
from producer.settings import ProducerSettings
from store import addresses
from store.errors import InputError

from ..plant import Plant, ndjson, row
from .conftest import Producer

CSV = b"key,name,value,ts\na,n,1,2025-01-15T08:00:00Z\n"
LOGIN = "Basic " + base64.b64encode(b"user:pass word").decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str | None]]
    release: threading.Event
    elsewhere: str

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.seen.append((path, self.headers.get("Authorization")))
        answers: dict[str, tuple[int, bytes, dict[str, str]]] = {
            "/a.csv": (200, CSV, {}),
            "/packed.csv": (200, gzip.compress(CSV), {"Content-Encoding": "gzip"}),
            "/brotli.csv": (200, b"x", {"Content-Encoding": "br"}),
            "/moved.csv": (302, b"", {"Location": "/a.csv"}),
            "/away.csv": (302, b"", {"Location": f"{self.elsewhere}/a.csv"}),
            "/within.csv": (302, b"", {"Location": "/secret.csv"}),
            "/part.csv": (206, CSV, {}),
            "/round.csv": (302, b"", {"Location": "/round.csv"}),
            "/login.csv": (302, b"", {"Location": "http://u:hidden@127.0.0.1/a.csv"}),
            "/file.csv": (302, b"", {"Location": "file:///etc/passwd"}),
            "/cut.csv": (200, CSV, {"Content-Length": "999"}),
            "/page.csv": (200, b"<!doctype html>", {}),
            "/secret.csv": (200 if self.headers.get("Authorization") == LOGIN else 401, CSV, {}),
        }
        if path == "/silent.csv":
            self.release.wait(10)
        status, body, headers = answers.get(path, (404, b"", {}))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(elsewhere: str = "") -> Iterator[tuple[str, type[Handler]]]:
    state = {"seen": [], "release": threading.Event(), "elsewhere": elsewhere}
    handler = type("OneServer", (Handler,), state)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", handler
        finally:
            handler.release.set()
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def other() -> Iterator[tuple[str, type[Handler]]]:
    with serving() as found:
        yield found


@pytest.fixture(scope="module")
def site(other: tuple[str, type[Handler]]) -> Iterator[tuple[str, type[Handler]]]:
    with serving(other[0].replace("127.0.0.1", "localhost")) as found:
        yield found


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(addresses, "_secrets", set())
    monkeypatch.setattr(addresses, "_users", set())
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def loaded(url: str, **settings: Any) -> bytes:
    with download.fetched(Address.of(url), ProducerSettings(**settings), lambda *_: None) as path:
        assert Path(path).parent.stat().st_mode & 0o077 == 0
        return Path(path).read_bytes()


def test_a_file_of_an_address_is_a_delivery_by_its_content(
    plant: Plant, producer: Producer, site: tuple[str, type[Handler]]
) -> None:
    base, _ = site
    url = base.replace("//", "//user:pass%20word@") + "/secret.csv?token=s3cr3t&v=1"
    first, second = (producer("enqueue", url, "--json") for _ in range(2))
    assert first.exit_code == 0, first.output
    [sent] = orjson.loads(first.stdout)["files"]
    shown = f"{base}/secret.csv?token=***&v=1"
    assert (sent["file"], sent["status"], sent["records"]) == (shown, "sent", 1)
    assert orjson.loads(second.stdout)["files"][0]["known_batches"] == 1
    plant.work()
    with plant.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT file FROM deliveries").scalars().all() == [shown]
    stored = b"".join(path.read_bytes() for path in plant.home.rglob("*") if path.is_file())
    for secret in (b"s3cr3t", b"pass word", b"pass%20word"):
        assert secret not in stored + first.output.encode()


def test_gzip_data_that_the_server_announces_is_read(
    site: tuple[str, type[Handler]], producer: Producer
) -> None:
    done = orjson.loads(producer("enqueue", f"{site[0]}/packed.csv", "--json").stdout)
    assert done["records"] == 1


def test_a_redirect_on_the_same_host_has_the_login(site: tuple[str, type[Handler]]) -> None:
    assert loaded(site[0].replace("//", "//user:pass%20word@") + "/within.csv") == CSV


def test_a_part_of_a_file_is_an_error(site: tuple[str, type[Handler]]) -> None:
    with pytest.raises(InputError, match="the server answers 206"):
        loaded(f"{site[0]}/part.csv")


@pytest.mark.parametrize("command", ["try", "draft", "enqueue"])
def test_an_address_that_is_not_loaded_is_named_without_its_password(
    producer: Producer, command: str
) -> None:
    scheme = "ftp" if command == "enqueue" else "http"
    done = producer(command, f"{scheme}://bob:s3cretpw@127.0.0.1:1/x.csv")
    shown = f"{done.output}{done.exception}"
    assert done.exit_code != 0
    assert "s3cretpw" not in shown
    assert "`producer enqueue` loads addresses of http and https" in shown


def test_a_redirect_is_followed_and_another_host_does_not_see_the_login(
    site: tuple[str, type[Handler]], other: tuple[str, type[Handler]]
) -> None:
    base = site[0].replace("//", "//user:secret@")
    assert loaded(f"{base}/moved.csv") == CSV
    assert loaded(f"{base}/away.csv") == CSV
    assert other[1].seen == [("/a.csv", None)]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("none.csv", "the server answers 404 Not Found: check the address"),
        ("secret.csv", "401 Unauthorized: check user and password"),
        ("round.csv", "302 Found: it redirects in a circle"),
        ("file.csv", "302 Found: it redirects .* to what is no address on the web"),
        ("login.csv", "redirects to an address with a user or a password"),
        ("cut.csv", r"ended after 45 of 999 bytes"),
        ("brotli.csv", "sends it as 'br', which is not read"),
    ],
)
def test_what_cannot_be_loaded_is_one_error_and_leaves_no_file(
    site: tuple[str, type[Handler]], tmp_path: Path, path: str, why: str
) -> None:
    with pytest.raises(InputError, match=why) as error:
        loaded(f"{site[0]}/{path}")
    assert str(error.value).startswith(f"{site[0]}/{path}: ")
    assert "hidden" not in str(error.value)
    assert list(tmp_path.glob("sluice-*")) == []


def test_an_answer_beyond_the_limit_is_an_error_whether_its_length_is_given_or_not(
    site: tuple[str, type[Handler]],
) -> None:
    with pytest.raises(InputError, match="more than 10 bytes: raise url_max_bytes"):
        loaded(f"{site[0]}/a.csv", url_max_bytes=10)
    with (
        mock.patch("http.client.HTTPMessage.get", lambda _self, _name, default=None: default),
        pytest.raises(InputError, match="more than 10 bytes"),
    ):
        loaded(f"{site[0]}/a.csv", url_max_bytes=10)


def test_a_server_that_says_nothing_is_an_error_after_the_timeout(site: tuple[str, type[Handler]]) -> None:
    with pytest.raises(InputError, match=r"sent nothing for 0\.05 s"):
        loaded(f"{site[0]}/silent.csv", url_timeout_seconds=0.05)


def test_nobody_there_is_an_error_without_the_address_of_the_library(site: tuple[str, type[Handler]]) -> None:
    with pytest.raises(InputError, match=r"^http://127\.0\.0\.1:1/a\.csv: it cannot be loaded"):
        loaded("http://u:p@127.0.0.1:1/a.csv")


def test_an_address_whose_end_shows_no_format_needs_one_and_a_bad_one_does_not_stop_the_others(
    plant: Plant, producer: Producer, site: tuple[str, type[Handler]]
) -> None:
    file = plant.file(ndjson(row("a")))
    done = producer("enqueue", f"{site[0]}/feed", f"{site[0]}/page.csv", file, "--json")
    found = [(each["status"], each["error"]) for each in orjson.loads(done.stdout)["files"]]
    assert done.exit_code == 1
    assert [status for status, _ in found] == ["not sent", "not sent", "sent"]
    assert "shows no format that is read; give --format" in found[0][1]
    assert found[1][1].startswith(f"{site[0]}/page.csv: this is an HTML or XML page")
    assert "/feed" not in [path for path, _ in site[1].seen]


def test_an_address_that_is_none_is_refused_without_showing_it(producer: Producer) -> None:
    done = producer("enqueue", "https://user:s3cr3t@h:port/a.csv")
    assert "cannot be read: write it as https://host/path" in str(done.exception)
    assert "s3cr3t" not in str(done.exception) + done.output
