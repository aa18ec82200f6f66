"""What a command imports when it starts: of the slow libraries, those that it needs."""

from __future__ import annotations

from ..sandbox import SAMPLE, Sandbox

# Runs commands one after another; after each, prints which of these modules are imported, behind what it prints itself.
COMMANDS = """
import importlib, sys
for words in {commands!r}:
    sys.argv = words
    try:
        importlib.import_module(words[0] + ".cli.app").main()
    except SystemExit as end:
        assert not end.code, end.code
    print("imported:", *(name for name in {slow!r} if name in sys.modules))
"""
DATABASE = "sqlalchemy.dialects.sqlite"
QUEUE = ("redis", "rq", "jmespath", "worker.queue.client")
SELDOM = (
    "alembic",
    "sqlalchemy.dialects.postgresql",
    "rq.cli",
    "rq.cron",
    "matplotlib",
    "openlineage",
    "hypothesis",
)
LOADING = ("worker.loader", "store.load.chunk", "store.load.merge")


def imported(box: Sandbox, slow: tuple[str, ...], *commands: tuple[str, ...]) -> list[list[str]]:
    """Those of the slow modules that each command has imported, or one before it."""
    code = COMMANDS.format(commands=[list(words) for words in commands], slow=slow)
    lines = box.ok("python", "-c", code, cold=True).out.splitlines()
    return [line.split()[1:] for line in lines if line.startswith("imported:")]


def test_help_imports_neither_database_nor_queue_nor_models(box: Sandbox) -> None:
    helps = [(name, "--help") for name in ("producer", "worker", "store")]
    slow = ("sqlalchemy", "pydantic", "rich.console", "asyncio", *QUEUE, *SELDOM)
    assert imported(box, slow, *helps) == [[], [], []]


def test_an_answer_about_the_store_imports_nothing_of_the_queue(box: Sandbox) -> None:
    box.ok_here("store", "init")
    answers = [("store", "report"), ("store", "dead-letters"), ("store", "batches")]
    assert imported(box, (DATABASE, *QUEUE, *SELDOM), *answers) == [[DATABASE]] * 3


def test_status_and_enqueue_import_what_they_need_of_the_queue_and_nothing_that_migrates_or_loads(
    box: Sandbox,
) -> None:
    box.ok_here("store", "init")
    slow = (DATABASE, *QUEUE, *SELDOM, *LOADING)
    found = imported(box, slow, ("worker", "status"), ("producer", "enqueue", SAMPLE))
    assert found == [[DATABASE, *QUEUE]] * 2
