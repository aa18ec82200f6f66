"""Metrics in the formats of Prometheus: the text format, and OpenMetrics for those who ask for it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from store.errors import ConfigError, UsageError
from store.reports.metrics import Metric, Values

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family


@dataclass(frozen=True)
class _Found:
    """What prometheus_client asks for the families of metrics."""

    families: Sequence[Family]

    def collect(self) -> Iterable[Family]:
        return self.families


def exposed(metrics: Sequence[Metric], values: Values, accept: str = "") -> tuple[bytes, str]:
    """The text, and its content type, for the header Accept of a request.

    Raises ConfigError where prometheus-client is not installed.
    """
    try:
        from prometheus_client.exposition import choose_encoder
    except ModuleNotFoundError as error:  # of an extra, and slow to import
        raise ConfigError(
            f"metrics need {error.name!r}, which is not installed: pip install 'sluice[metrics]'"
        ) from error
    encode, content_type = choose_encoder(accept)
    return encode(_Found(list(_families(metrics, values)))), content_type


def _families(metrics: Sequence[Metric], values: Values) -> Iterator[Family]:
    """A family a metric; one without a value has none."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for metric in metrics:
        series = values.get(metric.name)
        if not series:
            continue
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        family = kind(metric.name, metric.says, labels=metric.labels)
        for labels, value in sorted(series.items()):
            family.add_metric(labels, value)
        yield family


def replace(path: Path, content: bytes) -> None:
    """Replaces a file, which others may read, as a whole. Raises UsageError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")  # the collector reads what ends in .prom
    try:
        beside.write_bytes(content)
        beside.chmod(0o644)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):  # the first error is the one to show
            beside.unlink(missing_ok=True)
        raise UsageError(f"--textfile {path} cannot be written ({error.strerror})") from error
