"""A report as tables to be read: in the terminal, and as Markdown in the web UI."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from data_pipeline.instances import project
from data_pipeline.sampling.report.figures.figure import Figure

_SIZES = ("rows", "sampled rows", "certain rows", "pinned rows", "witness rows", "reference rows")


@dataclass(frozen=True)
class Section:
    """A table of a report.

    Attributes:
        title: What it is about.
        header: Names of its columns.
        lines: Its cells.
        numbers: The columns that are numbers, by place.
    """

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()

    def as_text(self) -> list[str]:
        """Return lines with aligned columns."""
        all_lines = [self.header, *self.lines]
        widths = [max(len(line[i]) for line in all_lines) for i in range(len(self.header))]
        pads: list[Callable[[str, int], str]] = [
            str.rjust if i in self.numbers else str.ljust for i in range(len(self.header))
        ]
        ruled = [self.header, tuple("-" * width for width in widths), *self.lines]
        return [
            "  ".join(p(c, w) for p, c, w in zip(pads, line, widths, strict=True)).rstrip()
            for line in ruled
        ]

    def as_markdown(self) -> str:
        """Return a Markdown table."""
        rule = tuple("---:" if i in self.numbers else "---" for i in range(len(self.header)))
        lines = [self.header, rule, *self.lines]
        return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def sections(figures: Sequence[Figure]) -> list[Section]:
    """Return the tables of a report that are not empty; what is wrong comes first in each."""
    found = [_sizes(figures)]
    rest = [f for f in figures if f.measure not in _SIZES and f.measure != "overhead"]
    for title, belongs in _TITLES:
        chosen = [figure for figure in rest if belongs(figure.measure)]
        if chosen:
            found.append(_section(title, chosen))
    return found


def verdict(figure: Figure) -> str:
    """Return the verdict on a figure in a word."""
    if figure.passed is None:
        return ""
    if figure.passed:
        return "ok"
    return "WARN" if figure.severity == "warn" else "ERROR"


def _sizes(figures: Iterable[Figure]) -> Section:
    by_table: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        if figure.measure in _SIZES or figure.measure == "overhead":
            by_table.setdefault(figure.table, {})[figure.measure] = figure
    lines = []
    for table, found in by_table.items():
        rows, sampled = found.get("rows"), found.get("sampled rows")
        extra = found.get("overhead")
        lines.append(
            (
                table,
                number(rows.value if rows else None),
                number(rows.expected if rows else None),
                number(sampled.expected if sampled else None),
                *(number(found[m].value if m in found else None) for m in _SIZES[1:]),
                "" if extra is None or extra.value is None else f"{100 * extra.value:.1f} %",
            )
        )
    header = (
        "table", "rows", "of", "asked for", "sampled", "certain", "pinned", "witness", "reference",
        "overhead",
    )  # fmt: skip
    return Section("Sizes", header, tuple(lines), frozenset(range(1, len(header))))


def _section(title: str, figures: Iterable[Figure]) -> Section:
    ordered = sorted(figures, key=lambda f: {"ERROR": 0, "WARN": 1}.get(verdict(f), 2))
    lines = tuple(
        (f.subject, f.measure, number(f.value), number(f.expected), verdict(f), f.text)
        for f in ordered
    )
    header = ("of", "measure", "value", "expected", "verdict", "meaning")
    return Section(title, header, lines, frozenset({2, 3}))


def number(value: float | None) -> str:
    """Return a number with as many digits as are worth reading."""
    if value is None:
        return ""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def _is(*words: str) -> Callable[[str], bool]:
    return lambda measure: measure.startswith(words)


_TITLES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("Relationships", _is("reference violations", "references cut", "join retention")),
    ("Coverage", _is("coverage", "left out of coverage")),
    ("Distributions", _is("KS distance", "total variation")),
    ("Estimates", _is("weighted", "effective sample size", "uncertain means")),
    ("Design effects", _is("design effect")),
    ("Notes", _is("source has changed", "nothing compared", "masked column")),
)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


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
        ("design effect",),
    ),
)
"""All checks of a report."""


def check_results(key: dg.AssetKey, figures: Sequence[Figure]) -> Iterator[dg.AssetCheckResult]:
    """Return the results of all checks.

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


def _said(figure: Figure) -> str:
    expected = "" if figure.expected is None else f", expected {number(figure.expected)}"
    return f"{figure.subject}: {figure.measure} {number(figure.value)}{expected} ({figure.text})"


def _problem(failed: Sequence[Figure]) -> str:
    worst = sorted(failed, key=lambda figure: figure.severity != "error")
    lines = [_said(item) for item in worst[:_MOST_NAMED]]
    if len(failed) > _MOST_NAMED:
        more, report = len(failed) - _MOST_NAMED, project.command("report")
        lines.append(f"and {more} more: `{report}` lists all")
    lines.append(
        "If the sample is as it should be, set the thresholds in the instance's attrs, "
        "`sample: {checks: ...}`; otherwise sample more rows, or with another salt."
    )
    return "\n".join(lines)
