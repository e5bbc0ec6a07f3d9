"""The lease between the leader of a run and its steps, without any other process."""

import logging
import threading
import time
from collections.abc import Iterator

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import Database, database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance, load_configuration
from data_pipeline.runs import lease
from data_pipeline.runs.lease import LeaderLease, StepLease, StepLostError, lease_of
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.active_runs import lease_rows
from data_pipeline_tests.io_manager.runs import execute, rows, wait_until
from data_pipeline_tests.patience import PATIENCE

LOG = logging.Logger("silent")
TABLE = StageTable("s", "t")


@pytest.fixture
def instance(pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> Instance:
    monkeypatch.setattr(lease, "SECONDS", 0.5)
    return load_configuration().instance("full")


@pytest.fixture
def there(instance: Instance) -> Database:
    return database(instance)


@pytest.fixture
def session(instance: Instance, there: Database) -> Iterator[RunSession]:
    session = RunSession(there, instance, "run_1", LOG)
    session.take([TABLE])
    session.register({})
    yield session
    session.close()


@pytest.fixture
def leader(session: RunSession, instance: Instance, there: Database) -> Iterator[LeaderLease]:
    made = LeaderLease(there, instance, "run_1", {"s__t": {"`s/t`": {"code": "1"}}})
    yield made
    made.close()


def test_a_step_finds_what_it_is_asked_for(
    leader: LeaderLease, instance: Instance, there: Database
) -> None:
    found = lease_of(there, instance, "run_1", "s__t", "s__t")
    assert found is not None
    assert found.asked == {"`s/t`": {"code": "1"}}
    assert lease_of(there, instance, "another", "s__t", "s__t") is None


def test_a_lease_that_is_renewed_does_not_lapse(
    leader: LeaderLease, pipeline_database: sa.Engine, instance: Instance, there: Database
) -> None:
    [(first,)] = rows(pipeline_database, "SELECT until FROM full_catalog.leases")
    renewed = f"SELECT 1 FROM full_catalog.leases WHERE until > '{first}'::timestamptz + '1s'"
    wait_until(lambda: bool(rows(pipeline_database, renewed)))
    assert lease_of(there, instance, "run_1", "s__t", "s__t")


def test_a_run_whose_lease_has_lapsed_is_taken_for_dead(
    session: RunSession, pipeline_database: sa.Engine, instance: Instance, there: Database
) -> None:
    """Its leader was stopped, or its machine is gone, and the server keeps its session."""
    with there.begin() as connection:
        lease_rows.grant(connection, instance, "run_1", {}, 0.5)
    execute(pipeline_database, "UPDATE full_catalog.leases SET until = now() - interval '1 hour'")
    with pytest.raises(DatabaseError, match="nobody leads run run_1"):
        lease_of(there, instance, "run_1", "s__t", "s__t")
    successor = RunSession(there, instance, "run_2", LOG)
    successor.take([TABLE])
    successor.close()
    with pytest.raises(DatabaseError), session.begin() as connection:
        connection.execute(sa.text("SELECT 1"))


def test_a_step_ends_when_the_lease_is_taken_from_it(
    session: RunSession, instance: Instance, there: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "is_replaceable", lambda: False)  # this process is to stay
    leader = LeaderLease(there, instance, "run_1", {})
    ended = threading.Event()

    def step() -> None:
        held = StepLease(there, instance, "run_1", "s__t", 0.5)
        try:
            _work()
        except dg.DagsterExecutionInterruptedError:
            ended.set()
        finally:
            held.close()

    threading.Thread(target=step, daemon=True).start()
    leader.close()
    assert ended.wait(PATIENCE)


def test_the_leader_hears_of_a_step_whose_process_is_gone(
    leader: LeaderLease, instance: Instance, there: Database
) -> None:
    StepLease(there, instance, "run_1", "s__t", 0.5).close()
    with pytest.raises(StepLostError, match="`s__t` was lost"), leader.waiting():
        _work()


@pytest.mark.parametrize("again", [False, True])
def test_a_step_that_has_ended_is_not_lost(
    leader: LeaderLease,
    instance: Instance,
    there: Database,
    monkeypatch: pytest.MonkeyPatch,
    again: bool,
) -> None:
    looks: list[float] = []
    look_after = leader._look_after
    monkeypatch.setattr(
        leader, "_look_after", lambda gone: (look_after(gone), looks.append(time.monotonic()))
    )
    StepLease(there, instance, "run_1", "s__t", 0.5).close()
    leader.ended("s__t", again=again)
    with leader.waiting():
        wait_until(lambda: bool(looks) and looks[-1] - looks[0] > 2 * lease.SECONDS)
    assert leader.lost is None


def _work() -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        time.sleep(0.01)
