"""Settings: read once, frozen. The environment wins over sluice.toml, which wins over the defaults.

A room's keys stand in its own section of sluice.toml, and each is also a variable: `SLUICE_` and the
key in capitals. The file is `sluice.toml` in the working directory, or where SLUICE_CONFIG says.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from store import trust
from store.addresses import keep_secret
from store.errors import ConfigError

SECTIONS = ("producer", "worker", "store", "page", "sources", "stages")
SECRET_WORDS = ("url", "password", "secret")

Settings = TypeVar("Settings", bound="RoomSettings")


def config_path() -> Path:
    """Where the configuration lies, whether or not it exists."""
    return Path(os.environ.get("SLUICE_CONFIG", "sluice.toml"))


def read_config() -> dict[str, Any]:
    """sluice.toml as a dictionary of sections; empty where there is no file.

    Raises ConfigError where the file cannot be read, is no TOML, or has a section nobody owns.
    """
    path = config_path()
    if not path.exists():
        if "SLUICE_CONFIG" in os.environ:
            raise ConfigError(f"SLUICE_CONFIG names {str(path)!r}, which does not exist: correct or unset it")
        return {}
    try:
        config = tomllib.loads(trust.read_code(path).decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    for name, value in config.items():
        if name not in SECTIONS:
            raise ConfigError(
                f"{path}: unknown key {name!r}; keys stand in the sections [{'], ['.join(SECTIONS)}]"
            )
        if not isinstance(value, dict):
            shown = "a URL" if "://" in str(value) else repr(value)
            raise ConfigError(f"{path}: {name} = {shown} should be a section: [{name}]")
    return config


class RoomSettings(BaseSettings):
    """What the three rooms' settings have in common."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        defer_build=True,
    )
    section: ClassVar[str]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, InitSettingsSource(settings_cls, cls.from_config(read_config()))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        """This room's part of the configuration file."""
        section: dict[str, Any] = config.get(cls.section, {})
        return section

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """The settings in force. Raises ConfigError naming the key and the value that is wrong."""
        try:
            found = cls(**{name: value for name, value in overrides.items() if value is not None})
        except ValidationError as error:
            raise ConfigError(describe(cls, error)) from error
        except SettingsError as error:  # a variable of a list or a section, which should be JSON
            raise ConfigError(not_json(error)) from error
        for url in (getattr(found, name) for name in cls.model_fields if name.endswith("_url")):
            keep_secret(url or "")
        return found


def not_json(error: SettingsError) -> str:
    """Which variable is not the JSON it should be, and what it is: that of the field, or of a part of its section."""
    named = re.search(r'field "(\w+)"', str(error))
    field = f"SLUICE_{named[1]}".upper() if named else "SLUICE_"
    ours = {name.upper(): text for name, text in os.environ.items() if name.upper().startswith(field)}
    bad = [name for name in ours if not _is_json(ours[name])]
    # A part that is text is no JSON either, and right: what looks like JSON and is none comes first.
    bad.sort(key=lambda name: (name != field, ours[name][:1] not in ("{", "["), name))
    variable = bad[0] if bad else field
    return f'{variable} = {ours.get(variable)!r:.200} should be JSON, like [1, 2] or {{"name": {{}}}}'


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:  # the question was whether it is
        return False
    return True


def describe(room: type[RoomSettings], error: ValidationError) -> str:
    """The first thing wrong, in one line: where, which key, which value, what it should be."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    key, section, fields = ".".join(path), room.section, set(room.model_fields)
    if path[0] == "sources" and len(path) > 1:
        section, key = f"sources.{path[1]}", ".".join(path[2:])
        fields = set(get_args(room.model_fields["sources"].annotation)[1].model_fields)
    elif path[0] == "stages" and len(path) > 1:
        section, key = "stages", ".".join(path[1:])
        stages: Any = room.model_fields["stages"].annotation
        fields = {info.alias or name for name, info in stages.model_fields.items()}
    origin = f"{config_path()}, the environment or an option: [{section}] {key}".rstrip()
    if first["type"] == "extra_forbidden":
        return f"{origin} is not a key of this section (it has: {', '.join(sorted(fields))})"
    value = first.get("input")
    shown = "" if any(word in key.lower() for word in SECRET_WORDS) else f" = {value!r:.200}"
    return f"{origin}{shown}: {first['msg']}"


UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(value: object) -> object:
    """`90`, `"90s"`, `"15m"`, `"1h"` or `"7d"` as a timedelta; what else pydantic takes, it takes."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", value.strip())):
        try:
            return timedelta(seconds=float(match[1]) * UNITS[match[2] or "s"])
        except OverflowError as error:
            raise ValueError("longer than any length of time") from error
    return value


Duration = Annotated[timedelta, BeforeValidator(duration), Field(ge=timedelta(0))]


class ClockSettings(RoomSettings):
    """The one key of [worker] that the store goes by too: a watermark later than this is corrupt."""

    section: ClassVar[str] = "worker"

    max_future_skew: Duration = Field(default=timedelta(hours=1), description="a later ts is rejected")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        """That key alone: the others are the worker's to judge."""
        section = super().from_config(config)
        return {name: section[name] for name in cls.model_fields if name in section}


class StoreSettings(RoomSettings):
    """Where what lasts is kept."""

    section: ClassVar[str] = "store"

    home: Path = Field(default=Path(".sluice"), description="state directory: database, private Redis")
    database_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("SLUICE_DATABASE_URL", "database_url", "DATABASE_URL"),
        description="SQLAlchemy URL, where % and ? of a path are %25 and %3F; default: SQLite in the state directory",
    )
    database_schema: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        description="PostgreSQL: the schema that the tables are in, made where it is missing; default: the role's own",
    )
    partitions: int = Field(
        default=1,
        ge=1,
        le=64,
        description="PostgreSQL: partitions of staging and target, each with a loader of its own; of a new database",
    )
    idle_after: Duration | None = Field(
        default=None,
        description="a source that sent nothing for so long does not hold the pipeline's watermark",
    )
    busy_timeout_seconds: float = Field(default=30.0, gt=0, description="how long to wait for a lock")
    synchronous: Literal["FULL", "NORMAL", "EXTRA"] = Field(
        default="FULL",
        description="SQLite: FULL survives a power cut at every commit, NORMAL may lose the last ones",
    )

    @property
    def database_file(self) -> Path:
        """SQLite's file where no `database_url` is set."""
        return self.home.absolute() / "sluice.db"
