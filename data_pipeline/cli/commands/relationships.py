"""`data-pipeline relationships`: which relationships are likely, but not declared."""

import json
import logging
from dataclasses import asdict

import click

from data_pipeline.cli import chosen_project
from data_pipeline.errors import ConfigurationError


@click.command()
@click.argument("stage")
@click.option("--instance", metavar="I", help="Whose tables; else the first that loads for itself.")
@click.option("--json", "as_json", is_flag=True, help="Print them for programs.")
def relationships(stage: str, instance: str | None, as_json: bool) -> None:
    """Suggest relationships between the tables of STAGE that are not declared.

    Columns that are called like a primary key are looked up there. Nothing is used before it is
    declared, as `table_properties(foreign_keys=[...])`.
    """
    import sqlalchemy as sa

    from data_pipeline.database.connection import database
    from data_pipeline.database.identifiers import StageTable, few
    from data_pipeline.sampling.suggested_relationships import suggested_relationships
    from data_pipeline.sampling.weights import with_declared_key
    from data_pipeline.store.reading import fetch, known_properties
    from data_pipeline.store.table_properties import declared_properties

    configuration = chosen_project.configuration()
    loading = [name for name, item in configuration.instances.items() if not item.copies]
    chosen = configuration.instance(instance or loading[0])
    found = [StageTable.from_path(spec.key.path) for spec in chosen_project.asset_specs()]
    specs = {
        table.name: spec
        for table, spec in zip(found, chosen_project.asset_specs(), strict=True)
        if table.stage == stage
    }
    if not specs:
        known = ", ".join(f"`{name}`" for name in sorted({table.stage for table in found}))
        raise ConfigurationError(f"There is no stage `{stage}`. Known here: {known or 'none'}.")
    log = logging.getLogger("data_pipeline")
    tables, declared = {}, {}
    for name, spec in specs.items():
        table, _ = fetch(chosen, StageTable(stage, name), sa.Table, log)
        if isinstance(table, sa.Table):
            said = declared_properties(spec.metadata)
            tables[name] = with_declared_key(table, StageTable(stage, name), said)
            declared[name] = known_properties(table, said)
    with database(chosen).begin() as connection:
        suggestions = suggested_relationships(connection, tables, declared)
    if as_json:
        click.echo(json.dumps([asdict(item) for item in suggestions], indent=2))
        return
    for item in suggestions:
        click.echo(str(item))
    if not suggestions:
        click.echo(f"No relationship of stage `{stage}` is likely that is not declared.")
    if keyless := sorted(name for name, item in tables.items() if not item.primary_key.columns):
        click.echo(
            "References to tables without a primary key were not looked for: "
            f"{few([f'`{name}`' for name in keyless])}. Declare it (primary_key=...).",
            err=True,
        )
