"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path


def describe(*packages: str) -> dict[str, str]:
    """Processor, system and versions."""
    named = ("redis", "rq", "pydantic", "sqlalchemy", "orjson", *packages)
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in named},
    }


def processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def in_words(machine: dict[str, str]) -> str:
    """One line."""
    cores, rest = (
        machine["cores"],
        {k: v for k, v in machine.items() if k not in ("processor", "cores", "system")},
    )
    return f"{machine['processor']}, {cores} cores, {machine['system']}; " + ", ".join(
        f"{name} {number}" for name, number in rest.items()
    )
