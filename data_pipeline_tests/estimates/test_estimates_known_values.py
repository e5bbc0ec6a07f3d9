"""Estimates of small samples are what textbook formulas give, worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from data_pipeline.estimates import count, interval, mean, ratio, total
from data_pipeline.estimates.intervals import t_quantile


def rows(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_a_total_of_independent_draws() -> None:
    estimate = total(rows(y=[3, 5], unit=[1, 2], probability=[0.5, 0.25]), "y")
    assert estimate.value == 3 / 0.5 + 5 / 0.25
    assert estimate.standard_error == pytest.approx(math.sqrt(0.5 * 6**2 + 0.75 * 20**2))


def test_rows_of_a_unit_count_together() -> None:
    estimate = total(rows(y=[3, 5], unit=[1, 1], probability=[0.5, 0.5]), "y")
    assert estimate.standard_error == pytest.approx(math.sqrt(0.5) * 16)
    assert (estimate.units, estimate.rows) == (1, 2)


def test_a_total_of_a_fixed_number_of_draws() -> None:
    sample = rows(y=[1.0, 2.0, 6.0], unit=[1, 2, 3], probability=0.1)
    estimate = total(sample, "y", design="srs")
    assert estimate.value == pytest.approx(90)
    expected = 30 * math.sqrt(0.9 * np.var([1, 2, 6], ddof=1) / 3)
    assert estimate.standard_error == pytest.approx(expected)


@pytest.mark.parametrize("given_by", ["argument", "column"])
def test_units_without_a_row_are_part_of_a_fixed_number(given_by: str) -> None:
    everything = rows(y=[1.0, 2.0, 6.0, 0.0, 0.0], unit=range(5), probability=0.1)
    some = everything[:3]
    expected = total(everything, "y", design="srs").standard_error
    if given_by == "argument":
        estimate = total(some, "y", design="srs", sample_size=5)
    else:
        estimate = total(some.assign(sample_size=5, design="srs"), "y")
    assert estimate.standard_error == pytest.approx(expected)


def test_units_of_other_groups_are_part_of_a_fixed_number() -> None:
    sample = rows(y=1.0, g=["a", "a", "b", "b", "b"], unit=range(5), probability=0.1)
    groups = total(sample, "y", by=["g"], design="srs").set_index("g")
    for name in "ab":
        alone = total(sample, (sample["g"] == name) * 1.0, design="srs")
        assert groups.loc[name, "standard_error"] == pytest.approx(alone.standard_error)


def test_a_mean_and_a_ratio_by_linearisation() -> None:
    sample = rows(y=[2.0, 4.0, 9.0], x=[1.0, 3.0, 4.0], unit=[1, 2, 3], probability=0.5)
    estimate = ratio(sample, "y", "x")
    assert estimate.value == pytest.approx(15 / 8)
    residuals = np.array([2 - 15 / 8, 4 - 45 / 8, 9 - 60 / 8]) * 2 / 16
    left = 1 - 0.5 * np.array([1, 3, 4]) / 8
    assert estimate.standard_error == pytest.approx(math.sqrt((0.5 * residuals**2 / left).sum()))
    assert mean(sample, "y") == ratio(sample, "y", 1)


def test_the_mean_of_a_fixed_number_of_draws_and_of_a_part_of_them() -> None:
    sample = rows(y=[1.0, 2.0, 6.0], unit=range(3), probability=0.1)
    textbook = math.sqrt(0.9 * np.var([1, 2, 6], ddof=1) / 3)
    assert mean(sample, "y", design="srs").standard_error == pytest.approx(textbook)
    of_many = mean(sample, "y", design="srs", sample_size=1000)
    assert of_many.standard_error == pytest.approx(textbook)


def test_standard_errors_of_few_uneven_units_are_right_on_average() -> None:
    """Without a correction they are 15 % too small."""
    random = np.random.default_rng(3)
    size = random.geometric(0.3, 200)
    y = np.exp(random.normal(0, 0.5, 200))
    drawn = random.random((2000, 200)) < 0.05
    sample, unit = np.nonzero(drawn)
    frame = rows(s=sample, y=(y * size)[unit], x=size[unit], unit=np.arange(len(unit)))
    found = ratio(frame.assign(probability=0.05), "y", "x", by=["s"]).dropna()
    real = math.sqrt(((found["value"] - (y * size).sum() / size.sum()) ** 2).mean())
    assert math.sqrt((found["standard_error"] ** 2).mean()) == pytest.approx(real, rel=0.1)


def test_contributions_alike_give_units_less_one_degrees_of_freedom() -> None:
    estimate = count(rows(unit=range(6), probability=0.5))
    half = (estimate.high - estimate.low) / 2
    assert half == pytest.approx(2.570582 * estimate.standard_error, rel=1e-6)


def test_the_jackknife_of_a_mean_agrees_with_linearisation() -> None:
    random = np.random.default_rng(1)
    sample = rows(y=random.normal(9, 1, 300), unit=np.arange(300), probability=0.4)
    by_formula = mean(sample, "y")
    for groups, tolerance in ((300, 0.01), (50, 0.2)):
        estimate = interval(
            sample, lambda r, w: float(np.average(r["y"], weights=w)), groups=groups
        )
        assert estimate.value == pytest.approx(by_formula.value)
        assert estimate.standard_error == pytest.approx(by_formula.standard_error, rel=tolerance)


@pytest.mark.parametrize(
    ("level", "degrees", "expected"),
    [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.3027),
        (0.95, 5, 2.5706),
        (0.95, 30, 2.0423),
        (0.99, 10, 3.1693),
        (0.8, 3, 1.6377),
        (0.95, math.inf, 1.95996),
    ],
)
def test_t_quantiles_are_those_of_the_tables(level: float, degrees: float, expected: float) -> None:
    assert t_quantile(level, degrees) == pytest.approx(expected, rel=5e-5)


def test_t_quantiles_fall_with_the_degrees_of_freedom() -> None:
    degrees = np.concatenate([np.linspace(1, 6, 200), np.geomspace(6, 1e12, 200)])
    quantiles = [t_quantile(0.95, float(number)) for number in degrees]
    assert (np.diff(quantiles) <= 1e-9).all()
