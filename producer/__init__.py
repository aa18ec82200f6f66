"""Files in, batches out: reads record files and sends them to the queue."""

from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path


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
