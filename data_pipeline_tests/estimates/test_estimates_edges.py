"""Estimates say NaN where a sample tells nothing, and refuse weights that make no sense."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.estimates import count, interval, mean, ratio, total

GOOD = {"y": [1.0, 2.0, 4.0], "unit": [1, 2, 3], "probability": [0.5, 0.5, 0.5]}


def sample(**changes: Any) -> pd.DataFrame:
    return pd.DataFrame({**GOOD, **changes})


def average(rows: pd.DataFrame, weights: np.ndarray[Any, Any]) -> float:
    return float(np.average(rows["y"], weights=weights))


def test_rows_without_a_probability_do_not_count() -> None:
    pinned = sample(y=[1.0, 2.0, 1000.0], probability=[0.5, 0.5, None])
    assert mean(pinned, "y") == mean(sample()[:2], "y")
    assert count(pinned, design="srs") == count(sample()[:2], design="srs")
    assert interval(pinned, average) == interval(sample()[:2], average)


@pytest.mark.parametrize("design", ["poisson", "srs"])
def test_certain_units_leave_no_doubt(design: Any) -> None:
    certain = sample(probability=1.0)
    for estimate in (total(certain, "y", design=design), mean(certain, "y", design=design)):
        assert estimate.standard_error == 0
        assert estimate.low == estimate.value == estimate.high
    assert interval(certain, average).standard_error == 0


@pytest.mark.parametrize("design", ["poisson", "srs"])
def test_one_certain_unit_leaves_no_doubt_either(design: Any) -> None:
    assert mean(sample(probability=1.0)[:1], "y", design=design).standard_error == 0


def test_no_rows_tell_nothing() -> None:
    nothing = sample()[:0]
    assert total(nothing, "y").value == 0
    for estimate in (total(nothing, "y"), count(nothing), mean(nothing, "y")):
        assert math.isnan(estimate.standard_error)
        assert math.isnan(estimate.low)
        assert (estimate.units, estimate.rows) == (0, 0)
    assert math.isnan(mean(nothing, "y").value)
    assert math.isnan(interval(nothing, average).value)
    assert mean(nothing, "y", by=["unit"]).empty


def test_one_unit_does_not_tell_how_means_vary() -> None:
    one = sample()[:1]
    assert mean(one, "y").value == 1
    assert math.isnan(mean(one, "y").standard_error)
    assert math.isnan(total(one, "y", design="srs").standard_error)
    assert math.isnan(interval(one, average).standard_error)
    assert total(one, "y").standard_error == pytest.approx(math.sqrt(0.5) * 2)


def test_missing_values_add_nothing_to_a_total_and_are_no_part_of_a_mean() -> None:
    missing = sample(y=[1.0, None, 4.0])
    assert total(missing, "y").value == 10
    assert mean(missing, "y").value == 2.5
    assert (mean(missing, "y").units, mean(missing, "y").rows) == (2, 2)
    assert ratio(missing, 1, "y").value == pytest.approx(2 / 5)


def test_a_missing_group_is_a_group() -> None:
    groups = count(sample(g=["a", None, "a"]), by=["g"])
    assert groups["value"].tolist() == [4, 2]
    assert groups["g"].isna().tolist() == [False, True]


def test_a_ratio_over_nothing_is_unknown() -> None:
    assert math.isnan(ratio(sample(x=0), "y", "x").value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probability": [0.5, 0.5, 0.0]}, r"not in \(0, 1\]"),
        ({"probability": [0.5, 0.5, 1.5]}, r"not in \(0, 1\]"),
        ({"probability": [0.5, 0.5, -0.5]}, r"not in \(0, 1\]"),
        ({"unit": [1, 2, None]}, "no `unit`"),
        ({"unit": [1, 2, 2], "probability": [0.5, 0.5, 0.25]}, "different probability"),
        ({"design": ["srs", "srs", "cluster"]}, "neither 'poisson' nor 'srs'"),
        ({"design": "srs", "sample_size": 2}, "below the number of units"),
    ],
)
def test_weights_that_make_no_sense(
    server_url: sa.URL, changes: dict[str, Any], message: str
) -> None:
    frame = sample(**changes)
    engine = sa.create_engine(server_url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        rows = [tuple(row) for row in frame.astype(object).where(frame.notna(), None).to_numpy()]
        types = {"design": sa.Text, "unit": sa.BigInteger, "sample_size": sa.BigInteger}
        columns = [sa.column(name, types.get(name, sa.Double)) for name in frame.columns]
        relation = sa.values(*columns, name="weighted").data(rows)
        with pytest.raises(UnsupportedDataError, match=message):
            mean(relation, "y", connection=connection)
    with pytest.raises(UnsupportedDataError, match=message):
        mean(frame, "y")
    with pytest.raises(UnsupportedDataError, match=message):
        interval(frame, average)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 95}, "confidence level of 95"),
        ({"design": "cluster"}, "no sampling design 'cluster'"),
        ({"sample_size": 0}, "sample of 0 units"),
        ({"by": ["nowhere"]}, "no column 'nowhere'"),
        ({"by": ["unit", "unit"]}, "two columns of the same name"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        mean(sample(), "y", **options)


def test_data_without_weights() -> None:
    with pytest.raises(ConfigurationError, match="no column 'probability', 'unit'"):
        mean(pd.DataFrame({"y": [1]}), "y")
    with pytest.raises(ConfigurationError, match="no column 'z'"):
        mean(sample(), "z")


def test_measures_are_numbers() -> None:
    with pytest.raises(UnsupportedDataError, match="'y' of the frame"):
        mean(sample(y=["1", "2", "3"]), "y")
    columns = [sa.Column("y", sa.Text), sa.Column("unit"), sa.Column("probability")]
    with pytest.raises(UnsupportedDataError, match="Text"):
        mean(sa.Table("t", sa.MetaData(), *columns), "y")


def test_a_relation_needs_a_connection() -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("unit"), sa.Column("probability"))
    with pytest.raises(ConfigurationError, match="Pass `connection`"):
        count(table)


def test_a_jackknife_needs_two_groups() -> None:
    with pytest.raises(ConfigurationError, match="1 groups is impossible"):
        interval(sample(), average, groups=1)
