"""What the documents say is what happens: their examples are run, their settings and links exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from producer.settings import ProducerSettings
from store.settings import StoreSettings
from worker.page.settings import PageSettings
from worker.settings import SourceSettings, WorkerSettings

from .sandbox import ROOT, sandbox

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])

IN_A_FOLDER_OF_THEIR_OWN = ("tutorial.md", "how-to.md")  # see test_tutorial.py

ROOMS = (StoreSettings, ProducerSettings, WorkerSettings, PageSettings)


def examples(document: Path) -> Iterator[list[tuple[str, str]]]:
    """Each console block of a document: its commands, each with what the document shows of its output."""
    for block in re.findall(r"```console\n(.*?)```", document.read_text(), re.DOTALL):
        pieces = re.split(r"^\$ (.*)$", block, flags=re.MULTILINE)[1:]
        yield list(zip(pieces[::2], (shown.strip() for shown in pieces[1::2]), strict=True))


CASES = [
    pytest.param(commands, id=f"{document.name}-{number}")
    for document in DOCUMENTS
    if document.name not in IN_A_FOLDER_OF_THEIR_OWN
    for number, commands in enumerate(examples(document))
]


@pytest.mark.parametrize("commands", CASES)
def test_an_example_prints_what_the_document_shows(commands: list[tuple[str, str]]) -> None:
    with sandbox() as box:
        for command, shown in commands:
            if command.startswith("make "):
                continue
            words = shlex.split(command)
            starts_processes = words[0] == "rq" or words[:2] == ["worker", "up"]
            run = box.run if starts_processes else box.run_here
            done = run(*words, cwd=ROOT)
            assert done.code == 0, f"{command}: {done.err}"
            printed = "\n".join(line.rstrip() for line in done.out.strip().splitlines())
            pattern = "".join(".*?" if part == "…" else re.escape(part) for part in re.split("(…)", shown))
            assert re.fullmatch(pattern, printed, re.DOTALL), (
                f"$ {command}\n{printed}\n--- the document shows ---\n{shown}"
            )


def test_the_walk_through_dead_letters_ends_where_the_file_without_faults_ends() -> None:
    document = ROOT / "docs" / "dead-letters.md"
    digests = [
        shown for commands in examples(document) for command, shown in commands if command == "store digest"
    ]
    assert len(digests) == 2
    assert digests[0] == digests[1]


def test_the_demo_runs_the_commands_that_the_readme_shows() -> None:
    recipe = re.findall(r"^\trun (.*?); \\$|^\trun (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = next(commands for commands in examples(ROOT / "README.md") if commands[0][0] == "make demo")
    assert [first or second for first, second in recipe] == [command for command, _ in shown[1:]]


def test_every_setting_stands_in_operations() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    for room in ROOMS:
        for name in room.model_fields:
            assert name == "sources" or f"`[{room.section}] {name}`" in text, f"[{room.section}] {name}"
    for name in SourceSettings.model_fields:
        assert f"`{name}" in text, f"[sources.NAME] {name}"


def test_every_setting_in_operations_exists() -> None:
    rooms = {room.section: room.model_fields for room in ROOMS}
    for section, name in re.findall(r"`\[(\w+)\] (\w+)`", (ROOT / "docs" / "operations.md").read_text()):
        assert name in rooms[section], f"[{section}] {name}"


def test_every_test_that_the_comparison_names_is_there_and_each_cell_of_ours_names_one() -> None:
    text = (ROOT / "docs" / "dead-letters-compared.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", text))
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(named) > 20
    assert named - there == set()
    _, _, *rows = (line.split("|") for line in text.splitlines() if line.startswith("|"))
    assert [point for _, point, ours, *_ in rows if "`test_" not in ours] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_every_command_of_the_readme_has_help(tmp_path: Path) -> None:
    words = re.findall(
        r"^\| `(producer|worker|store) ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert len(words) >= 5
    with sandbox() as box:
        for command, subcommand in words:
            box.ok_here(command, subcommand, "--help")
