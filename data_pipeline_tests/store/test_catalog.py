"""The catalog: its row changes with the relation, whatever happens."""

import os
import signal
import subprocess
import sys
import warnings
from itertools import permutations
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.instances import load_configuration
from data_pipeline.store import catalog
from data_pipeline.store.reading import reference
from data_pipeline.store.table_properties import Table
from data_pipeline_tests.io_manager.runs import execute, metadata, rows, run, table_asset


def row(engine: sa.Engine, instance: str = "full") -> catalog.CatalogRow | None:
    with engine.connect() as connection:
        schema = load_configuration().instance(instance).catalog_schema
        return catalog.row(connection, schema, StageTable("s", "t"))


def relation(engine: sa.Engine) -> str | None:
    [[kind]] = rows(
        engine, "SELECT max(relkind::text) FROM pg_class WHERE oid = to_regclass('full_s.t')"
    )
    return kind


def version(result: dg.ExecuteInProcessResult) -> str:
    [event] = result.get_asset_materialization_events()
    return event.materialization.tags["dagster/data_version"]


KINDS: dict[str, Any] = {
    "frame": lambda: Table(pd.DataFrame({"a": [1, 2]}), primary_key="a"),
    "query": lambda: Table(sa.text("SELECT a FROM generate_series(1, 3) a"), primary_key="a"),
    "blob": lambda: {"weight": 1},
}


@pytest.mark.parametrize(("first", "second"), list(permutations(KINDS, 2)))
def test_the_row_agrees_with_what_is_there_after_every_commit(
    pipeline_database: sa.Engine, first: str, second: str
) -> None:
    for kind in (first, second):
        result = run(table_asset("t", KINDS[kind], code_version="7"))
        found = row(pipeline_database)
        assert found is not None
        assert found.data_version == version(result)
        assert (found.code_version, found.run_id) == ("7", result.run_id)
        assert found.bytes == metadata(result, "t")["bytes"]
        assert (found.checksum is None) == (kind == "query")
        if kind == "blob":
            assert (found.kind, found.row_count) == ("blob", None)
            assert relation(pipeline_database) is None
        else:
            counted = rows(pipeline_database, "SELECT count(*) FROM full_s.t")
            assert (found.kind, [(found.row_count,)]) == ("table", counted)
            assert found.declared.primary_key == ("a",)


def test_the_catalog_explains_itself(pipeline_database: sa.Engine) -> None:
    run(table_asset("t", KINDS["frame"]))
    [[explained, unexplained]] = rows(
        pipeline_database,
        "SELECT obj_description(attrelid), count(*) FILTER (WHERE col_description(attrelid, attnum)"
        " IS NULL) FROM pg_attribute WHERE attrelid = 'full_catalog.tables'::regclass "
        "AND attnum > 0 GROUP BY attrelid",
    )
    assert "one row each" in explained
    assert unexplained == 0


def test_the_same_data_has_the_same_version_and_other_data_another(
    pipeline_database: sa.Engine,
) -> None:
    versions = [
        version(run(table_asset("t", lambda a=a: pd.DataFrame({"a": a})), on=instance))
        for a, instance in (([1, 2], "full"), ([1, 2], "mini"), ([2, 1], "full"), ([], "full"))
    ]
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


def test_an_unchanged_query_is_not_built_again(pipeline_database: sa.Engine) -> None:
    query = table_asset("t", KINDS["query"])
    run(query)
    before = row(pipeline_database)
    result = run(query)
    assert row(pipeline_database) == before
    assert metadata(result, "t")["dagster/row_count"] == 3
    assert "generate_series" in metadata(result, "t")["sql"]
    execute(pipeline_database, "DROP TABLE full_s.t")
    run(query)
    assert rows(pipeline_database, "SELECT count(*) FROM full_s.t") == [(3,)]


def test_what_is_made_of_data_of_an_unknown_version_has_a_new_version_with_other_rows(
    pipeline_database: sa.Engine,
) -> None:
    @dg.asset(key=["other", "source"])
    def source() -> None: ...

    def loaded(value: int) -> str:
        execute(pipeline_database, f"CREATE OR REPLACE VIEW theirs AS SELECT {value} AS v")
        query = table_asset("t", lambda: sa.text("SELECT v FROM theirs"), deps=[source])
        return version(run(query))

    first, same, other = (loaded(value) for value in (1, 1, 2))
    assert first == same != other
    found = row(pipeline_database)
    assert found is not None
    assert found.cache_key is None


KILLED = """
import logging, os, signal
import pandas as pd
from data_pipeline_tests.io_manager.runs import write

class Killing(logging.Handler):
    def emit(self, record):
        if record.getMessage().startswith("Waiting to commit"):
            os.kill(os.getpid(), signal.SIGKILL)

log = logging.getLogger("killed")
log.setLevel(logging.INFO)
log.addHandler(Killing())
write("t", pd.DataFrame({"a": [7]}), log)
"""


def test_a_run_killed_between_build_and_commit_changes_nothing(
    pipeline_database: sa.Engine,
) -> None:
    made = table_asset("t", KINDS["frame"])
    run(made)
    before = row(pipeline_database)
    with pipeline_database.connect() as reader:
        reader.execute(sa.text("SELECT * FROM full_s.t"))  # keeps the commit waiting
        killed = subprocess.run([sys.executable, "-c", KILLED], env=dict(os.environ), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert rows(pipeline_database, "SELECT a FROM full_s__staging.t") == [(7,)]
    assert row(pipeline_database) == before
    assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(1,), (2,)]
    run(table_asset("t", KINDS["query"]))
    assert rows(pipeline_database, "SELECT count(*) FROM full_s.t") == [(3,)]
    assert rows(pipeline_database, "SELECT to_regclass('full_s__staging.t')") == [(None,)]


def test_a_catalog_of_an_earlier_version_gets_the_columns_that_it_lacks(
    pipeline_database: sa.Engine,
) -> None:
    run(table_asset("t", KINDS["frame"]))
    execute(
        pipeline_database,
        "ALTER TABLE full_catalog.tables DROP COLUMN checksum",
        "DROP TABLE full_catalog.version",
    )
    found = row(pipeline_database)
    assert found is not None
    assert found.checksum is None
    run(table_asset("t", KINDS["frame"]))
    found = row(pipeline_database)
    assert found is not None
    assert found.checksum is not None


def test_a_table_with_a_type_that_sqlalchemy_does_not_know_warns_nobody(
    pipeline_database: sa.Engine,
) -> None:
    with pipeline_database.begin() as connection, warnings.catch_warnings():
        warnings.simplefilter("error")
        connection.execute(sa.text("CREATE TABLE places (id int, at point)"))
        found = reference(connection, RelationName("public", "places"), None)
    assert found.c.keys() == ["id", "at"]
