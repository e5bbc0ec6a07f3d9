"""The model: learns from train rows alone, and says so where there is nothing to learn."""

import pickle

import numpy as np
import polars as pl
import pytest

from data_pipeline.pipelines.flights.estimator import (
    LateArrivalModel,
    design_matrix,
    fit_late_arrival_model,
)
from data_pipeline_tests.flights.made import busy_departures, departure, departures
from data_pipeline_tests.flights.test_features import features_of


@pytest.fixture(scope="module")
def features() -> pl.DataFrame:
    return features_of(busy_departures())


@pytest.fixture(scope="module")
def model(features: pl.DataFrame) -> LateArrivalModel:
    return fit_late_arrival_model(features)


def test_enough_flights_are_learnt_from(features: pl.DataFrame, model: LateArrivalModel) -> None:
    assert (model.kind, model.reason) == ("gradient boosting", None)
    test = features.filter(pl.col("split") == "test")
    probability = model.predict(test)
    late = test["late"].to_numpy()
    assert probability[late].min() > 0.9 > 0.1 > probability[~late].max()


def test_test_rows_have_no_influence(features: pl.DataFrame, model: LateArrivalModel) -> None:
    other = features.with_columns(
        pl.when(pl.col("split") == "test").then(~pl.col("late")).otherwise("late").alias("late")
    )
    assert np.array_equal(fit_late_arrival_model(other).predict(features), model.predict(features))


def test_the_same_rows_give_the_same_model(features: pl.DataFrame, model: LateArrivalModel) -> None:
    assert pickle.dumps(fit_late_arrival_model(features)) == pickle.dumps(model)


def test_the_input_has_neither_key_nor_outcome(features: pl.DataFrame) -> None:
    columns = set(design_matrix(features))
    assert not columns & {"late", "split", "time_hour", "flight", "scheduled_departure"}


def test_an_unseen_category_and_missing_numbers_are_predicted(model: LateArrivalModel) -> None:
    strange = features_of(departures(departure(70, carrier="ZZ", dest="XXX", distance_miles=None)))
    (probability,) = model.predict(strange)
    assert 0 < probability < 1


def test_a_feature_without_any_value_in_training_is_not_used(
    features: pl.DataFrame, model: LateArrivalModel
) -> None:
    assert features["pressure_millibars"].null_count() == features.height
    assert "pressure_millibars" not in model.inputs
    assert "wind_speed_mph" in model.inputs


def test_many_categories_are_no_obstacle() -> None:
    """More than the 255 that the booster takes."""
    names = pl.concat_str(pl.lit("D"), pl.int_range(pl.len()))
    rows = features_of(busy_departures(each=8).with_columns(names.alias("dest")))
    assert rows.filter(pl.col("split") == "train")["dest"].n_unique() > 255
    assert fit_late_arrival_model(rows).kind == "gradient boosting"


@pytest.mark.parametrize(("delay", "rate"), [(0, 0.0), (60, 1.0)])
def test_a_target_without_variance_gives_a_constant_and_its_reason(delay: int, rate: float) -> None:
    rows = features_of(departures(*(departure(day, arrival_delay=delay) for day in range(40))))
    model = fit_late_arrival_model(rows)
    assert model.kind == "constant"
    assert "too few to learn from" in str(model.reason)
    assert set(model.predict(rows)) == {rate}


def test_too_few_late_flights_give_their_share_as_a_constant() -> None:
    rows = departures(*(departure(day, arrival_delay=60 * (day == 0)) for day in range(8)))
    model = fit_late_arrival_model(features_of(rows))
    assert model.kind == "constant"
    assert str(model.reason).startswith("1 late and 5 punctual flights")
    assert set(model.predict(features_of(rows))) == {1 / 6}


@pytest.mark.parametrize("rows", [0, 1])
def test_without_train_rows_there_is_no_model_and_no_number(rows: int) -> None:
    few = features_of(departures(departure(0)).head(rows))
    model = fit_late_arrival_model(few)
    assert (model.kind, model.train_rows, model.train_late_rate) == ("none", 0, None)
    assert "no flights in the train part" in str(model.reason)
    assert np.isnan(model.predict(few)).sum() == rows


def test_a_model_predicts_no_rows(features: pl.DataFrame, model: LateArrivalModel) -> None:
    assert len(model.predict(features.clear())) == 0
