"""Sums of each route and day, and the history before them."""

import polars as pl
import pytest

from data_pipeline.pipelines.flights.transformed import sum_up_route_days
from data_pipeline_tests.flights.made import departure, departures


def test_a_day_counts_what_became_of_its_flights() -> None:
    day = sum_up_route_days(
        departures(
            departure(0, 1, arrival_delay=15),
            departure(0, 2, arrival_delay=16),
            departure(0, 3, status="cancelled", arrival_delay=None),
            departure(0, 4, status="diverted", arrival_delay=None),
        )
    )
    assert day.select("flights", "cancelled", "flown", "late").row(0) == (4, 1, 2, 1)
    assert day["mean_arrival_delay"].item() == 15.5


def test_routes_are_kept_apart() -> None:
    days = sum_up_route_days(departures(departure(0), departure(0, 2, dest="MIA"), departure(5)))
    assert days.select("dest", "history_flown").rows() == [("BOS", 0), ("BOS", 1), ("MIA", 0)]


@pytest.mark.parametrize(("days_before", "counts"), [(0, 0), (1, 0), (2, 1), (29, 1), (30, 0)])
def test_history_is_the_28_days_that_end_the_day_before_yesterday(
    days_before: int, counts: int
) -> None:
    rows = departures(departure(40 - days_before, 1, arrival_delay=60), departure(40, 2))
    last = sum_up_route_days(rows).row(-1, named=True)
    assert last["history_flown"] == last["history_late"] == counts


def test_no_flights_give_no_days_of_the_same_types() -> None:
    none = sum_up_route_days(departures())
    assert none.is_empty()
    assert none.schema == sum_up_route_days(departures(departure(0))).schema
    assert none.schema["mean_arrival_delay"] == pl.Float64


def test_all_arrivals_are_known_when_they_become_history() -> None:
    """Why two days: in the real data no flight lands later than the end of the next day."""
    from data_pipeline.pipelines.flights.source import read_source

    flights = read_source("flights")
    flights = flights[flights["arr_delay"].notna()]
    hour = flights["time_hour"].dt.tz_convert("America/New_York").dt.tz_localize(None)
    taxiing = 60
    minutes = flights["minute"] + flights["dep_delay"] + flights["air_time"] + taxiing
    landed = hour + minutes.astype("timedelta64[s]") * 60
    assert ((landed - hour.dt.normalize()).dt.total_seconds() < 2 * 86400).all()
