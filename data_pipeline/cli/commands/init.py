"""`data-pipeline init`: a project of one's own, which runs at once."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from data_pipeline.authoring.new_project.from_database import SourceDatabase


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--example", is_flag=True, help="Add a stage with a model and a view.")
@click.option(
    "--from-database",
    "url",
    metavar="URL",
    help="Load the tables of this database: postgresql://..., sqlite:///path or duckdb:///path. "
    "User and password go to a file beside the code.",
)
@click.option("--schema", help="The schema of that database; default: public.")
def init(folder: Path, example: bool, url: str | None, schema: str | None) -> None:
    """Write a small project into FOLDER: it runs as it is, and its source waits for yours."""
    from data_pipeline.authoring.new_project.from_database import SourceDatabase
    from data_pipeline.authoring.new_project.project_files import write_project

    if url is not None and example:
        raise click.UsageError("--example is about a source that is made up: leave it out.")
    if schema is not None and url is None:
        raise click.UsageError("--schema is one of a database: name that with --from-database.")
    database = None if url is None else SourceDatabase.at(url, schema)
    package = write_project(folder, example=example, database=database)
    if database is not None:
        click.echo(f"{len(database.tables)} tables are loaded from the database.")
        for hint in _hints(database):
            click.echo(hint)
    where = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))}; "
    click.echo(f"{folder} has a project now, with the package `{package}`. To run it:")
    click.echo(f"  {where}make demo")


def _hints(database: "SourceDatabase") -> Iterator[str]:
    """Say what samples cannot know of a source, since it is not declared there."""
    from data_pipeline.database.identifiers import few

    if not database.roots():
        yield (
            "No table refers to another, so midi and mini take the first rows of each. Keys and "
            "references can be declared: database_tables(..., properties=...) in raw.py."
        )
    if likely := database.likely_children():
        yield (
            "Without declared references, though with columns that are called like keys of other "
            f"tables: {few([f'`{name}`' for name in likely])}. Samples follow declared ones only. "
            "Once full has run, `data-pipeline relationships raw` suggests likely ones."
        )
