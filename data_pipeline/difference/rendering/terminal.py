"""A comparison as text: for the terminal, and as Markdown for a pull request."""

from collections.abc import Iterator, Sequence

from data_pipeline.difference.result import (
    ColumnDifference,
    Difference,
    KeyFaults,
    RowExample,
    SampleFigure,
    TableDifference,
)

MOST_LINES = 25
"""So many lines at most has a table in Markdown, besides examples of rows."""

_MOST_COLUMNS = 12
_MOST_FIGURES = 8
_CELL = 40


def verdict(difference: Difference) -> str:
    """Return in one sentence whether, and how many, tables differ."""
    many = len(difference.differing)
    if not many and any(table.sample is not None for table in difference.tables):
        what = "no figure differs by more than chance"  # rows are not compared with a sample's
    elif not many and difference.tables and not any(map(_is_compared, difference.tables)):
        what = "nothing could be compared"
    elif not many:
        what = "no table changed"
    else:
        what = f"{many} of {len(difference.tables)} tables {'differs' if many == 1 else 'differ'}"
    return f"{difference.before} -> {difference.after}: {what}"


def _is_compared(table: TableDifference) -> bool:
    return table.status != "sample only"


def lines(difference: Difference) -> Iterator[str]:
    """Return the lines for a terminal."""
    yield verdict(difference)
    for note in difference.notes:
        yield f"  {note}"
    was_short = False
    for table in difference.differing:
        found = list(details(table))
        is_short = not (found or table.columns or table.examples)
        if not (is_short and was_short):
            yield ""
        was_short = is_short
        yield f"{table.table}: {summary(table)}"
        yield from (f"  {line}" for line in found)
        if table.columns:
            yield from (f"  {line}" for line in aligned(*column_cells(table)))
        if table.sample and table.sample.figures:
            yield from (f"  {line}" for line in aligned(*figure_cells(table)))
        for example in table.examples:
            yield f"  {example_text(example)}"


def markdown(difference: Difference) -> Iterator[str]:
    """Return the lines of Markdown; no value of a row, unless examples were asked for."""
    yield f"**{verdict(difference)}**"
    for note in difference.notes:
        yield f"- {note}"
    for table in difference.differing:
        yield ""
        yield from _shortened(list(_markdown_of(table)))
        if table.examples:
            yield ""
            yield from (f"    {example_text(example)}" for example in table.examples)


def _markdown_of(table: TableDifference) -> Iterator[str]:
    yield f"### `{table.table}`: {summary(table)}"
    for line in details(table, with_keys=bool(table.examples)):
        yield f"- {line}"
    cells = column_cells(table) if table.columns else figure_cells(table)
    if cells[1]:
        yield ""
        header, rows = cells
        yield f"| {' | '.join(header)} |"
        yield f"|{'---|' * len(header)}"
        for row in rows:
            yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |"


def _shortened(found: Sequence[str]) -> Sequence[str]:
    if len(found) <= MOST_LINES:
        return found
    rest = len(found) - MOST_LINES + 2
    return [*found[: MOST_LINES - 2], "", f"… and {rest} lines more in the terminal"]


def summary(table: TableDifference) -> str:
    """Return what became of a table in a few words."""
    before, after = count(table.rows_before), count(table.rows_after)
    if table.status in ("added", "gone"):
        rows_then = table.rows_before if table.status == "gone" else table.rows_after
        return table.status if rows_then is None else f"{table.status}, {rows_then:,} rows"
    if table.status == "not kept" and table.rows_after is None:
        return "changed, but one version of it is not there"
    if table.status == "not kept":
        return f"changed, {before} -> {after} rows, but one version of these is not there"
    if table.status == "not compared":
        return f"changed, {before} -> {after} rows, but cannot be compared"
    if table.status == "schema":
        return "columns or keys changed, all values that are compared are equal"
    if table.sample is not None:
        return f"{before} rows, {after} in the sample"
    if table.status == "view":
        return "a view with the same query: the tables that it shows are compared by themselves"
    if table.rows is None:
        return "equal" if table.status == "equal" else "changed"
    rows = table.rows
    parts = [f"{before} -> {after} rows" if before != after else f"{after} rows"]
    if rows.changed is not None:
        parts.append(f"{rows.changed:,} changed ({percent(rows.changed, rows.before)})")
    parts += [f"{rows.added:,} added", f"{rows.removed:,} removed"]
    return ", ".join(parts)


def details(table: TableDifference, *, with_keys: bool = True) -> Iterator[str]:
    """Return sentences on a table: declarations, slices, the effect on full, notes.

    Args:
        table: The table.
        with_keys: Whether keys that do not tell rows apart are named.
    """
    if table.schema is not None:
        if table.schema.added:
            yield f"new columns: {', '.join(table.schema.added)}"
        if table.schema.removed:
            yield f"columns gone: {', '.join(table.schema.removed)}"
        yield from table.schema.changed
    yield from map(str, table.slices)
    if table.effect is not None:
        yield table.effect.text
        for figure in table.effect.figures:
            yield (
                f"full: {figure.what} {signed(figure.value)} "
                f"(95 %: {signed(figure.low)} to {signed(figure.high)})"
            )
    if table.sample is not None:
        yield table.sample.text
    anew = [column.name for column in table.columns if column.made_anew]
    if anew:
        options = " ".join(f"--ignore {table.table}.{name}" for name in anew)
        yield f"the same code made other values of the same inputs; leave them out by {options}"
    yield from table.notes
    if table.rows is not None and table.rows.faults is not None:
        yield faults_text(table.rows.faults, with_keys=with_keys)


def faults_text(faults: KeyFaults, *, with_keys: bool = True) -> str:
    """Return what there is to be said of rows that a key does not tell apart."""
    parts = [
        f"{old:,} rows before and {new:,} after {what}"
        for (old, new), what in (
            (faults.nulls, "have NULL in the key"),
            (faults.duplicates, "share their key with others"),
        )
        if old or new
    ]
    named = f" (such as {', '.join(f'`{key}`' for key in faults.examples)})" if with_keys else ""
    return (
        f"{', '.join(parts)}{named}; these and the rows of the same key are compared by all values"
    )


def column_cells(table: TableDifference) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return the header and the lines of the table of columns."""
    header = (
        "column",
        "changed",
        "NULL before",
        "after",
        "mean before",
        "after",
        "sum before",
        "after",
    )
    rows = [_column_row(table, column) for column in table.columns[:_MOST_COLUMNS]]
    if len(table.columns) > _MOST_COLUMNS:
        more = f"… {len(table.columns) - _MOST_COLUMNS} more"
        rows.append((more, *([""] * (len(header) - 1))))
    return header, rows


def _column_row(table: TableDifference, column: ColumnDifference) -> Sequence[str]:
    before = table.rows.before if table.rows else 0
    changed = ""
    if column.changed is not None:
        changed = f"{column.changed:,} ({percent(column.changed, before)})"
    sides = [column.before, column.after]
    cells = [share(side.null_share) for side in sides]
    cells += [number(side.mean) for side in sides]
    return (column.name, changed, *cells, *(number(side.sum) for side in sides))


def figure_cells(table: TableDifference) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return the header and the lines of the table of figures of full and of the sample."""
    header = ("figure", "full", "sample says", "standard error", "apart", "")
    figures = table.sample.figures if table.sample else ()
    shown = [item for n, item in enumerate(figures) if item.is_off or n < _MOST_FIGURES]
    return header, [_figure_row(item) for item in shown[: MOST_LINES - 8]]


def _figure_row(item: SampleFigure) -> Sequence[str]:
    figures = (item.full, item.sample, item.standard_error)
    apart = f"{item.errors:.1f} errors"
    return (item.what, *map(number, figures), apart, "more than chance" if item.is_off else "")


def example_text(example: RowExample) -> str:
    """Return a row that differs as one line."""
    sign = {"added": "+", "removed": "-", "changed": "~"}[example.what]
    key = ", ".join(f"{name}={_cell(value)}" for name, value in example.key.items())
    values = "; ".join(
        f"{name}: {_cell(old)} -> {_cell(new)}"
        if example.what == "changed"
        else f"{name}: {_cell(new if example.what == 'added' else old)}"
        for name, (old, new) in example.values.items()
    )
    times = f" ({example.count:,} times)" if example.count > 1 else ""
    return f"{sign} {key}{f'  {values}' if values else ''}{times}"


def _cell(value: str | None) -> str:
    if value is None:
        return "NULL"
    shown = value.replace("\n", "⏎").replace("\r", "␍")
    return shown if len(shown) <= _CELL else f"{shown[: _CELL - 1]}…"


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table with its columns below each other, numbers to the right."""
    widths = [max(len(row[n]) for row in [header, *rows]) for n in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if not n else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in [header, *rows]
    ]


def count(rows: int | None) -> str:
    """Return a number of rows."""
    return "?" if rows is None else f"{rows:,}"


def percent(part: int, whole: int) -> str:
    """Return a share in percent; what is not nothing does not look like it."""
    if not whole:
        return "-"
    shown = f"{100 * part / whole:.1f} %"
    return "< 0.1 %" if part and shown == "0.0 %" else shown


def share(value: float | None) -> str:
    """Return a share of NULL; empty where there is none of it."""
    return "" if not value else f"{100 * value:.2f} %"


def number(value: float | None) -> str:
    """Return a figure with as many digits as tell something."""
    if value is None:
        return ""
    if value == int(value) if abs(value) < 1e15 else False:
        return f"{int(value):,}"
    return (
        f"{value:,.6g}"
        if abs(value) < 1e6
        else f"{value:,.0f}"
        if abs(value) < 1e15
        else f"{value:.6g}"
    )


def signed(value: float) -> str:
    """Return a change with its sign."""
    return f"{'+' if value > 0 else ''}{number(float(f'{value:.4g}'))}"
