"""How far the weighted distribution of a column is from that of the source."""

import math

import pytest
import sqlalchemy as sa

from data_pipeline.sampling.report.figures.accuracy import for_one_of, ks_distance, total_variation
from data_pipeline_tests.sampling.report.made import Made, extra, figures, one, report_of, sampled

ROOT = {"roots": {"t": {"rate": 0.5}}, "cover": "off"}


def made(*chosen: int, values: str = "double precision", **more: object) -> dict[str, Made]:
    source = [(i, i, "low" if i <= 50 else "high") for i in range(1, 101)]
    rows = {**sampled(*chosen), **extra("witness", 100)}
    return {"t": Made(f"id int, v {values}, kind text", source, rows)}


def test_of_numbers_the_largest_difference_of_cumulative_shares(engine: sa.Engine) -> None:
    # Up to 49 lie all 25 weights of the sample, and 49 of 100 rows of the source.
    report = report_of(engine, made(*range(1, 50, 2)), ROOT)
    assert one(report, "KS distance", "t", "v").value == pytest.approx(0.51)


def test_of_categories_half_the_sum_of_differences_of_shares(engine: sa.Engine) -> None:
    report = report_of(engine, made(*range(1, 50, 2), 99), ROOT)
    # 25 of 26 weights are `low`, half of the source.
    assert one(report, "total variation", "t", "kind").value == pytest.approx(25 / 26 - 0.5)


def test_an_even_sample_is_close(engine: sa.Engine) -> None:
    report = report_of(engine, made(*range(1, 101, 2)), ROOT)
    found = one(report, "KS distance", "t", "v")
    assert found.value == pytest.approx(0.01)
    assert found.passed is True
    assert one(report, "total variation", "t", "kind").value == 0


def test_a_crooked_sample_fails(engine: sa.Engine) -> None:
    report = report_of(engine, made(*range(1, 50)), ROOT)
    for measure, column in (("KS distance", "v"), ("total variation", "kind")):
        found = one(report, measure, "t", column)
        assert (found.passed, found.severity) == (False, "error")
        limit = "`ks`" if column == "v" else "`total_variation`"
        assert f" is over the limit {limit} of 1.95" in found.text


@pytest.mark.parametrize("values", ["date", "timestamptz", "time", "numeric"])
def test_times_and_decimals_too(engine: sa.Engine, values: str) -> None:
    tables = made(*range(1, 101, 2))
    step = {"date": "2020-01-{:02}", "time": "00:{:02}:00"}
    form = step.get(values, "{}" if values == "numeric" else "2020-02-03 04:05:{:02}")
    source = [(i, form.format(i % 28 + 1), "x") for i, _, _ in tables["t"].source]
    tables = {"t": Made(f"id int, v {values}, kind text", source, tables["t"].sample)}
    assert one(report_of(engine, tables, ROOT), "KS distance", "t", "v").passed is True


def test_a_column_of_nothing_but_null_has_no_distance() -> None:
    assert ks_distance({None: 4.0}, {None: 4.0}) is None
    assert total_variation({}, {}) is None
    assert total_variation({None: 4.0}, {None: 3.0}) == 0


def test_thresholds_are_wider_where_many_columns_are_looked_at() -> None:
    assert for_one_of(1, 1.36) == 1.36
    assert for_one_of(20, math.sqrt(1.36**2 + math.log(20) / 2)) == pytest.approx(1.36)
    assert for_one_of(20, 0.1) == 0


def test_words_that_hardly_occur_twice_are_no_categories(engine: sa.Engine) -> None:
    # Of the 100 names of the source an even sample has 25, and none of the others: no fault of it.
    source = [(i, f"name {i}", f"kind {i % 5}") for i in range(1, 101)]
    sample = {**sampled(*range(1, 101, 4), p=0.25), **extra("witness", 100)}
    tables = {"t": Made("id int, name text, kind text", source, sample)}
    report = report_of(engine, tables, {"roots": {"t": {"rate": 0.25}}, "cover": "off"})
    assert [f.column for f in figures(report, "total variation", "t")] == ["kind"]
