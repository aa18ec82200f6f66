from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from store import database
from store.errors import ConfigError, SluiceError, UsageError
from store.lineage import openlineage
from store.tables import law_checks
from tests.integration.store.conftest import Ledger, Record

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
URI = {"type": "string", "format": "uri", "pattern": "^[a-z]+:.+"}
PUBLISHED = {"type": "string", "pattern": r"^https://openlineage\.io/spec/.+\.json#/\$defs/\w+$"}


def an_object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def facets(**known: dict[str, Any]) -> dict[str, Any]:
    """Facets by their names: every one says whose it is and by which schema; a known one has its own fields too."""
    any_facet = an_object({"_producer": URI, "_schemaURL": PUBLISHED})
    shapes = {name: {"allOf": [any_facet, shape]} for name, shape in known.items()}
    return {"type": "object", "properties": shapes, "additionalProperties": any_facet}


def dataset(**facets_of_its_kind: dict[str, Any]) -> dict[str, Any]:
    fields = {"type": "array", "items": an_object({"name": TEXT}, {"type": TEXT, "description": TEXT})}
    columns = facets(schema=an_object({}, {"fields": fields}))
    return an_object({"namespace": TEXT, "name": TEXT}, {"facets": columns, **facets_of_its_kind})


ROWS = an_object({"rowCount": COUNT}, {"size": COUNT, "fileCount": COUNT})
FAILURE = an_object({"message": TEXT, "programmingLanguage": TEXT}, {"stackTrace": TEXT})
KIND_OF_JOB = an_object({"processingType": TEXT, "integration": TEXT}, {"jobType": TEXT})
RUN = an_object({"runId": {"type": "string", "format": "uuid"}}, {"facets": facets(errorMessage=FAILURE)})
JOB = an_object({"namespace": TEXT, "name": TEXT}, {"facets": facets(jobType=KIND_OF_JOB)})
# What the specification, 2-0-2, and the facets that we use ask of a run event, in our words: nothing is fetched
# by a test. Its own classes, which make the events, check the rest.
RUN_EVENT = an_object(
    {
        "eventTime": {"type": "string", "format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT.+Z$"},
        "producer": URI,
        "schemaURL": PUBLISHED,
        "run": RUN,
        "job": JOB,
    },
    {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "inputs": {"type": "array", "items": dataset(inputFacets=facets(inputStatistics=ROWS))},
        "outputs": {"type": "array", "items": dataset(outputFacets=facets(outputStatistics=ROWS))},
    },
)


def export(ledger: Ledger, first: int = 1, last: int | None = None) -> list[Any]:
    """The events, each held against the specification."""
    with database.reading(ledger.engine) as connection:
        made = [
            json.loads(event) for event in openlineage.events(connection, "sluice", first=first, last=last)
        ]
    validator = Draft202012Validator(RUN_EVENT, format_checker=FormatChecker())
    for event in made:
        validator.validate(event)
        assert event["schemaURL"] == "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
    return made


def rows(dataset: Any, kind: str) -> int:
    return int(dataset[f"{kind}Facets"][f"{kind}Statistics"]["rowCount"])


@pytest.fixture
def loaded(ledger: Ledger) -> Ledger:
    """Two runs: one over two files, one that updates a row."""
    ledger.receive([Record("a", "2025-01-01"), Record("b", "2025-01-01")], file="one.json")
    ledger.receive([Record("a", "2025-01-02")], file="two.json")
    ledger.load()
    ledger.receive([Record("a", "2025-01-03")], file="two.json")
    ledger.load()
    return ledger


def test_a_run_is_a_start_and_an_end_with_its_files_and_the_rows_it_wrote(loaded: Ledger) -> None:
    start, end = export(loaded, 1, 1)
    assert (start["eventType"], end["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == end["run"]["runId"]
    assert end["job"]["namespace"] == "sluice"
    assert end["job"]["name"] == "sluice.load"
    assert {each["name"]: rows(each, "input") for each in end["inputs"]} == {"one.json": 2, "two.json": 1}
    (target,) = end["outputs"]
    assert rows(target, "output") == 2  # of three staged rows, one was beaten
    assert {"key", "ts", "value"} <= {field["name"] for field in target["facets"]["schema"]["fields"]}


@pytest.mark.parametrize(
    "path",
    [
        "schemaURL",
        "run.runId",
        "job.facets.jobType.integration",
        "inputs.0.inputFacets.inputStatistics.rowCount",
        "outputs.0.outputFacets.outputStatistics._producer",
        "outputs.0.facets.schema.fields.0.name",
    ],
)
def test_an_event_without_what_the_specification_asks_for_is_noticed(loaded: Ledger, path: str) -> None:
    event = export(loaded, 1, 1)[1]
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    inner = event
    for step in way:
        inner = inner[step]
    del inner[last]
    with pytest.raises(ValidationError, match=f"{last!r} is a required property"):
        Draft202012Validator(RUN_EVENT).validate(event)


def test_every_run_has_an_id_of_its_own_that_stays(loaded: Ledger) -> None:
    ids = [event["run"]["runId"] for event in export(loaded)]
    assert len(ids) == 4
    assert len(set(ids)) == 2
    assert [event["run"]["runId"] for event in export(loaded)] == ids


def test_runs_before_the_first_asked_for_are_left_out(loaded: Ledger) -> None:
    assert export(loaded, 2) == export(loaded)[2:]
    assert export(loaded, 3) == []


@pytest.mark.parametrize(
    ("status", "kinds"),
    [("failed", ["START", "FAIL"]), ("interrupted", ["START", "ABORT"]), ("running", ["START"])],
)
def test_how_a_run_ended_is_the_kind_of_its_event(loaded: Ledger, status: str, kinds: list[str]) -> None:
    loaded.tamper(
        "UPDATE run_log SET status = :status, error = 'the disk is full' WHERE seq = 2", status=status
    )
    made = export(loaded, 2)
    assert [event["eventType"] for event in made] == kinds
    if len(made) == 2:
        assert made[1]["run"]["facets"]["errorMessage"]["message"] == "the disk is full"


def test_a_run_that_is_not_there_is_an_error(loaded: Ledger) -> None:
    with pytest.raises(SluiceError, match="there is no run 9"):
        export(loaded, 9, 9)


def test_without_the_extra_the_error_says_what_to_install(
    loaded: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openlineage.client.serde", None)
    with pytest.raises(ConfigError, match=r"pip install 'sluice\[openlineage\]'"):
        export(loaded)


def test_a_file_gets_one_event_a_line(tmp_path: Path) -> None:
    openlineage.write(['{"a": 1}', '{"b": 2}'], tmp_path / "runs.ndjson")
    assert (tmp_path / "runs.ndjson").read_text() == '{"a": 1}\n{"b": 2}\n'
    with pytest.raises(UsageError, match="cannot be written"):
        openlineage.write([], tmp_path / "no" / "folder")


# --- over HTTP -----------------------------------------------------------------------------------------


class Collector:
    """An endpoint that stores what it receives and sends the given answers."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.methods: list[str] = []
        self.url = ""


@contextmanager
def collecting(*answers: int) -> Iterator[Collector]:
    collector = Collector(*answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            collector.bodies.append(json.loads(body))
            collector.headers.append(dict(self.headers))
            collector.methods.append(self.command)
            self.send_response(collector.answers.pop(0) if collector.answers else 201)
            self.send_header("Location", collector.url)
            self.end_headers()

        def do_GET(self) -> None:
            collector.methods.append(self.command)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_port}/api/v1/lineage"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_events_are_posted_in_order_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "hush")
    with collecting() as collector:
        openlineage.send(['{"n": 1}', '{"n": 2}'], collector.url)
    assert collector.bodies == [{"n": 1}, {"n": 2}]
    assert {header["Authorization"] for header in collector.headers} == {"Bearer hush"}
    assert {header["Content-Type"] for header in collector.headers} == {"application/json"}


@pytest.mark.parametrize("answer", [302, 400, 401, 500])
def test_an_answer_that_is_no_success_stops_and_says_how_far_it_got(
    monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "hush")
    with (
        collecting(201, answer) as collector,
        pytest.raises(SluiceError, match=f"answered {answer}: 1 of 3 events sent") as raised,
    ):
        openlineage.send(['{"n": 1}'] * 3, collector.url + "?token=hush")
    assert collector.methods == ["POST", "POST"]
    assert "hush" not in str(raised.value)
    assert raised.value.exit_code == 1


def test_an_endpoint_that_is_not_there_is_an_error_without_the_secrets() -> None:
    with collecting() as collector:
        pass
    with pytest.raises(SluiceError, match="cannot be reached") as raised:
        openlineage.send(["{}"], collector.url + "?token=hush")
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    ["", "localhost", "ftp://host/x", "file:///etc/passwd", "http://", "http://u:hush@host/", "http://h:x/"],
)
def test_what_is_no_url_to_post_to_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="--url should be like") as raised:
        openlineage.send(["{}"], url)
    assert "hush" not in str(raised.value)


def note_check(ledger: Ledger, at: str, **violations: int) -> None:
    """What `store check` found then."""
    laws = [
        {"law": law, "violations": ["one"] * number, "unchecked": None} for law, number in violations.items()
    ]
    with database.transaction(ledger.engine) as connection:
        law_checks.note(connection, laws, at)


def test_a_broken_law_is_a_run_that_failed_and_one_that_holds_again_a_run_that_completed(
    ledger: Ledger,
) -> None:
    note_check(ledger, "2025-01-15T08:00:00.000000Z", sums=2, letters=0)
    start, failed = export(ledger)
    assert [each["eventType"] for each in (start, failed)] == ["START", "FAIL"]
    assert failed["job"]["name"] == "sluice.check"
    assert failed["run"]["facets"]["errorMessage"]["message"] == "2 violations of: sums"
    assert failed["inputs"][0]["name"].endswith("target")
    assert start["run"]["runId"] == failed["run"]["runId"]
    assert "errorMessage" not in start["run"]["facets"]
    assert export(ledger)[1]["run"]["runId"] == failed["run"]["runId"]  # sent again, it is the same run

    note_check(ledger, "2025-01-15T09:00:00.000000Z", sums=0, letters=0)
    start, completed = export(ledger)
    assert completed["eventType"] == "COMPLETE"
    assert completed["run"]["runId"] != failed["run"]["runId"]
    assert "errorMessage" not in completed["run"]["facets"]


def test_a_law_that_could_not_be_looked_at_again_is_still_broken(ledger: Ledger) -> None:
    note_check(ledger, "2025-01-15T08:00:00.000000Z", sums=0, mirror=1)
    note_check(ledger, "2025-01-15T09:00:00.000000Z", sums=0)
    _, failed = export(ledger)
    assert (failed["eventTime"][:13], failed["eventType"]) == ("2025-01-15T09", "FAIL")
    assert failed["run"]["facets"]["errorMessage"]["message"] == "1 violation of: mirror"


def test_one_run_is_exported_without_the_check(ledger: Ledger) -> None:
    ledger.receive([Record("a", "2025-01-01")], file="one.json")
    ledger.load()
    note_check(ledger, "2025-01-15T08:00:00.000000Z", sums=1)
    assert {each["job"]["name"] for each in export(ledger, 1, 1)} == {"sluice.load"}
    assert [each["job"]["name"] for each in export(ledger)][-1] == "sluice.check"
