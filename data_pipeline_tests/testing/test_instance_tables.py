"""`instance_table` gives what is up to date, and skips the test or builds the table otherwise."""

import os
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import Stage, copy_filtered_inputs, instance_definitions
from data_pipeline.cli.planned_run import storage_of_shell
from data_pipeline.errors import DataPipelineError, TableNotFoundError
from data_pipeline.instances import load_configuration
from data_pipeline.testing.instance_tables import InstanceTables

PROJECT = Path(__file__).resolve().parents[2]
Define = Callable[[dg.Definitions], None]


def assets(factor: int = 2) -> list[dg.AssetsDefinition]:
    raw = Stage("i_raw")

    @raw.table(primary_key="number")  # without a fingerprint: each run loads it
    def numbers() -> pd.DataFrame:
        return pd.DataFrame({"number": [1, 2, 3]})

    inputs = copy_filtered_inputs(stage="i_inputs", raw=raw.assets)
    result = Stage("i_result", reads=inputs)

    @result.table(code_version=str(factor))
    def times(numbers: pd.DataFrame) -> pd.DataFrame:
        return numbers * factor

    @result.blob(code_version="1")
    def largest(times: pd.DataFrame) -> dict[str, int]:
        return {"largest": int(times["number"].max())}

    return [*raw.assets, inputs, *result.assets]


@pytest.fixture(autouse=True)
def storage(pipeline_database: sa.Engine) -> None:
    """A database, and what belongs to it."""


def test_a_stale_table_skips_the_test_and_is_built_on_request(
    define: Define, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    define(instance_definitions(assets()))
    with pytest.raises(pytest.skip.Exception) as caught:
        InstanceTables(PROJECT, builds=False)("mini", "i_result/times")
    assert "`i_result/times` of instance `mini` is stale (" in str(caught.value)
    assert "--instance-tables=build" in str(caught.value)
    monkeypatch.chdir(tmp_path)  # as tests do
    tables = InstanceTables(PROJECT, builds=True)
    assert tables("full", "i_result/times")["number"].tolist() == [2, 4, 6]
    of_shell = storage_of_shell(load_configuration().home)
    assert of_shell is not None
    assert [run.job_name for run in of_shell.get_runs()] == ["full"]
    assert "DAGSTER_HOME" not in os.environ
    assert "DATA_PIPELINE_TEMPORARY_STORAGE" not in os.environ
    assert tables("full", "i_result/times")["number"].tolist() == [2, 4, 6]
    assert tables("mini", "i_result/times")["number"].tolist() == [2]
    anew = InstanceTables(PROJECT, builds=False)
    assert anew("mini", "i_result/times")["number"].tolist() == [2]
    define(instance_definitions(assets(factor=3)))
    with pytest.raises(pytest.skip.Exception, match="code"):
        InstanceTables(PROJECT, builds=False)("mini", "i_result/times")
    tables = InstanceTables(PROJECT, builds=True)
    assert tables("mini", "i_result/largest") == {"largest": 3}


def test_a_table_that_no_asset_makes_is_told_with_near_ones(define: Define) -> None:
    define(instance_definitions(assets()))
    tables = InstanceTables(PROJECT, builds=False)
    with pytest.raises(TableNotFoundError, match="no asset makes such a table") as caught:
        tables("mini", "i_result/tiems")
    assert "i_result/times" in str(caught.value)
    with pytest.raises(TableNotFoundError, match="copies its inputs and has no raw tables"):
        tables("mini", "i_raw/numbers")


def test_a_table_that_cannot_be_built_says_why(define: Define) -> None:
    define(instance_definitions(assets()))
    with pytest.raises(DataPipelineError, match=r"could not be built: .*i_raw/numbers"):
        InstanceTables(PROJECT, builds=True)("mini", "i_result/times")
