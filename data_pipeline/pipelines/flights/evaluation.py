"""Stage flights_evaluation: how well the model predicts flights that it has not seen."""

from typing import Any

import dagster as dg
import pandas as pd
import polars as pl

from data_pipeline import Stage
from data_pipeline.pipelines.flights.clean import clean
from data_pipeline.pipelines.flights.estimates import estimates_table
from data_pipeline.pipelines.flights.estimator import LateArrivalModel
from data_pipeline.pipelines.flights.features import KEY, of_flights
from data_pipeline.pipelines.flights.metrics import calibration_table, metrics_table, predict
from data_pipeline.pipelines.flights.model import learning
from data_pipeline.pipelines.flights.plot import evaluation_png, markdown_image
from data_pipeline.pipelines.flights.stage import OWNERS

evaluation = Stage(
    "flights_evaluation",
    reads=[of_flights, learning, clean],
    owners=OWNERS,
    kinds={"python", "pandas", "scikitlearn"},
)


@evaluation.table(primary_key=KEY, nullable={"split": False, "late": False})
def predictions(late_arrivals: pl.DataFrame, late_arrival_model: LateArrivalModel) -> pd.DataFrame:
    """Predicted probability of a late arrival for each flight, by the model and two baselines.

    The probabilities are NULL where there was no training row to learn from.
    """
    return predict(late_arrivals, late_arrival_model)


@evaluation.table(primary_key=["split", "predictor"], nullable={"kind": False, "rows": False})
def metrics(
    context: dg.AssetExecutionContext,
    predictions: pd.DataFrame,
    late_arrival_model: LateArrivalModel,
) -> pd.DataFrame:
    """Quality of the model and of its baselines, for train and test flights.

    ROC AUC, Brier score and its skill over the constant, log loss; a figure that is not defined is
    NULL, and the note says why.
    """
    table = metrics_table(predictions, late_arrival_model)
    context.add_output_metadata({"metrics": dg.MetadataValue.md(markdown_table(table))})
    return table


@evaluation.table(primary_key="bin", kinds={"python", "pandas"})
def calibration(predictions: pd.DataFrame) -> pd.DataFrame:
    """Predicted against actual share of late test flights, in ten bins of the prediction."""
    return calibration_table(predictions)


@evaluation.table(primary_key=["figure", "subject"], nullable={"units": False, "rows": False})
def estimates(
    context: dg.AssetExecutionContext, flights: pl.DataFrame, predictions: pd.DataFrame
) -> pd.DataFrame:
    """What the full data would show: numbers, shares and figures with 95 % confidence intervals.

    The intervals of predictors are those of this instance's own ones on all test flights of full,
    not of what full learns.
    """
    needed = flights.select("status", "arrival_delay", "probability", "unit")
    table = estimates_table(needed.to_pandas(), predictions)
    context.add_output_metadata({"estimates": dg.MetadataValue.md(markdown_table(table))})
    return table


@evaluation.blob(kinds={"python", "matplotlib"})
def plot(
    context: dg.AssetExecutionContext, predictions: pd.DataFrame, estimates: pd.DataFrame
) -> bytes:
    """ROC curves, calibration of the test flights and shares of late ones, a PNG image."""
    png = evaluation_png(predictions, estimates)
    image = dg.MetadataValue.md(markdown_image(png, "ROC, calibration, late flights"))
    context.add_output_metadata({"plot": image})
    return png


def markdown_table(frame: pd.DataFrame) -> str:
    """Gives a small frame as a Markdown table, floats with four digits, NULL as an empty cell."""

    def cell(value: Any) -> str:
        if pd.isna(value):
            return ""
        return f"{value:.4f}" if isinstance(value, float) else str(value)

    lines = [list(frame.columns), ["---"] * frame.shape[1]]
    lines += [[cell(value) for value in row] for row in frame.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


assets: list[dg.AssetsDefinition] = [predictions, metrics, calibration, estimates, plot]
