"""`data-pipeline source`: what the project knows of its sources."""

import warnings

import click

from data_pipeline.cli import chosen_project
from data_pipeline.errors import DataPipelineError, DefinitionsError


@click.group()
def source() -> None:
    """Look after the sources that `database_tables` and `file_tables` load."""


@source.command()
def refresh() -> None:
    """Read the catalogs of all sources of the project into their files.

    Definitions are made of these files, so a source is asked here and when it is loaded alone.
    """
    from data_pipeline.sources.declared_sources import refreshing

    chosen_project.configuration()
    problem: DataPipelineError | None = None
    with refreshing() as found, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            chosen_project.asset_specs()
        except DefinitionsError as error:
            problem = error
    for file, item in found.items():
        keys = sum(len(table.foreign_keys) for table in item.catalog.tables.values())
        count = len(item.catalog.tables)
        click.echo(f"{item.source.stage}: {count} tables with {keys} relationships, in {file}")
        for line in item.changes:
            click.echo(f"  {line}")
    if problem is not None:
        raise problem
    if not found:
        click.echo("The project has no sources by database_tables or file_tables.")
