"""A comparison as one HTML file that needs nothing else: plots first, then figures, then rows."""

from collections.abc import Iterator, Sequence
from html import escape

from data_pipeline.difference.rendering import terminal
from data_pipeline.difference.result import Difference, TableDifference

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 70em; padding: 0 1em }
h2 { border-top: 1px solid #ccc; padding-top: .8em; font-size: 1.15em }
table { border-collapse: collapse; margin: .6em 0 }
td, th { padding: .15em .7em; text-align: right }
th { border-bottom: 1px solid #999; font-weight: 600 }
td:first-child, th:first-child { text-align: left }
pre { background: #f5f5f5; padding: .6em; overflow-x: auto }
"""
_BAR = 26
_WIDTH, _NAMES = 640, 260
_MOST_BARS = 15


def page(difference: Difference) -> str:
    """Return the whole page."""
    body = "\n".join(_body(difference))
    title = escape(terminal.verdict(difference))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _body(difference: Difference) -> Iterator[str]:
    yield f"<h1>{escape(terminal.verdict(difference))}</h1>"
    yield from (f"<p>{escape(note)}</p>" for note in difference.notes)
    for table in difference.differing:
        yield f"<h2><code>{escape(table.table)}</code>: {escape(terminal.summary(table))}</h2>"
        yield from _plots(table)
        if found := list(terminal.details(table)):
            yield f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in found)}</ul>"
        cells = terminal.column_cells(table) if table.columns else terminal.figure_cells(table)
        if cells[1]:
            yield _table(*cells)
        if table.examples:
            rows = "\n".join(terminal.example_text(example) for example in table.examples)
            yield f"<pre>{escape(rows)}</pre>"


def _plots(table: TableDifference) -> Iterator[str]:
    before = table.rows.before if table.rows else 0
    shares = [(c.name, c.changed / before) for c in table.columns if c.changed and before]
    if shares:
        yield bars("rows with another value, by column", shares)
    slices = [(item.condition, item.differing / item.rows) for item in table.slices if item.rows]
    if slices and table.rows and before:
        everything = ("all rows", table.rows.different / before)
        yield bars("rows that differ, by slice", [everything, *slices])
    if table.sample and table.sample.figures:
        errors = [(item.what, item.errors) for item in table.sample.figures]
        yield bars("standard errors between full and the sample", errors, unit="")


def bars(title: str, values: Sequence[tuple[str, float]], unit: str = "%") -> str:
    """Return bars with their names as SVG.

    Args:
        title: What they show.
        values: Their names and lengths; shares where the unit is percent.
        unit: `%` or nothing.
    """
    shown = values[:_MOST_BARS]
    largest = max((value for _, value in shown), default=0.0) or 1.0
    height = _BAR * (len(shown) + 1) + 6
    parts = [f'<text x="0" y="16" font-weight="600">{escape(title)}</text>']
    for number, (name, value) in enumerate(shown, 1):
        y = number * _BAR
        length = max(1.0, value / largest * (_WIDTH - _NAMES - 80))
        label = f"{100 * value:.1f} %" if unit else f"{value:.1f}"
        short = name if len(name) <= 36 else f"{name[:35]}…"
        parts.append(
            f'<text x="0" y="{y + 17}">{escape(short)}</text>'
            f'<rect x="{_NAMES}" y="{y + 4}" width="{length:.1f}" height="{_BAR - 8}" '
            f'fill="#4477aa"/><text x="{_NAMES + length + 6:.1f}" y="{y + 17}">{label}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="system-ui, sans-serif" font-size="13">'
        f"{''.join(parts)}</svg>"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{lines}</table>"
