from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from producer.settings import ProducerSettings
from store.errors import ConfigError, UsageError
from store.settings import RoomSettings, StoreSettings
from worker.settings import SourceSettings, WorkerSettings

Configure = Callable[[str], None]
ROOMS: tuple[type[RoomSettings], ...] = (ProducerSettings, WorkerSettings, StoreSettings)


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Writes a sluice.toml and names it."""
    path = tmp_path / "of-this-test.toml"
    monkeypatch.setenv("SLUICE_CONFIG", str(path))
    monkeypatch.delenv("SLUICE_HOME")
    path.touch()
    return lambda text: path.write_text(text) and None


def error(room: type[RoomSettings]) -> str:
    with pytest.raises(ConfigError) as raised:
        room.load()
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, UsageError)
    return str(raised.value)


BAD = [
    (ProducerSettings, "producer", "batch_records", "0"),
    (ProducerSettings, "producer", "batch_records", '"many"'),
    (ProducerSettings, "producer", "batch_records", "1048577"),
    (ProducerSettings, "producer", "batch_bytes", "1"),
    (ProducerSettings, "producer", "max_record_bytes", "0"),
    (ProducerSettings, "producer", "max_pending_batches", "0"),
    (WorkerSettings, "worker", "contract", "5"),
    (WorkerSettings, "worker", "extra", '"maybe"'),
    (WorkerSettings, "worker", "max_future_skew", '"soon"'),
    (WorkerSettings, "worker", "max_future_skew", "-1"),
    (WorkerSettings, "worker", "workers", "0"),
    (WorkerSettings, "worker", "retry_intervals_seconds", "[]"),
    (WorkerSettings, "worker", "retry_intervals_seconds", "5"),
    (WorkerSettings, "worker", "load_every_seconds", "0"),
    (WorkerSettings, "worker", "load_chunk_records", "0"),
    (WorkerSettings, "worker", "load_lease_seconds", "nan"),
    (WorkerSettings, "worker", "result_ttl_seconds", "0"),
    (WorkerSettings, "sources.shop", "late", '"perhaps"'),
    (WorkerSettings, "sources.shop", "stale", '"skip"'),
    (WorkerSettings, "sources.shop", "ts_unit", '"h"'),
    (WorkerSettings, "sources.shop", "format", '"xml"'),
    (WorkerSettings, "sources.shop", "assume_tz", '"Mars/Olympus"'),
    (WorkerSettings, "sources.shop", "ts_format", '"%d.%m. %H:%M"'),  # 1900, to strptime
    (WorkerSettings, "sources.shop", "ts_format", '"DD.MM.YYYY"'),
    (WorkerSettings, "sources.shop", "ts_format", '"%d.%m.%Y %Q"'),
    (WorkerSettings, "sources.shop", "assume_tz", '"../../etc/passwd"'),
    (WorkerSettings, "sources.shop", "allowed_lateness", '"-1h"'),
    (WorkerSettings, "sources.shop", "max_age", '"old"'),
    (WorkerSettings, "sources.shop", "fields", '{ key = "a[" }'),
    (StoreSettings, "store", "synchronous", '"OFF"'),
    (StoreSettings, "store", "busy_timeout_seconds", "0"),
    (StoreSettings, "store", "home", "5"),
]


@pytest.mark.parametrize(("room", "section", "key", "value"), BAD, ids=str)
def test_a_bad_value_is_an_error_that_names_the_key_and_the_value(
    configure: Configure, room: type[RoomSettings], section: str, key: str, value: str
) -> None:
    configure(f"[{section}]\n{key} = {value}\n")
    reported = error(room)
    assert key in reported
    assert ("a[" if key == "fields" else value.strip('"')) in reported
    assert "of-this-test.toml" in reported


def test_a_bad_value_within_a_list_is_named_with_its_position(configure: Configure) -> None:
    configure("[worker]\nretry_intervals_seconds = [1, -2]\n")
    assert "retry_intervals_seconds.1 = -2" in error(WorkerSettings)


@pytest.mark.parametrize("room", ROOMS)
def test_an_unknown_key_is_an_error_that_lists_the_known_ones(
    configure: Configure, room: type[RoomSettings]
) -> None:
    configure(f"[{room.section}]\nnope = 1\n")
    reported = error(room)
    assert "nope" in reported
    assert all(name in reported for name in room.model_fields)


def test_an_unknown_key_of_a_source_is_named_with_its_source(configure: Configure) -> None:
    configure("[sources.shop]\nnope = 1\n")
    assert "[sources.shop] nope is not a key of this section (it has: adapter, allowed_lateness" in error(
        WorkerSettings
    )


def test_a_stage_that_is_none_is_named_with_those_that_are(configure: Configure) -> None:
    configure("[stages]\nnope = true\n")
    reported = error(WorkerSettings)
    assert reported.endswith(
        "[stages] nope is not a key of this section (it has: adapt, dedupe, freshness, reconcile, validate)"
    )


@pytest.mark.parametrize("share", ["1.5", "-0.1", "nan", '"some"'])
def test_a_share_outside_nought_to_one_is_named_with_its_stage(configure: Configure, share: str) -> None:
    configure(f"[stages]\nvalidate = {share}\n")
    assert "[stages] validate = " in error(WorkerSettings)


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize(
    ("text", "named"),
    [("[nope]\na = 1", "'nope'"), ("nope = 1", "'nope'"), ("worker = 1", "worker = 1"), ("worker", "line 1"),
     ("[worker\n", "line 1"), ("[worker]\na = 1\na = 2", "line 3")],
)  # fmt: skip
def test_a_file_with_what_belongs_nowhere_is_an_error(
    configure: Configure, room: type[RoomSettings], text: str, named: str
) -> None:
    configure(text)
    reported = error(room)
    assert "of-this-test.toml" in reported
    assert named in reported or "end of document" in reported


def test_a_file_that_is_no_text_is_an_error(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "of-this-test.toml").write_bytes(b"\xff\xfe")
    assert "cannot be read" in error(WorkerSettings)


def test_a_file_that_was_named_has_to_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_CONFIG", "/nowhere/sluice.toml")
    assert "/nowhere/sluice.toml" in error(StoreSettings)


def test_without_a_file_the_defaults_are_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLUICE_HOME")
    found = WorkerSettings.load()
    assert (found.redis_url, found.contract, found.sources) == (None, "worker.contract:Event", {})
    assert found.max_future_skew == timedelta(hours=1)
    assert StoreSettings.load().database_file == tmp_path / ".sluice" / "sluice.db"


def test_the_file_of_the_working_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sluice.toml").write_text("[producer]\nbatch_records = 3\n")
    monkeypatch.chdir(tmp_path)
    assert ProducerSettings.load().batch_records == 3


def test_an_option_wins_over_the_environment_which_wins_over_the_file(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("[producer]\nbatch_records = 3\nbatch_bytes = 2048\n")
    assert ProducerSettings.load().batch_records == 3
    monkeypatch.setenv("SLUICE_BATCH_RECORDS", "4")
    found = ProducerSettings.load()
    assert (found.batch_records, found.batch_bytes) == (4, 2048)
    assert ProducerSettings.load(batch_records=5).batch_records == 5
    assert ProducerSettings.load(batch_records=None).batch_records == 4


@pytest.mark.parametrize(
    ("environment", "in_force"),
    [
        ({}, "file"),
        ({"{0}": "usual"}, "usual"),
        ({"SLUICE_{0}": "ours"}, "ours"),
        ({"SLUICE_{0}": "ours", "{0}": "usual"}, "ours"),
    ],
)
@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URL"])
def test_an_address_is_taken_from_our_variable_then_the_usual_one_then_the_file(
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    environment: dict[str, str],
    in_force: str,
) -> None:
    configure('[worker]\nredis_url = "file"\n[store]\ndatabase_url = "file"\n')
    for variable, value in environment.items():
        monkeypatch.setenv(variable.format(name), value)
    found = WorkerSettings.load().redis_url if name == "REDIS_URL" else StoreSettings.load().database_url
    assert found == in_force


@pytest.mark.parametrize(
    ("room", "name", "value"),
    [
        (ProducerSettings, "SLUICE_BATCH_RECORDS", "many"),
        (WorkerSettings, "SLUICE_WORKERS", "-1"),
        (WorkerSettings, "SLUICE_RETRY_INTERVALS_SECONDS", "1,2"),
        (WorkerSettings, "SLUICE_SOURCES", "{bad"),
        (WorkerSettings, "SLUICE_SOURCES__shop__late", "perhaps"),
        (WorkerSettings, "SLUICE_SOURCES__SHOP__FIELDS", "{bad"),
        (WorkerSettings, "SLUICE_SOURCES__SHOP", "1"),
        (WorkerSettings, "SLUICE_STAGES__DEDUPE", "maybe"),
        (StoreSettings, "SLUICE_SYNCHRONOUS", "OFF"),
    ],
)
def test_a_bad_variable_is_an_error_that_names_the_key_and_the_value(
    monkeypatch: pytest.MonkeyPatch, room: type[RoomSettings], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    reported = error(room)
    assert value in reported
    assert name.removeprefix("SLUICE_").split("__")[-1].lower() in reported.lower()


def test_a_source_may_stand_in_the_environment_and_the_file_together(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure('[sources.shop]\nallowed_lateness = "1h"\nfields.key = "id"\nlate = "load"\n')
    monkeypatch.setenv("SLUICE_SOURCES__shop__late", "skip")
    monkeypatch.setenv("SLUICE_SOURCES__shop__fields__value", "price.net")
    shop = WorkerSettings.load().source("shop")
    assert (shop.late, shop.allowed_lateness) == ("skip", timedelta(hours=1))
    assert shop.fields == {"key": "id", "value": "price.net"}


@pytest.mark.parametrize(
    ("variables", "section", "expected"),
    [
        ({"SLUICE_RETRY_INTERVALS_SECONDS": "[1, 2]"}, "retry_intervals_seconds", [1, 2]),
        ({"sluice_Workers": "3"}, "workers", 3),
        ({"SLUICE_RECONCILE_TOLERANCES__VALUE": "0.5"}, "reconcile_tolerances", {"from_file": 1.0, "value": 0.5}),
        ({"SLUICE_RECONCILE_TOLERANCES": '{"a": 1}', "SLUICE_RECONCILE_TOLERANCES__B": "2"},
         "reconcile_tolerances", {"from_file": 1.0, "a": 1.0, "b": 2.0}),
    ],
)  # fmt: skip
def test_a_list_or_a_section_takes_json_and_its_parts_have_variables_that_go_before(
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    section: str,
    expected: object,
) -> None:
    configure("[worker]\nworkers = 1\nreconcile_tolerances = { from_file = 1 }\n")
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert getattr(WorkerSettings.load(), section) == expected


def test_each_stage_and_each_list_of_a_source_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_STAGES__VALIDATE", "off")
    monkeypatch.setenv("SLUICE_SOURCES__SHOP", '{"late": "skip"}')
    monkeypatch.setenv("SLUICE_SOURCES__SHOP__NULL_VALUES", '["-"]')
    monkeypatch.setenv("SLUICE_SOURCES__SHOP__CONSTANTS__KEY", "one")
    found = WorkerSettings.load()
    assert found.stages.shares() == {
        "adapt": 1.0, "validate": 0.0, "freshness": 1.0, "dedupe": 1.0, "reconcile": 0.0
    }  # fmt: skip
    shop = found.source("shop")
    assert (shop.late, shop.null_values, shop.constants) == ("skip", ("-",), {"key": "one"})


def test_a_source_without_an_entry_is_a_passthrough() -> None:
    found = WorkerSettings.load().source("unknown")
    assert (found.fields, found.late, found.ts_unit, found.assume_tz) == ({}, "load", None, "UTC")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ('"90s"', 90),
        ('"15m"', 900),
        ('"1h"', 3600),
        ('"7d"', 604800),
        ('"1.5h"', 5400),
        ('" 2 h "', 7200),
    ],
)
def test_a_duration_is_seconds_or_has_a_unit(configure: Configure, text: str, seconds: int) -> None:
    configure(f"[worker]\nmax_future_skew = {text}\n")
    assert WorkerSettings.load().max_future_skew == timedelta(seconds=seconds)


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize(
    "text",
    [
        'redis_url = "redis://:hunter2@h"',
        '[{section}]\nredis_urll = "redis://:hunter2@h"',
        '[{section}]\nredis_url = ["redis://:hunter2@h"]',
        '[{section}]\ndatabase_url = ["postgresql://u:hunter2@h"]',
        '[{section}]\npassword = "hunter2"',
        '[worker]\nredis_url = {{ url = "redis://:hunter2@h" }}',
    ],
)
def test_a_secret_is_in_no_error(configure: Configure, room: type[RoomSettings], text: str) -> None:
    configure(text.format(section=room.section))
    try:
        room.load()
    except ConfigError as raised:
        assert "hunter2" not in str(raised)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        WorkerSettings.load().workers = 5


@pytest.mark.parametrize(
    ("name", "near"), [("usgss", ": did you mean usgs? ("), ("orders", "configuration (")]
)
def test_the_error_for_a_source_without_an_entry_names_the_nearest(name: str, near: str) -> None:
    settings = WorkerSettings(sources={"usgs": SourceSettings(), "shop": SourceSettings()})

    assert near in settings.without_entry(name)
    assert "shop, usgs)" in settings.without_entry(name)
