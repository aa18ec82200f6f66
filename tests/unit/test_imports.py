"""Importing a module reads no settings, starts nothing and changes nothing of RQ, whatever the environment says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What RQ imports as its configuration, and does nothing else with.
CONFIGURATION_OF_CRON = "worker.schedule"

IMPORT_ALL = """
import pkgutil, subprocess, sys
from types import ModuleType

import rq.cli, rq.cron, rq.job, rq.queue, rq.registry, rq.worker
import producer, store, worker
from store.settings import RoomSettings

def refuse(*_, **__):
    raise AssertionError("settings are read, or a process is started, by an import")

def of_rq():
    found = {}
    for name, module in sys.modules.items():
        if name.partition(".")[0] == "rq":
            for key, value in vars(module).items():
                found[name, key] = value
                if isinstance(value, type) and value.__module__.startswith("rq"):
                    found |= {(name, key, each): of for each, of in vars(value).items()}
    return found

RoomSettings.load = classmethod(refuse)
subprocess.Popen = refuse
before = of_rq()
for room in (producer, worker, store):
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        if ".migrations." not in module.name + "." and module.name not in EXCEPT:
            __import__(module.name)
after = of_rq()
changed = [key for key, value in before.items() if after.get(key) is not value and not isinstance(value, ModuleType)]
assert not changed, changed
print("imported", len([name for name in sys.modules if name.partition(".")[0] in ("producer", "worker", "store")]))
"""


def imported(tmp_path: Path, allowed: str) -> subprocess.CompletedProcess[str]:
    """All modules, in an environment where RQ_CONFIG is set and no settings can be read."""
    bad = tmp_path / "sluice.toml"
    bad.write_text("[[[")
    own = {"RQ_CONFIG": "worker.rq_worker", "RQ_WORKER_CLASS": "worker.rq_worker.SluiceWorker"}
    return subprocess.run(
        [sys.executable, "-c", f"EXCEPT = {{{allowed!r}}}\n{IMPORT_ALL}"],
        env=os.environ | own | {"SLUICE_CONFIG": str(bad), "SLUICE_HOME": str(tmp_path / "home")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_module_does_anything_when_it_is_imported(tmp_path: Path) -> None:
    done = imported(tmp_path, CONFIGURATION_OF_CRON)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) > 80
    assert not (tmp_path / "home").exists()


def test_the_configuration_of_rqs_cron_does(tmp_path: Path) -> None:
    done = imported(tmp_path, "")
    assert "by an import" in done.stderr


@pytest.mark.parametrize("room", ["producer", "worker", "store", "benchmarks"])
def test_nothing_of_ours_imports_what_rq_imports_as_its_configuration(room: str) -> None:
    sources = {path: path.read_text() for path in (ROOT / room).rglob("*.py")}
    importers = [
        str(path)
        for path, text in sources.items()
        if "import schedule" in text or "worker.schedule import" in text
    ]
    assert importers == []
