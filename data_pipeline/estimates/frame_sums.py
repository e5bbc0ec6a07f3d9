"""Estimates computed from a pandas frame: the same numbers as in the database, step by step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.estimates.intervals import (
    DESIGN,
    PROBABILITY,
    SAMPLE_SIZE,
    UNIT,
    DesignChoice,
    check_columns,
    fact_name,
)

FrameMeasure = str | float | pd.Series
"""A column by name, a series with the frame's index, or a number that is the same in every row."""

_Floats = npt.NDArray[np.float64]
_STRATUM = ["p", "design", "size"]


def computed_estimates(
    frame: pd.DataFrame,
    numerator: FrameMeasure,
    denominator: FrameMeasure | None,
    by: Sequence[str],
    choice: DesignChoice,
) -> pd.DataFrame:
    """Return what `estimate_query` gives, computed from a frame; arguments and errors are its."""
    choice.check()
    check_columns("The frame", list(frame.columns), list(by))
    groups = [f"group_{i}" for i in range(len(by))]
    rows = _counting_rows(frame, numerator, denominator, by, choice)
    units = _linearised(_units(rows, groups), groups, denominator is not None)
    results = _results(_contributions(units, groups), groups, denominator is not None)
    return results.rename(columns=dict(zip(groups, by, strict=True)))


def design_columns(frame: pd.DataFrame, choice: DesignChoice) -> pd.DataFrame:
    """Return unit, probability, design and size of each row, in the types to compute with."""
    design: Any = choice.design or "poisson"
    names = {name: fact_name(frame.columns, name) for name in (DESIGN, SAMPLE_SIZE)}
    if choice.design is None and names[DESIGN] in frame:
        given = frame[names[DESIGN]]
        design = given.astype(object).where(given.notna(), "")
    size: Any = np.nan if choice.sample_size is None else float(choice.sample_size)
    if choice.sample_size is None and names[SAMPLE_SIZE] in frame:
        size = _floats(frame[names[SAMPLE_SIZE]], SAMPLE_SIZE)
    unit = frame[fact_name(frame.columns, UNIT)]
    columns = {
        "unit": unit,
        "p": _floats(frame[fact_name(frame.columns, PROBABILITY)], PROBABILITY),
    }
    return pd.DataFrame(columns, index=frame.index).assign(design=design, size=size)


def problem_of(rows: pd.DataFrame) -> str | None:
    """Return the key in `PROBLEMS` of what is wrong with the design of rows, or None."""
    units = rows[["unit", *_STRATUM]].drop_duplicates()
    found = units.groupby(_STRATUM, dropna=False)["unit"].transform("size")
    uncertain = units["p"] < 1
    wrong = {
        "unit": units["unit"].isna(),
        "range": ~((units["p"] > 0) & (units["p"] <= 1)),
        "varies": units["unit"].duplicated(),
        "design": uncertain & ~units["design"].isin(["poisson", "srs"]),
        "size": uncertain & (units["design"] == "srs") & (found > units["size"]),
    }
    return next((key for key, units in wrong.items() if units.any()), None)


def _counting_rows(
    frame: pd.DataFrame,
    numerator: FrameMeasure,
    denominator: FrameMeasure | None,
    by: Sequence[str],
    choice: DesignChoice,
) -> pd.DataFrame:
    y = _measure(frame, numerator)
    x = _measure(frame, 0.0 if denominator is None else denominator)
    present = ~(np.isnan(y) | np.isnan(x))
    keys = {f"group_{i}": frame[name] for i, name in enumerate(by)}
    rows = design_columns(frame, choice).assign(
        **keys, rows=present.astype(np.int64), y=np.where(present, y, 0), x=np.where(present, x, 0)
    )
    return rows[frame[fact_name(frame.columns, PROBABILITY)].notna().to_numpy(dtype=bool)]


def _measure(frame: pd.DataFrame, measure: FrameMeasure) -> _Floats:
    if isinstance(measure, int | float):
        return np.full(len(frame), float(measure))
    if isinstance(measure, str):
        check_columns("The frame", list(frame.columns), [measure])
        return _floats(frame[measure], measure)
    if not measure.index.equals(frame.index):
        raise ConfigurationError(
            f"The series {measure.name!r} has another index than the frame. Compute it from the "
            "frame's columns."
        )
    return _floats(measure, str(measure.name))


def _floats(series: pd.Series, name: str) -> _Floats:
    """The numbers of a column; NaN where they are missing."""
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        return series.to_numpy(dtype=np.float64)
    kind = pd.api.types.infer_dtype(series, skipna=True)
    if kind not in ("boolean", "integer", "floating", "decimal", "mixed-integer-float", "empty"):
        raise UnsupportedDataError(
            f"The column {name!r} of the frame has the type {series.dtype}. Estimates are of "
            "numbers and booleans; convert it, or count rows by its values."
        )
    return series.astype(object).where(series.notna(), np.nan).to_numpy(dtype=np.float64)


def _units(rows: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """One row for each unit and group, with what it sums up to."""
    problem = problem_of(rows)
    keys = [*groups, "unit", *_STRATUM]
    units = rows.groupby(keys, dropna=False, observed=True)[["y", "x", "rows"]].sum().reset_index()
    found = units.groupby(_STRATUM, dropna=False)["unit"].transform("nunique")
    return units.assign(
        srs=units["design"] == "srs",
        drawn=units["size"].fillna(found.astype("float64")),
        problem=problem,
    )


def _linearised(units: pd.DataFrame, groups: list[str], is_ratio: bool) -> pd.DataFrame:
    """Add the estimate, `z` and `kept` (see `sql`)."""
    expanded = pd.DataFrame({"y": units["y"] / units["p"], "x": units["x"] / units["p"]})
    if groups:
        keys = [units[name] for name in groups]
        sums = expanded.groupby(keys, dropna=False, observed=True).transform("sum")
    else:
        sums = pd.DataFrame({name: expanded[name].sum() for name in "yx"}, index=units.index)
    if not is_ratio:
        return units.assign(value=sums["y"], z=expanded["y"], kept=1.0)
    base = sums["x"].where(sums["x"] != 0)
    value = sums["y"] / base
    z = (units["y"] - value * units["x"]) / units["p"] / base
    share, drawn = (expanded["x"] / base).clip(0.0, 1.0), units["drawn"]
    others = (1 - share) * drawn / (drawn - 1).where(drawn != 1)
    within = others.clip(upper=1.0).fillna(1.0).clip(lower=1 / drawn)
    kept = within.where(units["srs"], 1 - (1 - units["p"]) * share)
    return units.assign(value=value, z=z, kept=kept)


def _contributions(units: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """Add each unit's part of the variance and of sums of its powers (see `sql`)."""
    p, drawn = units["p"], units["drawn"]
    keys = [units[name] for name in [*groups, "p", "srs", "drawn"]]
    by_stratum = units["z"].groupby(keys, dropna=False, observed=True)
    mean = (by_stratum.transform("sum") / drawn).where(units["srs"], 0.0)
    absent = drawn / by_stratum.transform("size") - 1
    correction = (drawn / (drawn - 1).where(drawn != 1)).where(units["srs"], 1.0)
    factor = ((1 - p) * correction).where(p != 1, 0.0)
    of_unit, of_absent = factor * (units["z"] - mean) ** 2 / units["kept"], factor * mean**2
    deviation = units["z"] - mean
    return units.assign(
        variance=of_unit + absent * of_absent,
        squares=of_unit**2 + absent * of_absent**2,
        cubes=np.sign(deviation) * of_unit.abs() ** 1.5
        - absent * np.sign(mean) * of_absent.abs() ** 1.5,
    )


def _results(units: pd.DataFrame, groups: list[str], is_ratio: bool) -> pd.DataFrame:
    parts = pd.DataFrame(
        {
            "value": units["value"],
            "variance": units["variance"],
            "squares": units["squares"],
            "cubes": units["cubes"],
            "counted": units["rows"] > 0,
            "uncertain": (units["rows"] > 0) & (units["p"] < 1),
            "rows": units["rows"],
        }
    )
    aggregates: dict[str, Any] = dict.fromkeys(["counted", "uncertain", "rows"], "sum")
    aggregates |= {"value": "first", "variance": _sum, "squares": _sum, "cubes": _sum}
    keys: Any = [units[name] for name in groups] or np.zeros(len(units), dtype=np.int64)
    sums = parts.groupby(keys, dropna=False, observed=True).agg(aggregates)
    if not groups:
        sums = sums.reindex([0]).fillna({"counted": 0, "uncertain": 0, "rows": 0})
    if not is_ratio:
        sums["value"] = sums["value"].fillna(0.0)
    unknown = sums["counted"] == 0
    if is_ratio:
        unknown |= (sums["counted"] == 1) & (sums["uncertain"] == 1)
    degrees = sums["variance"] ** 2 / sums["squares"].where(sums["squares"] != 0) - 1
    cubed = sums["variance"] ** 1.5
    results = pd.DataFrame(
        {
            "value": sums["value"],
            "standard_error": np.sqrt(sums["variance"]).mask(unknown),
            "degrees_of_freedom": degrees.clip(lower=1.0).fillna(1.0),
            "skewness": (sums["cubes"] / cubed.where(cubed != 0)).fillna(0.0),
            "units": sums["counted"].astype(np.int64),
            "rows": sums["rows"].astype(np.int64),
            "problem": units["problem"].iloc[0] if len(units) else None,
        }
    )
    return results.reset_index(names=groups) if groups else results.reset_index(drop=True)


def _sum(values: pd.Series) -> float:
    """A sum that is NaN as soon as one value is, as in the database."""
    return float(values.sum(skipna=False))
