"""A pool that hands sessions around is refused before the first lock; one in session mode works."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.errors import DataPipelineError, SharedSessionError
from data_pipeline.instances import load_configuration
from data_pipeline_tests.database.pooling.pgbouncer import pgbouncer
from data_pipeline_tests.io_manager.runs import (
    from_inputs,
    refusal,
    rows,
    run,
    table_asset,
    write_refusal,
)

ONE = pd.DataFrame({"x": [1]})
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@contextmanager
def pooled(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, **settings: object
) -> Iterator[sa.URL]:
    """Let the pipeline reach its database by way of PgBouncer."""
    with pgbouncer(engine.url, **settings) as url:
        text = url.set(drivername="postgresql").render_as_string(hide_password=False)
        monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", text)
        yield url


def check_refused(engine: sa.Engine, url: sa.URL, error: DataPipelineError, case: str = "") -> None:
    assert isinstance(error, SharedSessionError), case
    assert f"127.0.0.1:{url.port}" in str(error), case
    assert "pool_mode = session" in str(error), case
    assert "DATA_PIPELINE_DATABASE_URL" in str(error), case
    assert str(url.password) not in str(error), case
    assert rows(engine, LOCKS) == [(0,)], case
    assert rows(engine, "SELECT to_regnamespace('full_catalog')") == [(None,)], case


def test_transaction_mode_is_refused(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sessions the pool has, whichever it takes, and whoever else is at work."""
    for size, round_robin, others in product([1, 2, 5], [0, 1], [0, 1, 3]):
        settings = {"default_pool_size": size + others, "server_round_robin": round_robin}
        with pooled(pipeline_database, monkeypatch, pool_mode="transaction", **settings) as url:
            engine = sa.create_engine(url, poolclass=sa.NullPool)
            with ExitStack() as stack:
                for _ in range(others):
                    stack.enter_context(engine.connect()).execute(sa.text("SELECT 1"))
                with ExitStack() as others_of_the_pool:  # sessions that are free afterwards
                    for _ in range(size):
                        other = others_of_the_pool.enter_context(engine.connect())
                        other.execute(sa.text("SELECT 1"))
                check_refused(
                    pipeline_database, url, write_refusal("a", ONE), f"{settings}, {others} others"
                )


def test_statement_mode_is_refused(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pooled(pipeline_database, monkeypatch, pool_mode="statement") as url:
        asset = table_asset("a", lambda: ONE)
        check_refused(pipeline_database, url, refusal(asset))


def test_a_pool_that_does_not_reset_sessions_is_refused(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_pipeline.database.pgbouncer._PATIENCE_SECONDS", 0.2)
    settings = {"pool_mode": "session", "server_reset_query": ""}
    with pooled(pipeline_database, monkeypatch, **settings) as url:
        error = write_refusal("a", ONE)
        assert "a connection that has ended left its lock" in str(error)
        assert "server_reset_query = DISCARD ALL" in str(error)
        assert f"127.0.0.1:{url.port}" in str(error)


def test_session_mode_works(pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pooled(pipeline_database, monkeypatch, pool_mode="session"):
        frame = table_asset("a", lambda: pd.DataFrame({"x": [1, 2, 3]}))

        def doubled(a: pd.DataFrame) -> pd.DataFrame:
            return a * 2

        def query(b: sa.Table) -> sa.Select[tuple[int]]:
            return sa.select(sa.func.sum(b.c.x).label("total"))

        assets = (frame, from_inputs("b", doubled, "a"), from_inputs("c", query, "b"))
        for _ in range(2):  # the second finds the locks of the first free
            assert run(*assets).success
        assert rows(pipeline_database, "SELECT total FROM full_s.c") == [(12,)]


def test_sessions_are_set_up_behind_a_pool(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of both drivers, without settings in the start-up message, which pools refuse."""
    shown = "current_setting('row_security'), current_setting('application_name')"
    with pooled(pipeline_database, monkeypatch, pool_mode="session"):
        source = database(load_configuration().instance("full"))
        with source.session() as connection:
            found = connection.exec_driver_sql(f"SELECT {shown}").one()
        assert tuple(found) == ("off", "data_pipeline")
        with source.adbc() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT {shown}")
            assert cursor.fetchall() == [("off", "data_pipeline")]


def test_a_database_is_not_created_by_way_of_such_a_pool(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock that keeps two from creating it would stay in the pool."""
    from data_pipeline.database.connection import Database

    with pgbouncer(pipeline_database.url, pool_mode="transaction") as url:
        missing = Database(url.set(database="never_made"), create=True)
        with pytest.raises(SharedSessionError), missing.session():
            pass
        made = "SELECT count(*) FROM pg_database WHERE datname = 'never_made'"
        assert rows(pipeline_database, made) == [(0,)]
