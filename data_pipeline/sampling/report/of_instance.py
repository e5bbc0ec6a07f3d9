"""The report of the input tables of an instance, whatever they are: a sample, or something else."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa

from data_pipeline.instances import Instance
from data_pipeline.sampling.report.compared import Compared
from data_pipeline.sampling.report.comparison import Report, compared_sample, unsampled_report
from data_pipeline.sampling.report.figures import Figure
from data_pipeline.sampling.sample_plan import SamplePlan, sample_plan
from data_pipeline.sampling.schema_graph import schema_graph
from data_pipeline.tables.connection import database
from data_pipeline.tables.copies import made_from
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.reference import catalog_row_of, properties_of
from data_pipeline.tables.table import Properties

Found = Mapping[str, tuple[sa.Table, sa.Table, sa.Table]]
"""Source, rows and roles of each input table."""


@dataclass(frozen=True)
class Inputs:
    """The input tables of a stage.

    Attributes:
        stage: The stage.
        raw: The raw table behind each.
        declared: What the raw assets declare of them.
    """

    stage: str
    raw: Mapping[str, StageTable]
    declared: Mapping[str, Properties]

    def plan(self, instance: Instance, sources: Mapping[str, sa.Table]) -> SamplePlan | None:
        """Gives what the rows were chosen by; None where no sample is specified.

        Args:
            instance: The instance.
            sources: The source of each input table.
        """
        properties = {
            name: self.declared[name].merged(properties_of(table))
            for name, table in sources.items()
        }
        settings = instance.sample
        graph = schema_graph(self.stage, self.raw, properties)
        return None if settings is None else sample_plan(settings, graph)


def report_of_instance(
    instance: Instance, inputs: Inputs, found: Found, log: logging.Logger
) -> Report:
    """Gives the report of an instance.

    Args:
        instance: The instance.
        inputs: Its input tables.
        found: Their relations, which must not be replaced meanwhile.
        log: The log of the run.
    """
    plan = inputs.plan(instance, {name: source for name, (source, _, _) in found.items()})
    with database(instance).begin() as connection:
        if plan is None or plan.settings.report == "off":
            rows = {name: table for name, (_, table, _) in found.items()}
            return unsampled_report(connection, rows, _why(instance, plan))
        conditions = {
            name: {item.number: item.where for item in plan.graph.of_child(name) if item.where}
            for name in found
        }
        tables = {name: Compared(name, *found[name], conditions[name]) for name in found}
        report = compared_sample(connection, plan, tables)
    origins = {
        name: made_from(instance, raw, StageTable(inputs.stage, name))
        for name, raw in inputs.raw.items()
    }
    changed = [name for name in tables if _has_changed(origins[name], tables[name])]
    for name in changed:
        source, behind = origins[name]
        log.warning(
            f"`{behind}` of `{source.name}` has changed since `{name}` was copied from it. Run "
            f"`{instance.name}` again for a true comparison."
        )
    notes = (_note(name) for name in changed)
    return replace(report, figures=(*report.figures, *notes))


def _why(instance: Instance, plan: SamplePlan | None) -> str:
    if plan is not None:
        return "not compared with the source: `sample: {report: off}`"
    if not instance.copies:
        return f"nothing is sampled: `{instance.name}` loads for itself"
    return "copied by `copy_filter_...`, not by a `sample` specification: nothing to compare"


def _has_changed(behind: tuple[Instance, StageTable], table: Compared) -> bool:
    """Whether the source is not what the rows were copied from."""
    copy, now = catalog_row_of(table.sample), catalog_row_of(table.source)
    if copy is None or now is None:
        return False
    version = copy.inputs.get(f"{behind[0].instance_id}/{behind[1]}")
    return version is not None and version != now.data_version


def _note(name: str) -> Figure:
    text = "the source has changed since it was copied: other figures say that too"
    return Figure(name, "source has changed", None, text=text)
