"""The assets in Dagster: complete declarations, and a run of those on frames in memory."""

import dagster as dg
import pandas as pd
import polars as pl
import pytest

from data_pipeline import instance_resources
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.pipelines import flights
from data_pipeline.pipelines.flights import (
    clean,
    evaluation,
    features,
    inputs,
    model,
    raw,
    transformed,
)
from data_pipeline.pipelines.flights.estimator import LateArrivalModel
from data_pipeline_tests.flights.made import busy_departures, departures

ON_FRAMES = [
    transformed.route_days,
    *features.assets,
    *model.assets,
    *evaluation.assets,
]
SPECS = [spec for asset in flights.assets for spec in asset.specs]


def source_asset(key: list[str], frame: object) -> dg.AssetsDefinition:
    """An asset that gives a made frame in place of what SQL would have built."""

    @dg.asset(key=key, partitions_def=INSTANCE_PARTITIONS)
    def made() -> object:
        return frame

    return made


def run(table: pl.DataFrame) -> dg.ExecuteInProcessResult:
    """Runs everything after the SQL of the stages clean and transformed, on made departures."""
    made = [
        source_asset(["flights_clean", "flights"], table),
        source_asset(["flights_transformed", "departures"], table),
    ]
    return dg.materialize_to_memory([*made, *ON_FRAMES], partition_key="mini")


def test_all_assets_load_together() -> None:
    definitions = dg.Definitions(assets=flights.assets, resources=instance_resources())
    dg.Definitions.validate_loadable(definitions)


def test_every_table_read_belongs_to_the_pipeline() -> None:
    read = {dep.asset_key for spec in SPECS for dep in spec.deps}
    assert read <= {spec.key for spec in SPECS}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key.to_user_string())
def test_every_asset_says_what_it_is(spec: dg.AssetSpec) -> None:
    assert spec.description
    assert spec.kinds
    assert spec.owners
    assert spec.group_name == spec.key.path[0]
    assert spec.partitions_def == INSTANCE_PARTITIONS


def test_raw_tables_are_cleaned_in_memory() -> None:
    result = dg.materialize_to_memory(
        [*raw.assets, *inputs.assets, clean.clean_weather],
        partition_key="full",
        resources=instance_resources("full", io_manager=False),
        selection=dg.AssetSelection.groups("flights_raw", "flights_inputs", "flights_clean"),
    )
    assert len(result.asset_value(["flights_raw", "flights"])) == 336776
    weather = result.asset_value(["flights_inputs", "weather"])
    assert len(weather) == 26115
    assert weather["origin"].nunique() == 3
    cleaned = result.asset_value(["flights_clean", "weather"])
    assert len(cleaned) == len(weather)
    assert cleaned["wind_from"].isin([*clean.SECTORS, "calm", "variable"]).mean() > 0.9


@pytest.fixture(scope="module")
def result() -> dg.ExecuteInProcessResult:
    return run(busy_departures())


def test_frames_become_a_model_and_its_evaluation_in_memory(
    result: dg.ExecuteInProcessResult,
) -> None:
    assert result.success
    fitted = result.asset_value(["flights_model", "late_arrival_model"])
    assert isinstance(fitted, LateArrivalModel)
    assert fitted.kind == "gradient boosting"
    assert isinstance(result.asset_value(["flights_evaluation", "metrics"]), pd.DataFrame)
    assert result.asset_value(["flights_evaluation", "plot"]).startswith(b"\x89PNG")


def test_figures_and_plot_are_on_the_asset_of_the_model(
    result: dg.ExecuteInProcessResult,
) -> None:
    (materialization,) = result.asset_materializations_for_node("flights_model__late_arrival_model")
    metadata = materialization.metadata
    assert metadata["kind"].value == "gradient boosting"
    assert 0.9 < metadata["test_roc_auc"].value <= 1
    assert "data:image/png;base64," in metadata["plot"].value


@pytest.mark.parametrize("rows", [0, 1])
def test_a_mini_of_hardly_any_rows_runs_through(rows: int) -> None:
    result = run(departures(*busy_departures(days=1, each=1).head(rows).to_dicts()))
    assert result.success
    metrics = result.asset_value(["flights_evaluation", "metrics"])
    of_model = metrics[metrics["predictor"] == "model"]
    assert of_model["kind"].to_list() == ["none", "none"]
    assert of_model["note"].str.contains("no flights in the train part").all()
