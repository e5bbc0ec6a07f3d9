"""How many rows were asked for, and how many came for which reason."""

from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.report.report_text import sections
from data_pipeline_tests.sampling.report.made import Made, extra, figures, one, report_of, sampled

CHOSEN = {
    **sampled(1, 2, 3, 4),
    **extra("witness", 5),
    **extra("pinned", 6),
    **extra("reference", 7, 8),
}


def report(engine: sa.Engine, root: dict[str, Any]) -> Any:
    source = [(i,) for i in range(1, 11)]
    settings = {"roots": {"t": root}, "cover": "off"}
    return report_of(engine, {"t": Made("id int", source, CHOSEN)}, settings)


def test_rows_by_role(engine: sa.Engine) -> None:
    found = report(engine, {"rate": 0.5})
    rows = one(found, "rows", "t")
    assert (rows.value, rows.expected, rows.text) == (8, 10, "80.00 % of the source's rows")
    asked = one(found, "sampled rows", "t")
    assert (asked.value, asked.expected) == (4, 5)
    assert one(found, "reference rows", "t").value == 2
    assert figures(found, "certain rows") == []


def test_the_number_of_rows_that_was_asked_for(engine: sa.Engine) -> None:
    assert one(report(engine, {"rows": 4}), "sampled rows", "t").expected == 4


def test_the_overhead_is_what_came_over_what_was_sampled(engine: sa.Engine) -> None:
    assert one(report(engine, {"rate": 0.5}), "overhead", "t").value == 1


def test_of_a_table_that_is_there_as_a_whole_nothing_but_the_count_is_said(
    engine: sa.Engine,
) -> None:
    rows = {i: ("certain", 1.0, i) for i in range(1, 4)}
    made = Made("id int, v double precision", [(i, i / 2) for i in range(1, 4)], rows)
    found = report_of(engine, {"t": made}, {"roots": {"t": {"rate": 1.0}}})
    assert [f.measure for f in found.figures] == [
        "rows",
        "certain rows",
        "effective sample size",
        "weighted count",
    ]


def test_sizes_are_one_line_a_table(engine: sa.Engine) -> None:
    first = sections(report(engine, {"rate": 0.5}).figures)[0]
    assert first.lines == (("t", "8", "10", "5", "4", "", "1", "1", "2", "100.0 %"),)
    assert first.as_markdown().splitlines()[0].startswith("| table | rows | of |")
    assert first.as_text()[0].split()[:2] == ["table", "rows"]
