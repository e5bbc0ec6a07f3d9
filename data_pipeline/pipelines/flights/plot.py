"""The plot of the evaluation: ROC curves and calibration of the test flights."""

import base64
import io
from typing import Any

import pandas as pd

from data_pipeline.pipelines.flights.metrics import (
    CALIBRATION_BINS,
    PREDICTORS,
    calibration_table,
    outcomes,
    probabilities,
)


def evaluation_png(predictions: pd.DataFrame) -> bytes:
    """Draws how well test flights were predicted, as a PNG image.

    Args:
        predictions: As `metrics.predict` gives them, of any size.
    """
    # The figure alone, without pyplot: no global state, no display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), dpi=80, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_roc(left, predictions[predictions["split"] == "test"])
    _draw_calibration(right, calibration_table(predictions))
    image = io.BytesIO()
    # Without the name of the software: the same predictions give the same bytes.
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()


def markdown_image(png: bytes, title: str) -> str:
    """Gives Markdown that carries an image within itself, for a metadata entry."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"


def _draw_roc(axes: Any, test: pd.DataFrame) -> None:
    from sklearn.metrics import roc_curve

    late = outcomes(test)
    axes.set(title="ROC, test flights", xlabel="false alarms", ylabel="late flights found")
    axes.plot([0, 1], [0, 1], color="lightgrey")
    if len(late) == 0 or late.all() or not late.any() or test["probability"].isna().any():
        axes.text(0.5, 0.5, "not defined", ha="center", va="center")
        return
    for predictor in PREDICTORS:
        false_alarms, found, _ = roc_curve(late, probabilities(test, predictor))
        axes.plot(false_alarms, found, label=predictor)
    axes.legend(loc="lower right")


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
