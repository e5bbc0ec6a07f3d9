"""A report as Dagster shows it: tables and plots."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from data_pipeline.sampling.report.comparison import Report
from data_pipeline.sampling.report.layout import Section, sections
from data_pipeline.sampling.report.plots import (
    NO_PLOTS,
    can_plot,
    distributions_png,
    markdown_image,
    overview_png,
)


def metadata_of(report: Report) -> dict[str, Any]:
    """Gives the metadata of a report.

    The UI shows short Markdown where it stands, and long in a window of its own: there are the
    sizes by themselves, what is beyond thresholds if anything is, and everything with plots.
    """
    failed = [figure for figure in report.figures if figure.passed is False]
    found: dict[str, Any] = {"figures": len(report.figures), "beyond_thresholds": len(failed)}
    for section in sections(report.figures)[:1]:
        found["sizes"] = dg.MetadataValue.md(section.as_markdown())
    if failed:
        found["problems"] = dg.MetadataValue.md(_headed(sections(failed)[1:]))
    found["report"] = dg.MetadataValue.md("\n\n".join(_parts(report)))
    return found


def _parts(report: Report) -> Iterator[str]:
    if report.accuracies:
        yield from _plots(report)
    yield _headed(sections(report.figures))


def _plots(report: Report) -> Iterator[str]:
    if not can_plot():
        yield NO_PLOTS
        return
    yield markdown_image(overview_png(report), "Overview")
    distributions = distributions_png(report.accuracies)
    if distributions is not None:
        yield markdown_image(distributions, "Source and weighted sample")


def _headed(found: Sequence[Section]) -> str:
    return "\n\n".join(f"### {item.title}\n\n{item.as_markdown()}" for item in found if item.lines)
