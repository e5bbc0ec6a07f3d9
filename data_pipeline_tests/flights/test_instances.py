"""The whole pipeline on samples of the real data, in a real database."""

from collections.abc import Iterator
from itertools import pairwise

import dagster as dg
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.pipelines import flights
from data_pipeline.pipelines.flights import raw
from data_pipeline.pipelines.flights.features import split_by_time
from data_pipeline.pipelines.flights.metrics import roc_auc
from data_pipeline.pipelines.flights.source import read_source
from data_pipeline_tests.plain_roles import drop_database

SAMPLED = [asset for asset in flights.assets if asset not in raw.assets]
TABLES = {
    "airlines": "carrier",
    "airports": "faa",
    "planes": "tailnum",
    "weather": "time_hour, origin",
    "flights": "time_hour, carrier, flight",
}
REFERENCES = {
    "carrier": ("airlines", "p.carrier = c.carrier"),
    "origin": ("airports", "p.faa = c.origin"),
    "dest": ("airports", "p.faa = c.dest"),
    "plane": ("planes", "p.tailnum = c.tailnum"),
    "weather": ("weather", "p.time_hour = c.time_hour AND p.origin = c.origin"),
}


@pytest.fixture(scope="module")
def database(
    server_url: sa.URL, superuser_url: sa.URL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sa.Engine]:
    """A database with the raw tables of full, and all of midi and mini but the raw tables."""
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    name = f"test_flights_{np.random.default_rng().integers(10**9)}"
    with admin.connect() as connection, pytest.MonkeyPatch.context() as patch:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        url = server_url.set(database=name)
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        patch.setenv("DATA_PIPELINE_DATABASE_URL", plain)
        patch.setenv("DATA_PIPELINE_HOME", str(tmp_path_factory.mktemp("home")))
        try:
            run("full", raw.assets)
            for instance in ("midi", "mini"):
                run(instance, SAMPLED)
            yield sa.create_engine(url, poolclass=sa.NullPool)
        finally:
            drop_database(superuser_url, name)


def run(instance: str, assets: list[dg.AssetsDefinition]) -> None:
    sources = [spec for asset in raw.assets if asset not in assets for spec in asset.specs]
    resources = instance_resources(instance)
    dg.materialize([*assets, *sources], partition_key=instance, resources=resources)


def table(database: sa.Engine, query: str) -> pl.DataFrame:
    with database.connect() as connection:
        return pl.read_database(query, connection, infer_schema_length=None)


def value(database: sa.Engine, query: str) -> float:
    with database.connect() as connection:
        return float(connection.exec_driver_sql(query).scalar_one())


def column_types(database: sa.Engine, instance: str) -> pl.DataFrame:
    """Name, position and type of each column of the instance's tables, without its prefix."""
    query = f"""
        SELECT replace(table_schema, '{instance}_', '') AS stage, table_name, ordinal_position,
            column_name, data_type, is_nullable
        FROM information_schema.columns
        WHERE table_schema LIKE '{instance}\\_flights\\_%' OR table_schema = '{instance}_sample'
        ORDER BY 1, 2, 3
    """
    return table(database, query)


def truth() -> dict[tuple[str, str], float]:
    """What the estimates are to find, from the whole source."""
    source = read_source("flights")
    delay = source["arr_delay"].astype("float64")
    flown = source[delay.notna()]
    late = (flown["arr_delay"] > 15).to_numpy(dtype=bool)
    found = {
        ("number", "all flights"): float(len(source)),
        ("share cancelled", "all flights"): float(source["dep_time"].isna().mean()),
        ("mean arrival delay", "all flights"): float(delay.mean()),
        ("share late", "all flights"): float(late.mean()),
    }
    by_origin = pd.Series(late).groupby(flown["origin"].to_numpy()).mean()
    found |= {("share late", origin): float(share) for origin, share in by_origin.items()}
    departure = flown["time_hour"] + pd.to_timedelta(flown["minute"].astype("int64"), unit="min")
    moments, weight = pl.Series(departure.astype("int64").to_numpy()), np.ones(len(flown))
    test = (split_by_time(moments, pl.Series(weight)) == "test").to_numpy()
    hour = flown["hour"].to_numpy(dtype=np.float64)
    found["test roc auc", "scheduled hour"] = roc_auc(late[test], hour[test], weight[test])
    return found


def test_midi_and_mini_have_the_same_types(database: sa.Engine) -> None:
    midi, mini = (column_types(database, instance) for instance in ("midi", "mini"))
    assert midi.equals(mini)
    assert {"double precision", "boolean", "date"} <= set(mini["data_type"])


def test_midi_has_five_percent_of_the_flights_and_few_witnesses(database: sa.Engine) -> None:
    roles = table(
        database,
        "SELECT role, count(*) AS rows, sum(weight) AS weight "
        "FROM midi_sample.flights_inputs__flights_weighted GROUP BY role",
    )
    rows = dict(zip(roles["role"], roles["rows"], strict=True))
    weights = dict(zip(roles["role"], roles["weight"], strict=True))
    assert rows["sampled"] == pytest.approx(0.05 * 336776, rel=0.03)
    assert weights["sampled"] == pytest.approx(336776, rel=0.03)
    assert weights["witness"] == 0
    assert rows["witness"] < 100


def test_midi_learns_a_real_model_and_mini_says_why_it_has_none(database: sa.Engine) -> None:
    of_model = "flights_evaluation.metrics WHERE predictor = 'model' AND split = 'test'"
    midi = table(database, f"SELECT kind, roc_auc, note FROM midi_{of_model}")
    assert midi["kind"].item() == "gradient boosting"
    assert midi["roc_auc"].item() > 0.6
    mini = table(database, f"SELECT kind, roc_auc, note FROM mini_{of_model}")
    assert mini["roc_auc"].item() is None
    assert "no flights in the train part" in mini["note"].item()


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("instance", ["midi", "mini"])
def test_each_reference_that_holds_in_full_holds(
    database: sa.Engine, instance: str, reference: str
) -> None:
    parent, condition = REFERENCES[reference]
    query = f"""
        SELECT count(*) FROM {instance}_flights_inputs.flights AS c
        WHERE EXISTS (SELECT FROM {{}}.{parent} AS p WHERE {condition})
    """
    holds = value(database, query.format(f"{instance}_flights_inputs"))
    assert holds == value(database, query.format("full_flights_raw")) > 0


def test_midi_joins_the_weather_of_the_hour_before_as_full_does(database: sa.Engine) -> None:
    query = """
        SELECT count(*) FROM midi_flights_inputs.flights AS f
        JOIN {}.weather AS w ON w.origin = f.origin AND w.time_hour = f.time_hour - INTERVAL '1 h'
    """
    joined = value(database, query.format("midi_flights_inputs"))
    assert joined == value(database, query.format("full_flights_raw"))


@pytest.mark.parametrize("column", ["carrier", "origin", "month", "hour"])
def test_midi_has_each_category_of_full(database: sa.Engine, column: str) -> None:
    query = f"SELECT DISTINCT {column} FROM {{}}.flights ORDER BY 1"
    midi = table(database, query.format("midi_flights_inputs"))
    assert midi.equals(table(database, query.format("full_flights_raw")))


@pytest.mark.parametrize("column", ["dep_delay", "arr_delay", "distance", "air_time", "tailnum"])
def test_midi_has_the_extremes_and_null_of_full(database: sa.Engine, column: str) -> None:
    query = f"SELECT min({column}), max({column}), bool_or({column} IS NULL) FROM {{}}.flights"
    midi = table(database, query.format("midi_flights_inputs"))
    assert midi.equals(table(database, query.format("full_flights_raw")))


@pytest.mark.parametrize("name", TABLES)
def test_mini_is_a_part_of_midi_and_midi_of_full(database: sa.Engine, name: str) -> None:
    key = TABLES[name]
    stages = ("mini_flights_inputs", "midi_flights_inputs", "full_flights_raw")
    for small, large in pairwise(stages):
        rows = f"SELECT {key} FROM {small}.{name} EXCEPT SELECT {key} FROM {large}.{name}"
        assert value(database, f"SELECT count(*) FROM ({rows}) AS only_there") == 0
        assert value(database, f"SELECT count(*) FROM {small}.{name}") > 0


def test_what_full_would_show_lies_in_the_intervals_of_midi(database: sa.Engine) -> None:
    found = table(database, "SELECT * FROM midi_flights_evaluation.estimates")
    intervals = {
        (row["figure"], row["subject"]): (row["low"], row["high"])
        for row in found.iter_rows(named=True)
    }
    for name, expected in truth().items():
        low, high = intervals[name]
        assert low < expected < high, name
