"""What others do meanwhile, and when a process ends, makes no result pass for another one."""

import logging
import queue
import select
import threading
from logging.handlers import QueueHandler
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources, sql_query
from data_pipeline.commit.stage_commits import StageCommits
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.drop import dropping
from data_pipeline.drop.blockers import DropOrder
from data_pipeline.drop.inventory import DropSelection
from data_pipeline.instances import load_configuration
from data_pipeline.results.discard_staged import make_room
from data_pipeline.results.writing import Store
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.blobs import blob_files
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo.stages import asset, constant, failing
from data_pipeline_tests.memo.world import World
from data_pipeline_tests.patience import PATIENCE

END_OF_READS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND state = 'idle in transaction' AND pid <> pg_backend_pid()
"""


def test_a_listing_goes_with_the_relation_that_it_speaks_of(
    world: World, pipeline_database: sa.Engine
) -> None:
    """A run that ends between building a table and listing it leaves no listing of another one."""
    assert not world.made(lambda: [constant("s/a", 1), failing("s/b")]).success

    def end_here(*_: object) -> None:
        raise RuntimeError("ends here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "stage_table", end_here)
        assert not world.made(lambda: [constant("s/a", 2), constant("s/b", 2)]).success
    assert world.made(lambda: [constant("s/a", 1), constant("s/b", 2)]).success
    assert rows(pipeline_database, "SELECT v FROM full_s.a") == [(1,)]


def test_who_looks_at_a_staged_table_is_named_and_waited_for(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert not world.made(lambda: [constant("s/a", 1), failing("s/b")]).success
    instance, said = load_configuration().instance("full"), queue.Queue[logging.LogRecord]()
    log = logging.Logger("test")
    log.addHandler(QueueHandler(said))
    session = RunSession(database(instance), instance, "this run", log)
    session.register({})
    arguments = database(instance), instance, StageTable("s", "a"), "this run", log
    thread = threading.Thread(target=make_room, args=arguments)
    with pipeline_database.connect() as looking:
        pid = looking.scalar(sa.text("SELECT pg_backend_pid() FROM full_s__staging.a"))
        thread.start()
        message = said.get(timeout=PATIENCE).getMessage()
    thread.join()
    session.close()
    assert f"Waiting to drop full_s__staging.a: session {pid} (" in message
    assert rows(pipeline_database, "SELECT to_regclass('full_s__staging.a')::text") == [(None,)]


def test_an_emptied_table_of_a_query_is_built_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    def query(a: sa.Table) -> Any:
        return sql_query("SELECT v FROM {a}", a=a)

    assert world.made(lambda: [constant("s/a", 1), asset("s/q", query, "s/a")]).success
    execute(pipeline_database, "TRUNCATE full_s.q")
    assert world.made(lambda: [constant("s/a", 1), asset("s/q", query, "s/a")]).success
    assert rows(pipeline_database, "SELECT v FROM full_s.q") == [(1,)]
    assert world.made(lambda: [constant("s/a", 1), asset("s/q", query, "s/a")]).steps == set()


def test_a_stage_that_becomes_due_while_the_run_begins_is_locked_too(
    world: World, pipeline_database: sa.Engine
) -> None:
    def things(value: int) -> list[Any]:
        return [constant("s/a", value), constant("t/b", 1)]

    begin = StageCommits.begin
    drops = iter(["DROP TABLE full_t.b"])

    def begin_beside_somebody(self: StageCommits, *arguments: Any) -> None:
        begin(self, *arguments)
        for statement in drops:
            execute(pipeline_database, statement)

    assert world.made(lambda: things(1)).success
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageCommits, "begin", begin_beside_somebody)
        assert world.made(lambda: things(2)).success
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_t.b") == [(2, 1)]


def test_what_a_step_read_by_itself_is_known_by_what_its_run_committed(
    world: World, pipeline_database: sa.Engine
) -> None:
    """Another run replaces it before the step has ended."""

    def materialize(*assets: dg.AssetsDefinition) -> None:
        resources = instance_resources("full")
        assert dg.materialize(assets, partition_key="full", resources=resources).success

    def reading() -> pd.DataFrame:
        found = rows(pipeline_database, "SELECT v FROM full_s.a")
        if found == [(1,)]:
            other = threading.Thread(target=materialize, args=[constant("s/a", 2)])
            other.start()
            other.join()
        return pd.DataFrame(found, columns=["v"])

    b = asset("t/b", reading, deps=[dg.AssetKey(["s", "a"])])
    materialize(constant("s/a", 1), b)
    assert world.made(lambda: [constant("s/a", 2), b]).success
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_t.b") == [(2, 2)]


@pytest.mark.parametrize("kind", [pd.DataFrame, sa.Table])
def test_a_step_whose_inputs_were_not_locked_until_its_end_fails(
    world: World, pipeline_database: sa.Engine, kind: type
) -> None:
    attempts = iter([True, False])

    def reading(a: sa.Table, b) -> pd.DataFrame:
        if next(attempts):
            assert rows(pipeline_database, END_OF_READS) == [(True,)]
        return pd.DataFrame({"v": [1]})

    reading.__annotations__["b"] = kind
    given = [constant("s/a", 1), constant("s/b", 1)]
    first = world.made(lambda: [*given, asset("t/q", reading, "s/a", "s/b")])
    assert not first.success
    assert rows(pipeline_database, "SELECT count(*) FROM full_catalog.staged") == [(0,)]
    assert world.made(lambda: [*given, asset("t/q", reading, "s/a", "s/b")]).success


@pytest.mark.parametrize("setting", ["idle_session_timeout", "idle_in_transaction_session_timeout"])
def test_timeouts_of_the_server_end_no_run(
    world: World, pipeline_database: sa.Engine, setting: str
) -> None:
    def slow(a: sa.Table) -> Any:
        # Idle for a shorter time than the sessions of the run.
        with pipeline_database.connect() as connection:
            session: Any = connection.connection.driver_connection
            session.autocommit = setting == "idle_session_timeout"
            session.cursor().execute("SELECT 1")
            select.select([session], [], [])  # until the server ends it
            connection.invalidate()
        return sql_query("SELECT v FROM {a}", a=a)

    name = pipeline_database.url.database
    execute(pipeline_database, f'ALTER DATABASE "{name}" SET {setting} = 2000')
    assert world.made(lambda: [constant("s/a", 1), asset("s/q", slow, "s/a")]).success


def test_a_file_that_a_run_makes_again_while_it_is_dropped_stays(
    world: World, pipeline_database: sa.Engine
) -> None:
    def model() -> dict[str, int]:
        return {"weight": 1}

    assert world.made(lambda: [asset("s/m", model)]).success
    instance, drop_group = load_configuration().instance("full"), dropping._drop_group

    def drop_before_a_run(*arguments: Any) -> Any:
        parts = drop_group(*arguments)
        assert world.made(lambda: [asset("s/m", model)]).success
        return parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dropping, "_drop_group", drop_before_a_run)
        order = DropOrder(instance, DropSelection(frozenset({"s"}), "s", None))
        dropping.drop(database(instance), order, logging.getLogger("test"))
    [(location,)] = rows(pipeline_database, "SELECT location FROM full_catalog.tables")
    assert (blob_files.directory(instance) / location).is_file()
