"""`Definitions.load_asset_value` and `get_asset_value_loader`, in a notebook: no run is needed."""

from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline import View
from data_pipeline.assembly import instance_definitions
from data_pipeline.errors import ConfigurationError, TableNotFoundError
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.io_manager.runs import STAGE, from_inputs, run, table_asset

pytestmark = pytest.mark.usefixtures("pipeline_database")


def frame() -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2]})


def shown(table: sa.Table) -> View:
    return View(table)


@dg.multi_asset(
    outs={"x": dg.AssetOut(key=[STAGE, "x"]), "y": dg.AssetOut(key=[STAGE, "y"])},
    partitions_def=INSTANCE_PARTITIONS,
)
def two() -> tuple[pd.DataFrame, dict[str, str]]:
    return frame(), {"of": "y"}


ASSETS = [table_asset("table", frame), from_inputs("view", shown, "table"), two]


def load(name: str, kind: Any = None, *, on: str | None = "mini") -> Any:
    definitions = instance_definitions([*ASSETS, table_asset("never", frame)])
    return definitions.load_asset_value([STAGE, name], partition_key=on, python_type=kind)


def test_values_arrive_as_they_are_asked_for() -> None:
    run(*ASSETS, on="mini")
    for kind in (pd.DataFrame, pl.DataFrame, pa.Table):
        for name in ("table", "view", "x"):
            found = load(name, kind)
            assert isinstance(found, kind)
            assert [int(value) for value in found["a"].to_numpy()] == [1, 2]
    assert load("table").fullname == "mini_s.table"
    assert load("view", sa.Table).fullname == "mini_s.view"
    assert load("y") == load("y", dict) == {"of": "y"}


def test_one_loader_gives_many() -> None:
    for on in ("full", "midi", "mini"):
        run(ASSETS[0], on=on)
    with instance_definitions(ASSETS).get_asset_value_loader() as loader:
        for on in ("mini", "full"):
            found = loader.load_asset_value([STAGE, "table"], partition_key=on)
            assert found.schema == f"{on}_s"
        both = loader.load_asset_value(
            [STAGE, "table"],
            python_type=dict[str, pd.DataFrame],
            partition_key_range=dg.PartitionKeyRange("full", "mini"),
        )
        assert sorted(both) == ["full", "midi", "mini"]


def test_what_was_not_built_or_not_said_is_named() -> None:
    run(*ASSETS, on="mini")
    with pytest.raises(TableNotFoundError, match=r"`s/never` .* not been built yet in .* `mini`"):
        load("never", pd.DataFrame)
    with pytest.raises(TableNotFoundError, match=r"`s/table` .* not been built yet in .* `full`"):
        load("table", pd.DataFrame, on="full")
    with pytest.raises(ConfigurationError, match="partition_key"):
        load("table", pd.DataFrame, on=None)
    with pytest.raises(dg.DagsterInvalidInvocationError, match="maxi"):
        load("table", pd.DataFrame, on="maxi")
