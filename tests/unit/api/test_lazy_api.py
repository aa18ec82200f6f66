"""Importing a room imports none of the libraries behind its API; each name of the API is there when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

SLOW = ("pydantic", "sqlalchemy", "redis", "rq", "orjson", "narwhals", "pandas", "polars", "pyarrow", "typer")


@pytest.mark.parametrize("room", ["producer", "worker", "store"])
def test_importing_a_room_imports_nothing_slow_until_a_name_is_asked_for(room: str) -> None:
    program = (
        f"import sys, {room}\n"
        f"print([each for each in {SLOW!r} if each in sys.modules])\n"
        f"for name in [*{room}._API, *(['judge'] if {room!r} == 'worker' else [])]:\n"
        f"    assert callable(getattr({room}, name)), name\n"
        f"assert not hasattr({room}, 'nothing')\n"
        "print([each for each in ('narwhals', 'pandas', 'polars', 'pyarrow') if each in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")
