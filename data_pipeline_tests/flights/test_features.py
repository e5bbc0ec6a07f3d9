"""Features: known before the flight leaves; train and test apart by time."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.pipelines.flights.features import (
    CATEGORICAL,
    NUMERIC,
    late_arrival_features,
    split_by_time,
)
from data_pipeline.pipelines.flights.transformed import sum_up_route_days
from data_pipeline_tests.flights.made import START, busy_departures, departure, departures

AFTER_DEPARTURE = {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"} | {
    "departure_delay",
    "arrival_delay",
    "air_minutes",
    "status",
    "late",
    "split",
}


def features_of(rows: pl.DataFrame) -> pl.DataFrame:
    return late_arrival_features(rows, sum_up_route_days(rows))


@given(
    st.lists(
        st.datetimes(START.replace(tzinfo=None), START.replace(tzinfo=None, year=2014)), min_size=1
    )
)
def test_no_test_flight_leaves_before_a_train_flight(moments: list[object]) -> None:
    times = pl.Series("t", moments, dtype=pl.Datetime("us", "UTC"))
    split = split_by_time(times, pl.Series([1.0] * len(times)))
    train, test = times.filter(split == "train"), times.filter(split == "test")
    assert len(train) + len(test) == len(times)
    assert len(test) > 0
    assert train.is_empty() or train.max() < test.min()


def test_three_quarters_of_distinct_times_are_train() -> None:
    times = pl.Series(range(100), dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    assert (split_by_time(times, pl.Series([1.0] * 100)) == "train").sum() == pytest.approx(
        75, abs=1
    )


def test_no_feature_is_known_only_after_departure() -> None:
    assert not AFTER_DEPARTURE & {*CATEGORICAL, *NUMERIC}


def test_outcomes_of_today_and_yesterday_do_not_reach_the_features() -> None:
    rows = busy_departures(days=10)
    recent = pl.col("flight_date") >= rows["flight_date"].max() - pl.duration(days=1)
    other = rows.with_columns(
        pl.when(recent)
        .then(500 - pl.col("arrival_delay"))
        .otherwise("arrival_delay")
        .alias("arrival_delay"),
        pl.when(recent).then(999).otherwise("departure_delay").alias("departure_delay"),
    )
    before, after = features_of(rows), features_of(other)
    assert not before["late"].equals(after["late"])
    assert before.select(CATEGORICAL + NUMERIC).equals(after.select(CATEGORICAL + NUMERIC))


def test_older_outcomes_do_reach_the_features() -> None:
    late = features_of(departures(departure(0, arrival_delay=60), departure(2, arrival_delay=0)))
    assert late["history_late_rate"].to_list() == [None, 1.0]


def test_late_is_more_than_fifteen_minutes_after_the_scheduled_arrival() -> None:
    rows = departures(departure(0, 1, arrival_delay=15), departure(0, 2, arrival_delay=16))
    assert features_of(rows)["late"].to_list() == [False, True]


def test_flights_that_did_not_arrive_are_left_out() -> None:
    gone = {"arrival_delay": None}
    rows = departures(
        departure(0, 1, status="cancelled", **gone), departure(0, 2, status="diverted", **gone)
    )
    assert features_of(rows).is_empty()


@pytest.mark.parametrize("rows", [0, 1])
def test_types_do_not_depend_on_the_rows(rows: int) -> None:
    few = features_of(departures(departure(0)).head(rows))
    assert few.height == rows
    assert few.schema == features_of(busy_departures()).schema
