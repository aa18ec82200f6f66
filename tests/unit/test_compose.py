"""docker-compose.yml, as far as it can be tried without Docker."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest
from rq.cli.cli import main as rq_command
from ruamel.yaml import YAML

from store import database

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(FILE)
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}


def _words(service: dict[str, Any]) -> list[str]:
    return [*service.get("entrypoint", []), *service["command"]]


def _module_exists(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_it_keeps_to_the_compose_specification() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", OURS)
def test_every_command_of_ours_exists(name: str) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    installed = {script.name for script in entry_points(group="console_scripts")}
    program = _words(OURS[name])[0]

    assert program in installed | set(scripts)
    if program in scripts:
        assert _module_exists(scripts[program].partition(":")[0])


@pytest.mark.parametrize("name", [name for name in OURS if _words(OURS[name])[0] == "rq"])
def test_rq_takes_every_command_as_it_is_written(name: str) -> None:
    _, subcommand, *rest = _words(OURS[name])
    command = rq_command.get_command(click.Context(rq_command), subcommand)

    assert command is not None
    command.make_context(subcommand, rest)


@pytest.mark.parametrize("name", OURS)
def test_every_module_it_names_is_in_the_tree(name: str) -> None:
    environment = OURS[name]["environment"]
    named = [environment["RQ_CONFIG"], environment["RQ_WORKER_CLASS"].rpartition(".")[0]]
    named += [word for word in _words(OURS[name]) if re.fullmatch(r"\w+(\.\w+)+", word)]

    assert [module for module in named if not _module_exists(module)] == []


def test_the_two_services_that_consume_take_one_queue_each() -> None:
    """With two queues RQ can lose a job between pop and start."""
    assert _words(OURS["worker"]) == ["rq", "worker"]
    assert _words(OURS["loader"]) == ["rq", "worker", "loader"]


def test_without_a_password_compose_refuses_to_start() -> None:
    lines = [line for line in FILE.read_text().splitlines() if "REDIS_PASSWORD" in line and "#" not in line]

    assert len(lines) == 3
    assert all("${REDIS_PASSWORD:?" in line for line in lines)


def test_everything_shares_one_volume_and_runs_as_one_user_that_is_not_root() -> None:
    assert list(COMPOSE["volumes"]) == ["data", "database"]
    for name, service in COMPOSE["services"].items():
        if name != "postgres":  # it has its own
            assert "data:/data" in service["volumes"]
            assert service["user"] == "999:1000"
        assert not service["user"].startswith("0")
        assert service["read_only"] is True
    assert "USER 999:1000" in (ROOT / "Dockerfile").read_text().splitlines()


def test_the_image_gets_what_the_dockerfile_copies_and_no_more() -> None:
    copied = {
        name
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied


def environment_of(lines: str) -> dict[str, str]:
    """What compose makes of a .env file: values may name those before them."""
    found: dict[str, str] = {}
    for line in lines.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name] = re.sub(r"\$\{(\w+)\}", lambda named: found[named[1]], value)
    return found


def test_with_the_three_lines_of_the_example_everything_of_ours_is_on_postgresql() -> None:
    example = (ROOT / ".env.example").read_text().replace("# POSTGRES_PASSWORD=", "POSTGRES_PASSWORD=abc")
    example = example.replace("# COMPOSE_PROFILES", "COMPOSE_PROFILES").replace(
        "# SLUICE_DATABASE_URL", "SLUICE_DATABASE_URL"
    )
    given = environment_of(example)
    postgres = COMPOSE["services"]["postgres"]
    assert given["COMPOSE_PROFILES"].split(",") == postgres["profiles"]
    for service in OURS.values():
        assert service["environment"]["DATABASE_URL"] == "${SLUICE_DATABASE_URL:-sqlite:////data/sluice.db}"
        assert service["depends_on"]["postgres"] == {"condition": "service_healthy", "required": False}
    url = database.parse_url(given["SLUICE_DATABASE_URL"])
    theirs = postgres["environment"]
    assert (url.get_driver_name(), url.host) == ("psycopg", "postgres")
    assert (url.username, url.database) == (theirs["POSTGRES_USER"], theirs["POSTGRES_DB"])
    assert url.password == given["POSTGRES_PASSWORD"]
    assert "POSTGRES_PASSWORD" in theirs["POSTGRES_PASSWORD"]
    assert "postgresql" in re.search(r"'\.\[(.*)\]'", (ROOT / "Dockerfile").read_text())[1].split(",")


def test_without_them_nothing_changes() -> None:
    assert "SLUICE_DATABASE_URL" not in environment_of((ROOT / ".env.example").read_text())
    assert [name for name, service in COMPOSE["services"].items() if "profiles" not in service] == [
        "redis", "worker", "loader", "cron",
    ]  # fmt: skip
