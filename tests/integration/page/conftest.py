"""The page over a plant: asked by Starlette's test client, and with commands that run in the test's own process."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

import producer.cli.app
import store.cli.app
from producer.cli.command import Resources
from producer.settings import ProducerSettings
from store import database
from store.errors import SluiceError
from store.settings import StoreSettings
from worker.contract import load_contract
from worker.listening import Options
from worker.page.app import build
from worker.page.commands import Done, check
from worker.page.session import Sessions
from worker.page.settings import PageSettings
from worker.page.site import Site

from ..plant import Plant, ndjson, row

APPS = {"producer": producer.cli.app.app, "store": store.cli.app.app}
BASE = "http://127.0.0.1:8321"
OWN = {"origin": BASE, "sec-fetch-site": "same-origin"}


def words(page: str) -> str:
    """The text of a page, with single blanks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


class InProcess:
    """A command of ours that has run to its end."""

    def __init__(self, words: Sequence[str]) -> None:
        check(words)
        program, *arguments = words
        ended = CliRunner().invoke(APPS[program], arguments)
        self.done = Done(ended.exit_code, ended.stdout, ended.stderr)
        if isinstance(ended.exception, SluiceError):
            self.done = Done(ended.exception.exit_code, ended.stdout, f"error: {ended.exception}\n")
        elif ended.exception and not isinstance(ended.exception, SystemExit):
            raise ended.exception

    def wait(self, seconds: float | None = None) -> Done | None:
        return self.done


class Page:
    """The page, and a browser without JavaScript."""

    def __init__(self, plant: Plant, **settings: Any) -> None:
        self.plant = plant
        self.keys: list[str] = []
        self.commands: list[Sequence[str]] = []
        token, may_act = settings.pop("token", None), settings.pop("may_act", False)
        by_header = settings.pop("by_header", None)
        options = settings.pop("options", Options())
        home = StoreSettings.load()
        assert plant.engine  # the database is made
        self.engine = database.open_for_reading(home)
        page = PageSettings.load(**settings)
        self.site = Site(
            home,
            plant.settings,
            page,
            self.engine,
            Sessions(token, may_act, self.keys.append),
            by_header,
            False,
            self.start,
        )
        self.site.queue.seconds = self.site.today.seconds = 0.0
        self.site.laws._checked = (
            time.monotonic()
        )  # no check of its own: a command in a thread takes the output of all
        self.client = TestClient(build(self.site, options.hosts(8321)), BASE, follow_redirects=True)

    def start(self, words: Sequence[str]) -> Any:
        self.commands.append(words)
        return InProcess(words)

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    def account(self, delivery: int) -> str:
        """The account of a delivery, as soon as it is counted."""
        deadline = time.monotonic() + 60
        while "Still at work" in (shown := self.get(f"/deliveries/{delivery}/count")):
            assert f"store account --delivery={delivery} --json" in words(shown)
            assert time.monotonic() < deadline
        return shown

    def login(self) -> None:
        self.site.sessions.new_key()
        answer = self.client.post("/login", data={"key": self.keys[-1]}, headers=OWN)
        assert answer.status_code == 200

    def form_token(self, page: str, address: str) -> str:
        """That of the form of a page that is sent to this address."""
        form = re.search(rf'<form method="post" action="{re.escape(address)}".*?</form>', page, re.DOTALL)
        assert form, f"no form for {address}"
        found = re.search(r'name="form_token" value="([^"]*)"', form[0])
        assert found
        return found[1]

    def post(self, page: str, address: str, status: int = 200, **data: str) -> str:
        """Sends the form of a page."""
        given = {"form_token": self.form_token(self.get(page), address), **data}
        answer = self.client.post(address, data=given, headers=OWN)
        assert answer.status_code == status, answer.text
        return answer.text


MakePage = Callable[..., Page]


@pytest.fixture
def make_page(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePage]:
    """Makes pages over the plant."""
    pages: list[Page] = []

    def resources(**_: Any) -> Resources:
        settings = plant.settings
        return Resources(
            ProducerSettings.load(), settings, load_contract(settings), plant.broker, plant.engine
        )

    monkeypatch.setattr(Resources, "open", resources)

    def make(**settings: Any) -> Page:
        pages.append(Page(plant, **settings))
        return pages[-1]

    yield make
    for page in pages:
        page.client.close()
        page.engine.dispose()


@pytest.fixture
def page(make_page: MakePage) -> Page:
    """One that only reads."""
    return make_page()


@pytest.fixture
def acting(make_page: MakePage) -> Page:
    """One that may act, with a login."""
    made = make_page(may_act=True)
    made.login()
    return made


ROWS = [
    row("a1", value="12,50"),
    row("a2", value="7,25"),
    row("a3", value="8,75"),
    row("b1", value="many"),
    row("c1", value=1.5),
]


@pytest.fixture
def fed(plant: Plant) -> Plant:
    """A plant with letters of two groups, and a record in the target."""
    plant.run(ndjson(*ROWS), source="shop")
    return plant


def group_with(plant: Plant, shape: str) -> str:
    """The group of the letters whose value has this shape."""
    return next(each.group_id for each in plant.letters(None) if each.errors[0]["shape"] == shape)
