"""How good predictions are: figures, their table with baselines, and calibration."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import polars as pl

from data_pipeline.pipelines.flights.estimator import LateArrivalModel, Probabilities
from data_pipeline.pipelines.flights.features import KEY

Outcomes = np.ndarray[tuple[int], np.dtype[np.bool_]]

SPLITS = ("train", "test")

PREDICTORS = {
    "model": "probability",
    "constant": "constant_probability",
    "route history": "route_history_probability",
}
"""Columns of the predictions: the model, and the two baselines that it has to beat."""

PRIOR_FLIGHTS = 10
"""So many flights with the share of training are added to the history of a route: in a small
sample it is short, and shares of 0 or 1 would make the baseline too easy to beat."""

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Figures:
    """Quality of the predictions for some flights; None where a figure is not defined.

    Attributes:
        rows: Number of flights.
        late_rate: Share of late flights among them.
        roc_auc: Area under the ROC curve, 0.5 for predictions without information.
        brier: Brier score, the mean squared error of the probabilities.
        log_loss: Mean negative log-likelihood, in nats.
        note: Why figures are missing.
    """

    rows: int
    late_rate: float | None = None
    roc_auc: float | None = None
    brier: float | None = None
    log_loss: float | None = None
    note: str | None = None


def figures(late: Outcomes, probability: Probabilities) -> Figures:
    """Compares predicted probabilities, all of them known or all NaN, with what happened."""
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    rows = len(late)
    if rows == 0:
        return Figures(rows=0, note="no flights in this part")
    late_rate = float(late.mean())
    if np.isnan(probability).any():
        return Figures(rows, late_rate, note="there is no prediction")
    one_class = late.all() or not late.any()
    return Figures(
        rows=rows,
        late_rate=late_rate,
        roc_auc=None if one_class else float(roc_auc_score(late, probability)),
        brier=float(brier_score_loss(late, probability, labels=[False, True])),
        log_loss=float(log_loss(late, probability, labels=[False, True])),
        note="all flights had the same outcome: ROC AUC is not defined" if one_class else None,
    )


def predict(features: pl.DataFrame, model: LateArrivalModel) -> pd.DataFrame:
    """Gives the predictions of the model and of its baselines for each flight.

    The baselines are the share of late flights in training (`constant`) and the share on the
    flight's route in the weeks before (`route history`), shrunk towards the former.

    Args:
        features: The table flights_features/late_arrivals.
        model: The fitted model.

    Returns:
        The key, `split`, `late`, and the columns of `PREDICTORS`, NULL for want of training rows.
    """
    constant = np.nan if model.train_late_rate is None else model.train_late_rate
    flown = features["history_flown"].cast(pl.Float64).fill_null(0.0).to_numpy()
    late = flown * features["history_late_rate"].cast(pl.Float64).fill_null(0.0).to_numpy()
    history = (late + PRIOR_FLIGHTS * constant) / (flown + PRIOR_FLIGHTS)
    columns = {name: features[name].to_pandas() for name in (*KEY, "split", "late")}
    columns["probability"] = pd.Series(model.predict(features))
    columns["constant_probability"] = pd.Series(np.full(features.height, constant))
    columns["route_history_probability"] = pd.Series(history)
    types = {
        "time_hour": "datetime64[us, UTC]",
        "carrier": "string",
        "flight": "Int64",
        "split": "string",
        "late": "boolean",
    } | dict.fromkeys(PREDICTORS.values(), "Float64")
    return pd.DataFrame(columns).astype(types)


def metrics_table(predictions: pd.DataFrame, model: LateArrivalModel) -> pd.DataFrame:
    """Gives the figures of each part and predictor: the same six rows whatever the data.

    Returns:
        `split`, `predictor`, `kind` (how the model came about), the fields of `Figures`,
        `brier_skill` (1 is perfect, 0 as good as the constant) and `note`.
    """
    rows = []
    for split in SPLITS:
        part = predictions[predictions["split"] == split]
        reference = _figures_of(part, "constant")
        for predictor in PREDICTORS:
            found = _figures_of(part, predictor)
            own = predictor == "model"
            notes = [found.note, f"{model.kind}: {model.reason}" if own and model.reason else None]
            rows.append(
                {
                    "split": split,
                    "predictor": predictor,
                    "kind": model.kind if own else "baseline",
                    **vars(found),
                    "brier_skill": _skill(found.brier, reference.brier),
                    "note": "; ".join(filter(None, notes)) or None,
                }
            )
    floats = ["late_rate", "roc_auc", "brier", "log_loss", "brier_skill"]
    texts = ["split", "predictor", "kind", "note"]
    types = dict.fromkeys(texts, "string") | dict.fromkeys(floats, "Float64") | {"rows": "Int64"}
    order = ["split", "predictor", "kind", "rows", *floats, "note"]
    return pd.DataFrame(rows).astype(types)[order]


def calibration_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Compares predicted with actual shares of late test flights, by predicted probability.

    Returns:
        One row for each of `CALIBRATION_BINS` bins of equal width, also for empty ones: `bin` (from
        1), `lower`, `upper`, `rows`, `mean_probability` and `late_rate`.
    """
    test = predictions[(predictions["split"] == "test") & predictions["probability"].notna()]
    probability = test["probability"].astype("float64")
    bins = np.clip((probability * CALIBRATION_BINS).astype("int64"), 0, CALIBRATION_BINS - 1) + 1
    late = test["late"].astype("float64")
    numbers = pd.RangeIndex(1, CALIBRATION_BINS + 1)
    table = pd.DataFrame(
        {
            "bin": numbers,
            "lower": (numbers - 1) / CALIBRATION_BINS,
            "upper": numbers / CALIBRATION_BINS,
            "rows": probability.groupby(bins).size().reindex(numbers, fill_value=0),
            "mean_probability": probability.groupby(bins).mean().reindex(numbers),
            "late_rate": late.groupby(bins).mean().reindex(numbers),
        }
    ).reset_index(drop=True)
    floats = dict.fromkeys(["lower", "upper", "mean_probability", "late_rate"], "Float64")
    return table.astype({"bin": "Int64", "rows": "Int64"} | floats)


def outcomes(part: pd.DataFrame) -> Outcomes:
    """Gives what happened to each flight of a part of the predictions."""
    return part["late"].to_numpy(dtype=bool)


def probabilities(part: pd.DataFrame, predictor: str = "model") -> Probabilities:
    """Gives what a predictor said of each flight of a part; NaN where nothing."""
    return part[PREDICTORS[predictor]].to_numpy(dtype=np.float64, na_value=np.nan)


def _figures_of(part: pd.DataFrame, predictor: str) -> Figures:
    return figures(outcomes(part), probabilities(part, predictor))


def _skill(brier: float | None, reference: float | None) -> float | None:
    return None if brier is None or not reference else 1 - brier / reference
