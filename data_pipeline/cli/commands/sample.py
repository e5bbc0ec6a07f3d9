"""`data-pipeline sample`: what the sample of an instance will be, before rows are copied."""

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from data_pipeline.cli import chosen_project
from data_pipeline.cli.chosen_project import input_stages
from data_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from data_pipeline.instances import Instance
    from data_pipeline.sampling.plan.sample_plan import SamplePlan
    from data_pipeline.sampling.prediction.dry_run import DryRun
    from data_pipeline.sampling.report.stored_reports import Inputs


@click.command()
@click.argument("instance")
@click.option("--stage", metavar="S", help="Only the input tables of this stage.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
def sample(instance: str, stage: str | None, as_json: bool) -> None:
    """Say how each table of the sample of INSTANCE will be chosen, and how large it will be.

    The rows are chosen on trial for a few seconds; where that does not suffice, their number is
    predicted from statistics. Nothing is written. Queries of `copy_inputs` are not asked.
    """
    from data_pipeline.sampling.prediction import sizes
    from data_pipeline.sampling.sample_request import naming_instance

    configuration = chosen_project.configuration()
    chosen = configuration.instance(instance)
    if chosen.sample is None:
        samples = [f"`{name}`" for name, item in configuration.instances.items() if item.sample]
        raise ConfigurationError(
            f"Instance `{instance}` is no sample. Samples are: {', '.join(samples) or 'none'}."
        )
    found = [run for inputs in _inputs(stage) if (run := _dry_run(chosen, inputs)) is not None]
    if not found:
        raise ConfigurationError(
            f"No `sample` of instance `{instance}` has a root "
            f"{f'in stage `{stage}`' if stage else 'among the input tables'}, so nothing is sampled"
            ". Name one in sample.roots."
        )
    own = _stages_with_own_queries()
    found = [
        replace(run, note="\n  ".join(filter(None, (run.note, _OWN)))) if run.stage in own else run
        for run in found
    ]
    if as_json:
        click.echo(json.dumps({run.stage: _json(run) for run in found}, indent=2))
    for run in [] if as_json else found:
        how = "chosen on trial" if run.measured else "predicted from statistics"
        click.echo(f"instance {chosen.instance_id}, stage {run.stage}, {how}:")
        for line in sizes.as_lines(run.sizes):
            click.echo(f"  {line}")
        if run.note:
            click.echo(f"  {run.note}")
    if refused := "\n".join(text for run in found for text in run.refused):
        with naming_instance(chosen):
            raise ConfigurationError(refused)


_OWN = (
    "`copy_inputs` has queries for this stage: the sample is drawn from the rows that they leave, "
    "so it is smaller than this. The log of a run says its size before rows are copied."
)


def _stages_with_own_queries() -> set[str]:
    from data_pipeline.copies_of_related_tables import OWN_COPY

    return {spec.key.path[0] for spec in chosen_project.asset_specs() if OWN_COPY in spec.metadata}


def _inputs(stage: str | None) -> list["Inputs"]:
    stages = input_stages()
    if stage is not None and stage not in stages:
        known = ", ".join(f"`{name}`" for name in stages) or "none"
        raise ConfigurationError(f"No stage `{stage}` has input tables. Known here: {known}.")
    return [inputs for name, inputs in stages.items() if stage in (None, name)]


def _dry_run(instance: "Instance", inputs: "Inputs") -> "DryRun | None":
    import sqlalchemy as sa

    from data_pipeline.database.identifiers import StageTable
    from data_pipeline.sampling.plan.sample_plan import has_root
    from data_pipeline.sampling.plan.schema_graph import schema_graph
    from data_pipeline.sampling.prediction.dry_run import dry_run
    from data_pipeline.sampling.sample_request import naming_instance
    from data_pipeline.sampling.weights import with_declared_key
    from data_pipeline.store.lookup import made_from
    from data_pipeline.store.reading import fetch

    graph = schema_graph(inputs.stage, inputs.raw, inputs.declared)
    if instance.sample is None or not has_root(instance.sample, graph):
        return None
    log = logging.getLogger("data_pipeline")
    sources = {}
    for name, raw in inputs.raw.items():
        origin = made_from(instance, raw, StageTable(inputs.stage, name))
        table, _ = fetch(*origin, sa.Table, log)
        sources[name] = with_declared_key(table, origin[1], inputs.declared[name])
    with naming_instance(instance):
        plan = inputs.plan(instance, sources)
        if plan is None:
            return None
        _check_roles(plan, sources)
        return dry_run(instance, plan, sources)


def _check_roles(plan: "SamplePlan", sources: "Mapping[str, sa.Table]") -> None:
    """Check what a run does where it keeps the roles of rows: that these can be told."""
    from data_pipeline.database.identifiers import StageTable
    from data_pipeline.sampling.weights import check_key, check_told_by_key, roles_table

    made = {tuple(spec.key.path) for spec in chosen_project.asset_specs()}
    for name, source in sources.items():
        table = StageTable(plan.graph.stage, name)
        roles = roles_table(table)
        if (roles.stage, roles.name) in made:
            check_key(table, source)
            if plan.altered(name):
                check_told_by_key(table, source)


def _json(run: "DryRun") -> dict[str, Any]:
    from data_pipeline.sampling.prediction import sizes

    said = {"measured": run.measured, "note": run.note, "refused": list(run.refused)}
    return {**said, **sizes.as_json(run.sizes)}
