"""The plots of a report: distributions of the source and of the weighted sample.

They need matplotlib, which is an optional dependency of the project.
"""

import base64
import importlib.util
import io
from collections.abc import Sequence
from typing import Any

from data_pipeline.sampling.report.figures.accuracy import Accuracy, Bins, Groups

NO_PLOTS = (
    "There are no plots: matplotlib is not installed. `pip install matplotlib`, or the extra "
    "`flights` of this project."
)

_MOST_PLOTS = 9
_MOST_BARS = 20
_COLUMNS = 3


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


def _png(figure: Any) -> bytes:
    image = io.BytesIO()
    # Without the name of the software: the same report gives the same bytes.
    figure.savefig(image, format="png", metadata={"Software": None})
    return image.getvalue()
