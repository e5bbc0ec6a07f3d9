"""Obligations of columns: which have a row in the sample, which are open, which are left out."""

from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline_tests.sampling.report.made import Made, figures, one, report_of, sampled

ROOT: dict[str, Any] = {"roots": {"t": {"rate": 0.5}}}
SOURCE = [
    (1, "a", 10, True),
    (2, "b", 20, False),
    (3, "", 30, None),
    (4, None, 40, True),
    (5, "c", 50, True),
]


def table(*chosen: int) -> dict[str, Made]:
    return {"t": Made("id int, word text, number int, flag boolean", SOURCE, sampled(*chosen))}


def test_a_sample_of_everything_covers_everything(engine: sa.Engine) -> None:
    report = report_of(engine, table(1, 2, 3, 4, 5), ROOT)
    found = figures(report, "coverage")
    assert {f.column for f in found} == {"id", "word", "number", "flag"}
    assert all(f.passed and f.value == f.expected for f in found)
    # Four words, NULL, a value, the empty text, the least and the greatest.
    assert one(report, "coverage", "t", "word").expected == 9


@pytest.mark.parametrize(
    ("chosen", "column", "open_"),
    [
        ((1, 2, 3, 5), "word", "NULL"),
        ((1, 2, 4, 5), "word", "the empty text, the least value, 1 value(s) such as ''"),
        ((1, 2, 3, 4), "word", "the greatest value, 1 value(s) such as 'c'"),
        ((1, 3, 4, 5), "word", "1 value(s) such as 'b'"),
        ((2, 3, 4, 5), "number", "the least value, 1 value(s) such as '10'"),
        ((1, 2, 3, 4), "number", "the greatest value, 1 value(s) such as '50'"),
        ((1, 3, 4, 5), "flag", "1 value(s) such as 'false'"),
        ((3,), "flag", "a value, 2 value(s) such as 'false'"),
    ],
)
def test_what_the_sample_does_not_show_is_named(
    engine: sa.Engine, chosen: tuple[int, ...], column: str, open_: str
) -> None:
    found = one(report_of(engine, table(*chosen), ROOT), "coverage", "t", column)
    assert (found.passed, found.severity, found.text) == (False, "error", f"no witness: {open_}")


def test_of_too_many_values_only_the_extremes_count(engine: sa.Engine) -> None:
    settings = {**ROOT, "cover": {"category_limit": 2}}
    report = report_of(engine, table(1, 3, 4, 5), settings)
    assert one(report, "coverage", "t", "number").passed is True
    left_out = one(report, "left out of coverage", "t", "number")
    assert (left_out.value, left_out.text) == (
        None,
        "has more than 2 values, which need no witness each",
    )
    assert figures(report, "left out of coverage")
    assert one(report, "coverage", "t", "flag").passed is False


def test_values_count_that_only_the_source_has(engine: sa.Engine) -> None:
    settings = {**ROOT, "cover": {"category_limit": 4}}
    report = report_of(engine, table(1, 3, 4, 5), settings)
    assert one(report, "left out of coverage", "t", "number").column == "number"


def test_the_share_that_may_be_open_is_configured(engine: sa.Engine) -> None:
    checks = {"uncovered": {"warn": 0.0, "error": 0.5}}
    report = report_of(engine, table(1, 3, 4, 5), {**ROOT, "checks": checks})
    assert one(report, "coverage", "t", "word").severity == "warn"


def test_only_the_columns_in_scope_count(engine: sa.Engine) -> None:
    report = report_of(engine, table(1), {**ROOT, "cover": {"columns": {"t": ["flag"]}}})
    assert {f.column for f in figures(report, "coverage")} == {"flag"}


def test_nothing_is_to_be_covered_where_coverage_is_off(engine: sa.Engine) -> None:
    assert figures(report_of(engine, table(1), {**ROOT, "cover": "off"}), "coverage") == []


def test_predicates(engine: sa.Engine) -> None:
    predicates = {"t": {"large": "number > 45", "huge": "number > 99", "small": "number < 15"}}
    settings = {**ROOT, "cover": {"columns": "off", "predicates": predicates}}
    found = {f.item: f for f in figures(report_of(engine, table(1, 2), settings), "coverage")}
    assert (found["small"].value, found["small"].passed) == (1, True)
    assert (found["large"].value, found["large"].passed) == (0, False)
    # No row of the source is huge, so none need be in the sample.
    assert (found["huge"].expected, found["huge"].passed) == (0, True)
