"""The two plots of docs/performance.md, from figures that bench.py and peers.py wrote.

python benchmarks/plots.py docs/performance/figures.json docs/performance/peers.json docs/performance
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
from machine import in_words

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "sluice"  # the same figures give the same file
import matplotlib.pyplot as plt  # noqa: E402 - the backend is chosen first

OURS, THEIRS = "#1f6f8b", "#9aa5ab"


def beside_peers(peers: dict[str, Any], out: Path) -> None:
    """Records a second of each contestant, on a logarithmic axis."""
    rows = [row for row in peers["results"] if row["seconds"]]
    rows.sort(key=lambda row: row["records_per_second"])
    names = [f"{row['what']} ({row['records']:,})" for row in rows]
    rates = [row["records_per_second"] for row in rows]
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(rows) + 1.2), layout="constrained")
    colours = [OURS if row["name"] == "sluice" else THEIRS for row in rows]
    bars = axes.barh(names, rates, color=colours)
    axes.bar_label(bars, labels=[f" {rate:,.0f}" for rate in rates])
    axes.set_xscale("log")
    axes.set_xlim(right=max(rates) * 4)
    axes.set_xlabel("records a second, file to table (in brackets: of how many)")
    _finish(figure, axes, peers["machine"], out / "peers.svg")


def by_size(figures: dict[str, Any], out: Path) -> None:
    """Seconds against records, both axes logarithmic."""
    sizes = sorted(map(int, figures["growth"]))
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for name, label, colour in (("sluice", "Sluice", OURS), ("loop", "bare loop", THEIRS)):
        axes.plot(
            sizes, [figures["growth"][str(size)][name] for size in sizes], "o-", color=colour, label=label
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("records")
    axes.set_ylabel("seconds, file to target")
    axes.legend()
    _finish(figure, axes, figures["machine"], out / "growth.svg")


def _finish(figure: Any, axes: Any, machine: dict[str, str], file: Path) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    words = in_words(machine).partition("; ")[0]
    figure.supxlabel(words, fontsize=7, color="#666666")
    figure.savefig(file, metadata={"Date": None})
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")
    print(file)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path)
    parser.add_argument("peers", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    by_size(json.loads(options.figures.read_text()), options.out)
    beside_peers(json.loads(options.peers.read_text()), options.out)


if __name__ == "__main__":
    main()
