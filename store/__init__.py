"""What lasts: the database, its tables and its laws. Knows no queue."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

# The Python API. What it stands on is slow to import, so it is imported when it is asked for.
_API = {"Store": "store.api.opened", "open_store": "store.api.opened"}

if _TYPE_CHECKING:
    from store.api.opened import Store as Store
    from store.api.opened import open_store as open_store


def __getattr__(name: str) -> _Any:
    if name in _API:
        return getattr(_import_module(_API[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
