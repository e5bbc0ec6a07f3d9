"""The plot of the evaluation: ROC curves and calibration of the test flights, shares of late ones.

Error bars and brackets are 95 % confidence intervals for the full data.
"""

import base64
import io
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from data_pipeline.pipelines.flights.metrics import (
    CALIBRATION_BINS,
    PREDICTORS,
    calibration_table,
    outcomes,
    probabilities,
)


def evaluation_png(predictions: pd.DataFrame, estimates: pd.DataFrame) -> bytes:
    """Draws how well test flights were predicted, as a PNG image.

    Args:
        predictions: As `metrics.predict` gives them, of any size.
        estimates: As `estimates.prediction_estimates` gives them.
    """
    # The figure alone, without pyplot: no global state, no display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.6), dpi=80, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_roc(left, predictions[predictions["split"] == "test"], estimates)
    _draw_calibration(middle, calibration_table(predictions))
    _draw_shares(right, estimates[estimates["figure"] == "share late"])
    image = io.BytesIO()
    # Without the name of the software: the same predictions give the same bytes.
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def markdown_image(png: bytes, title: str) -> str:
    """Gives Markdown that carries an image within itself, for a metadata entry."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"


def _draw_roc(axes: Any, test: pd.DataFrame, estimates: pd.DataFrame) -> None:
    from sklearn.metrics import roc_curve

    test = test[test["weight"] > 0]
    late, weight = outcomes(test), test["weight"].to_numpy(dtype=np.float64)
    axes.set(title="ROC, test flights", xlabel="false alarms", ylabel="late flights found")
    axes.plot([0, 1], [0, 1], color="lightgrey")
    if late.all() or not late.any() or test[PREDICTORS["model"]].isna().any():
        axes.text(0.5, 0.5, "not defined", ha="center", va="center")
        return
    areas = estimates[estimates["figure"] == "test roc auc"].to_dict("records")
    labels = {area["subject"]: f"{area['subject']} {_area(area)}" for area in areas}
    for predictor in PREDICTORS:
        false_alarms, found, _ = roc_curve(
            late, probabilities(test, predictor), sample_weight=weight
        )
        axes.plot(false_alarms, found, label=labels.get(predictor, predictor))
    axes.legend(loc="lower right", fontsize="small")


def _area(estimate: Mapping[Hashable, Any]) -> str:
    if pd.isna(estimate["value"]):
        return ""
    if pd.isna(estimate["standard_error"]):
        return f"{estimate['value']:.3f}"
    if estimate["standard_error"] == 0:
        return f"{estimate['value']:.3f} (all flights)"
    return f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


def _draw_calibration(axes: Any, table: pd.DataFrame) -> None:
    axes.set(
        title="Calibration, test flights",
        xlabel=f"predicted probability, in {CALIBRATION_BINS} bins",
        ylabel="share of late flights",
    )
    axes.plot([0, 1], [0, 1], color="lightgrey")
    filled = table[table["rows"] > 0]
    if filled.empty:
        axes.text(0.5, 0.5, "no predictions", ha="center", va="center")
        return
    axes.plot(filled["mean_probability"].to_numpy(), filled["late_rate"].to_numpy(), marker="o")


def _draw_shares(axes: Any, shares: pd.DataFrame) -> None:
    axes.set(title="Late flights in full, estimated", ylabel="share of late flights")
    known = shares[shares["value"].notna()]
    if known.empty:
        axes.text(0.5, 0.5, "no flight has a weight", ha="center", va="center")
        return
    value = known["value"].to_numpy(dtype=np.float64)
    low, high = (
        known[name].fillna(known["value"]).to_numpy(np.float64) for name in ("low", "high")
    )
    axes.errorbar(
        known["subject"].tolist(), value, yerr=[value - low, high - value], fmt="o", capsize=5
    )
    axes.margins(x=0.2)
