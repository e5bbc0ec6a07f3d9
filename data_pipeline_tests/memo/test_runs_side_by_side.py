"""Two pipelines of one instance, in processes of their own: a run waits for what it writes."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline.cli import main
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import load_configuration
from data_pipeline.runs.leftovers import collect
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.blobs import blob_files
from data_pipeline_tests.drop.commands import refused
from data_pipeline_tests.io_manager.runs import execute, rows, wait_until
from data_pipeline_tests.memo import side_by_side
from data_pipeline_tests.proofs.launched import Launched
from data_pipeline_tests.proofs.launching import launch

SILENT = logging.Logger("silent")


class Run:
    """A run of one of the two pipelines, in a process of its own."""

    def __init__(self, launched: Launched) -> None:
        self._launched = launched
        self.kill = launched.kill
        self.end = launched.end

    @property
    def log(self) -> str:
        return self._launched.log

    @property
    def waited_for(self) -> list[str]:
        """What the log says that it was waited for."""
        return re.findall(r"Waiting for run .* which is at work on (.*)", self.log)

    def says(self, text: str) -> None:
        """Returns when the log has a text."""
        self._launched.wait_until(f"it says {text}", lambda: text in self.log)

    def succeeds(self) -> None:
        ended = self._launched.finish()
        assert ended.success, ended.log


class Start(Protocol):
    def __call__(self, pipeline: str, on: str, **environment: str) -> Run: ...


class Gates:
    """Gates that keep assets from being made."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def closed(self, key: str) -> Iterator[None]:
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock(7, hashtext('{key}'))")
            yield

    def reached(self, key: str) -> None:
        """Returns when a run stands before a gate."""
        query = (
            "SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND classid = 7 "
            f"AND objid::bigint = hashtext('{key}')::bigint & 4294967295"
        )
        wait_until(lambda: bool(rows(self._engine, query)))


@pytest.fixture
def start(pipeline_database: sa.Engine, tmp_path: Path) -> Iterator[Start]:
    """Starts runs, and ends those that are left."""
    folder = tmp_path / "runs"
    folder.mkdir()
    runs: list[Run] = []

    def start(pipeline: str, on: str, **environment: str) -> Run:
        variables = {**os.environ, **environment}
        module = f"{side_by_side.__name__}.{pipeline}"
        runs.append(Run(launch(module, on, environment=variables, folder=folder)))
        return runs[-1]

    yield start
    for run in runs:
        run.end()


@pytest.fixture
def gates(pipeline_database: sa.Engine) -> Gates:
    return Gates(pipeline_database)


def test_pipelines_that_write_different_tables_of_a_stage_do_not_wait(
    start: Start, gates: Gates, pipeline_database: sa.Engine
) -> None:
    start("orders", "full").succeeds()
    with gates.closed("sample/orders"):
        orders = start("orders", "full", VERSION_sample_orders="2", VERSION_sample_model="2")
        gates.reached("sample/orders")
        visits = start("visits", "full")
        visits.succeeds()
        # It has not taken away what the other one is at work on.
        query = "SELECT name FROM full_catalog.runs, jsonb_array_elements_text(stages) name"
        assert ("sample",) in rows(pipeline_database, query)
        assert rows(pipeline_database, "SELECT v FROM full_sample.visits") == [(1,)]
        assert rows(pipeline_database, "SELECT v FROM full_sample.orders") == [(1,)]
    orders.succeeds()
    assert visits.waited_for == orders.waited_for == []
    assert rows(pipeline_database, "SELECT v FROM full_sample.orders") == [(2,)]
    assert rows(pipeline_database, "SELECT * FROM full_catalog.staged") == []


def test_a_run_waits_for_the_same_tables_until_they_are_committed_and_decides_anew(
    start: Start, gates: Gates, pipeline_database: sa.Engine
) -> None:
    start("orders", "full").succeeds()
    with ExitStack() as report, ExitStack() as inputs:
        report.enter_context(gates.closed("orders/report"))
        inputs.enter_context(gates.closed("sample/orders"))
        orders = start("orders", "mini")
        gates.reached("sample/orders")
        visits = start("visits", "mini")
        visits.says("which is at work on stage `sample` of instance `mini`: `sample/t`")
        inputs.close()
        gates.reached("orders/report")
        # The other one is not done yet, but with what both of them write.
        visits.succeeds()
        assert rows(pipeline_database, "SELECT v FROM mini_visits.report") == [(1,)]
        assert rows(pipeline_database, "SELECT to_regclass('mini_orders.report')") == [(None,)]
        report.close()
        orders.succeeds()
    # What it waited for is not made again.
    query = "SELECT made_in FROM mini_catalog.tables WHERE stage = 'sample' AND name = 't'"
    assert rows(pipeline_database, query) == [(f"{side_by_side.__name__}.orders",)]


def test_runs_of_one_pipeline_that_write_the_same_come_one_after_the_other(
    start: Start, gates: Gates, pipeline_database: sa.Engine
) -> None:
    with gates.closed("sample/orders"):
        first = start("orders", "full")
        gates.reached("sample/orders")
        second = start("orders", "full", VERSION_sample_orders="2")
        second.says("Waiting for run")
    first.succeeds()
    second.succeeds()
    assert rows(pipeline_database, "SELECT v FROM full_sample.orders") == [(2,)]
    assert rows(pipeline_database, "SELECT v FROM full_orders.report") == [(1,)]


def test_a_run_with_nothing_to_do_waits_for_nobody(
    start: Start, gates: Gates, pipeline_database: sa.Engine
) -> None:
    start("orders", "full").succeeds()
    with gates.closed("sample/orders"):
        forced = {"DATA_PIPELINE_CACHE_VALIDATION": "force_cache_invalid"}
        first = start("orders", "full", **forced)
        gates.reached("sample/orders")
        second = start("orders", "full")
        second.succeeds()
        assert second.waited_for == []
    first.succeeds()


def test_what_a_killed_run_left_stays_for_its_own_pipeline(
    start: Start, gates: Gates, pipeline_database: sa.Engine
) -> None:
    staged = "SELECT name FROM full_catalog.staged"
    with gates.closed("sample/orders"):
        orders = start("orders", "full")
        gates.reached("sample/orders")
        # Half of a table, as a process leaves it that dies between two statements.
        execute(
            pipeline_database,
            "CREATE SCHEMA IF NOT EXISTS full_sample__staging",
            "CREATE TABLE full_sample__staging.orders (v int)",
        )
        orders.kill()
    visits = start("visits", "full")
    visits.succeeds()
    assert visits.waited_for == []
    assert rows(pipeline_database, staged) == [("model",)]
    half = "SELECT to_regclass('full_sample__staging.orders')::text"
    assert rows(pipeline_database, half) == [(None,)]
    again = start("orders", "full")
    again.succeeds()
    assert "sample__model, staged by a run that did not commit it" in again.log
    assert rows(pipeline_database, "SELECT v FROM full_orders.report") == [(1,)]
    assert rows(pipeline_database, staged) == []
    assert rows(pipeline_database, "SELECT * FROM full_catalog.runs") == []


def test_what_a_run_is_at_work_on_is_neither_dropped_nor_collected(
    start: Start, gates: Gates, pipeline_database: sa.Engine
) -> None:
    for version in ("1", "2"):
        versions = {f"VERSION_sample_{name}": version for name in ("orders", "model")}
        start("orders", "full", **versions).succeeds()
    with gates.closed("sample/orders"):
        run = start("orders", "full", VERSION_sample_model="2", VERSION_sample_orders="3")
        gates.reached("sample/orders")
        assert "at work" in refused("full", "--stage", "sample", "--yes", "--force")
        result = CliRunner().invoke(main, ["gc", "full"], catch_exceptions=False)
        assert re.search(r"kept, since others use them: .*full_sample__slots\.", result.output)
        kept = "SELECT stage, name FROM full_catalog.slots ORDER BY 1, 2"
        assert rows(pipeline_database, kept) == [("orders", "report"), ("sample", "orders")]
    run.succeeds()
    assert rows(pipeline_database, "SELECT v FROM full_sample.orders") == [(3,)]
    # The version that was kept can still be swapped in.
    again = start("orders", "full", **versions)
    again.succeeds()
    assert "Swapped back in: sample__orders" in again.log


def test_files_that_another_run_has_just_written_are_not_collected(
    pipeline_database: sa.Engine,
) -> None:
    instance = load_configuration().instance("full")
    at_work, other = StageTable("sample", "model"), StageTable("sample", "tree")
    writing = RunSession(database(instance), instance, "at work", SILENT)
    writing.take([at_work])
    session = RunSession(database(instance), instance, "another", SILENT)
    session.take([other])
    folder = blob_files.directory(instance)
    try:
        written = folder / blob_files.write(instance, at_work, b"model")
        left = folder / blob_files.write(instance, other, b"tree")
        half = [written.with_name(f".new.{name}.abc_1234") for name in ("model", "tree", "gone.x")]
        for path in half:
            path.write_bytes(b"half")
        collect(session, {other})
        assert sorted(folder.rglob("*.*")) == sorted([written, half[0]])
        assert not left.exists()
    finally:
        writing.close()
        session.close()
