"""The user's own modules, those of the contract and of adapters: read once, checked, compiled from what was read.

    load          imports a module that `contract` or `adapter` names
    fingerprint   of the source of that module, and of each of the user's modules that it imports
    forget        lets the next `load` read all of them again

Python's own import would trust whoever wrote the file, and a file with compiled code beside it. It also takes that
compiled code for current if size and second of the source are the same. Here the text that was checked is the text
that is compiled, and the fingerprint is that of the same text.
"""

from __future__ import annotations

import ast
import importlib
import site
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from store import hashing
from store.trust import read_code

OURS = tuple(Path(__file__).parents[1] / room for room in ("producer", "worker", "store"))

_sources: dict[str, bytes] = {}  # module -> its source as it was compiled


class _Loader(SourceFileLoader):
    """Compiles a file of the user's from its source, always."""

    def get_data(self, path: str) -> bytes:
        data = read_code(Path(path))
        if path == self.path:
            _sources[self.name] = data
        return data

    def path_stats(self, path: str) -> Any:
        raise OSError("compiled code is neither read nor written")


class _Finder:
    """Finds what Python finds, and gives the user's own modules our loader."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.origin is None or not _is_users(Path(spec.origin)):
            return None  # Python finds it again
        if type(spec.loader) is SourceFileLoader:
            spec.loader, spec.cached = _Loader(name, spec.origin), None
        else:
            _sources[name] = read_code(Path(spec.origin))  # compiled by others
        return spec


def load(name: str) -> ModuleType:
    """Imports a module. Raises NotTrusted, and whatever its code raises."""
    if _Finder not in sys.meta_path:
        at = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)
        sys.meta_path.insert(at, _Finder)
    return importlib.import_module(name)


def fingerprint(name: str) -> str:
    """16 hex digits: the same for the same text on every machine. Raises ImportError, NotTrusted, OSError."""
    if name not in sys.modules and _spec(name) is None:
        raise ModuleNotFoundError(f"No module named {name!r}")
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module in found or (source := _source(module, name.partition(".")[0])) is None:
            continue
        text, is_package = source
        found[module] = hashing.hexdigest(text.replace(b"\r\n", b"\n"))
        waiting += _imported(text, module, is_package)
    return hashing.hexdigest(repr(sorted(found.items())).encode())[:16]


def files() -> list[Path]:
    """The files of the user's modules that were read."""
    found = (getattr(sys.modules.get(name), "__file__", None) for name in sorted(_sources))
    return [Path(file) for file in found if file]


def forget() -> None:
    """Lets the next `load` read the user's modules again."""
    for name, module in list(sys.modules.items()):
        if isinstance(getattr(module, "__loader__", None), _Loader) or name in _sources:
            del sys.modules[name]
    _sources.clear()
    importlib.invalidate_caches()


def _source(name: str, root: str) -> tuple[bytes, bool] | None:
    """(source, whether it is a package) of a module of the user's, or of the package of `root`."""
    spec = _spec(name)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    path = Path(spec.origin)
    if _is_ours(path) or not (_is_users(path) or name.partition(".")[0] == root):
        return None
    text = _sources.get(name) if name in sys.modules else None
    if text is None:
        text = read_code(path) if _is_users(path) else path.read_bytes()
        if name in sys.modules:
            _sources[name] = text
    return text, spec.submodule_search_locations is not None


def _spec(name: str) -> ModuleSpec | None:
    """Where a module lies, without importing it."""
    spec: ModuleSpec | None = None
    path: Any = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:count]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations or ()
    return spec


def _imported(source: bytes, name: str, is_package: bool) -> Iterator[str]:
    """What a module may import, with the packages above; names that are no modules are found to be none."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # whoever imports it says so
        return
    package = name if is_package else name.rpartition(".")[0]
    names = [name]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    for found in names:
        parts = found.split(".")
        yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1) if parts[0])


def _is_users(path: Path) -> bool:
    """Whether a module is neither ours nor in Python's own folders for packages, whose owner owns us too."""
    return not _is_ours(path) and not any(path.is_relative_to(folder) for folder in _installed())


def _is_ours(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in OURS)


@cache
def _installed() -> tuple[str, ...]:
    folders = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return (*folders, *site.getsitepackages(), site.getusersitepackages())
