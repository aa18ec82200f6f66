"""A record with fields of its own."""

from __future__ import annotations

from ..plant import ndjson

IDENTITY = {"key": "a", "ts": "2025-01-15T08:00:00Z"}


def given(**fields: object) -> bytes:
    return ndjson(IDENTITY | fields)
