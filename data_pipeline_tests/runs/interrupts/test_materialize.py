"""`materialize` ends as well, and the same process can go on: in a notebook, say."""

import os
import signal
from threading import Thread

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline_tests.database.pooling.pgbouncer import pgbouncer
from data_pipeline_tests.io_manager.runs import rows, run, table_asset, wait_until
from data_pipeline_tests.runs.interrupts.held import Held


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("by_pool", [False, True], ids=["direct", "by a pool"])
def test_a_statement_ends_and_nothing_is_committed(
    pipeline_database: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    by_pool: bool,
) -> None:
    if by_pool:
        with pgbouncer(pipeline_database.url, pool_mode="session") as url:
            text = url.set(drivername="postgresql").render_as_string(hide_password=False)
            monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", text)
            check_ends(pipeline_database, number)
    else:
        check_ends(pipeline_database, number)


def check_ends(engine: sa.Engine, number: signal.Signals) -> None:
    held = Held(engine)
    asset = table_asset("a", lambda: sa.text("SELECT 1 AS x, public.hold('query') AS held"))

    def interrupt() -> None:
        wait_until(held.is_asleep)
        os.kill(os.getpid(), number)

    thread = Thread(target=interrupt)
    with held.at("query"):
        thread.start()
        with pytest.raises((KeyboardInterrupt, dg.DagsterExecutionInterruptedError)):
            run(asset)
        thread.join()
        assert not held.is_asleep()
    assert rows(engine, "SELECT to_regclass('full_s.a')") == [(None,)]
    assert run(asset).success
    assert rows(engine, "SELECT x FROM full_s.a") == [(1,)]
