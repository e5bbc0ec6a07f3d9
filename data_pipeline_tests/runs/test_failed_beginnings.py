"""A session that fails while it begins leaves no lock behind, however long its error lives."""

import logging
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.instances import load_configuration
from data_pipeline.runs.lease import StepLease
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.active_runs import lease_rows, run_registry
from data_pipeline_tests.io_manager.runs import rows, wait_until

LOCKS = """
SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
WHERE locktype = 'advisory' AND datname = current_database()
"""


def begin_run() -> None:
    instance = load_configuration().instance("full")
    RunSession(database(instance), instance, "a run", logging.Logger("silent"))


def begin_step() -> None:
    instance = load_configuration().instance("full")
    StepLease(database(instance), instance, "a run", "a step", 30)


@pytest.mark.parametrize(
    ("begin", "module", "name"),
    [(begin_run, run_registry, "register"), (begin_step, lease_rows, "begin")],
    ids=["run", "step"],
)
def test_no_lock_is_left(
    pipeline_database: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    begin: Callable[[], None],
    module: object,
    name: str,
) -> None:
    held: list[object] = []

    def fail(*_: object) -> None:
        held.extend(rows(pipeline_database, LOCKS))
        raise RuntimeError("something else")

    monkeypatch.setattr(module, name, fail)
    with pytest.raises(RuntimeError, match="something else") as caught:
        begin()
    assert held, "it held no lock when it failed"
    # Until then the error, and with it everything on its way, is kept.
    wait_until(lambda: not rows(pipeline_database, LOCKS))
    assert caught.tb is not None
