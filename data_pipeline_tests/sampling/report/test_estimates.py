"""Weighted counts, sums and means beside those of the source."""

import math

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.estimates import mean, total
from data_pipeline.sampling.report.figures.moments import Moments, Stratum
from data_pipeline_tests.sampling.report.made import Made, extra, one, report_of, sampled

ROOT = {"roots": {"sales": {"rate": 0.5}}, "cover": "off"}


def sales(**settings: object) -> dict[str, Made]:
    source = [(i, float(i), "a" if i % 2 else "b") for i in range(1, 21)]
    chosen = {**sampled(*range(1, 15, 2), 2, 4, 6), **extra("witness", 20)}
    columns = "id int, amount double precision, kind text"
    return {"sales": Made(columns, source, chosen)}


def test_counts_sums_and_means_with_their_deviation_in_standard_errors(engine: sa.Engine) -> None:
    report = report_of(engine, sales(), ROOT)
    count = one(report, "weighted count", "sales")
    assert (count.value, count.expected, count.passed, count.text) == (20, 20, True, "exact")
    amount = one(report, "weighted sum", "sales", "amount")
    # The sampled amounts 1, 3, ..., 13 and 2, 4, 6 have the sum 61, each of weight 2; the variance
    # is the sum of (1 - 0.5) (amount / 0.5)^2 = 2 * 511.
    assert (amount.value, amount.expected) == (122, 210)
    assert f"{88 / math.sqrt(2 * 511):.1f} standard errors" in amount.text
    assert amount.passed is True
    assert one(report, "weighted mean", "sales", "amount").value == pytest.approx(6.1)


def test_rows_without_a_probability_do_not_count(engine: sa.Engine) -> None:
    report = report_of(engine, sales(), ROOT)
    assert one(report, "effective sample size", "sales").value == 10 / (1 - 0.5)


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ({}, (True, None)),
        ({"estimates": {"warn": 2}}, (False, "warn")),
        ({"estimates": 2}, (False, "error")),
        ({"estimates": "off"}, (None, None)),
    ],
)
def test_thresholds_come_from_the_configuration(
    engine: sa.Engine, checks: dict[str, object], verdict: tuple[bool | None, str | None]
) -> None:
    report = report_of(engine, sales(), {**ROOT, "checks": checks})
    found = one(report, "weighted sum", "sales", "amount")
    assert (found.passed, found.severity) == verdict


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.1, 0.5, 1.0]),
            st.lists(st.one_of(st.none(), st.floats(-100, 100)), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from(["poisson", "srs"]),
)
def test_they_are_those_of_the_estimates(
    units: list[tuple[float, list[float | None]]], design: str
) -> None:
    rows = [
        (number, p, np.nan if value is None else value)
        for number, (p, values) in enumerate(units)
        for value in values
    ]
    frame = pd.DataFrame(rows, columns=["unit", "probability", "y"])
    moments = Moments(tuple(_strata(frame, is_srs=design == "srs")))
    options = {"design": design}
    expected = total(frame, "y", **options)
    value, error = moments.total("y")
    assert value == pytest.approx(expected.value)
    assert error == pytest.approx(expected.standard_error, nan_ok=True, abs=1e-6) or math.isnan(
        expected.standard_error
    )
    found = moments.mean("y")
    expected = mean(frame, "y", **options)
    if found is None:
        assert math.isnan(expected.value)
    else:
        assert found[0] == pytest.approx(expected.value)
        counts = frame.groupby(["probability", "unit"])["y"].count()  # 0 where none has a value
        alike = counts.groupby("probability").nunique().max() == 1
        if alike and not math.isnan(expected.standard_error):  # else it is that of an average unit
            assert found[1] == pytest.approx(expected.standard_error, abs=1e-5)


def _strata(frame: pd.DataFrame, *, is_srs: bool) -> list[Stratum]:
    found = []
    for p, part in frame.groupby("probability"):
        units = part.groupby("unit")["y"].agg(["size", "sum", "count"])
        n, y, x = units["size"], units["sum"], units["count"]
        sums = (y.sum(), (y * y).sum(), float(x.sum()), float((x * x).sum()), (x * y).sum())
        drawn = len(units) if is_srs else None
        rows, squared = float(n.sum()), float((n * n).sum())
        found.append(Stratum(float(p), len(units), drawn, rows, squared, {"y": sums}))  # type: ignore[arg-type] # a group's label
    return found


def test_means_that_rest_on_few_units_are_named(engine: sa.Engine) -> None:
    source = [(i, float(i % 7), "rare" if i % 50 == 1 else "common") for i in range(1, 401)]
    source[201] = (202, 5_000.0, "common")
    columns = "id int, amount double precision, kind text"
    all_sampled = {"sales": Made(columns, source, sampled(*range(1, 401)))}
    found = one(report_of(engine, all_sampled, ROOT), "uncertain means", "sales")
    assert (found.value, found.passed, found.severity) == (3, False, "warn")
    # Of all rows a single one dominates; the rare ones are eight.
    assert "amount (400 units, 1.0)" in found.text
    assert "amount where kind = 'rare' (8 units, " in found.text
    without = {"sales": Made(columns, source[:150], sampled(*range(1, 151)))}
    text = one(report_of(engine, without, ROOT), "uncertain means", "sales").text
    assert "common" not in text
    settings = {**ROOT, "checks": {"uncertain_means": "off"}}
    assert one(report_of(engine, without, settings), "uncertain means", "sales").passed is None
