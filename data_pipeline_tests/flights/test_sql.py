"""The SQL of the stages clean and transformed, run by PostgreSQL on small made tables."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa

from data_pipeline.pipelines.flights import clean, transformed
from data_pipeline.results.sql_query import compiled
from data_pipeline_tests.flights.made import (
    DEPARTURE_SCHEMA,
    FLIGHT_SCHEMA,
    SAMPLE_SCHEMA,
    raw_table,
    weighted_table,
)

NINE = datetime(2013, 7, 1, 13, tzinfo=UTC)
FLIGHT = {"year": 2013, "month": 7, "day": 1, "hour": 9, "minute": 20, "sched_arr_time": 1130}
FLIGHT |= {"carrier": "UA", "flight": 1, "origin": "EWR", "dest": "BOS", "distance": 200}
FLIGHT |= {"time_hour": NINE, "dep_time": 920, "arr_delay": 0, "dep_delay": 0, "tailnum": "N1"}


class Tables:
    """Tables of one schema, made of frames and of queries."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def put(self, name: str, frame: pd.DataFrame) -> sa.Table:
        frame.to_sql(name, self.engine, index=False)
        return self[name]

    def build(self, name: str, query: Any) -> sa.Table:
        with self.engine.begin() as connection:
            # Literally, as the IO manager does: a percent sign in the SQL is no parameter.
            literal = connection.execution_options(no_parameters=True)
            literal.exec_driver_sql(f"CREATE TABLE {name} AS {compiled(query)}")
        return self[name]

    def rows(self, name: str) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(self[name].select()).mappings()]

    def __getitem__(self, name: str) -> sa.Table:
        return sa.Table(name, sa.MetaData(), autoload_with=self.engine)


@pytest.fixture
def tables(database_url: sa.URL) -> Iterator[Tables]:
    engine = sa.create_engine(database_url)
    yield Tables(engine)
    engine.dispose()


def clean_flights(tables: Tables, *rows: dict[str, Any]) -> sa.Table:
    raw = tables.put("raw_flights", weighted_table("flights", *rows))
    return tables.build("flights", clean.flights(raw))


def built_departures(tables: Tables) -> list[dict[str, Any]]:
    """Departures of flight 1, whose plane and airport are known, and 2, whose are not."""
    flights = clean_flights(tables, FLIGHT, FLIGHT | {"flight": 2, "dest": "SJU", "tailnum": None})
    hours = [{"time_hour": NINE.replace(hour=hour), "origin": "EWR"} for hour in (12, 13, 14)]
    observed = [row | {"temp": float(row["time_hour"].hour)} for row in hours]
    weather = tables.put("weather", clean.clean_weather(raw_table("weather", *observed)))
    planes = raw_table("planes", {"tailnum": "N1", "year": 2003, "manufacturer": "AIRBUS"})
    airports = raw_table("airports", {"faa": "BOS", "name": "Logan", "alt": 20})
    query = transformed.departures(
        flights=flights,
        weather=weather,
        planes=tables.build("planes", clean.planes(tables.put("raw_planes", planes))),
        airports=tables.build("airports", clean.airports(tables.put("raw_airports", airports))),
    )
    tables.build("departures", query)
    return tables.rows("departures")


def test_a_departure_is_an_instant_and_a_local_date(tables: Tables) -> None:
    clean_flights(tables, FLIGHT | {"time_hour": datetime(2013, 7, 2, 3, tzinfo=UTC)})
    (flight,) = tables.rows("flights")
    assert flight["scheduled_departure"] == datetime(2013, 7, 2, 3, 20, tzinfo=UTC)
    assert flight["flight_date"] == date(2013, 7, 1)
    assert flight["scheduled_arrival_hour"] == 11


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({}, "flown"),
        ({"dep_time": None, "arr_delay": None}, "cancelled"),
        ({"arr_delay": None}, "diverted"),
    ],
)
def test_the_status_tells_what_became_of_a_flight(
    tables: Tables, columns: dict[str, Any], status: str
) -> None:
    clean_flights(tables, FLIGHT | columns)
    assert tables.rows("flights")[0]["status"] == status


def test_manufacturers_have_one_name_and_years_are_plausible(tables: Tables) -> None:
    planes = raw_table(
        "planes",
        {"tailnum": "N1", "manufacturer": "AIRBUS INDUSTRIE", "year": 1999},
        {"tailnum": "N2", "manufacturer": "MCDONNELL DOUGLAS AIRCRAFT CO", "year": 0},
        {"tailnum": "N3", "manufacturer": "BOEING", "year": 2050},
    )
    tables.build("planes", clean.planes(tables.put("raw_planes", planes)))
    found = [(row["manufacturer"], row["built_year"]) for row in tables.rows("planes")]
    assert found == [("AIRBUS", 1999), ("MCDONNELL DOUGLAS", None), ("BOEING", None)]


def test_a_departure_has_the_weather_of_the_hour_before(tables: Tables) -> None:
    assert {row["temperature_f"] for row in built_departures(tables)} == {12.0}


def test_a_dangling_reference_leaves_null_and_the_flight_stays(tables: Tables) -> None:
    known, unknown = sorted(built_departures(tables), key=lambda row: row["flight"])
    plane = ("manufacturer", "plane_age_years", "dest_altitude_feet")
    assert [known[name] for name in plane] == ["AIRBUS", 10, 20]
    assert [unknown[name] for name in plane] == [None, None, None]


def test_made_departures_have_the_columns_of_the_real_ones(tables: Tables) -> None:
    """The other tests stand on made departures."""
    built_departures(tables)
    assert [column.name for column in tables["departures"].columns] == list(DEPARTURE_SCHEMA)
    with tables.engine.connect() as connection:
        real = pl.read_database("SELECT * FROM departures", connection).schema
    for name in FLIGHT_SCHEMA | SAMPLE_SCHEMA:
        assert real[name].base_type() == DEPARTURE_SCHEMA[name].base_type(), name


def test_an_airline_without_flights_counts_none(tables: Tables) -> None:
    gone = FLIGHT | {"flight": 2, "dep_time": None, "arr_delay": None}
    late = FLIGHT | {"flight": 3, "arr_delay": 31}
    flights = clean_flights(tables, FLIGHT, gone, late)
    names = [{"carrier": "AA", "name": "American"}, {"carrier": "UA", "name": "United"}]
    airlines = tables.put("raw_airlines", raw_table("airlines", *names))
    tables.build("airlines", transformed.airlines(airlines, flights))
    counts = [list(row.values())[2:] for row in tables.rows("airlines")]
    assert counts == [[0, 0, 0, None], [3, 1, 1, 15.5]]


def test_an_airline_is_counted_by_the_weights_of_its_flights(tables: Tables) -> None:
    clean_flights(tables, FLIGHT | {"arr_delay": 6}, FLIGHT | {"flight": 2, "arr_delay": 36})
    with tables.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE flights SET weight = CASE flight WHEN 1 THEN 20 ELSE 10 END"
        )
    airlines = tables.put("raw_airlines", raw_table("airlines", {"carrier": "UA", "name": "U"}))
    tables.build("airlines", transformed.airlines(airlines, tables["flights"]))
    assert list(tables.rows("airlines")[0].values())[2:] == [30, 0, 10, 16.0]


def test_empty_tables_give_empty_tables(tables: Tables) -> None:
    raw = {name: tables.put(f"raw_{name}", raw_table(name)) for name in ("planes", "airports")}
    weather = tables.put("weather", clean.clean_weather(raw_table("weather")))
    query = transformed.departures(
        flights=clean_flights(tables),
        weather=weather,
        planes=tables.build("planes", clean.planes(raw["planes"])),
        airports=tables.build("airports", clean.airports(raw["airports"])),
    )
    tables.build("departures", query)
    assert tables.rows("departures") == []
