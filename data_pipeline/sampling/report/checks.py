"""The asset checks of a report: its figures against the thresholds of the configuration."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from data_pipeline.sampling.report.figures import Figure
from data_pipeline.sampling.report.layout import number

_MOST_NAMED = 5


@dataclass(frozen=True)
class ReportCheck:
    """A check.

    Attributes:
        name: Its name.
        description: What it looks at.
        measures: Beginnings of the measures that it looks at.
    """

    name: str
    description: str
    measures: tuple[str, ...]


CHECKS = (
    ReportCheck(
        "references",
        "References that hold in the source hold in the sample.",
        ("reference violations",),
    ),
    ReportCheck("coverage", "What must have a witness row in the sample has one.", ("coverage",)),
    ReportCheck(
        "joins",
        "Joins of weighted rows give as many rows as in the source.",
        ("join retention",),
    ),
    ReportCheck(
        "distributions",
        "Weighted columns are distributed as in the source.",
        ("KS distance", "total variation"),
    ),
    ReportCheck(
        "estimates",
        "Weighted counts, sums and means are those of the source, within their errors.",
        ("weighted",),
    ),
    ReportCheck(
        "design_effects",
        "Sampling rows together with their root does not cost too much accuracy.",
        ("design effect", "predicted design effect"),
    ),
)
"""All checks of a report."""


def check_results(key: dg.AssetKey, figures: Sequence[Figure]) -> Iterator[dg.AssetCheckResult]:
    """Gives the results of all checks.

    Args:
        key: The asset of the report.
        figures: The report.
    """
    for check in CHECKS:
        judged = [
            figure
            for figure in figures
            if figure.passed is not None and figure.measure.startswith(check.measures)
        ]
        failed = [figure for figure in judged if not figure.passed]
        is_error = any(figure.severity == "error" for figure in failed)
        yield dg.AssetCheckResult(
            passed=not failed,
            asset_key=key,
            check_name=check.name,
            severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
            metadata={"figures": len(judged), "beyond_thresholds": len(failed)},
            description=_problem(failed) if failed else None,
        )


def _problem(failed: Sequence[Figure]) -> str:
    worst = sorted(failed, key=lambda figure: figure.severity != "error")
    lines = [
        f"{item.subject}: {item.measure} {number(item.value)}, expected {number(item.expected)} "
        f"({item.text})"
        for item in worst[:_MOST_NAMED]
    ]
    if len(failed) > _MOST_NAMED:
        lines.append(f"and {len(failed) - _MOST_NAMED} more: `data-pipeline report` lists all")
    lines.append(
        "If the sample is as it should be, set the thresholds in the instance's attrs, "
        "`sample: {checks: ...}`; otherwise sample more rows, or with another salt."
    )
    return "\n".join(lines)
