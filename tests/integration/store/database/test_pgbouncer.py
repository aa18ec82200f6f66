"""Through pgbouncer in transaction mode: the real one, with two connections to the server for all processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from store import database
from store.database import install
from store.settings import StoreSettings
from worker import loader
from worker.settings import WorkerSettings

from .... import pgbouncer
from ..conftest import COLUMNS, Bad, Ledger, Record

pytestmark = pytest.mark.postgresql("what stands before it")


@pytest.mark.parametrize("schema", [None, "sluice_own"])
@pytest.mark.skipif(pgbouncer.FOUND is None, reason=pgbouncer.HOW_TO_GET)
def test_workers_and_a_loader_share_the_connections_of_a_pgbouncer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, schema: str | None
) -> None:
    """Their connections are the same ones, whatever schema each of them works in."""
    monkeypatch.setenv("SLUICE_LOAD_CHUNK_RECORDS", "70")
    server = engine.url.render_as_string(hide_password=False)
    with pgbouncer.before(server, connections=2) as url:
        settings = StoreSettings(database_url=url, database_schema=schema)

        def work(number: int) -> None:
            own = install.prepare(settings)
            for turn in range(4):
                records = [Record(f"{n}", "2025-01-01", f"{number}.{turn}") for n in range(50)]
                Ledger(own).receive([*records, Bad("{")])
            own.dispose()

        loading = install.prepare(settings)
        install.add_contract_columns(loading, COLUMNS)
        in_public = Ledger(engine)
        if schema:  # two stores in one database
            in_public.receive([Record("x", "2025-01-01")])
        with ThreadPoolExecutor(4) as pool:
            working = [pool.submit(work, number) for number in range(4)]
            while not all(each.done() for each in working):
                loader.load(loading, WorkerSettings.load())
            for each in working:
                each.result()
        loader.load(loading, WorkerSettings.load())
        ledger = Ledger(loading)
        assert ledger.violations() == []
        assert ledger.rows("SELECT count(*) FROM target") == [(50,)]
        assert ledger.rows("SELECT occurrences FROM dead_letters") == [(16,)]
        with database.transaction(loading) as connection:
            left = connection.execute(text("SELECT count(*) FROM pg_class WHERE relpersistence = 't'"))
            assert left.scalar_one() == 0  # of all sessions
        loading.dispose()
    if schema:
        assert in_public.rows("SELECT count(*), min(key) FROM staging") == [(1, "x")]
        assert in_public.rows("SELECT count(*) FROM target") == [(0,)]
