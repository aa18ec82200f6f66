"""The user's modules: what their fingerprint covers, who may write them, and that what is read is what is run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from store.errors import ConfigError, NotTrusted
from worker import modules
from worker.contract import forget, load_attribute, load_contract
from worker.settings import SourceSettings, WorkerSettings

Write = Callable[[str, str], Path]
CONTRACT = """
from pydantic import field_validator
from worker.contract import Record

class Model(Record):
    value: int

    @field_validator("value")
    @classmethod
    def small(cls, value: int) -> int:
        return value + {added}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into the working directory."""
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)

    def put(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o644)
        return file

    yield put
    forget()
    sys.path[:] = path


def value_of(name: str) -> object:
    forget()
    return load_attribute("adapter", f"{name}:VALUE", "")


def fingerprint(adapter: str | None = None, contract: str = "worker.contract:Event") -> str:
    forget()
    found = load_contract(WorkerSettings.load(contract=contract))
    return found.fingerprint(SourceSettings(adapter=adapter))


def test_a_changed_body_of_a_validator_changes_the_fingerprint(write: Write) -> None:
    found = set()
    for added in (1, 2, 1):
        write("of_contract.py", CONTRACT.format(added=added))
        found.add(fingerprint(contract="of_contract:Model"))
    assert len(found) == 2


def test_a_changed_body_of_an_adapter_changes_the_fingerprint_of_its_sources_alone(write: Write) -> None:
    found, others = set(), set()
    for added in (1, 2, 1):
        write("of_adapter.py", f"def f(raw):\n    return raw | {{'value': {added}}}\n")
        write("of_another.py", "def f(raw):\n    return raw\n")
        found.add(fingerprint("of_adapter:f"))
        others |= {fingerprint("of_another:f"), fingerprint()}
    assert (len(found), len(others)) == (2, 2)


@pytest.mark.parametrize(
    "import_of",
    ["import helping", "from helping import VALUE", "from helping import *", "import os, helping as h",
     "def g():\n    import helping", "try:\n    import nowhere\nexcept ImportError:\n    import helping"],
)  # fmt: skip
def test_a_module_that_an_adapter_imports_is_part_of_it(write: Write, import_of: str) -> None:
    found = set()
    for value in (1, 2):
        write("helping.py", f"VALUE = {value}\n")
        write("of_adapter.py", f"{import_of}\ndef f(raw):\n    return raw\n")
        found.add(fingerprint("of_adapter:f"))
    assert len(found) == 2


def test_modules_of_a_package_that_are_imported_relatively_are_part_of_it(write: Write) -> None:
    found = set()
    for value, initial in ((1, ""), (2, ""), (2, "X = 1")):
        write("shop/__init__.py", initial)
        write("shop/deep.py", f"VALUE = {value}\n")
        write("shop/adapter.py", "from . import deep\nfrom .deep import VALUE\ndef f(raw):\n    return raw\n")
        found.add(fingerprint("shop.adapter:f"))
    assert len(found) == 3


def test_modules_that_import_each_other_have_a_fingerprint(write: Write) -> None:
    write("one.py", "def f(raw):\n    import two\n    return raw\n")
    write("two.py", "import one\n")
    assert fingerprint("one:f") == fingerprint("one:f")


def test_the_fingerprint_of_a_module_does_not_depend_on_the_folder_or_line_ends(
    write: Write, tmp_path: Path
) -> None:
    write("of_adapter.py", "def f(raw):\n    return raw\n")
    before = fingerprint("of_adapter:f")
    other = tmp_path / "other"
    other.mkdir()
    (other / "of_adapter.py").write_bytes(b"def f(raw):\r\n    return raw\r\n")
    (tmp_path / "of_adapter.py").unlink()
    sys.path.append(str(other))
    assert fingerprint("of_adapter:f") == before


def test_an_adapter_that_is_not_there_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="adapter = 'nowhere:f' cannot be read"):
        fingerprint("nowhere:f")


def test_a_change_of_the_same_size_in_the_same_second_is_run(write: Write) -> None:
    for value in (1, 2):
        file = write("quickly.py", f"VALUE = {value}\n")
        os.utime(file, (1, 1))
        assert value_of("quickly") == value
    assert not list(file.parent.rglob("*.pyc"))


def test_what_is_loaded_has_the_fingerprint_of_its_own_text(write: Write) -> None:
    write("steady.py", "VALUE = 1\n")
    assert value_of("steady") == 1
    before = modules.fingerprint("steady")
    write("steady.py", "VALUE = 2\n")
    assert modules.fingerprint("steady") == before
    assert value_of("steady") == 2
    assert modules.fingerprint("steady") != before


@pytest.mark.parametrize("name", ["named", "imported"])
def test_a_module_that_others_may_write_is_not_run(write: Write, name: str, tmp_path: Path) -> None:
    touch = f"from pathlib import Path\nPath({str(tmp_path / 'touched')!r}).touch()\nVALUE = 1\n"
    write("imported.py", touch if name == "imported" else "")
    write("named.py", touch if name == "named" else "import imported\nVALUE = 1\n")
    (tmp_path / f"{name}.py").chmod(0o646)
    with pytest.raises(NotTrusted, match=f"{name}.py is run as code and is not this user's alone"):
        value_of("named")
    assert not (tmp_path / "touched").exists()
    (tmp_path / f"{name}.py").chmod(0o644)
    assert value_of("named") == 1
    assert (tmp_path / "touched").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_module_of_another_user_is_not_run(write: Write) -> None:
    os.chown(write("theirs.py", "VALUE = 1\n"), 4711, 4711)
    with pytest.raises(NotTrusted, match="it belongs to user 4711"):
        value_of("theirs")


def test_compiled_code_beside_a_module_is_not_run(write: Write, tmp_path: Path) -> None:
    file = write("planted.py", "VALUE = 1\n")
    other = write("other.py", "VALUE = 6\n")
    os.utime(file, (1, 1))
    os.utime(other, (1, 1))
    import py_compile

    py_compile.compile(
        str(other), cfile=str(tmp_path / "__pycache__" / f"planted.{sys.implementation.cache_tag}.pyc")
    )
    assert value_of("planted") == 1
