"""`data-pipeline instances`: what exists in every instance."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from data_pipeline.cli import chosen_project


@click.command()
@click.argument("names", nargs=-1)
def instances(names: tuple[str, ...]) -> None:
    """List what exists in every instance, or in NAMES: rows, size and last commit."""
    from data_pipeline.cli.planned_run import orphans_of
    from data_pipeline.database.connection import database
    from data_pipeline.store import catalog, slots

    configuration = chosen_project.configuration()
    chosen = [configuration.instance(name) for name in names or configuration.instances]
    lines = []
    for instance in chosen:
        with database(instance).begin() as connection:
            rows = catalog.rows(connection, instance.catalog_schema).values()
            kept = [slot.row for slot in slots.all_slots(connection, instance)]
        slices = Counter(row.table.whole for row in rows if row.slice.get("key"))
        lines += [
            _line(instance.instance_id, row, _kind(row, slices))
            for row in rows
            if not row.slice.get("key")
        ]
        lines += [_line(instance.instance_id, row, f"kept {row.kind}") for row in kept]
        if not rows:
            lines.append((instance.instance_id, "(nothing built yet)", "", "", "", "", ""))
    for line in _aligned(_HEADER, lines):
        click.echo(line)
    for instance in chosen:
        if text := str(orphans_of(instance)):
            click.echo(f"no asset makes any more, of {instance.name}: {text}")
    if unused := configuration.unused:
        click.echo(f"no instance refers to: {', '.join(unused)} (in {configuration.file})")


def _kind(row: Any, slices: Mapping[Any, int]) -> str:
    return f"{slices[row.table]} slices" if row.kind == "sliced" else str(row.kind)


_HEADER = ("instance", "stage", "table", "kind", "rows", "size", "last commit")
_RIGHT = {"rows", "size"}


def _line(instance_id: str, row: Any, kind: str) -> tuple[str, ...]:
    return (
        instance_id,
        row.stage,
        row.name,
        kind,
        "" if row.row_count is None else f"{row.row_count:,}",
        "" if row.bytes is None else _size(row.bytes),
        f"{row.committed_at:%Y-%m-%d %H:%M:%S}",
    )


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:,.0f} TB"


def _aligned(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    pads: list[Callable[[str, int], str]] = [
        str.rjust if name in _RIGHT else str.ljust for name in header
    ]
    return [
        "  ".join(
            pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)
        ).rstrip()
        for line in [header, ["-" * width for width in widths], *lines]
    ]
