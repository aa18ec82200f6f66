"""The worker's settings: the queue, the contract, the sources, the loader."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields as fields_of
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from store import timestamps
from store.csv_reader import Dialect
from store.dead_letters.edits import WHAT_CASTS_ARE, is_cast
from store.errors import ConfigError
from store.settings import Duration, RoomSettings
from store.text import share_of

Extra = Literal["keep", "ignore", "forbid"]

NUMBERS_OF_ADAPTERS = "adapter is a function, which reads the numbers itself: leave decimal and thousands out"


def ratio(value: object) -> object:
    """A share of all records, as a number or like `5%`."""
    return share_of(value) if isinstance(value, str) else value


class SourceSettings(BaseModel):
    """`[sources.NAME]`: how one feed's records become the contract's."""

    # Built as part of WorkerSettings; alone where it is made alone.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    records: str | None = Field(default=None, description="path of the array of records in a JSON document")
    format: Literal["json", "ndjson", "csv", "parquet", "xlsx"] | None = Field(
        default=None, description="where the suffix lies"
    )
    sheet: str | None = Field(default=None, description="of Excel files, where they have several")
    delimiter: str | None = Field(default=None, description="of CSV files")
    quotechar: str | None = Field(default=None, description="of CSV files")
    escapechar: str | None = Field(default=None, description="of CSV files: what follows it is text")
    trim: bool = Field(default=False, description="of CSV files: blanks around a cell are no part of it")
    encoding: str | None = Field(default=None, description="of files; by default UTF-8")
    skip_rows: int = Field(default=0, description="of CSV files: lines before the header")
    comment: str | None = Field(default=None, description="of CSV files: a line that begins with it is none")
    decimal: str | None = Field(default=None, description="of CSV files: the decimal mark of numbers")
    thousands: str | None = Field(default=None, description="of CSV files: between groups of three digits")
    null_values: tuple[str, ...] = Field(default=(), description="of CSV files: cells that are empty ones")
    fields: dict[str, str] = Field(default={}, description="contract field -> JMESPath into the raw record")
    casts: dict[str, str] = Field(default={}, description="contract field -> how its text is read")
    constants: dict[str, Any] = Field(default={}, description="contract field -> the value all records get")
    defaults: dict[str, Any] = Field(
        default={}, description="contract field -> the value of records without one"
    )
    adapter: str | None = Field(default=None, description='"module:function": raw dict in, contract dict out')
    ts_format: str | None = Field(
        default=None, description="strptime's format of ts, where it is not ISO 8601"
    )
    ts_unit: Literal["s", "ms", "us", "ns"] | None = Field(default=None, description="ts is an epoch number")
    sequence: str | None = Field(
        default=None, description="JMESPath of an integer that orders versions of one time"
    )
    deleted: str | None = Field(
        default=None, description="JMESPath that is true for a record that says that its key was deleted"
    )
    ties: Literal["delivery", "hash"] = Field(
        default="delivery", description="what decides between versions of one time and sequence"
    )
    assume_tz: str = Field(default="UTC", description='zone of a ts without offset; "reject" rejects it')
    ambiguous: Literal["earlier", "later", "reject"] = Field(
        default="earlier", description="a local time that exists twice, for the clock is put back"
    )
    nonexistent: Literal["shift", "reject"] = Field(
        default="reject", description="a local time that does not exist, for the clock is put forward"
    )
    extra: Extra | None = Field(default=None, description="fields beyond the contract, for this source")
    allowed_lateness: Duration = Field(default=timedelta(0), description="how far behind is not yet late")
    late: Literal["load", "dead_letter", "skip"] = "load"
    max_age: Duration | None = Field(default=None, description="older records are stale")
    stale: Literal["flag", "dead_letter"] = "flag"
    priority: int | None = Field(default=None, ge=1, description="for `golden`: 1 is the best source")
    max_rejects: int | None = Field(default=None, ge=0, description="more rejected records stop `enqueue`")
    max_reject_ratio: Annotated[float | None, BeforeValidator(ratio)] = Field(
        default=None, ge=0, le=1, description="a greater share of rejected records stops `enqueue`"
    )

    def dialect(self, options: Mapping[str, Any] | None = None) -> Dialect:
        """That of its files, but for the options of a command. Raises ConfigError."""
        own = {each.name: getattr(self, each.name) for each in fields_of(Dialect)}
        given = {name: value for name, value in own.items() if value is not None} | dict(options or {})
        return Dialect(**given)

    @field_validator("fields")
    @classmethod
    def expressions_parse(cls, fields: dict[str, str]) -> dict[str, str]:
        for name, expression in fields.items():
            check_expression(f"fields.{name}", expression)
        return fields

    @field_validator("casts")
    @classmethod
    def casts_are_known(cls, casts: dict[str, str]) -> dict[str, str]:
        for name, how in casts.items():
            if not is_cast(how):
                raise ValueError(f"casts.{name} = {how!r}: {WHAT_CASTS_ARE}")
        return casts

    @field_validator("ts_format")
    @classmethod
    def whole_times(cls, layout: str | None) -> str | None:
        if layout is not None and not timestamps.is_layout(layout):
            raise ValueError(
                f"ts_format = {layout!r} reads no whole time: write it in the codes of strptime, with a year, like "
                "%d.%m.%Y %H:%M"
            )
        return layout

    @field_validator("sequence", "deleted")
    @classmethod
    def expression_parses(cls, expression: str | None, info: ValidationInfo) -> str | None:
        if expression is not None:
            check_expression(str(info.field_name), expression)
        return expression

    @model_validator(mode="after")
    def one_way_to_adapt(self) -> Self:
        try:
            self.dialect()
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if self.adapter and (self.fields or self.constants or self.defaults or self.casts):
            raise ValueError(
                "adapter is a function: it does what fields, casts, constants and defaults would"
            )
        if (self.ts_unit or self.ts_format) and self.casts.get("ts", "").startswith(("time:", "epoch")):
            raise ValueError("casts.ts makes ISO 8601 of a time: leave ts_unit and ts_format out")
        if self.adapter and (self.decimal or self.thousands):
            raise ValueError(NUMBERS_OF_ADAPTERS)
        divided = next((name for name, how in self.casts.items() if how.startswith("divide:")), None)
        if divided and (self.decimal or self.thousands):
            raise ValueError(
                f"casts.{divided} divides numbers with a decimal point, and decimal and thousands say that the files "
                "have others: leave one of the two out"
            )
        if self.ts_unit and self.ts_format:
            raise ValueError("ts_unit is for numbers and ts_format for text: name one of them")
        return self

    @field_validator("assume_tz")
    @classmethod
    def zone_exists(cls, name: str) -> str:
        if name != "reject":
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError(
                    f'assume_tz = {name!r} is no time zone (like "Europe/Oslo") nor "reject"'
                ) from error
        return name


def check_expression(name: str, expression: str) -> None:
    """Raises ValueError for what is no JMESPath."""
    try:
        jmespath.compile(expression)
    except JMESPathError as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{name} = {expression!r} is no JMESPath expression: {why}") from error


def share(value: object) -> object:
    """`true` is all records and `false` none; a number between is a share of them."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value.lower() in SWITCHES:
        return SWITCHES[value.lower()]
    return value


SWITCHES = {"on": 1.0, "true": 1.0, "off": 0.0, "false": 0.0}
Share = Annotated[float, BeforeValidator(share), Field(ge=0, le=1)]


class StageSettings(BaseModel):
    """`[stages]`: which stages run, and on what share of the records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapt: Share = Field(default=1.0, description="a source's mapping; off, records pass as they are")
    validate_: Share = Field(
        default=1.0, alias="validate", description="the contract; off, what the table needs"
    )
    freshness: Share = Field(default=1.0, description="late and stale")
    dedupe: Share = Field(default=1.0, description="at load, a repeat is a duplicate; off, it is superseded")
    reconcile: Share = Field(default=0.0, description="the periodic comparison of sources")

    def shares(self) -> dict[str, float]:
        """stage -> share, by the stages' own names."""
        return self.model_dump(by_alias=True)


class WorkerSettings(RoomSettings):
    """What the queue, the judging of records and the loader go by."""

    section: ClassVar[str] = "worker"

    redis_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("SLUICE_REDIS_URL", "redis_url", "REDIS_URL"),
        description="where the queue is; default: a private redis-server in the state directory",
    )
    contract: str = Field(default="worker.contract:Event", description='"module:Model", a pydantic model')
    extra: Extra | None = Field(
        default=None, description="fields beyond the contract: keep, ignore or forbid"
    )
    max_future_skew: Duration = Field(default=timedelta(hours=1), description="a later ts is rejected")
    log_format: Literal["text", "json"] = Field(
        default="text", description="of log lines; json: one object a line, with the name of its event"
    )
    workers: int = Field(default=2, ge=1, le=64, description="how many `worker up` starts")
    loaders: int = Field(
        default=1,
        ge=1,
        le=64,
        description="how many `worker up` starts: more than one helps a store in partitions",
    )
    job_timeout_seconds: int = Field(default=300, ge=1, description="for one batch, waits included")
    judge_timeout_seconds: float = Field(
        default=10.0, gt=0, description="for judging a batch; and for each record"
    )
    judge_timeout_per_record_seconds: float = Field(default=0.01, ge=0, description="this much more")
    patience_seconds: float = Field(
        default=30.0, ge=0, description="a worker waits so long for the database before it puts a batch back"
    )
    abandoned_after_seconds: int = Field(
        default=12, ge=2, description="a batch whose worker is silent for so long is another's"
    )
    memory_limit_mb: int | None = Field(default=4096, ge=256, description="of a job process; null: none")
    retry_intervals_seconds: list[Annotated[int, Field(ge=0)]] = Field(
        default=[1, 2, 5, 10, 30, 60, 120, 300], min_length=1, description="waits between attempts at a batch"
    )
    result_ttl_seconds: int = Field(default=3600, ge=1, description="how long a finished job is remembered")
    failure_ttl_seconds: int = Field(
        default=365 * 86400, ge=1, description="how long a failed job, with its records, is kept in Redis"
    )
    max_replays: int = Field(
        default=10, ge=1, description="a dead letter that was rejected again so often is parked"
    )
    load_every_seconds: int = Field(default=5, ge=1, description="the periodic loader's interval")
    load_chunk_records: int = Field(default=250_000, ge=1, description="rows merged in one transaction")
    load_when_staged: int = Field(
        default=40_000, ge=1, description="a worker that has staged so many wakes the loader"
    )
    load_on_idle: bool = Field(
        default=False, description="the loader wakes when no batch is left on the queue"
    )
    load_lease_seconds: float = Field(default=60.0, gt=0, description="the loader's lock runs out after this")
    load_run_seconds: float = Field(default=60.0, gt=0, description="a run ends after this; the next goes on")
    reconcile_every_seconds: int = Field(default=300, ge=1, description="the periodic comparison's interval")
    reconcile_tolerances: dict[str, float] = Field(
        default={}, description="field -> difference that still matches"
    )
    stages: StageSettings = Field(default=StageSettings(), description="see [stages]")
    sources: dict[str, SourceSettings] = Field(default={}, description="one entry a feed")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        """[worker], with [sources] and [stages], which stand beside it."""
        beside = {name: config[name] for name in ("sources", "stages") if name in config}
        return {**config.get("worker", {}), **beside}

    @property
    def load_timeout_seconds(self) -> int:
        """For one run of the loader, as a job."""
        return int(self.load_run_seconds) + self.job_timeout_seconds

    def source(self, name: str) -> SourceSettings:
        """A source's settings; a source without an entry is a passthrough."""
        return self.sources.get(name, SourceSettings())

    def without_entry(self, name: str) -> str:
        """Says that a source has no entry, which is nearest, and which there are."""
        near = difflib.get_close_matches(name, self.sources, 1, 0.6)
        meant = f": did you mean {near[0]}?" if near else ""
        known = ", ".join(sorted(self.sources)) or "none"
        return f"source {name!r} has no entry in the configuration{meant} (it has: {known})"
