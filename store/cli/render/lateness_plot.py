"""Arrival lags as a picture. matplotlib is an optional extra, imported only for `--plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from store.cli.render.timing import lag_name
from store.errors import ConfigError, UsageError

WIDTH_INCHES, HEIGHT_INCHES = 9.0, 3.0  # the height for each source


def figure_for(found: dict[str, Any]) -> Any:
    """An empty figure with room for every source. Raises ConfigError where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("--plot needs matplotlib: pip install 'sluice[plot]'") from error
    return Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES * max(1, len(found["sources"]))), layout="constrained")


def draw(figure: Any, found: dict[str, Any]) -> None:
    """One histogram for each source, one above the other."""
    sources = found["sources"]
    if not sources:
        return
    for (axes,), each in zip(figure.subplots(len(sources), 1, squeeze=False), sources, strict=True):
        bars = axes.bar(
            [lag_name(lag["lag"]) for lag in each["lags"]], [lag["records"] for lag in each["lags"]]
        )
        axes.bar_label(bars)
        axes.set_title(f"Arrival lag of {each['source']}", parse_math=False)
        axes.set_ylabel("records")
        axes.tick_params(axis="x", labelrotation=30)


def save(figure: Any, path: Path) -> None:
    """Writes the picture, in the format of the file's suffix. Raises UsageError."""
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:  # ValueError: an unknown suffix
        raise UsageError(f"--plot {str(path)!r} cannot be written: {error}") from error
