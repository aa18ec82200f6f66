"""The three commands from outside: version, completion, help, and a working directory with files of their names."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from typing import Any

import pytest

from ..commands import BIN
from ..sandbox import APPS, SAMPLE, Sandbox

COMMANDS = ("producer", "worker", "store")
GROUPS = (*((name,) for name in COMMANDS), ("worker", "flags"), ("store", "watermark"))


def completed(box: Sandbox, line: str) -> list[str]:
    """What a shell offers for the last word of a line."""
    words = line.split(" ")
    variables = {
        f"_{words[0].upper()}_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    return box.ok(words[0], env=variables, cold=True).out.split()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_tells_its_version_and_python(box: Sandbox, name: str) -> None:
    python = "{}.{}.{}".format(*sys.version_info)
    version = importlib.metadata.version("sluice")
    assert box.ok(name, "--version", cold=True).out == f"{name} (sluice) {version}, Python {python}\n"


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("producer ", ["enqueue", "replay", "suggest", "watch", "draft", "try"]),
        ("store rep", ["report"]),
        ("store letters list --re", ["--reason"]),
        ("store letters list --status ", ["open", "replaying", "parked", "resolved", "discarded", "all"]),
        ("worker flags ", ["list", "set"]),
    ],
)
def test_a_shell_completes_commands_options_and_values(box: Sandbox, line: str, offers: list[str]) -> None:
    assert completed(box, line) == offers


@pytest.mark.parametrize("name", COMMANDS)
def test_completion_is_installed_for_the_shell_that_runs_the_command(box: Sandbox, name: str) -> None:
    shell = shutil.which("bash")
    assert shell is not None
    done = subprocess.run(
        [shell, "-c", f"'{BIN / name}' --install-completion; true"],  # with `true`, bash stays the parent
        env=box.env | {"HOME": str(box.folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "bash completion installed" in done.stdout
    [script] = (box.folder / ".bash_completions").iterdir()
    assert f"complete -o default -F _{name}_completion {name}" in script.read_text()


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_no_line_of_the_list_of_commands_is_cut_off(box: Sandbox, words: tuple[str, ...]) -> None:
    listed = box.ok_here(*words, "--help").out.partition("Commands:\n")[2].split("\n\n")[0]
    assert listed.strip()
    assert "..." not in listed


def options_of(command: Any) -> list[Any]:
    """The options of a command and of all commands below it."""
    below = [option for each in getattr(command, "commands", {}).values() for option in options_of(each)]
    return [*command.params, *below]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_option_json_means_the_same_everywhere(name: str) -> None:
    from typer.main import get_command

    helps = {each.help for each in options_of(get_command(APPS[name])) if "--json" in each.opts}
    assert helps == {"As JSON on standard output."}


def test_files_with_the_names_of_the_packages_do_not_disturb_the_commands(box: Sandbox) -> None:
    for name in COMMANDS:
        box.file(f"{name}.py", "raise SystemExit('this file was imported')\n")
    box.file("shop.py", "from worker.contract import Event\nclass Order(Event): ...\n")
    contract = {"SLUICE_CONTRACT": "shop:Order"}
    box.ok("producer", "enqueue", SAMPLE, env=contract, cold=True)
    box.ok("worker", "up", "--burst", env=contract, cold=True)
    assert box.report()["input_records"] > 0


@pytest.mark.parametrize(
    ("room", "hidden"), [("producer", "worker"), ("producer", "store"), ("worker", "store")]
)
def test_a_file_that_hides_a_package_from_a_script_is_named(box: Sandbox, room: str, hidden: str) -> None:
    path = box.file(f"{hidden}.py", "raise SystemExit('this file was imported')\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import {room}"], cwd=box.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: {path} hides the package {hidden!r} of Sluice: rename that file, or run in another folder"
    )
