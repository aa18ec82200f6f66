"""`pip install .`, not editable, and used outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from .sandbox import ROOT, SAMPLE, sandbox

ROOMS = ("producer", "worker", "store")
FILES = ("pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves `build` behind, and takes old files from there the next time."""
    folder = tmp_path_factory.mktemp("install")
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / "source" / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, folder / "source")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source"))
    [found] = folder.glob("sluice-*.whl")
    return found


def pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *words]
    subprocess.run(command, check=True)


def test_the_wheel_holds_every_module_and_the_files_of_the_page_and_says_that_they_are_typed(
    wheel: Path,
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.startswith("sluice-")}
    modules = {str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    page = ROOT / "worker" / "page"
    files = {
        str(path.relative_to(ROOT))
        for folder in ("templates", "static")
        for path in (page / folder).iterdir()
    }
    assert len(files) > 10
    assert packed == modules | files | {f"{room}/py.typed" for room in ROOMS}


def test_what_is_installed_carries_records_and_answers_outside_the_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    # The dependencies are those of this environment; its own, editable Sluice is none of them.
    [packages] = (tmp_path / "env").glob("lib/*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    with sandbox() as box:
        box.env["PATH"] = f"{python.parent}{os.pathsep}{box.env['PATH']}"
        sample = box.file("sample.ndjson", Path(SAMPLE).read_bytes())
        for words in (("producer", "enqueue", sample), ("worker", "up", "--burst"), ("store", "check")):
            done = subprocess.run(
                [python.parent / words[0], *words[1:]],
                cwd=box.folder,
                env=box.env,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{words}: {done.stderr}"
        assert box.report()["input_records"] > 0
        where = subprocess.run(
            [
                python,
                "-c",
                "import producer, worker, store; print(producer.__path__, worker.__path__, store.__path__)",
            ],
            cwd=box.folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert where.count(str(packages)) == len(ROOMS)
