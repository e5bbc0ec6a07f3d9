"""Two pipelines of one instance, in processes of their own: a run waits for what it writes."""

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline.cli import main
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import load_configuration
from data_pipeline.runs.leftovers import collect
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store import blob_files
from data_pipeline_tests.drop.commands import refused
from data_pipeline_tests.io_manager.runs import execute, rows, wait_until

CHECKOUT = Path(__file__).parents[2]
SILENT = logging.Logger("silent")

SHARED = """
import os
from contextlib import closing

import dagster as dg
import pandas as pd
import psycopg2

from data_pipeline.assembly import instance_definitions
from data_pipeline.memo.sources import outside_input
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs


def gate(key):
    # Waits as long as the test has closed the gate of this name.
    with closing(psycopg2.connect(os.environ["DATA_PIPELINE_DATABASE_URL"])) as connection:
        connection.cursor().execute("SELECT pg_advisory_lock_shared(7, hashtext(%s))", [key])


def asset(key, *deps, blob=False, metadata=None):
    name = key.replace("/", "_")
    version = os.environ.get("VERSION_" + name, "1")
    options = {"deps": [dg.AssetKey(dep.split("/")) for dep in deps], "code_version": version}
    options["metadata"] = metadata

    @dg.asset(key=key.split("/"), partitions_def=INSTANCE_PARTITIONS, **options)
    def made():
        gate(key)
        return {"weight": int(version)} if blob else pd.DataFrame({"v": [int(version)]})

    return made


raw = asset("raw/t", metadata=outside_input(lambda: "unchanged"))
shared = [raw, copy_filtered_inputs(stage="sample", raw=[raw])]
"""
ORDERS = """
from shared_things import asset, instance_definitions, shared

defs = instance_definitions([
    *shared,
    asset("sample/model", blob=True),
    asset("sample/orders", "sample/model"),
    asset("orders/report", "sample/orders", "sample/t"),
])
"""
VISITS = """
from shared_things import asset, instance_definitions, shared

defs = instance_definitions([
    *shared,
    asset("sample/tree", blob=True),
    asset("sample/visits", "sample/tree"),
    asset("visits/report", "sample/visits", "sample/t"),
])
"""


class Run:
    """A run of one of the two pipelines, started from the command line."""

    def __init__(self, folder: Path, pipeline: str, on: str, **environment: str) -> None:
        self._output = folder / f"{pipeline}_{len(list(folder.iterdir()))}.log"
        home = self._output.with_suffix("")
        home.mkdir()
        program = Path(sys.executable).parent / "dagster"
        paths = os.pathsep.join([str(folder), str(CHECKOUT)])
        with self._output.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "job", "execute", "-m", pipeline, "-j", on],
                env={**os.environ, "PYTHONPATH": paths, "DAGSTER_HOME": str(home), **environment},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._output.read_text(errors="replace")

    @property
    def waited_for(self) -> list[str]:
        """What the log says that it was waited for."""
        return re.findall(r"Waiting for run .* which is at work on (.*)", self.log)

    def says(self, text: str) -> None:
        """Returns when the log has a text."""
        wait_until(lambda: text in self.log or self._process.poll() is not None)
        assert text in self.log, self.log

    def succeeds(self) -> None:
        assert self._process.wait(120) == 0, self.log

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(60)


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
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pipelines"
    made.mkdir()
    for name, text in (("shared_things", SHARED), ("orders", ORDERS), ("visits", VISITS)):
        (made / f"{name}.py").write_text(text)
    return made


@pytest.fixture
def gates(pipeline_database: sa.Engine) -> Gates:
    return Gates(pipeline_database)


def test_pipelines_that_write_different_tables_of_a_stage_do_not_wait(
    folder: Path, gates: Gates, pipeline_database: sa.Engine
) -> None:
    Run(folder, "orders", "full").succeeds()
    with gates.closed("sample/orders"):
        orders = Run(folder, "orders", "full", VERSION_sample_orders="2", VERSION_sample_model="2")
        gates.reached("sample/orders")
        visits = Run(folder, "visits", "full")
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
    folder: Path, gates: Gates, pipeline_database: sa.Engine
) -> None:
    Run(folder, "orders", "full").succeeds()
    with ExitStack() as report, ExitStack() as inputs:
        report.enter_context(gates.closed("orders/report"))
        inputs.enter_context(gates.closed("sample/orders"))
        orders = Run(folder, "orders", "mini")
        gates.reached("sample/orders")
        visits = Run(folder, "visits", "mini")
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
    assert rows(pipeline_database, query) == [("orders",)]


def test_runs_of_one_pipeline_that_write_the_same_come_one_after_the_other(
    folder: Path, gates: Gates, pipeline_database: sa.Engine
) -> None:
    with gates.closed("sample/orders"):
        first = Run(folder, "orders", "full")
        gates.reached("sample/orders")
        second = Run(folder, "orders", "full", VERSION_sample_orders="2")
        second.says("Waiting for run")
    first.succeeds()
    second.succeeds()
    assert rows(pipeline_database, "SELECT v FROM full_sample.orders") == [(2,)]
    assert rows(pipeline_database, "SELECT v FROM full_orders.report") == [(1,)]


def test_a_run_with_nothing_to_do_waits_for_nobody(
    folder: Path, gates: Gates, pipeline_database: sa.Engine
) -> None:
    Run(folder, "orders", "full").succeeds()
    with gates.closed("sample/orders"):
        forced = {"DATA_PIPELINE_CACHE_VALIDATION": "force_cache_invalid"}
        first = Run(folder, "orders", "full", **forced)
        gates.reached("sample/orders")
        second = Run(folder, "orders", "full")
        second.succeeds()
        assert second.waited_for == []
    first.succeeds()


def test_what_a_killed_run_left_stays_for_its_own_pipeline(
    folder: Path, gates: Gates, pipeline_database: sa.Engine
) -> None:
    staged = "SELECT name FROM full_catalog.staged"
    with gates.closed("sample/orders"):
        orders = Run(folder, "orders", "full")
        gates.reached("sample/orders")
        # Half of a table, as a process leaves it that dies between two statements.
        execute(
            pipeline_database,
            "CREATE SCHEMA IF NOT EXISTS full_sample__staging",
            "CREATE TABLE full_sample__staging.orders (v int)",
        )
        orders.kill()
    visits = Run(folder, "visits", "full")
    visits.succeeds()
    assert visits.waited_for == []
    assert rows(pipeline_database, staged) == [("model",)]
    half = "SELECT to_regclass('full_sample__staging.orders')::text"
    assert rows(pipeline_database, half) == [(None,)]
    again = Run(folder, "orders", "full")
    again.succeeds()
    assert "sample__model, staged by a run that did not commit it" in again.log
    assert rows(pipeline_database, "SELECT v FROM full_orders.report") == [(1,)]
    assert rows(pipeline_database, staged) == []
    assert rows(pipeline_database, "SELECT * FROM full_catalog.runs") == []


def test_what_a_run_is_at_work_on_is_neither_dropped_nor_collected(
    folder: Path, gates: Gates, pipeline_database: sa.Engine
) -> None:
    for version in ("1", "2"):
        versions = {f"VERSION_sample_{name}": version for name in ("orders", "model")}
        Run(folder, "orders", "full", **versions).succeeds()
    with gates.closed("sample/orders"):
        run = Run(folder, "orders", "full", VERSION_sample_model="2", VERSION_sample_orders="3")
        gates.reached("sample/orders")
        assert "at work" in refused("full", "--stage", "sample", "--yes", "--force")
        result = CliRunner().invoke(main, ["gc", "full"], catch_exceptions=False)
        assert re.search(r"kept, since others use them: .*full_sample__slots\.", result.output)
        kept = "SELECT stage, name FROM full_catalog.slots ORDER BY 1, 2"
        assert rows(pipeline_database, kept) == [("orders", "report"), ("sample", "orders")]
    run.succeeds()
    assert rows(pipeline_database, "SELECT v FROM full_sample.orders") == [(3,)]
    # The version that was kept can still be swapped in.
    again = Run(folder, "orders", "full", **versions)
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
