"""Files in, batches out: reads record files and sends them to the queue."""

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


_refuse_hidden_rooms("worker", "store")

# The Python API. What it stands on is slow to import, so it is imported when it is asked for.
_API = {
    "Edit": "store.dead_letters.edits",
    "Failure": "producer.letters",
    "Outcome": "producer.stream",
    "Proof": "producer.letters",
    "ReplayOutcome": "producer.letters",
    "ReplayReceipt": "producer.letters",
    "Sample": "producer.letters",
    "SendReceipt": "producer.stream",
    "asend": "producer.stream",
    "prove": "producer.letters",
    "replay": "producer.letters",
    "send": "producer.stream",
}

if _TYPE_CHECKING:
    from producer.letters import Failure as Failure
    from producer.letters import Proof as Proof
    from producer.letters import ReplayOutcome as ReplayOutcome
    from producer.letters import ReplayReceipt as ReplayReceipt
    from producer.letters import Sample as Sample
    from producer.letters import prove as prove
    from producer.letters import replay as replay
    from producer.stream import Outcome as Outcome
    from producer.stream import SendReceipt as SendReceipt
    from producer.stream import asend as asend
    from producer.stream import send as send
    from store.dead_letters.edits import Edit as Edit


def __getattr__(name: str) -> _Any:
    if name in _API:
        return getattr(_import_module(_API[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
