"""`[page]`: what the page shows of records' values."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from pydantic import Field

from store.settings import Duration, RoomSettings


class PageSettings(RoomSettings):
    """What nobody sees on the page, and how often it has the laws checked."""

    section: ClassVar[str] = "page"

    hide: tuple[str, ...] = Field(default=(), description="fields whose values the page does not show")
    show_values: bool = Field(default=True, description="false: no value of any record is shown")
    check_every: Duration = Field(
        default=timedelta(minutes=15),
        description="`store check` runs, where somebody looks, if the last one is older",
    )
