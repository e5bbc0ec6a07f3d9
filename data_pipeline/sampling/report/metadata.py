"""A report as Dagster shows it: tables and plots."""

from typing import Any

import dagster as dg

from data_pipeline.sampling.report.comparison import Report
from data_pipeline.sampling.report.layout import sections
from data_pipeline.sampling.report.plots import (
    NO_PLOTS,
    can_plot,
    distributions_png,
    markdown_image,
    overview_png,
)


def metadata_of(report: Report) -> dict[str, Any]:
    """Gives the metadata of a report: a Markdown table for each of its parts, and plots."""
    found: dict[str, Any] = {
        "figures": len(report.figures),
        "beyond_thresholds": sum(figure.passed is False for figure in report.figures),
    }
    for section in sections(report.figures):
        if section.lines:
            name = section.title.lower().replace(" ", "_")
            found[name] = dg.MetadataValue.md(section.as_markdown())
    if not report.accuracies:
        return found
    if not can_plot():
        return {**found, "plots": NO_PLOTS}
    overview = markdown_image(overview_png(report), "Overview")
    distributions = distributions_png(report.accuracies)
    found["plot_overview"] = dg.MetadataValue.md(overview)
    if distributions is not None:
        title = "Source and weighted sample"
        found["plot_distributions"] = dg.MetadataValue.md(markdown_image(distributions, title))
    return found
