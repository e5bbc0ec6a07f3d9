"""Weights: a flight counts as often as it stands for flights of full, and witnesses not at all."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from data_pipeline.pipelines.flights.estimates import flight_estimates, prediction_estimates
from data_pipeline.pipelines.flights.estimator import fit_late_arrival_model
from data_pipeline.pipelines.flights.metrics import calibration_table, metrics_table, predict
from data_pipeline.pipelines.flights.transformed import sum_up_route_days
from data_pipeline_tests.flights.made import WITNESS, busy_departures, departure, departures
from data_pipeline_tests.flights.test_features import features_of

SAMPLE = busy_departures()
STRANGE = departures(
    *(
        departure(day, 90 + day, arrival_delay=5000 * (day % 2), scheduled_hour=3, **WITNESS)
        for day in range(0, 90, 3)
    )
)
WITH_WITNESSES = pl.concat([SAMPLE, STRANGE])


def without_witnesses(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("weight") > 0)


def test_witnesses_change_no_feature_and_no_part_of_other_flights() -> None:
    features = features_of(WITH_WITNESSES)
    assert without_witnesses(features).equals(features_of(SAMPLE))
    assert features.height == WITH_WITNESSES.height


def test_witnesses_leave_no_trace_in_the_model() -> None:
    plain = features_of(SAMPLE)
    model, with_witnesses = (
        fit_late_arrival_model(features) for features in (plain, features_of(WITH_WITNESSES))
    )
    assert np.array_equal(model.predict(plain), with_witnesses.predict(plain))
    assert model.train_rows == with_witnesses.train_rows
    assert model.train_late_rate == with_witnesses.train_late_rate


def test_witnesses_leave_no_trace_in_the_evaluation() -> None:
    features = features_of(WITH_WITNESSES)
    model = fit_late_arrival_model(features)
    every = predict(features, model)
    weighted = predict(without_witnesses(features), model)
    assert len(every) > len(weighted)
    pd.testing.assert_frame_equal(metrics_table(every, model), metrics_table(weighted, model))
    pd.testing.assert_frame_equal(calibration_table(every), calibration_table(weighted))
    pd.testing.assert_frame_equal(prediction_estimates(every), prediction_estimates(weighted))
    flights, sample = WITH_WITNESSES.to_pandas(), SAMPLE.to_pandas()
    pd.testing.assert_frame_equal(flight_estimates(flights), flight_estimates(sample))


def test_a_flight_of_weight_two_counts_in_figures_as_two_flights_do() -> None:
    features = features_of(SAMPLE)
    model = fit_late_arrival_model(features)
    once = predict(features, model)
    heavy = once.assign(weight=once["weight"].where(once["late"], 2.0))
    twice = pd.concat([once, once[~once["late"]]])
    counted = ["rows", "note"]
    pd.testing.assert_frame_equal(
        metrics_table(heavy, model).drop(columns=counted),
        metrics_table(twice, model).drop(columns=counted),
    )


def test_route_days_are_estimates_of_those_of_full() -> None:
    days = sum_up_route_days(
        departures(
            departure(0, 1, arrival_delay=60, weight=20.0),
            departure(0, 2, arrival_delay=0, weight=10.0),
            departure(0, 3, arrival_delay=600, **WITNESS),
            departure(2, 1, weight=20.0),
        )
    )
    first, last = days.rows(named=True)
    assert (first["flights"], first["flown"], first["late"]) == (30.0, 30.0, 20.0)
    assert first["mean_arrival_delay"] == 40.0
    assert first["sampled_flown"] == 2
    assert (last["history_flown"], last["history_late"]) == (30.0, 20.0)
    assert last["history_sampled"] == 2


def test_without_any_weight_the_code_runs_and_the_figures_are_null_with_a_note() -> None:
    nothing = pl.lit(None, dtype=pl.Float64)
    rows = busy_departures().with_columns(probability=nothing, weight=pl.lit(0.0))
    features = features_of(rows)
    model = fit_late_arrival_model(features)
    assert model.kind == "gradient boosting"
    assert "no flight in the train part has a weight" in str(model.reason)
    metrics = metrics_table(predict(features, model), model)
    assert metrics[["late_rate", "roc_auc", "brier", "log_loss"]].isna().all(axis=None)
    assert metrics["note"].str.contains("says nothing of the full data").all()


def test_the_share_of_late_flights_in_training_is_weighted() -> None:
    late = pl.col("arrival_delay") > 15
    features = features_of(
        SAMPLE.with_columns(pl.when(late).then(3.0).otherwise(1.0).alias("weight"))
    )
    train = features.filter(pl.col("split") == "train")
    expected = 3 * train["late"].sum() / train["weight"].sum()
    assert fit_late_arrival_model(features).train_late_rate == pytest.approx(expected)
