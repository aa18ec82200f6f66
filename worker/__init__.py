"""One batch in, every record to its outcome; the loader; and what keeps them running."""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any


def _refuse_hidden_rooms(*rooms: str) -> None:
    """Raises ImportError with the file that is imported instead of one of our packages.

    The folder of a script comes first on the path, and so does the working directory of `python -m`.
    """
    ours = _Path(__file__).parents[1]
    for room in rooms:
        spec = _find_spec(room)
        if spec and spec.origin and _Path(spec.origin).parents[1] != ours:
            raise ImportError(
                f"{spec.origin} hides the package {room!r} of Sluice: rename that file, or run in another folder"
            )


_refuse_hidden_rooms("store")

# The Python API. What it stands on is slow to import, so it is imported when it is asked for.
_API = {"Verdict": "worker.verdict", "Fault": "worker.judge.faults"}

if _TYPE_CHECKING:
    from worker.judge.faults import Fault as Fault
    from worker.verdict import Verdict as Verdict
    from worker.verdict import judge as judge


def __getattr__(name: str) -> _Any:
    if name == "judge":  # a package of that name, which can be called
        return _import_module("worker.judge")
    if name in _API:
        return getattr(_import_module(_API[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
