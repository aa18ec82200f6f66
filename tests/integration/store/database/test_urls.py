"""Where a database is: in a home, or at a URL, of which secrets are never shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from store import database
from store.addresses import keep_secret
from store.database import backends, parse_url
from store.database.backends.postgresql import BACKEND
from store.errors import ConfigError, StoreUnavailable

from .opening import prepare, url


@pytest.mark.parametrize(
    "value",
    ["nonsense", "no-such-database://user:s3cret@host/db", "sqlite//:s3cret", "postgresql://u:s3cret@[::/db",
     "postgresql://u:s3cret@host:port/db"],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_without_showing_it(own_environment: None, value: str) -> None:
    with pytest.raises(ConfigError, match="database_url") as refused:
        prepare(database_url=value)
    assert "s3cret" not in str(refused.value)


def test_a_database_whose_driver_is_not_installed_is_refused(
    own_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.delitem(sys.modules, "store.database.backends.postgresql", raising=False)
    backends.of.cache_clear()
    with pytest.raises(
        ConfigError, match=r"driver 'psycopg' is not installed: pip install 'sluice\[postg"
    ) as refused:
        prepare(database_url="postgresql://user:s3cret@host/db")
    assert "s3cret" not in str(refused.value)
    backends.of.cache_clear()


@pytest.mark.parametrize("scheme", ["oracle+cx_oracle", "mysql+mysqldb", "postgresql+asyncpg"])
def test_a_database_or_driver_that_was_not_tried_is_refused(own_environment: None, scheme: str) -> None:
    with pytest.raises(ConfigError, match=r"does not run|psycopg is what is tried") as refused:
        prepare(database_url=f"{scheme}://user:s3cret@host/db")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_url_of_postgresql_needs_no_driver(scheme: str) -> None:
    assert parse_url(f"{scheme}://ann@host/db").drivername == "postgresql+psycopg"


ODD_NAMES = ["a?b", "a?c", "p%41", "pA", "h#1", "100%", "a b", "new\nline", "q'\"`$;&", "a=b", "file:x", "ø"]


def test_every_path_of_a_home_is_a_database_of_its_own(own_environment: None, tmp_path: Path) -> None:
    for name in ODD_NAMES:
        prepare(home=tmp_path / name)
    assert sorted(str(found.parent.name) for found in tmp_path.rglob("sluice.db")) == sorted(ODD_NAMES)
    assert sorted(found.name for found in tmp_path.iterdir()) == sorted(ODD_NAMES)


def test_every_path_of_a_url_is_a_database_of_its_own(own_environment: None, tmp_path: Path) -> None:
    for name in ODD_NAMES:
        prepare(database_url=url(tmp_path / name / "x.db").replace(name, quote(name)))
    assert sorted(found.parent.name for found in tmp_path.rglob("x.db")) == sorted(ODD_NAMES)


@pytest.mark.parametrize(
    "path",
    [
        "a?b/x.db",
        "x.db?",
        "x.db?user=s3cret&password=s3cret",
        "p%41/x.db",
        "x%30.db",
        "x.db?mode=ro&uri=true",
    ],
)
def test_a_path_that_may_be_read_in_two_ways_is_refused(
    own_environment: None, tmp_path: Path, path: str
) -> None:
    with pytest.raises(ConfigError, match=r"write %(3F|25)") as refused:
        prepare(database_url=f"sqlite:///{tmp_path}/{path}")
    assert "s3cret" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


class Refusing:
    """A driver that says what it was given."""

    paramstyle = "qmark"

    class Error(Exception): ...

    class OperationalError(Error): ...

    class ProgrammingError(Error): ...

    class InterfaceError(Error): ...

    class InternalError(Error): ...


@pytest.mark.parametrize("kind", ["OperationalError", "ProgrammingError", "InterfaceError"])
def test_what_a_driver_says_of_a_login_is_shown_without_its_secrets(
    own_environment: None, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def connect(*_: Any, **given: Any) -> None:
        raise getattr(Refusing, kind)(f"no login for {given}, user 'ann-s3cret'")

    monkeypatch.setattr(Refusing, "connect", connect, raising=False)
    monkeypatch.setattr(backends, "of", lambda name: BACKEND)
    engine = create_engine(
        "mysql+mysqldb://ann-s3cret:a-s3cret@db:5/x?password=b-s3cret&sslpassword=c-s3cret",
        module=Refusing, poolclass=NullPool,
    )  # fmt: skip
    keep_secret(engine.url.render_as_string(hide_password=False))
    with pytest.raises((ConfigError, StoreUnavailable)) as refused, database.reading(engine):
        pass
    assert "s3cret" not in str(refused.value)
    assert str(refused.value).startswith("mysql+mysqldb://db:5/x")
