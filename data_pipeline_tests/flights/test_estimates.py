"""Estimates: what the full data would show, with intervals; NULL and a note where nothing is known.

How often the intervals hold the truth is tested with the estimates of `sampling`.
"""

from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pytest

from data_pipeline.pipelines.flights.estimates import (
    ALL,
    FIXED_SCORE,
    estimates_table,
    prediction_estimates,
)
from data_pipeline.pipelines.flights.estimator import fit_late_arrival_model
from data_pipeline.pipelines.flights.metrics import PREDICTORS, metrics_table, predict
from data_pipeline_tests.flights.made import WITNESS, busy_departures, departure, departures
from data_pipeline_tests.flights.test_features import features_of

NUMBERS = ["value", "standard_error", "low", "high"]
BUSY = busy_departures()
HALF = BUSY.with_columns(probability=pl.lit(0.5), weight=pl.lit(2.0))
SAMPLES = {
    "busy": BUSY,
    "half": HALF,
    "none": departures(),
    "one sampled": departures(departure(0, probability=0.1, weight=10.0)),
    "witnesses": departures(departure(0, **WITNESS), departure(9, arrival_delay=60, **WITNESS)),
}


def estimates_of(flights: pl.DataFrame) -> pd.DataFrame:
    features = features_of(flights)
    predictions = predict(features, fit_late_arrival_model(features))
    return estimates_table(flights.to_pandas(), predictions)


@cache
def known_estimates(sample: str) -> pd.DataFrame:
    return estimates_of(SAMPLES[sample])


def estimate(table: pd.DataFrame, figure: str, subject: str = ALL) -> pd.Series:
    (row,) = table.index[(table["figure"] == figure) & (table["subject"] == subject)]
    return table.loc[row]


def test_on_all_flights_there_is_no_doubt() -> None:
    table = known_estimates("busy")
    assert (table["standard_error"] == 0).all()
    assert table["low"].equals(table["value"])
    assert table["high"].equals(table["value"])
    assert estimate(table, "number")["value"] == BUSY.height
    assert estimate(table, "share late")["value"] == BUSY["arrival_delay"].gt(15).mean()


def test_on_a_sample_the_interval_is_around_the_estimate() -> None:
    table = known_estimates("half")
    share = estimate(table, "share late")
    assert estimate(table, "number")["value"] == 2 * BUSY.height
    assert 0 < share["low"] < share["value"] < share["high"] < 1
    assert share["units"] == share["rows"] == HALF.height


def test_figures_of_predictors_are_those_of_the_metrics() -> None:
    features = features_of(HALF)
    model = fit_late_arrival_model(features)
    predictions = predict(features, model)
    metrics = metrics_table(predictions, model).set_index(["split", "predictor"])
    table = prediction_estimates(predictions)
    for figure in ("roc_auc", "brier", "brier_skill"):
        found = estimate(table, f"test {figure.replace('_', ' ')}", "route history")
        assert found["value"] == pytest.approx(metrics.loc[("test", "route history"), figure])
        assert found["low"] < found["value"] < found["high"]


def test_the_scheduled_hour_is_a_score_that_nothing_was_learnt_for() -> None:
    late = pl.col("arrival_delay") > 15
    told = BUSY.with_columns(pl.when(late).then(20).otherwise(6).alias("scheduled_hour"))
    assert estimate(estimates_of(told), "test roc auc", FIXED_SCORE)["value"] == 1.0


def test_figures_of_what_was_learnt_here_say_that_full_learns_another_one() -> None:
    table = known_estimates("half")
    learnt = table["subject"].isin(list(PREDICTORS))
    assert learnt.sum() == 7
    assert table.loc[learnt, "note"].str.startswith("learnt in this instance").all()
    assert estimate(table, "test roc auc", FIXED_SCORE)["note"].startswith("learnt nowhere")
    assert table.loc[~learnt & (table["subject"] != FIXED_SCORE), "note"].isna().all()


def test_they_say_too_why_one_is_missing() -> None:
    note = estimate(known_estimates("witnesses"), "test roc auc", "model")["note"]
    assert note.startswith("no flight in this part has a weight")
    assert "learnt in this instance" in note


@pytest.mark.parametrize(
    ("sample", "note"),
    [
        ("none", "no flight in this part has a weight"),
        ("witnesses", "no flight in this part has a weight"),
        ("one sampled", "there are too few units for a standard error"),
    ],
)
def test_what_the_sample_cannot_tell_is_null_with_a_note(sample: str, note: str) -> None:
    share = estimate(known_estimates(sample), "share late")
    assert note in share["note"]
    assert share[["standard_error", "low", "high"]].isna().all()


@pytest.mark.parametrize("sample", ["none", "witnesses", "one sampled", "half"])
def test_types_do_not_depend_on_the_sample(sample: str) -> None:
    table = known_estimates(sample)
    assert table.dtypes.equals(known_estimates("busy").dtypes)
    assert not table[["figure", "subject"]].duplicated().any()
    assert not any(isinstance(v, float) and np.isnan(v) for v in table[NUMBERS].to_numpy().flat)


def test_without_weights_the_number_of_flights_is_unknown_and_not_zero() -> None:
    assert estimate(known_estimates("witnesses"), "number")[NUMBERS].isna().all()
