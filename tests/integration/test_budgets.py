"""`producer enqueue --max-rejects` and `--max-reject-ratio`: it stops sending, and the same command goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from producer.budget import Limits
from producer.cli.app import app
from producer.cli.command import Resources
from producer.settings import ProducerSettings
from store import database
from store.errors import ConfigError
from store.reports import account
from worker.contract import load_contract
from worker.queue.client import Broker
from worker.settings import SourceSettings

from .plant import Plant, ndjson, row


class Enqueue:
    """The command over the resources of a plant, whose worker is as fast as the producer."""

    def __init__(self, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plant, self.patch = plant, monkeypatch
        self.works = True
        monkeypatch.setattr("producer.budget.EVERY_SECONDS", 0)
        # The runner's standard error is no file, to which a worker that hangs could write.
        monkeypatch.setattr("faulthandler.dump_traceback_later", lambda *_, **__: None)
        send = Broker.send

        def send_and_work(broker: Broker, messages: Any) -> None:
            send(broker, messages)
            if self.works:
                plant.work()

        monkeypatch.setattr(Broker, "send", send_and_work)
        monkeypatch.setattr(Broker, "workers", lambda *_: ["a worker"] if self.works else [])

    def __call__(self, *arguments: str | Path) -> Any:
        overrides = {"batch_records": 10, "max_pending_batches": 1}  # so that each batch is sent by itself
        resources = Resources(
            ProducerSettings.load(**overrides),
            self.plant.settings,
            load_contract(self.plant.settings),
            self.plant.broker,
            self.plant.engine,
        )
        self.patch.setattr(Resources, "open", lambda **_: resources)
        return CliRunner().invoke(app, ["enqueue", "--source", "s", *map(str, arguments)])

    def json(self, *arguments: str | Path) -> Any:
        done = self(*arguments, "--json")
        return done.exit_code, orjson.loads(done.stdout)


@pytest.fixture
def enqueue(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Enqueue:
    return Enqueue(plant, monkeypatch)


def file(plant: Plant, name: str, records: int, bad_every: int) -> Path:
    """A file in which each so-many-th record is rejected."""
    rows = [row(f"{name}{n}", value="x" if n % bad_every == 0 else n) for n in range(records)]
    return plant.file(ndjson(*rows), name)


def accounts(plant: Plant) -> list[tuple[int, int, bool]]:
    """(sent, received, adds up) of each delivery."""
    with database.reading(plant.engine) as connection:
        found = account.accounts(connection)
    return [(each["sent"], each["received"], each["adds_up"]) for each in reversed(found)]


def test_sending_stops_beyond_the_number_and_goes_on_with_a_larger_one(
    plant: Plant, enqueue: Enqueue
) -> None:
    path = file(plant, "a.ndjson", 100, 5)  # two of each batch
    done = enqueue(path, "--max-rejects", "5")
    assert done.exit_code == 1
    assert "30 records in 3 batches" in done.output
    assert "6 records of 30 judged so far are rejected (20.0%), more than --max-rejects 5" in done.output
    assert "the same command with a larger budget, or without one, sends the rest" in done.output
    assert accounts(plant) == [(30, 30, True)]

    assert enqueue(path, "--max-rejects", "5").exit_code == 1  # nothing more, and the receipt stays
    assert accounts(plant) == [(30, 30, True)]

    code, report = enqueue.json(path, "--max-rejects", "20")
    assert (code, report["records"], report["known_batches"], report["over_budget"]) == (0, 100, 3, None)
    assert accounts(plant) == [(100, 100, True)]
    assert plant.violations() == []


def test_a_ratio_counts_from_a_hundred_records_on_and_at_the_end(plant: Plant, enqueue: Enqueue) -> None:
    code, report = enqueue.json(file(plant, "a.ndjson", 150, 5), "--max-reject-ratio", "5%")
    assert (code, report["records"], report["files"][0]["status"]) == (1, 100, "sent in part")
    code, report = enqueue.json(file(plant, "b.ndjson", 40, 5), "--max-reject-ratio", "0.05")
    assert (code, report["records"], report["files"][0]["status"]) == (1, 40, "sent")
    assert enqueue.json(file(plant, "c.ndjson", 150, 50), "--max-reject-ratio", "5%")[0] == 0


def test_the_budget_is_that_of_all_files_of_a_command(plant: Plant, enqueue: Enqueue) -> None:
    files = [file(plant, f"{name}.ndjson", 20, 10) for name in "abcd"]
    code, report = enqueue.json(*files, "--max-rejects", "3")
    assert code == 1
    assert [each["status"] for each in report["files"]] == ["sent", "sent", "not sent", "not sent"]
    assert [each["error"] is None for each in report["files"]] == [True, True, False, False]
    assert accounts(plant) == [(20, 20, True), (20, 20, True), (0, 0, True)]


def test_without_a_worker_nothing_is_judged_and_the_command_says_so(plant: Plant, enqueue: Enqueue) -> None:
    enqueue.works = False
    path = plant.file(ndjson(row("a", value="x")))
    done = enqueue(path, "--max-rejects", "0")
    assert done.exit_code == 0
    assert "no worker is running, so no record is judged" in done.output


def test_a_source_has_a_budget_and_an_option_replaces_it(plant: Plant, enqueue: Enqueue) -> None:
    before = plant.messages(file(plant, "a.ndjson", 40, 2), "s")[0].fingerprint
    plant.configure('[sources.s]\nmax_rejects = 7\nmax_reject_ratio = "60%"\n')
    path = file(plant, "a.ndjson", 40, 2)
    assert plant.messages(path, "s")[0].fingerprint == before  # a budget is no part of the mapping
    code, report = enqueue.json(path)
    assert (code, report["records"]) == (1, 20)
    assert enqueue.json(path, "--max-rejects", "20")[0] == 0


@pytest.mark.parametrize("text", ["", "5 %", "101%", "-1", "1.1", "many"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--max-reject-ratio .* write it like 5% or 0.05"):
        Limits.of(SourceSettings(), None, text)
    with pytest.raises(ValueError, match="max_reject_ratio"):
        SourceSettings(max_reject_ratio=text)
