"""What becomes of each raw record: pure, without clock and database.

`worker.judge` is also a function of the Python API, `worker.verdict.judge`: so the package can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from worker.verdict import judge  # the libraries behind it are slow to import

        return judge(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
