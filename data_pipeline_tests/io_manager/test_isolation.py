"""An instance writes to its own schemas and directories, whatever its assets return."""

from itertools import product
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.errors import ConfigurationError, DatabaseError, IsolationError
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.store.table_properties import Table
from data_pipeline_tests.io_manager.runs import (
    execute,
    from_inputs,
    refusal,
    rows,
    run,
    table_asset,
    write,
    write_refusal,
)

ESCAPES = {
    "two statements": "SELECT 1 AS n; DROP TABLE full_s.victim",
    "a closed parenthesis": "SELECT 1 AS n) AS q; DROP TABLE full_s.victim; SELECT (SELECT 1",
    "a closed parenthesis and a comment": "SELECT 1 AS n) AS q; DROP TABLE full_s.victim; --",
    "a changing CTE": "WITH gone AS (DELETE FROM full_s.victim RETURNING a) SELECT * FROM gone",
    "an insert": "INSERT INTO full_s.victim VALUES (2) RETURNING a",
    "a new table": "SELECT 1 AS n INTO full_s.another",
    "a query within the query": "SELECT length(query_to_xml('DELETE FROM full_s.victim', "
    "true, true, '')::text) AS n",
    "a procedure": "DO $$ BEGIN DELETE FROM full_s.victim; END $$",
    "the end of the transaction": "SELECT 1 AS n) AS q; COMMIT; DROP TABLE full_s.victim; --",
}


def test_a_query_cannot_write_anywhere(pipeline_database: sa.Engine) -> None:
    write("victim", pd.DataFrame({"a": [1]}))
    for (case, query), types in product(ESCAPES.items(), (None, {"n": "integer"})):
        error = write_refusal("evil", Table(sa.text(query), types=types), on="mini")
        assert isinstance(error, DatabaseError), f"{case}, types {types}"
        assert rows(pipeline_database, "SELECT a FROM full_s.victim") == [(1,)], case
        assert rows(pipeline_database, "SELECT to_regclass('full_s.another')") == [(None,)], case


def test_each_instance_has_its_own_tables_and_blobs(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    for number, instance in enumerate(("full", "midi", "mini")):
        table = table_asset("t", lambda number=number: pd.DataFrame({"a": [number]}))
        run(table, table_asset("b", lambda number=number: {"n": number}), on=instance)
    for number, instance in enumerate(("full", "midi", "mini")):
        assert rows(pipeline_database, f"SELECT a FROM {instance}_s.t") == [(number,)]
        [file] = (tmp_path / "home" / "blobs" / instance).rglob("*.pickle")
        assert file.parent.name == "s"


def test_pinned_resources_refuse_another_partition(pipeline_database: sa.Engine) -> None:
    made = table_asset("t", lambda: pd.DataFrame({"a": [1]}))
    error = refusal(made, on="full", resources=instance_resources("mini"))
    assert isinstance(error, IsolationError)
    assert "computed for instance `full`, but the resources are those of `mini`" in str(error)
    assert "instance_resources('full')" in str(error)
    schemas = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'full%' OR nspname LIKE 'mini%'"
    assert rows(pipeline_database, schemas) == []


@pytest.mark.usefixtures("pipeline_database")
@pytest.mark.parametrize("key", [["s", "../../full/s/m"], ["../full", "m"], ["s", "../../../m"]])
def test_a_blob_is_not_written_outside_of_the_directory(key: list[str], tmp_path: Path) -> None:
    @dg.multi_asset(outs={"out": dg.AssetOut(key=key)}, partitions_def=INSTANCE_PARTITIONS)
    def escaping() -> Any:
        return {"weight": 1}

    error = refusal(escaping, on="mini")
    assert isinstance(error, IsolationError)
    assert "points out" in str(error)
    assert list(tmp_path.rglob("*.pickle")) == []


def test_a_blob_is_not_read_from_outside_of_the_directory(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    secret = tmp_path / "home" / "blobs" / "full" / "s" / "m.pickle"
    model = table_asset("m", lambda: {"weight": 1})
    reader = from_inputs("reader", lambda m: pd.DataFrame(m, index=[0]), "m")
    run(model, reader, on="mini")
    execute(
        pipeline_database,
        f"UPDATE mini_catalog.tables SET location = '{secret}' WHERE kind = 'blob'",
    )
    error = refusal(model, reader, on="mini", selection="reader")
    assert isinstance(error, IsolationError)
    assert str(secret) in str(error)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (["catalog"], "would both use the schema 'full_catalog'"),
        (["s", "s__staging"], "would both use the schema 'full_s__staging'"),
        (["s" * 60], "PostgreSQL allows 63"),
    ],
)
def test_stages_that_would_meet_are_refused_before_anything_is_written(
    pipeline_database: sa.Engine, stages: list[str], message: str
) -> None:
    def made(stage: str) -> dg.AssetsDefinition:
        @dg.asset(key=[stage, "tables"], partitions_def=INSTANCE_PARTITIONS)
        def table() -> Any:
            return pd.DataFrame({"a": [1]})

        return table

    error = refusal(*map(made, stages))
    assert isinstance(error, ConfigurationError)
    assert message in str(error)
    assert rows(pipeline_database, "SELECT 1 FROM pg_namespace WHERE nspname ~ '^full'") == []
