"""An input of a command, opened: a path, or an address on the web, whose file is loaded first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from producer.arrivals.address import Address, is_address
from producer.feed import Feed
from producer.files.open import RecordFile
from store.cli.render.progress import Bar
from store.errors import InputError
from store.text import shown_path


def shown(path: str) -> str:
    """An input as messages, lineage and `--json` name it."""
    return Address.of(path).shown if is_address(path) else shown_path(path)


def name_of(path: str) -> str:
    """What shows the format of an input."""
    return Address.of(path).file if is_address(path) else path


@contextmanager
def opened(feed: Feed, path: str) -> Iterator[RecordFile]:
    """Raises InputError, also for an address whose file cannot be loaded."""
    if not is_address(path):
        with feed.open(path) as file:
            yield file
        return
    address = Address.of(path)
    if why := feed.refusal(address.file):
        raise InputError(f"{address.shown}: {why}; give --format; nothing of it was sent")
    from producer.arrivals.download import fetched  # the libraries of HTTP are slow to import

    with ExitStack() as stack:
        with Bar(address.shown, None, unit="bytes") as bar:
            local = stack.enter_context(
                fetched(address, feed.settings, lambda size, _: bar.update(size, size))
            )
        yield stack.enter_context(feed.open(local, name=address.shown))
