"""The options of `producer replay` that edit payloads."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from store.dead_letters.edits import Edit, json_body
from store.errors import ConfigError, InputError

SECONDS_OF = {"s": 1, "min": 60, "h": 3600}


def parse_pairs(option: str, pairs: Sequence[str], example: str) -> dict[str, str]:
    """`NAME=TEXT` options. Raises ConfigError for one that is none."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise ConfigError(f"{option} {pair!r} should be {example}")
        found[name] = value
    return found


def parse_values(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """`FIELD=VALUE` options; a VALUE that is not JSON is text, and numbers keep their digits."""
    found = parse_pairs(option, pairs, f"FIELD=VALUE, like {option} value=4.2")
    return {name: _value(text) for name, text in found.items()}


def _value(text: str) -> Any:
    try:
        return json_body(f'{{"value":{text}}}')["value"]
    except (InputError, KeyError):
        return text


def read_edit(file: Path | None, given: Edit) -> Edit:
    """The edit of a file, and what the options add to it. Raises ConfigError, UsageError."""
    if file is None:
        given.check()
        return given
    try:
        stored = Edit.of(tomllib.loads(file.read_text(), parse_float=orjson.Fragment))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"--edit {file}: {error}") from error
    both = replace(
        stored,
        set=stored.set | given.set,
        default=stored.default | given.default,
        rename=stored.rename | given.rename,
        cast=stored.cast | given.cast,
        drop=(*stored.drop, *given.drop),
        payload=given.payload or stored.payload,
    )
    both.check()
    return both


def parse_rate(text: str | None) -> float | None:
    """Letters a second. Raises ConfigError for what is none."""
    if text is None:
        return None
    number, _, unit = text.partition("/")
    try:
        rate = float(number) / SECONDS_OF[unit or "s"]
    except (ValueError, KeyError):
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise ConfigError(f"--rate {text!r} should be letters a second, like 200/s, or 600/min")
    return rate
