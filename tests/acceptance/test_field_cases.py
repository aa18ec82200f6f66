"""A mapping that is mended and taken back, with the real commands: what the producer and `store` say of it."""

from __future__ import annotations

from pathlib import Path

from .sandbox import Sandbox

CASE = Path(__file__).parents[1] / "data" / "field" / "mapping_fix"


def wrong_rows(box: Sandbox) -> int:
    """How many rows have the thousandth part of their value."""
    return int(box.select("SELECT count(*) FROM target WHERE value < 100")[0][0])


def test_a_mended_mapping_wins_and_going_back_needs_again(box: Sandbox) -> None:
    """Refuses wrong values that stay, an older mapping that wins by being sent once more, and silence about either."""
    box.file("readings.csv", (CASE / "readings.csv").read_bytes())
    box.file("german_numbers.py", (CASE / "german_numbers.py").read_bytes())

    def send(config: str, *options: str) -> str:
        box.file("sluice.toml", (CASE / config).read_bytes())
        sent = box.enqueue("readings.csv", "--source", "meters", *options)
        box.ok("worker", "up", "--burst")
        box.check()
        return sent.err

    assert send("without_adapter.toml") == ""
    assert wrong_rows(box) == 200
    assert send("with_adapter.toml") == ""
    assert wrong_rows(box) == 0

    warning = send("without_adapter.toml")
    assert warning.startswith(
        "warning: readings.csv was sent before, as delivery 1, and under another contract "
    )
    assert "as delivery 2, whose records win" in warning
    assert "--again" in warning
    assert (wrong_rows(box), box.count("deliveries"), box.report()["conflicts"]) == (0, 2, 200)

    assert send("without_adapter.toml", "--again") == ""
    assert (wrong_rows(box), box.count("deliveries"), box.report()["conflicts"]) == (200, 3, 400)

    newest = box.ok_here("store", "conflicts", "--key", "k7", "--json").json[0]
    assert (newest["winner"]["delivery"], newest["loser"]["delivery"]) == (3, 2)
    assert newest["winner"]["line"] == newest["loser"]["line"] == 9
    explained = box.ok_here("store", "explain", "k7").out
    assert "it conflicts with the record of 2025-01-15 12:00:00 UTC from readings.csv:9" in explained
    assert "delivery 3 is later than 2" in explained
