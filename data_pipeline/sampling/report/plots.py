"""The plots of a report: distributions of the source and of the weighted sample, and an overview.

They need matplotlib, which is an optional dependency of the project.
"""

import base64
import importlib.util
import io
from collections.abc import Sequence
from typing import Any

from data_pipeline.sampling.report.figures.accuracy import Accuracy, Bins, Groups
from data_pipeline.sampling.report.figures.comparison import Report

NO_PLOTS = (
    "There are no plots: matplotlib is not installed. `pip install matplotlib`, or the extra "
    "`flights` of this project."
)

_MOST_PLOTS = 9
_MOST_BARS = 20
_COLUMNS = 3
_ROLES = ("sampled rows", "certain rows", "pinned rows", "witness rows", "reference rows")


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def distributions_png(accuracies: Sequence[Accuracy]) -> bytes | None:
    """Draw the key columns of source and weighted sample; None where there is none to draw.

    Numbers and times as cumulative shares, categories as bars.
    """
    from matplotlib.figure import Figure

    panels = [(found, name) for found in accuracies for name in _columns(found)][:_MOST_PLOTS]
    if not panels:
        return None
    height = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(11, 2.6 * height), dpi=80)
    axes = list(figure.subplots(height, _COLUMNS, squeeze=False).flat)
    # Fixed: a layout that fits itself would draw everything twice.
    figure.subplots_adjust(
        left=0.06, right=0.99, top=1 - 0.12 / height, bottom=0.22 / height, hspace=0.5, wspace=0.25
    )
    for (found, name), place in zip(panels, axes, strict=False):
        place.set_title(f"{found.table}.{name}", fontsize=9)
        place.tick_params(labelsize=7)
        if name in found.full.bins:
            cuts = found.columns.cuts[name]
            timed = name in found.columns.timed
            _draw_cumulative(place, cuts, found.full.bins[name], found.sample.bins[name], timed)
        else:
            _draw_bars(place, found.full.groups[name], found.sample.groups[name])
    for place in axes[len(panels) :]:
        place.set_axis_off()
    figure.axes[0].legend(fontsize=7)
    return _png(figure)


def overview_png(report: Report) -> bytes:
    """Draw sizes by role, the share of covered obligations, and the errors of estimates."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), dpi=80, layout="constrained")
    sizes, covered, errors = figure.subplots(1, 3)
    for place in (sizes, covered, errors):
        place.tick_params(labelsize=7)
    _draw_sizes(sizes, report)
    _draw_coverage(covered, report)
    _draw_errors(errors, report)
    return _png(figure)


def markdown_image(png: bytes, title: str) -> str:
    """Return Markdown that carries an image within itself."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"


def _columns(found: Accuracy) -> list[str]:
    return [*found.full.bins, *found.full.groups]


def _draw_cumulative(axes: Any, cuts: list[float], full: Bins, sample: Bins, timed: bool) -> None:
    values: Any = cuts
    if timed and cuts and cuts[0] > 1e8:  # seconds since 1970; durations and times of day are less
        from datetime import UTC, datetime

        values = [datetime.fromtimestamp(value, UTC) for value in cuts]
        axes.tick_params(axis="x", rotation=30)
    for bins, label, style in ((full, "full", "-"), (sample, "weighted sample", "--")):
        total = sum(count for number, count in bins.items() if number is not None)
        below, shares = 0.0, []
        for number in range(len(cuts)):
            below += bins.get(number, 0.0) / total if total else 0.0
            shares.append(below)
        axes.plot(values, shares, style, label=label, linewidth=1.4)
    axes.set_ylabel("share below", fontsize=7)


def _draw_bars(axes: Any, full: Groups, sample: Groups) -> None:
    ordered = sorted(full, key=lambda value: -full[value])[:_MOST_BARS]
    totals = [sum(item.values()) or 1.0 for item in (full, sample)]
    places = range(len(ordered))
    for item, total, shift, label in (
        (full, totals[0], -0.2, "full"),
        (sample, totals[1], 0.2, "weighted sample"),
    ):
        shares = [item.get(value, 0.0) / total for value in ordered]
        axes.bar([place + shift for place in places], shares, 0.4, label=label)
    names = ["NULL" if value is None else value[:12] for value in ordered]
    axes.set_xticks(list(places), names, rotation=60 if len(names) > 5 else 0, fontsize=6)
    axes.set_ylabel("share", fontsize=7)


def _draw_sizes(axes: Any, report: Report) -> None:
    tables = list(dict.fromkeys(f.table for f in report.figures))
    found = {(f.table, f.measure): f.value or 0.0 for f in report.figures}
    left = [0.0] * len(tables)
    for role in _ROLES:
        counts = [found.get((table, role), 0.0) for table in tables]
        if any(counts):
            axes.barh(tables, counts, left=left, label=role.removesuffix(" rows"))
            left = [a + b for a, b in zip(left, counts, strict=True)]
    axes.invert_yaxis()
    axes.set_title("rows of the sample", fontsize=9)
    axes.legend(fontsize=7)


def _draw_coverage(axes: Any, report: Report) -> None:
    met: dict[str, list[float]] = {}
    for figure in report.figures:
        if figure.measure == "coverage" and figure.value is not None and figure.expected:
            pair = met.setdefault(figure.table, [0.0, 0.0])
            pair[0] += figure.value
            pair[1] += figure.expected
    axes.set_title("obligations with a witness (%)", fontsize=9)
    if not met:
        axes.text(0.5, 0.5, "nothing is to be covered", ha="center", va="center", fontsize=8)
        return
    bars = axes.barh(list(met), [100 * done / all_ for done, all_ in met.values()])
    labels = [f"{done:.0f} of {all_:.0f}" for done, all_ in met.values()]
    axes.bar_label(bars, labels, label_type="center", fontsize=7, color="white")
    axes.set_xlim(0, 100)
    axes.invert_yaxis()


def _draw_errors(axes: Any, report: Report) -> None:
    found: dict[str, float] = {}
    for f in report.figures:
        if f.measure in ("weighted count", "weighted sum", "weighted mean") and f.expected:
            name = f"{f.measure.removeprefix('weighted ')} {f.subject}"
            found[name] = 100 * ((f.value or 0.0) / f.expected - 1)
    axes.set_title("estimates, off by (%)", fontsize=9)
    if not found:
        axes.text(0.5, 0.5, "nothing is estimated", ha="center", va="center", fontsize=8)
        return
    worst = dict(sorted(found.items(), key=lambda item: -abs(item[1]))[:_MOST_BARS])
    axes.axvline(0, color="lightgrey")
    axes.plot(list(worst.values()), list(worst), "o", markersize=4)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=6)


def _png(figure: Any) -> bytes:
    image = io.BytesIO()
    # Without the name of the software: the same report gives the same bytes.
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()
