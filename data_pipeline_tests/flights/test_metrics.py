"""Evaluation: figures beside baselines, NULL with a reason where a figure is not defined."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from data_pipeline.pipelines.flights.estimates import prediction_estimates
from data_pipeline.pipelines.flights.estimator import LateArrivalModel, fit_late_arrival_model
from data_pipeline.pipelines.flights.evaluation import markdown_table
from data_pipeline.pipelines.flights.metrics import (
    CALIBRATION_BINS,
    PREDICTORS,
    calibration_table,
    figures,
    metrics_table,
    predict,
)
from data_pipeline.pipelines.flights.model import describe
from data_pipeline.pipelines.flights.plot import evaluation_png
from data_pipeline_tests.flights.made import busy_departures, departure, departures
from data_pipeline_tests.flights.test_features import features_of

BUSY = features_of(busy_departures())
SAMPLES = {
    "busy": BUSY,
    "none": features_of(departures()),
    "one row": features_of(departures(departure(0))),
    "one moment": features_of(departures(departure(0, 1), departure(0, 2, arrival_delay=60))),
    "punctual": features_of(departures(*(departure(day) for day in range(12)))),
}
of_any_sample = pytest.mark.parametrize("sample", SAMPLES)


@cache
def evaluated(sample: str) -> tuple[pd.DataFrame, LateArrivalModel]:
    model = fit_late_arrival_model(SAMPLES[sample])
    return predict(SAMPLES[sample], model), model


def row_of(table: pd.DataFrame, split: str, predictor: str = "model") -> pd.Series:
    return table[(table["split"] == split) & (table["predictor"] == predictor)].iloc[0]


def test_figures_are_those_of_the_literature() -> None:
    late = np.array([True, False, True, False])
    found = figures(late, np.array([0.8, 0.4, 0.4, 0.2]), np.ones(4))
    assert found.rows == 4
    assert found.late_rate == 0.5
    assert found.roc_auc == pytest.approx(3.5 / 4)
    assert found.brier == pytest.approx((0.04 + 0.16 + 0.36 + 0.04) / 4)
    assert found.log_loss == pytest.approx(-np.log([0.8, 0.6, 0.4, 0.8]).mean())


def test_a_figure_that_is_not_defined_is_none_and_never_nan() -> None:
    found = figures(np.array([False, False]), np.array([0.1, 0.2]), np.ones(2))
    assert found.roc_auc is None
    assert found.brier == pytest.approx(0.025)


def test_the_constant_baseline_knows_the_train_rate_and_nothing_else() -> None:
    predictions, model = evaluated("busy")
    assert set(predictions["constant_probability"]) == {model.train_late_rate}
    constant = row_of(metrics_table(predictions, model), "test", "constant")
    assert (constant["roc_auc"], constant["brier_skill"]) == (0.5, 0.0)


def test_the_route_history_baseline_is_the_constant_where_there_is_no_history() -> None:
    predictions, model = evaluated("busy")
    history = predictions["route_history_probability"]
    assert set(history[BUSY["history_flown"].to_numpy() == 0]) == {model.train_late_rate}
    assert history.iloc[-1] == pytest.approx(
        (BUSY["history_late_rate"][-1] * BUSY["history_flown"][-1] + 10 * model.train_late_rate)
        / (BUSY["history_flown"][-1] + 10)
    )


def test_a_good_model_beats_both_baselines() -> None:
    table = metrics_table(*evaluated("busy"))
    brier = {name: row_of(table, "test", name)["brier"] for name in PREDICTORS}
    assert brier["model"] < min(brier["constant"], brier["route history"])


def test_one_outcome_leaves_the_roc_auc_undefined_and_the_rest_not() -> None:
    model = row_of(metrics_table(*evaluated("punctual")), "test")
    assert model["roc_auc"] is pd.NA
    assert model["brier"] == 0.0
    assert model["kind"] == "constant"
    assert "ROC AUC is not defined" in model["note"]
    assert "too few to learn from" in model["note"]


def test_without_a_model_the_figures_are_null_and_the_reason_is_told() -> None:
    predictions, model = evaluated("one row")
    assert predictions[list(PREDICTORS.values())].isna().all(axis=None)
    table = metrics_table(predictions, model)
    assert table[["roc_auc", "brier", "log_loss", "brier_skill"]].isna().all(axis=None)
    test = row_of(table, "test")
    assert (test["kind"], test["rows"]) == ("none", 1)
    assert "no flights in the train part" in test["note"]


@of_any_sample
def test_tables_have_the_same_shape_and_types_for_any_sample(sample: str) -> None:
    predictions, model = evaluated(sample)
    reference, good_model = evaluated("busy")
    assert len(predictions) == SAMPLES[sample].height
    assert predictions.dtypes.equals(reference.dtypes)
    metrics, calibration = metrics_table(predictions, model), calibration_table(predictions)
    assert metrics.dtypes.equals(metrics_table(reference, good_model).dtypes)
    assert len(metrics) == 2 * len(PREDICTORS)
    assert calibration.dtypes.equals(calibration_table(reference).dtypes)
    assert len(calibration) == CALIBRATION_BINS


def test_every_test_prediction_is_in_one_calibration_bin() -> None:
    probability = [0.0, 0.05, 0.1, 0.99, 1.0]
    predictions = pd.DataFrame(
        {
            "split": pd.Series(["test"] * 5 + ["train"], dtype="string"),
            "late": pd.Series([False, True, True, True, True, True], dtype="boolean"),
            "model_probability": pd.Series([*probability, 0.5], dtype="Float64"),
            "weight": pd.Series([1.0] * 6, dtype="Float64"),
        }
    )
    table = calibration_table(predictions).set_index("bin")
    assert table["rows"].to_list() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert table.loc[1, "late_rate"] == 0.5
    assert table.loc[1, "mean_probability"] == pytest.approx(0.025)
    assert table.loc[3, "late_rate"] is pd.NA


@of_any_sample
def test_the_plot_is_an_image_and_the_same_each_time(sample: str) -> None:
    predictions, _ = evaluated(sample)
    estimates = prediction_estimates(predictions)
    png = evaluation_png(predictions, estimates)
    assert png.startswith(b"\x89PNG")
    assert png == evaluation_png(predictions, estimates)


@of_any_sample
def test_the_metadata_of_the_model_tells_kind_reason_and_figures(sample: str) -> None:
    _, model = evaluated(sample)
    metadata = describe(model, SAMPLES[sample])
    assert (metadata["kind"], metadata["reason"]) == (model.kind, model.reason)
    assert metadata["test_rows"] + metadata["train_rows"] == SAMPLES[sample].height
    assert "data:image/png;base64," in metadata["plot"].value


def test_a_table_in_markdown_leaves_null_empty() -> None:
    frame = pd.DataFrame({"a": [1.0, None], "b": ["x", "y"]})
    assert markdown_table(frame) == "| a | b |\n| --- | --- |\n| 1.0000 | x |\n|  | y |"
