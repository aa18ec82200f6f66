"""Passwords, users and TLS in front of Redis; and no output of any command shows a password."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from redis import Redis

from ..commands import OWN_TERMINALS, Done
from ..sandbox import SAMPLE, Sandbox, sandbox
from ..servers import behind_tls, redis_server

PASSWORD = "open-sesame-7"  # noqa: S105 - of a server that lives for one test
ROOT_PASSWORD = "root-secret-9"  # noqa: S105

# As docs/operations.md has it.
ACL = "resetchannels ~rq:* ~sluice:* &rq:* +@all -@admin -@dangerous +info +client|setname +client|info"
WRONG = "sluice:wrong-secret"
REFUSED = [
    *(
        (words, WRONG)
        for words in (f"producer enqueue {SAMPLE}", "worker load", "worker up --burst", "rq worker")
    ),
    *(("worker status", login) for login in (WRONG, f"nobody:{PASSWORD}", ":wrong-secret", "")),
    ("rq worker", f"nobody:{PASSWORD}"),
]


def the_usual(box: Sandbox) -> None:
    """From the file to the table."""
    box.ok("producer", "enqueue", SAMPLE)
    box.ok("worker", "up", "--burst", "--verbose")
    assert box.ok_here("worker", "status", "--json").json["failed_batches"] == 0
    assert box.count("target") == 5
    box.ok_here("worker", "doctor", "--least-free-mb", "0")  # of no check is it said that it failed
    assert "Traceback" not in box.all_output()


def everything(box: Sandbox) -> None:
    """Every command once, processes of one's own included."""
    box.enqueue(SAMPLE)
    box.ok("rq", "worker", "--burst")
    box.ok_here("worker", "load", "--json")
    loader = box.start("rq", "worker", "loader")
    cron = box.start("rq", "cron", "worker.schedule")
    box.until(lambda: box.workers("loader") == 1, "the loader takes jobs")
    box.ok_here("producer", "replay", "--reason", "invalid_value", "--set", "value=5")
    up = box.start("worker", "up", "--verbose")
    box.until(lambda: box.count("target") == 6, "the replayed letter is loaded")
    for running in (loader, cron, up):
        assert running.stop().code == 0
    box.ok("worker", "up", "--burst", "--verbose")
    assert box.ok_here("worker", "status", "--json").json["failed_batches"] == 0
    box.ok_here("worker", "status")
    box.report()
    box.check()
    assert "Traceback" not in box.all_output()


def run(box: Sandbox, command: str, env: dict[str, str]) -> Done:
    """The command; in this process where it starts none, which is quicker."""
    words = command.split()
    starts_processes = words[0] == "rq" or words[:2] == ["worker", "up"]
    return (box.run if starts_processes else box.run_here)(*words, env=env)


@contextmanager
def site(kind: str) -> Iterator[Sandbox]:
    """A sandbox on a server of that kind."""
    with ExitStack() as stack:
        port = stack.enter_context(redis_server(ROOT_PASSWORD))
        scheme, host, options = "redis", "127.0.0.1", ""
        if kind == "a user's rights":
            with Redis(port=port, password=ROOT_PASSWORD) as admin:
                admin.execute_command("ACL", "SETUSER", "sluice", "on", f">{PASSWORD}", *ACL.split())
            login = f"sluice:{PASSWORD}@"
        else:
            login = f":{ROOT_PASSWORD}@"
        if kind == "TLS":
            port, authority = stack.enter_context(behind_tls(port))
            scheme, host, options = "rediss", "localhost", f"?ssl_ca_certs={authority}"
        if kind == "a password among the options":
            login, options = "", f"?password={ROOT_PASSWORD}"
        url = f"{scheme}://{login}{host}:{port}/0{options}"
        yield stack.enter_context(sandbox(REDIS_URL=url, **OWN_TERMINALS))


@pytest.mark.parametrize(
    ("kind", "use"),
    [("a user's rights", everything), ("TLS", the_usual), ("a password among the options", the_usual)],
    ids=["rights", "TLS", "options"],
)
def test_commands_work_and_print_no_password(kind: str, use: Callable[[Sandbox], None]) -> None:
    with site(kind) as box:
        use(box)
        output = box.all_output()

    assert PASSWORD not in output
    assert ROOT_PASSWORD not in output


def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    with site("TLS") as box:
        url = box.env["REDIS_URL"].partition("?")[0]
        done = box.run_here("producer", "enqueue", SAMPLE, env={"REDIS_URL": url})

    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "cannot be reached" in done.err
    assert "certificate verify failed" in done.err.lower()
    assert ROOT_PASSWORD not in done.out + done.err


@pytest.fixture(scope="module")
def locked() -> Iterator[Sandbox]:
    """A server with a password, and a user who may do next to nothing."""
    with site("a user's rights") as box:
        box.enqueue(SAMPLE)
        with Redis.from_url(box.env["REDIS_URL"].replace(f"sluice:{PASSWORD}", f":{ROOT_PASSWORD}")) as admin:
            admin.execute_command(
                "ACL", "SETUSER", "nobody", "on", f">{PASSWORD}", "~other:*", "+ping", "+hello"
            )
        yield box


@pytest.mark.parametrize(("words", "login"), REFUSED)
def test_a_refused_login_is_one_line_without_the_password(locked: Sandbox, words: str, login: str) -> None:
    url = locked.env["REDIS_URL"].replace(f"sluice:{PASSWORD}@", login and login + "@")
    done = run(locked, words, env={"REDIS_URL": url})

    assert (done.code, done.out) == (2, ""), done
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1, done.err
    assert "REDIS_URL" in done.err
    assert "secret" not in done.err
    assert PASSWORD not in done.err


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ("store report", "postgresql://sluice:open-sesame-7@127.0.0.1:9/x"),
        ("worker up --burst", "sqlite://sluice:open-sesame-7@/nowhere/x.db"),
        (f"producer enqueue {SAMPLE}", "nosuch://sluice:open-sesame-7@h/x"),
        ("store report", "sluice:open-sesame-7@h"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    box: Sandbox, words: str, url: str
) -> None:
    done = run(box, words, env={"DATABASE_URL": url})

    assert done.code == 2
    assert "Traceback" not in done.err
    assert PASSWORD not in done.out + done.err


def test_the_producer_and_worker_settings_hide_what_is_secret(box: Sandbox) -> None:
    box.file("sluice.toml", f'[worker]\nredis_url = ["redis://:{PASSWORD}@h"]\n')

    done = box.run_here("worker", "status")

    assert (done.code, PASSWORD in done.out + done.err) == (2, False)
    assert "REDIS_URL" in done.err
