"""Stage flights_model: the model that predicts late arrivals, a blob."""

from typing import Any

import dagster as dg
import pandas as pd
import polars as pl

from data_pipeline import Stage
from data_pipeline.pipelines.flights.estimates import prediction_estimates
from data_pipeline.pipelines.flights.estimator import LateArrivalModel, fit_late_arrival_model
from data_pipeline.pipelines.flights.features import of_flights
from data_pipeline.pipelines.flights.metrics import metrics_table, predict
from data_pipeline.pipelines.flights.plot import evaluation_png, markdown_image
from data_pipeline.pipelines.flights.stage import OWNERS

learning = Stage("flights_model", reads=of_flights, owners=OWNERS)


@learning.blob(kinds={"python", "scikitlearn"})
def late_arrival_model(
    context: dg.AssetExecutionContext, late_arrivals: pl.DataFrame
) -> LateArrivalModel:
    """Model of the probability that a flight comes late, fitted to the train part alone.

    Gradient boosting where there is enough to learn from; otherwise a constant, or none at all for
    want of rows, with the reason in the metadata and in flights_evaluation/metrics.
    """
    model = fit_late_arrival_model(late_arrivals)
    if model.reason is not None:
        context.log.warning("The model is of kind '%s': %s.", model.kind, model.reason)
    context.add_output_metadata(describe(model, late_arrivals))
    return model


def describe(model: LateArrivalModel, late_arrivals: pl.DataFrame) -> dict[str, Any]:
    """Gives the metadata of a model: how it came about, its figures, its plot."""
    predictions = predict(late_arrivals, model)
    table, estimates = metrics_table(predictions, model), prediction_estimates(predictions)
    image = markdown_image(evaluation_png(predictions, estimates), "Evaluation")
    figures = {
        f"{row['split']}_{name}": row[name]
        for row in table[table["predictor"] == "model"].to_dict("records")
        for name in ("rows", "late_rate", "roc_auc", "brier", "log_loss", "brier_skill")
    }
    return {
        "kind": model.kind,
        "reason": model.reason,
        "features": list(model.inputs),
        **{name: None if value is pd.NA else value for name, value in figures.items()},
        "plot": dg.MetadataValue.md(image),
    }


assets: list[dg.AssetsDefinition] = [late_arrival_model]
