"""`worker up --page`: the page beside the workers; killed, it comes again at the same port; it stops with them."""

from __future__ import annotations

import os
import re
import signal
import urllib.request

from ..sandbox import Sandbox


def test_the_page_of_worker_up_comes_again_when_it_is_killed_and_ends_with_its_viewers(box: Sandbox) -> None:
    up = box.start("worker", "up", "--workers", "1", "--page", "--port", "0", "--verbose")
    base = str(box.until(lambda: re.search(r"at (http://\S+)/", up.out), "the page is served")[1])
    number = re.search(r"started page \(process (\d+)\)", up.err)
    assert number
    os.kill(int(number[1]), signal.SIGKILL)
    box.until(lambda: up.out.count(f"the page is at {base}/") == 2, "the page is served again")
    with urllib.request.urlopen(f"{base}/follow") as numbers:  # noqa: S310 - of this test
        assert numbers.readline() == b"retry: 5000\n"
        done = up.stop()
        while numbers.readline():  # to its end
            pass
    assert done.code == 0
    assert "Cancel" not in done.err  # what would not have ended by itself
