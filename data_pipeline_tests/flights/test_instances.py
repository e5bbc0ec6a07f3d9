"""The whole pipeline on samples of the real data, in a real database."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.pipelines import flights
from data_pipeline.pipelines.flights import raw

SAMPLED = [asset for asset in flights.assets if asset not in raw.assets]


@pytest.fixture
def database(database_url: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    """An empty database, which the shipped configuration uses."""
    url = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", url)
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(tmp_path))
    return sa.create_engine(database_url, poolclass=sa.NullPool)


def run(instance: str, assets: list[dg.AssetsDefinition]) -> dg.ExecuteInProcessResult:
    sources = [spec for asset in raw.assets if asset not in assets for spec in asset.specs]
    return dg.materialize(
        [*assets, *sources], partition_key=instance, resources=instance_resources(instance)
    )


def column_types(database: sa.Engine, instance: str) -> pl.DataFrame:
    """Name, position and type of each column of the instance's tables, without its prefix."""
    query = f"""
        SELECT replace(table_schema, '{instance}_', '') AS stage, table_name, ordinal_position,
            column_name, data_type, is_nullable
        FROM information_schema.columns
        WHERE table_schema LIKE '{instance}\\_flights\\_%'
        ORDER BY 1, 2, 3
    """
    with database.connect() as connection:
        return pl.read_database(query, connection)


def count(database: sa.Engine, table: str) -> int:
    with database.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def test_midi_and_mini_run_on_samples_of_full_with_the_same_types(database: sa.Engine) -> None:
    assert run("full", raw.assets).success
    for instance in ("midi", "mini"):
        result = run(instance, SAMPLED)
        assert result.success
        # Both samples are large enough for the real model.
        model = result.asset_value(["flights_model", "late_arrival_model"])
        assert model.kind == "gradient boosting"
    assert count(database, "mini_flights_inputs.flights") == 500
    assert count(database, "midi_flights_inputs.flights") == pytest.approx(0.05 * 336776, rel=0.1)
    assert count(database, "midi_flights_evaluation.metrics") == 6
    midi, mini = (column_types(database, instance) for instance in ("midi", "mini"))
    assert midi.equals(mini)
    assert {"double precision", "boolean", "date"} <= set(mini["data_type"])
