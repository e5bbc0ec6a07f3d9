"""`data-pipeline why`: says why a row is in the sample of an instance, or is not."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from data_pipeline.cli import chosen_project
from data_pipeline.cli.chosen_project import input_stages
from data_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from data_pipeline.instances import Instance
    from data_pipeline.sampling.report.figures.figure import Compared
    from data_pipeline.sampling.report.stored_reports import Inputs


@click.command()
@click.argument("instance")
@click.argument("table")
@click.argument("key", nargs=-1, required=True)
def why(instance: str, table: str, key: tuple[str, ...]) -> None:
    """Say why the row KEY of TABLE is in the sample of INSTANCE, or is not.

    TABLE is an input table, as `table` or `stage/table`. KEY are the values of its primary key in
    order, or `column=value` for any columns.
    """
    from data_pipeline.database.connection import database
    from data_pipeline.sampling.report.stored_reports import has_other_attrs
    from data_pipeline.sampling.report.why import explain

    chosen = chosen_project.configuration().instance(instance)
    inputs, name = _inputs(table)
    tables = _tables(chosen, inputs)
    plan = inputs.plan(chosen, {other: item.source for other, item in tables.items()})
    if plan is None:
        raise ConfigurationError(
            f"No `sample` of instance `{chosen.name}` has a root in stage `{inputs.stage}`, so all "
            "rows that it has were copied by `copy_filter_...`, or loaded. `why` explains samples."
        )
    if has_other_attrs(chosen, tables[name].roles):
        raise ConfigurationError(
            f"The sample of instance `{chosen.name}` was made with other attrs than those of "
            f"today, which cannot explain it. Build it: {chosen.build_command}, or undo the edit."
        )
    with database(chosen).begin() as connection:
        for line in explain(connection, plan, tables[name], key):
            click.echo(line)


def _inputs(table: str) -> tuple["Inputs", str]:
    """Find the stage of an input table among the definitions."""
    from data_pipeline.database.identifiers import StageTable
    from data_pipeline.sampling.weights import roles_table

    stages = input_stages()
    copied = [StageTable(stage, name) for stage, inputs in stages.items() for name in inputs.raw]
    found = [t for t in copied if table in (str(t), t.name)]
    if len(found) != 1:
        what = "is no input table" if not found else "is in several stages"
        listed = ", ".join(f"`{known}`" for known in sorted(found or copied, key=str))
        raise ConfigurationError(f"`{table}` {what}. Name one of these: {listed or 'none'}.")
    specs = {StageTable.from_path(spec.key.path) for spec in chosen_project.asset_specs()}
    if roles_table(found[0]) not in specs:
        raise ConfigurationError(
            f"The roles of the rows of `{found[0]}` are not kept. Make its stage by "
            "`sampled_inputs_with_report`, or by `copy_filtered_inputs(..., weights=True)`."
        )
    return stages[found[0].stage], found[0].name


def _tables(instance: "Instance", inputs: "Inputs") -> Mapping[str, "Compared"]:
    """Return the committed tables of a stage with sources and roles.

    Raises:
        TableNotFoundError: One has not been built yet.
    """
    import sqlalchemy as sa

    from data_pipeline.database.identifiers import StageTable
    from data_pipeline.sampling.report.figures.figure import Compared
    from data_pipeline.sampling.weights import roles_table
    from data_pipeline.store.lookup import made_from
    from data_pipeline.store.reading import fetch

    log = logging.getLogger("data_pipeline")
    found = {}
    for name, raw in inputs.raw.items():
        own = StageTable(inputs.stage, name)
        source, _ = fetch(*made_from(instance, raw, own), sa.Table, log)
        rows, _ = fetch(instance, own, sa.Table, log)
        roles, _ = fetch(instance, roles_table(own), sa.Table, log)
        found[name] = Compared(name, source, rows, roles)
    return found
