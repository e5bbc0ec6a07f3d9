"""What the full data would show, as the instance's sample tells it: figures with their intervals.

The interval of a figure of the flights (their number, shares and means) covers the value in full,
as does that of a score that nothing was learnt for, such as the scheduled hour: in 95 of 100
samples. That of a predictor speaks of this very predictor: what its figure would be on all test
flights of full. It does not tell how good the model is that full learns from all flights: that one
is another, and as a rule a better one.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from data_pipeline.estimates import Estimate, count, interval, mean
from data_pipeline.pipelines.flights.metrics import (
    NO_WEIGHTS,
    PREDICTORS,
    Weights,
    brier,
    outcomes,
    probabilities,
    roc_auc,
)

ALL = "all flights"
FIXED_SCORE = "scheduled hour"
"""Delays grow through the day. As a score, the hour is the same in each instance, learnt by none,
so that its ROC AUC in the sample is an estimate of that in full."""

LEARNT = "learnt in this instance: what it would reach on all test flights; full learns another one"
LEARNT_NOWHERE = "learnt nowhere, so the same in each instance: the one to compare"

_NUMBERS = ["value", "standard_error", "low", "high"]
_Statistic = Callable[[pd.DataFrame, Weights], float]


def flight_estimates(flights: pd.DataFrame) -> pd.DataFrame:
    """Estimates the number of flights, the share of cancelled ones, and the mean delay (minutes).

    Args:
        flights: The table flights_clean/flights: `status`, `arrival_delay`, `probability`, `unit`.

    Returns:
        As `estimates_table`.
    """
    cancelled = flights["status"] == "cancelled"
    return _table(
        [
            _row("number", ALL, count(flights)),
            _row("share cancelled", ALL, mean(flights, cancelled)),
            _row("mean arrival delay", ALL, mean(flights, "arrival_delay")),
        ]
    )


def prediction_estimates(predictions: pd.DataFrame) -> pd.DataFrame:
    """Estimates the share of late flights, and how well test flights were predicted.

    Args:
        predictions: As `metrics.predict` gives them.

    Returns:
        As `estimates_table`.
    """
    shares = mean(predictions, "late", by=["origin"]).to_dict("records")
    by_origin = [
        _row("share late", str(share["origin"]), Estimate(**_without(share, "origin")))
        for share in shares
    ]
    test = predictions[predictions["split"] == "test"]
    rows = [_row("share late", ALL, mean(predictions, "late")), *by_origin]
    return _table([*rows, *(_row(*found) for found in _test_figures(test))])


def estimates_table(flights: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Gives all estimates.

    Returns:
        `figure`, `subject` (of which flights or predictor), `value`, `standard_error`, `low`,
        `high` (the 95 % confidence interval), `units` and `rows` that it rests on, and `note`; what
        the sample cannot tell is NULL, and the note says why. It also says whether a predictor is
        another one in full.
    """
    found = [flight_estimates(flights), prediction_estimates(predictions)]
    return pd.concat(found, ignore_index=True)


def _test_figures(test: pd.DataFrame) -> Iterator[tuple[str, str, Estimate]]:
    hour = bool(test["scheduled_hour"].notna().all())
    yield "test roc auc", FIXED_SCORE, _estimate(test, _auc_of_hour, defined=hour)
    for name, column in PREDICTORS.items():
        defined = bool(test[column].notna().all())
        yield "test brier", name, _estimate(test, partial(_brier, name), defined=defined)
        if name != "constant":  # it has no skill, and an area of one half
            yield "test roc auc", name, _estimate(test, partial(_auc, name), defined=defined)
            yield "test brier skill", name, _estimate(test, partial(_skill, name), defined=defined)


def _estimate(test: pd.DataFrame, statistic: _Statistic, *, defined: bool) -> Estimate:
    return interval(test, statistic if defined else _unknown)


def _unknown(_rows: pd.DataFrame, _weights: Weights) -> float:
    return float("nan")


def _auc_of_hour(rows: pd.DataFrame, weights: Weights) -> float:
    return roc_auc(outcomes(rows), rows["scheduled_hour"].to_numpy(dtype=np.float64), weights)


def _auc(predictor: str, rows: pd.DataFrame, weights: Weights) -> float:
    return roc_auc(outcomes(rows), probabilities(rows, predictor), weights)


def _brier(predictor: str, rows: pd.DataFrame, weights: Weights) -> float:
    return brier(outcomes(rows), probabilities(rows, predictor), weights)


def _skill(predictor: str, rows: pd.DataFrame, weights: Weights) -> float:
    reference = _brier("constant", rows, weights)
    return 1 - _brier(predictor, rows, weights) / reference if reference else float("nan")


def _row(figure: str, subject: str, estimate: Estimate) -> dict[str, Any]:
    found = asdict(estimate)
    notes = []
    if not found["units"]:
        notes.append(NO_WEIGHTS)
        found |= dict.fromkeys(_NUMBERS, np.nan)
    elif np.isnan(found["value"]):
        notes.append("there is no prediction, or all flights had the same outcome")
    elif np.isnan(found["standard_error"]):
        notes.append("there are too few units for a standard error")
    if subject in PREDICTORS:
        notes.append(LEARNT)
    elif subject == FIXED_SCORE:
        notes.append(LEARNT_NOWHERE)
    return {"figure": figure, "subject": subject, **found, "note": "; ".join(notes) or None}


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    texts = dict.fromkeys(["figure", "subject", "note"], "string")
    numbers = dict.fromkeys(_NUMBERS, "Float64") | dict.fromkeys(["units", "rows"], "Int64")
    return pd.DataFrame(rows).replace({np.nan: None}).astype(texts | numbers)


def _without(row: dict[Any, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}
