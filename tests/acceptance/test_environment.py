"""`make setup` on machines of several kinds: with interpreters and tools that stand in for real ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "environment"
VERSION = "{}.{}".format(*sys.version_info)
# Has ensurepip, and saves the seconds that it takes.
QUICK_PYTHON = (
    f'[ "$1 $2" = "-m venv" ] && exec "{sys.executable}" -m venv --without-pip "$3"\n'
    f'exec "{sys.executable}" "$@"'
)


@dataclass
class Machine:
    """A folder to work in, and PATH: a folder with the script's own tools and what a test adds."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "bin"

    def add(self, name: str, text: str) -> None:
        file = self.path / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def set_up(self, *pythons: str, packages: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.path / "bash"), str(SCRIPT), ".venv", *packages],
            cwd=self.folder,
            env={"PATH": str(self.path), "PYTHONS": " ".join(pythons)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def made_by(self) -> str:
        """Which tool made the environment."""
        return (self.folder / ".venv" / "made-by").read_text().strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "cat", "rm", "mkdir"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    return Machine(tmp_path)


@pytest.fixture
def debian(machine: Machine) -> Machine:
    """Has a python3 without ensurepip."""
    (machine.folder / "debian").mkdir()
    (machine.folder / "debian" / "ensurepip.py").write_text(
        "raise ImportError('No module named ensurepip')\n"
    )
    machine.add("python3", f'PYTHONPATH="{machine.folder}/debian" exec "{sys.executable}" "$@"')
    return machine


def maker(name: str) -> str:
    """A tool that makes an environment at its last argument, and leaves its own name and arguments there."""
    make = f'for last; do :; done; "{sys.executable}" -m venv --without-pip "$last"'
    return f'case "$*" in *--version*) exit;; esac; {make}; echo "{name} $*" >"$last/made-by"'


def test_an_interpreter_with_ensurepip_needs_nothing_else(machine: Machine) -> None:
    machine.add("python3", QUICK_PYTHON)

    done = machine.set_up("no-such-python", "python3")

    assert (done.returncode, done.stderr) == (0, "")
    assert f"Setting up .venv with Python {VERSION}." in done.stdout
    assert (machine.folder / ".venv" / "bin" / "python").exists()


@pytest.mark.parametrize("tool", ["virtualenv", "uv"])
def test_an_interpreter_without_ensurepip_is_helped_by_virtualenv_or_uv(debian: Machine, tool: str) -> None:
    debian.add(tool, maker(tool))

    done = debian.set_up("python3")

    assert (done.returncode, done.stderr) == (0, "")
    words = debian.made_by.split()
    assert words[0] == tool
    assert words[words.index("--python") + 1] == "python3"


def test_an_interpreter_without_ensurepip_leaves_the_choice_to_the_next(debian: Machine) -> None:
    debian.add("python3.12", QUICK_PYTHON)

    assert debian.set_up("python3", "python3.12").returncode == 0


def test_without_any_way_the_error_names_the_package_that_is_missing(debian: Machine) -> None:
    done = debian.set_up("no-such-python", "python3")

    assert done.returncode == 1
    assert f"python3 is Python {VERSION} without ensurepip" in done.stderr
    for way in (f"apt-get install python{VERSION}-venv", "virtualenv", "uv", "make PYTHON="):
        assert way in done.stderr
    assert not (debian.folder / ".venv").exists()


def test_without_a_python_that_is_new_enough_the_error_names_those_that_were_tried(machine: Machine) -> None:
    machine.add("python3", "exit 1")

    done = machine.set_up("python3", "python3.11")

    assert done.returncode == 1
    assert "no Python 3.11 or newer among: python3 python3.11" in done.stderr


def test_an_environment_made_here_is_updated_and_one_from_elsewhere_is_replaced(
    debian: Machine,
) -> None:
    debian.add("uv", maker("uv"))
    debian.set_up("python3")
    mine = debian.folder / ".venv" / "mine"
    mine.touch()

    debian.set_up("python3")
    assert mine.exists()

    (debian.folder / ".venv" / ".installed").write_text("/another/folder\n")
    debian.set_up("python3")
    assert not mine.exists()


def test_an_environment_whose_packages_cannot_be_installed_is_not_called_ready(machine: Machine) -> None:
    machine.add("python3", QUICK_PYTHON)

    done = machine.set_up("python3", packages=("a-package",))

    assert done.returncode == 1
    assert "No module named pip" in done.stderr
    assert not (machine.folder / ".venv" / ".installed").exists()
