"""How good predictions are: figures, their table with baselines, and calibration."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import polars as pl

from data_pipeline.pipelines.flights.estimator import LateArrivalModel, Probabilities
from data_pipeline.pipelines.flights.features import KEY
from data_pipeline.pipelines.flights.weights import SAMPLING

Outcomes = np.ndarray[tuple[int], np.dtype[np.bool_]]
Weights = np.ndarray[tuple[int], np.dtype[np.float64]]

SPLITS = ("train", "test")

PREDICTORS = {
    "model": "model_probability",
    "constant": "constant_probability",
    "route history": "route_history_probability",
}
"""Columns of the predictions: the model, and the two baselines that it has to beat."""

NO_WEIGHTS = "no flight in this part has a weight: the sample says nothing of the full data"

PRIOR_FLIGHTS = 10
"""So many flights with the share of training are added to the history of a route: in a small
sample it is short, and shares of 0 or 1 would make the baseline too easy to beat."""

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Figures:
    """Quality of the predictions for some flights; None where a figure is not defined.

    Attributes:
        rows: Number of flights that have a weight.
        late_rate: Share of late flights among them; as all figures, weighted.
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


def figures(late: Outcomes, probability: Probabilities, weight: Weights) -> Figures:
    """Compares predicted probabilities, all of them known or all NaN, with what happened.

    Args:
        late: What happened.
        probability: What was predicted.
        weight: What each flight counts; those of weight 0 are left out.
    """
    from sklearn.metrics import log_loss

    if len(late) == 0:
        return Figures(rows=0, note="no flights in this part")
    counts = weight > 0
    late, probability, weight = late[counts], probability[counts], weight[counts]
    rows = len(late)
    if rows == 0:
        return Figures(rows=0, note=NO_WEIGHTS)
    late_rate = float(np.average(late, weights=weight))
    if np.isnan(probability).any():
        return Figures(rows, late_rate, note="there is no prediction")
    auc = roc_auc(late, probability, weight)
    one_class = np.isnan(auc)
    return Figures(
        rows=rows,
        late_rate=late_rate,
        roc_auc=None if one_class else auc,
        brier=brier(late, probability, weight),
        log_loss=float(log_loss(late, probability, labels=[False, True], sample_weight=weight)),
        note="all flights had the same outcome: ROC AUC is not defined" if one_class else None,
    )


def roc_auc(late: Outcomes, score: Probabilities, weight: Weights) -> float:
    """Gives the area under the ROC curve; NaN where all outcomes are the same."""
    from sklearn.metrics import roc_auc_score

    if late.all() or not late.any():
        return float("nan")
    return float(roc_auc_score(late, score, sample_weight=weight))


def brier(late: Outcomes, probability: Probabilities, weight: Weights) -> float:
    """Gives the mean squared error of the probabilities."""
    return float(np.average((probability - late) ** 2, weights=weight))


def predict(features: pl.DataFrame, model: LateArrivalModel) -> pd.DataFrame:
    """Gives the predictions of the model and of its baselines for each flight.

    The baselines are the share of late flights in training (`constant`) and the share on the
    flight's route in the weeks before (`route history`), shrunk towards the former.

    Args:
        features: The table flights_features/late_arrivals.
        model: The fitted model.

    Returns:
        The key, `origin`, `scheduled_hour`, `split`, `late`, the columns of `SAMPLING`, and those
        of `PREDICTORS`, NULL for want of training rows.
    """
    constant = np.nan if model.train_late_rate is None else model.train_late_rate
    sampled = features["history_sampled"].cast(pl.Float64).fill_null(0.0).to_numpy()
    late = sampled * features["history_late_rate"].cast(pl.Float64).fill_null(0.0).to_numpy()
    history = (late + PRIOR_FLIGHTS * constant) / (sampled + PRIOR_FLIGHTS)
    known = (*KEY, "origin", "scheduled_hour", "split", "late", *SAMPLING)
    columns = {name: features[name].to_pandas() for name in known}
    columns["model_probability"] = pd.Series(model.predict(features))
    columns["constant_probability"] = pd.Series(np.full(features.height, constant))
    columns["route_history_probability"] = pd.Series(history)
    types = {
        "time_hour": "datetime64[us, UTC]",
        "carrier": "string",
        "flight": "Int64",
        "origin": "string",
        "scheduled_hour": "Int64",
        "split": "string",
        "late": "boolean",
        "probability": "Float64",
        "unit": "Int64",
        "weight": "Float64",
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
        1), `lower`, `upper`, `rows`, and, weighted, `mean_probability` and `late_rate`.
    """
    counts = (predictions["split"] == "test") & (predictions["weight"] > 0)
    test = predictions[counts & predictions["model_probability"].notna()]
    probability, weight = (test[c].astype("float64") for c in ("model_probability", "weight"))
    bins = np.clip((probability * CALIBRATION_BINS).astype("int64"), 0, CALIBRATION_BINS - 1) + 1
    late = test["late"].astype("float64")
    total = weight.groupby(bins).sum()
    numbers = pd.RangeIndex(1, CALIBRATION_BINS + 1)
    table = pd.DataFrame(
        {
            "bin": numbers,
            "lower": (numbers - 1) / CALIBRATION_BINS,
            "upper": numbers / CALIBRATION_BINS,
            "rows": probability.groupby(bins).size().reindex(numbers, fill_value=0),
            "mean_probability": ((probability * weight).groupby(bins).sum() / total).reindex(
                numbers
            ),
            "late_rate": ((late * weight).groupby(bins).sum() / total).reindex(numbers),
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
    weight = part["weight"].to_numpy(dtype=np.float64)
    return figures(outcomes(part), probabilities(part, predictor), weight)


def _skill(brier: float | None, reference: float | None) -> float | None:
    return None if brier is None or not reference else 1 - brier / reference
