"""Who gets the metrics over HTTP: from `worker metrics`, and from the page."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from starlette.testclient import TestClient

from store import database
from store.errors import UsageError
from store.settings import StoreSettings
from worker.listening import Options
from worker.metrics.collector import Collector
from worker.metrics.server import server
from worker.page.app import build
from worker.page.session import Sessions
from worker.page.settings import PageSettings
from worker.page.site import Site

from ..plant import Plant
from .conftest import parsed

SAMPLE = Path(__file__).parents[3] / "data" / "sample.ndjson"
TOKEN = "0123456789abcdef"  # noqa: S105 - of these tests
STAGED = "sluice_records_total{outcome=staged,source=default}"


@contextmanager
def served(options: Options, collecting: Collector) -> Iterator[int]:
    """The port of a server of metrics."""
    with server(options, collecting) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made.server_port
        finally:
            made.shutdown()
            thread.join()


def asked(
    connection: http.client.HTTPConnection, path: str = "/metrics", method: str = "GET", **headers: str
) -> tuple[int, str, str]:
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.headers["content-type"], answer.read().decode()
    connection.close()
    return found


@pytest.fixture
def port(plant: Plant, collecting: Collector) -> Iterator[int]:
    plant.run(SAMPLE)
    with served(Options(port=0), collecting) as port:
        yield port


def test_prometheus_reads_what_is_served_in_both_formats(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    status, kind, text = asked(connection)
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert parsed(text)[STAGED] == 5
    status, kind, text = asked(connection, Accept="application/openmetrics-text; version=1.0.0")
    assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
    assert {"sluice_records", "sluice_dead_letters"} <= {family.name for family in open_metrics(text)}


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/metrics", "GET", {"Host": "evil.example"}, 421),
        ("/metrics", "POST", {}, 405),
        ("/", "GET", {}, 404),
        ("/metrics/../etc", "GET", {}, 404),
    ],
)
def test_all_else_is_refused(port: int, path: str, method: str, headers: dict[str, str], status: int) -> None:
    found, _, text = asked(http.client.HTTPConnection("127.0.0.1", port), path, method, **headers)
    assert found == status
    assert "sluice_" not in text


def test_others_are_refused_without_a_token_and_tls(collecting: Collector) -> None:
    with (
        pytest.raises(UsageError, match="lets others reach the server of metrics: give a token"),
        server(Options(host="0.0.0.0", port=0, what="the server of metrics"), collecting),  # noqa: S104
    ):
        pytest.fail("it is served")


def test_others_need_the_token_over_tls(plant: Plant, collecting: Collector, tmp_path: Path) -> None:
    plant.run(SAMPLE)
    authority, files = trustme.CA(), (tmp_path / "cert.pem", tmp_path / "key.pem")
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(files[0])
    issued.private_key_pem.write_to_path(files[1])
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    options = Options(port=0, token_file=token, certificate=files[0], key=files[1])
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with served(options, collecting) as port:
        connection = http.client.HTTPSConnection("localhost", port, context=context)
        assert asked(connection)[0] == 401
        assert asked(connection, Authorization=f"Bearer {TOKEN}x")[0] == 401
        status, _, text = asked(connection, Authorization=f"Bearer {TOKEN}")
        assert (status, parsed(text)[STAGED]) == (200, 5)


@pytest.mark.parametrize("token", [None, TOKEN])
def test_the_page_serves_them_to_those_who_may_read_it(
    plant: Plant, collecting: Collector, token: str | None
) -> None:
    plant.run(SAMPLE)
    engine = database.existing(StoreSettings.load())
    site = Site(StoreSettings.load(), plant.settings, PageSettings.load(), engine, Sessions(token))
    site.metrics = collecting
    with TestClient(
        build(site, Options().hosts(8321)), "http://127.0.0.1:8321", follow_redirects=False
    ) as client:
        assert client.get("/metrics").status_code == (200 if token is None else 401)
        assert client.get("/metrics", headers={"host": "evil.example"}).status_code == 421
        answer = client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"})
        assert parsed(answer.text)[STAGED] == 5
        assert answer.headers["content-type"].startswith("text/plain")
    engine.dispose()
