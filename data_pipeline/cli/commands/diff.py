"""`data-pipeline diff`: prints what differs between two versions of an instance."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from data_pipeline.cli import chosen_project
from data_pipeline.errors import DataPipelineError

if TYPE_CHECKING:
    from data_pipeline.difference.result import Difference
    from data_pipeline.instances import Configuration

ERROR = 2
"""The exit status where nothing, or not everything, could be compared."""


@click.command()
@click.argument("version")
@click.argument("others", metavar="[VERSION] [TABLE]...", nargs=-1)
@click.option("--ignore", multiple=True, metavar="COLUMN", help="Leave out [TABLE.]COLUMN.")
@click.option("--tolerance", type=float, default=0.0, help="So far may floats be apart.")
@click.option("--rows", type=int, default=0, help="Show so many rows of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for a pull request.")
@click.option("--html", type=click.Path(path_type=Path), help="Write an HTML file with plots.")
@click.pass_context
def diff(
    context: click.Context,
    version: str,
    others: tuple[str, ...],
    ignore: tuple[str, ...],
    tolerance: float,
    rows: int,
    as_json: bool,
    markdown: bool,
    html: Path | None,
) -> None:
    """Compare two versions of the tables of an instance, or two instances.

    A VERSION is an instance (midi), what was there before its last run (midi@previous), what is
    staged (midi@staged), or what a run has made (midi@RUN_ID). Alone, it is compared with what was
    there before, or with what is committed.

    The exit status is 0 where all is equal, 1 where something differs, 2 where that cannot be told.
    """
    from data_pipeline.difference.diff import diff as compared

    try:
        configuration = chosen_project.configuration(with_module=False)
        after, tables = _sorted(others, configuration)
        found = compared(
            version,
            after,
            tables,
            ignore=ignore,
            tolerance=tolerance,
            rows=rows,
            configuration=configuration,
        )
        if html is not None:
            from data_pipeline.difference.rendering.html import page

            html.write_text(page(found), encoding="utf-8")
    except (DataPipelineError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        context.exit(ERROR)
    _print(found, as_json=as_json, markdown=markdown)
    context.exit(found.exit_status)


def _sorted(
    others: tuple[str, ...], configuration: "Configuration"
) -> tuple[str | None, tuple[str, ...]]:
    """Tell the second version from tables: it names an instance."""
    if others and ("@" in others[0] or others[0] in configuration.instances):
        return others[0], others[1:]
    return None, others


def _print(found: "Difference", *, as_json: bool, markdown: bool) -> None:
    from data_pipeline.difference.rendering import terminal

    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2, ensure_ascii=False))
        return
    for line in terminal.markdown(found) if markdown else terminal.lines(found):
        click.echo(line)
