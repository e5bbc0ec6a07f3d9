"""What failed checks of a report say."""

import dagster as dg

from data_pipeline.sampling.report.figures.figure import Figure
from data_pipeline.sampling.report.report_text import check_results


def test_an_expectation_is_named_where_there_is_one() -> None:
    failed = {"passed": False, "severity": "warn", "text": "why"}
    figures = [
        Figure("orders", "design effect", 38, **failed),
        Figure("orders", "weighted sum", 3, 2, column="total", **failed),
    ]
    results = check_results(dg.AssetKey("report"), figures)
    found = [str(result.description) for result in results if not result.passed]
    assert any("design effect 38 (why)" in text for text in found)
    assert any("weighted sum 3, expected 2 (why)" in text for text in found)
