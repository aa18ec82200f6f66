"""The examples of docs/api.md print what the page shows."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

from ..plant import Plant

PAGE = Path(__file__).parents[3] / "docs" / "api.md"
BURST = "worker up --burst"


def test_every_example_of_the_page_prints_what_it_shows(api: Plant) -> None:
    blocks = re.findall(r"^```(python|sh)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    runner, report = doctest.DocTestRunner(), list[str]()
    for number, (kind, text) in enumerate(blocks, 1):
        if kind == "sh":
            assert text.strip() == BURST
            api.work()
            api.load()
            continue
        test = doctest.DocTestParser().get_doctest(text, names, f"block {number}", str(PAGE), 0)
        assert test.examples, text
        test.globs = names
        runner.run(test, out=report.append, clear_globs=False)
    assert runner.failures == 0, "".join(report)
    assert runner.tries > 15
    assert (api.home / "plant.csv").read_text().startswith("source,key,ts,name,value,extra\n")
