"""The model of late arrivals: what is fitted to which rows, and how it predicts."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import polars as pl

from data_pipeline.pipelines.flights.features import CATEGORICAL, NUMERIC
from data_pipeline.pipelines.flights.weights import learning_weights

Probabilities = np.ndarray[tuple[int], np.dtype[np.float64]]

Kind = Literal["gradient boosting", "constant", "none"]

RANDOM_STATE = 2013
ROWS_OF_EACH_CLASS = 10
"""With fewer late or punctual flights to learn from, the model is constant and says so."""

UNKNOWN = "(unknown)"

NO_WEIGHTS = "no flight in the train part has a weight, so each counts once to let the code run"


@dataclass(frozen=True)
class LateArrivalModel:
    """A fitted model, and how it came about.

    Attributes:
        kind: `gradient boosting`; `constant`, the share of late flights in training, where that is
            all one can learn; `none` where there was nothing to learn from.
        reason: Why it is not gradient boosting, or not fitted to weighted rows.
        train_rows: Rows that it was fitted to.
        train_late_rate: Weighted share of late flights among them; None without rows.
        inputs: The features that it uses: those with any value in training.
        estimator: The scikit-learn estimator; None for kind `none`.
    """

    kind: Kind
    reason: str | None
    train_rows: int
    train_late_rate: float | None
    inputs: tuple[str, ...] = ()
    estimator: Any = None

    def predict(self, features: pl.DataFrame) -> Probabilities:
        """Gives the probability of a late arrival for each row; NaN from a model of kind `none`.

        Args:
            features: At least the columns `CATEGORICAL` and `NUMERIC`.
        """
        if self.estimator is None:
            return np.full(features.height, np.nan)
        if features.is_empty():
            return np.empty(0)
        classes = list(self.estimator.classes_)
        if True not in classes:
            return np.zeros(features.height)
        probabilities = self.estimator.predict_proba(design_matrix(features))
        return np.asarray(probabilities[:, classes.index(True)], dtype=np.float64)


def fit_late_arrival_model(features: pl.DataFrame) -> LateArrivalModel:
    """Fits a model to the rows whose `split` is `train`; no other row has an influence.

    Rows count by their weight, so those that are in the sample for another reason than to stand for
    others have no influence either, unless there are no others.

    Args:
        features: The table flights_features/late_arrivals, of any size.
    """
    from sklearn.dummy import DummyClassifier
    from threadpoolctl import threadpool_limits

    train = features.filter(pl.col("split") == "train")
    reason = None if (train["weight"] > 0).any() else NO_WEIGHTS
    train = train.with_columns(learning_weights(train["weight"])).filter(pl.col("weight") > 0)
    rows, late = train.height, int(train["late"].sum())
    if rows == 0:
        nothing = "there are no flights in the train part"
        return LateArrivalModel("none", nothing, train_rows=0, train_late_rate=None)
    kind: Kind = "gradient boosting"
    # The booster takes missing numbers, but no column of nothing else.
    numbers = [name for name in NUMERIC if train[name].count()]
    inputs: tuple[str, ...] = (*CATEGORICAL, *numbers)
    estimator = _gradient_boosting(numbers)
    if min(late, rows - late) < ROWS_OF_EACH_CLASS:
        kind, inputs = "constant", ()
        few = (
            f"{late} late and {rows - late} punctual flights in the train part are too few to "
            f"learn from: at least {ROWS_OF_EACH_CLASS} of each are needed"
        )
        reason = "; ".join(filter(None, [few, reason]))
        estimator = DummyClassifier(strategy="prior", random_state=RANDOM_STATE)
    # On one core, so that sums of floats, and with them the model, are the same on any machine.
    with threadpool_limits(limits=1):
        # Of mean one: regularisation weighs against the rows there are, not those of full.
        weight = (train["weight"] / train["weight"].mean()).to_numpy()
        outcome = train["late"].to_numpy()
        of_step = "sample_weight" if kind == "constant" else "booster__sample_weight"
        estimator.fit(design_matrix(train), outcome, **{of_step: weight})
    rate = float(np.average(outcome, weights=weight))
    return LateArrivalModel(kind, reason, rows, rate, inputs, estimator)


def design_matrix(features: pl.DataFrame) -> pd.DataFrame:
    """Gives the model's input: the categories as text, the numbers as floats, NaN for NULL.

    Any other column, the outcome of the flight above all, stays behind.
    """
    columns = {
        name: features[name].cast(pl.String).fill_null(UNKNOWN).to_numpy() for name in CATEGORICAL
    } | {name: features[name].cast(pl.Float64).to_numpy() for name in NUMERIC}
    return pd.DataFrame(columns)


def _gradient_boosting(numbers: list[str]) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    # A category that training has not seen is treated as a missing one; rare ones share a number,
    # since the booster takes at most 255 of them.
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, max_categories=250
    )
    booster = HistGradientBoostingClassifier(
        categorical_features=list(range(len(CATEGORICAL))),
        max_iter=60,
        max_leaf_nodes=15,
        learning_rate=0.1,
        l2_regularization=1.0,
        # Its own validation rows would be drawn at random, across time.
        early_stopping=False,
        random_state=RANDOM_STATE,
    )
    columns = ColumnTransformer(
        [("categories", encoder, list(CATEGORICAL)), ("numbers", "passthrough", numbers)]
    )
    return Pipeline([("columns", columns), ("booster", booster)])
