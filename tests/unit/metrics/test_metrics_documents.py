"""docs/metrics.md, docs/alerts.yml and docs/dashboard.json speak of metrics and labels that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from worker.metrics.collector import METRICS

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
KNOWN = {metric.name: set(metric.labels) | {"instance", "job"} for metric in METRICS}
WORDS = {"and", "or", "unless", "on", "by", "sum", "max", "count", "topk", "absent", "rate", "time", "vector"}
PROMTOOL = shutil.which("promtool")
STRING = re.compile(r"\"[^\"]*\"|'[^']*'")
SELECTED = re.compile(r"(\w+)\s*\{([^}]*)\}")
LISTED = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


def mistakes(expression: str) -> list[str]:
    """Names in PromQL that are no metric of ours, and labels that the metrics beside them do not have."""
    bare = STRING.sub('""', expression)
    found = []
    for name, matchers in SELECTED.findall(bare):
        labels = set(re.findall(r"(\w+)\s*[=!]", matchers))
        found += [f"{name} has no label {label}" for label in sorted(labels - KNOWN.get(name, labels))]
    labels = {label.strip() for listed in LISTED.findall(bare) for label in listed.split(",")}
    rest = re.sub(r"\[[^\]]*\]", "", LISTED.sub("", SELECTED.sub(r"\1", bare)))
    names = set(re.findall(r"\b[A-Za-z_]\w*", rest)) - WORDS
    found += [f"there is no metric {name}" for name in sorted(names - KNOWN.keys())]
    if not names:
        found.append("it names no metric")
    of_all = set().union(*(KNOWN.get(name, set()) for name in names))
    return [*found, *(f"no metric has the label {label}" for label in sorted(labels - of_all))]


def rules() -> dict[str, str]:
    parsed = YAML(typ="safe").load(DOCS / "alerts.yml")
    return {rule["alert"]: rule["expr"] for group in parsed["groups"] for rule in group["rules"]}


def panels() -> Iterator[tuple[str, str, str]]:
    """Title, expression and legend of each query of the dashboard."""
    for panel in json.loads((DOCS / "dashboard.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


@pytest.mark.parametrize(
    ("expression", "mistake"),
    [
        ("sluice_records == 0", "there is no metric sluice_records"),
        ("rate(sluice_workerz[5m])", "there is no metric sluice_workerz"),
        ('sluice_law_holds{part="x"} == 0', "sluice_law_holds has no label part"),
        ("sum by (file) (sluice_dead_letters)", "no metric has the label file"),
        ("vector(1)", "it names no metric"),
    ],
)
def test_a_wrong_name_is_found(expression: str, mistake: str) -> None:
    assert mistakes(expression) == [mistake]


def test_every_rule_names_metrics_and_labels_that_there_are() -> None:
    assert len(rules()) >= 10
    assert {alert: found for alert, expr in rules().items() if (found := mistakes(expr))} == {}


def test_every_query_of_the_dashboard_names_metrics_and_labels_that_there_are() -> None:
    queries = list(panels())
    assert len(queries) >= 15
    assert [(title, found) for title, expr, _ in queries if (found := mistakes(expr))] == []


def test_every_legend_has_labels_that_its_query_leaves() -> None:
    for title, expr, legend in panels():
        grouped = {label.strip() for listed in LISTED.findall(expr) for label in listed.split(",")}
        names = [name for name in KNOWN if name in expr]
        left = grouped or set().union(*(KNOWN[name] for name in names))
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= left, title


def test_texts_of_alarms_have_labels_of_their_metrics() -> None:
    text = (DOCS / "alerts.yml").read_text()
    used = set(re.findall(r"\$labels\.(\w+)", text))
    assert used
    assert used <= set().union(*KNOWN.values())


def test_every_metric_stands_in_the_documents_table_as_it_is() -> None:
    text = (DOCS / "metrics.md").read_text()
    rows = re.findall(r"^\| `(sluice_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    listed = [(name, kind, re.findall(r"`(\w+)`", labels), says) for name, kind, labels, says in rows]
    assert listed == [(each.name, each.kind, list(each.labels), each.says) for each in METRICS]


def test_no_metric_has_a_label_without_a_bound_and_counters_are_named_as_such() -> None:
    assert not {label for each in METRICS for label in each.labels} & {
        "file",
        "key",
        "batch",
        "id",
        "line",
        "field",
    }
    assert all(each.name.endswith("_total") == (each.kind == "counter") for each in METRICS)
    assert len(KNOWN) == len(METRICS)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not on this machine: it is a part of Prometheus")
@pytest.mark.parametrize(
    "words", [("check", "rules", DOCS / "alerts.yml"), ("test", "rules", ROOT / "tests/data/alerts_test.yml")]
)
def test_promtool_takes_the_rules_and_sees_them_fire(words: tuple[str | Path, ...]) -> None:
    done = subprocess.run([str(PROMTOOL), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
